"""Finished stages of a run on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.files import atomic
from bumpfit.results import plain

Arrays = dict[str, NDArray[Any]]


def fingerprint(*parts: Any) -> str:
    """A short hash of inputs, configuration and version: stages of another run are never taken up."""
    return hashlib.sha256(json.dumps([plain(p) for p in parts], sort_keys=True).encode()).hexdigest()[:16]


class Stages:
    """Arrays by name in `folder` (None keeps nothing)."""

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = None if folder is None else folder / key

    def get(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of this stage, from disk when it was finished before."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        arrays = make()
        with atomic(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        return arrays

    def remove(self) -> None:
        """Forget everything, stages of abandoned runs in the same folder included: this run is complete."""
        if self._folder is not None and self._folder.parent.exists():
            shutil.rmtree(self._folder.parent)
