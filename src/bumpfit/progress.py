"""A progress bar on the terminal that is silent everywhere else (files, pipes, notebooks' logs, worker processes)."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from bumpfit.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress


log = logging.getLogger(__name__)


class Advance(Protocol):
    """What the body of `bar` calls: `advance(3, "p = 0.02")` after three more units of work."""

    def __call__(self, steps: float = 1, note: str = "") -> None:
        """Add steps of work, and a note at the end of the line."""


_quiet = [False]
"""Whether the user wants no progress, one entry a block of `silent`; of the process, since its threads compile too."""


def is_silent() -> bool:
    """Whether the user wants no progress and no notices."""
    return _quiet[-1]


@contextlib.contextmanager
def silent(quiet: bool) -> Iterator[None]:
    """Inside the block no bar is drawn, on a terminal neither, unless it is asked for."""
    _quiet.append(quiet)
    try:
        yield
    finally:
        _quiet.pop()


_display: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("display", default=None)


@contextlib.contextmanager
def bar(
    description: str, total: float | None = None, *, show: bool | None = None, console: Console | None = None
) -> Iterator[Advance]:
    """Show a bar while the body runs, and say in the log what is done and how long it took.

    Args:
        description: what is being done.
        total: units of work, None when unknown.
        show: None draws only when standard error is a terminal; False never; True always.
        console: where to draw, standard error by default. Bars inside bars share the outermost display.
    """
    started = time.monotonic()
    if show is not False:
        log.info("%s begins%s", description, "" if total is None else f", {total:g} steps")
    with _drawn(description, total, show, console or Console(stderr=True)) as advance:
        yield advance
    if show is not False:
        log.info("%s took %.1f s", description, time.monotonic() - started)


@contextlib.contextmanager
def _drawn(description: str, total: float | None, show: bool | None, console: Console) -> Iterator[Advance]:
    if not (console.is_terminal and not is_silent() if show is None else show):
        yield _silent
        return
    outer = _display.get()
    if outer is not None:
        task = outer.add_task(description, total=total, note="")
        try:
            yield lambda steps=1, note="": outer.update(task, advance=steps, note=note)
        finally:
            outer.remove_task(task)
        return
    # here, because every command imports this file and few draw a bar
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as display:
        token = _display.set(display)
        task = display.add_task(description, total=total, note="")
        try:
            yield lambda steps=1, note="": display.update(task, advance=steps, note=note)
        finally:
            _display.reset(token)


def _silent(steps: float = 1, note: str = "") -> None:
    """Nothing to draw."""
