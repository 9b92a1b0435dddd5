"""Finished pieces of a run: files by name in a folder, each complete; a damaged one counts as not made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bumpfit import archives
from bumpfit.errors import InputError
from bumpfit.files import atomic
from bumpfit.results import plain

Arrays = dict[str, NDArray[Any]]
Piece = TypeVar("Piece")

KIND = "piece of a run"
VERSION = 1


def fingerprint(*parts: Any) -> str:
    """A short hash of what numbers follow from: records, arrays, texts and numbers, NaN and infinities told apart."""
    text = json.dumps([_spelled(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _spelled(part: Any) -> Any:
    """As `results.plain`, but numbers that JSON lacks stay apart from an absent one."""
    if isinstance(part, float | np.floating) and not np.isfinite(part):
        return repr(float(part))
    if isinstance(part, dict):
        return {str(key): _spelled(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_spelled(value) for value in part]
    return plain(part)


class Form(Protocol[Piece]):
    """How one piece is a file: the ending of its name, and how it is written to and read from a path.

    `read` raises InputError for a file that is damaged.
    """

    suffix: str

    def write(self, path: Path, piece: Piece) -> None:
        """Write the piece to a path that `files.atomic` gave."""

    def read(self, path: Path) -> Piece:
        """The piece in a file; raises InputError when it is damaged."""


class _ArraysForm:
    """Arrays by name in a ZIP file with checksums, never pickled; NumPy reads it too."""

    suffix = ".npz"

    def write(self, path: Path, piece: Arrays) -> None:
        archives.fill(path, KIND, VERSION, {"arrays": list(piece)}, piece, compress=False)

    def read(self, path: Path) -> Arrays:
        with archives.opened(path, KIND) as archive:
            described = archives.description(archive, KIND, VERSION)
            return {name: archives.array(archive, name) for name in archives.texts(described["arrays"], "arrays")}


ARRAYS = _ArraysForm()


class Pieces(Generic[Piece]):
    """The pieces of one form in `folder` (None keeps nothing), whose files' names begin with `prefix`."""

    def __init__(self, folder: Path | None, form: Form[Piece], prefix: str = "") -> None:
        self._folder = folder
        self._form = form
        self._prefix = prefix

    def path(self, name: str) -> Path:
        """The file of a piece; raises InputError when nothing is kept."""
        if self._folder is None:
            raise InputError(f"the piece '{name}' has no file: this run keeps nothing")
        return self._folder / f"{self._prefix}{name}{self._form.suffix}"

    def get(self, name: str, make: Callable[[], Piece]) -> Piece:
        """The piece of this name, from disk when it was finished before and is intact."""
        piece = self.found(name)
        if piece is None:
            piece = make()
            self.keep(name, piece)
        return piece

    def found(self, name: str) -> Piece | None:
        """A finished, intact piece, or None; a damaged file is removed."""
        if self._folder is None or not (path := self.path(name)).is_file():
            return None
        try:
            return self._form.read(path)
        except InputError:
            path.unlink(missing_ok=True)
            return None

    def keep(self, name: str, piece: Piece) -> None:
        """Write a finished piece; raises UnfinishedError when the system refuses."""
        if self._folder is not None:
            with atomic(self.path(name)) as temporary:
                self._form.write(temporary, piece)

    def names(self) -> Iterator[str]:
        """Names of the pieces that are there, intact or not, in order."""
        for path in self.files():
            if path.name.endswith(self._form.suffix):
                yield path.name.removeprefix(self._prefix).removesuffix(self._form.suffix)

    def files(self) -> Iterator[Path]:
        """Files of pieces of any form, in order."""
        if self._folder is not None and self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                if path.name.startswith(self._prefix) and not path.name.startswith("."):
                    yield path
