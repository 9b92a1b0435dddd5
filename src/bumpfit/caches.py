"""A place for the caches of libraries (fontconfig, matplotlib, numba) where the user's own cannot be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

PLACE = "XDG_CACHE_HOME"
"""The variable by which all of them are told where caches are; without it they are in ~/.cache."""


def can_be_written() -> bool:
    """Whether the folder of caches is there and can be written, or can be made."""
    try:
        folder = Path(os.environ.get(PLACE) or Path.home() / ".cache").absolute()
        there = next(place for place in (folder, *folder.parents) if place.exists())
    except (RuntimeError, OSError):  # no home; a folder that may not be looked into
        return False
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


@contextlib.contextmanager
def somewhere() -> Iterator[None]:
    """Inside the block caches can be written: in a temporary folder where they cannot in the user's.

    Without one fontconfig says so on standard error, in words that no reader of a figure has a use for.
    """
    with contextlib.ExitStack() as kept:
        if not can_be_written():
            with contextlib.suppress(OSError):  # no temporary folder either: the caches are not kept
                place = kept.enter_context(
                    tempfile.TemporaryDirectory(prefix="bumpfit-caches-", ignore_cleanup_errors=True)
                )
                before = os.environ.get(PLACE)
                os.environ[PLACE] = place
                kept.callback(_restore, before)
        yield


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(PLACE, None)
    else:
        os.environ[PLACE] = before
