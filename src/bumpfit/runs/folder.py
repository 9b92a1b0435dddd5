"""The folder of a run: who may use it, what may be in it, what was finished in it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

from bumpfit import __version__
from bumpfit.errors import BumpfitError, InputError, UnfinishedError
from bumpfit.execute import ordered_map
from bumpfit.files import check_writable, discard, is_temporary, sweep, write_json
from bumpfit.results import plain
from bumpfit.runs.lock import LOCK, Lock
from bumpfit.runs.log import Log
from bumpfit.runs.pieces import ARRAYS, Arrays, Form, Pieces, fingerprint

Task = TypeVar("Task")
Piece = TypeVar("Piece")

STAGES = ".stages"
"""Folder of the finished pieces inside the output folder of a run."""
LOG = "log.jsonl"
SETTINGS = "run.json"
PART = "part-"
"""Beginning of the names of pieces that lie beside a result file."""
SHOWN = 3


class Run:
    """A run that holds its folder; made by `in_folder`, `beside` and `nowhere`.

    `folder`: where outputs go (None: nowhere). `log`: of events of the run.
    """

    def __init__(self, folder: Path | None, parts: Path | None, log: Log, prefix: str = "") -> None:
        self.folder = folder
        self.log = log
        self.finished = False
        self._parts = parts
        self._prefix = prefix
        self._arrays = self.pieces(ARRAYS)

    def pieces(self, form: Form[Piece]) -> Pieces[Piece]:
        """The finished pieces of this run that have a form."""
        return Pieces(self._parts, form, self._prefix)

    def piece(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays by name: made once, then taken from disk."""
        return self._arrays.get(name, make)

    def map(
        self,
        function: Callable[[Task], Arrays],
        tasks: Mapping[str, Task],
        *,
        workers: int = 1,
        executor: Executor | None = None,
    ) -> Iterator[tuple[str, Arrays]]:
        """Yield name and `function(task)` for every task in order; each is kept, and not made again.

        Args:
            function, workers, executor: see `execute.ordered_map`; the function gives arrays by name.
            tasks: by the name of the piece, unique in the run and fit for a file's name.
        """
        ready = {name for name in self._arrays.names() if name in tasks}
        missing = [name for name in tasks if name not in ready]
        made = ordered_map(function, (tasks[name] for name in missing), workers=workers, executor=executor)
        for name, task in tasks.items():
            piece = self._arrays.found(name) if name in ready else None
            if piece is None:
                piece = function(task) if name in ready else next(made)  # damaged, or not there
                self._arrays.keep(name, piece)
            yield name, piece

    def finish(self) -> None:
        """All results are written: forget the pieces."""
        self.finished = True


def nowhere() -> Run:
    """A run that keeps nothing."""
    return Run(None, None, Log(None, time.monotonic()))


@contextlib.contextmanager
def in_folder(
    out: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    *,
    outputs: Sequence[str],
    result: str,
    overwrite: bool = False,
    started: float | None = None,
) -> Iterator[Run]:
    """A run whose outputs fill the folder `out` (None: a run that keeps nothing).

    Args:
        out: made when it is not there. It may hold what an unfinished run of the same settings left, and nothing else.
        settings: what the numbers follow from, by names that a message can use.
        outputs: everything that the run writes there, folders with a `/` at the end.
        result: the output that is written last; where it is, the run is complete.
        overwrite: remove what another run, finished or not, left there.
        started: `time.monotonic()` at the start, for the log.

    A run that ends in an InputError or a BumpfitError leaves nothing but complete outputs; after an interruption or an
    UnfinishedError the finished pieces stay.

    Raises:
        InputError: the folder holds other files, a finished run, pieces of other settings, or another process uses it.
    """
    if out is None:
        yield nowhere()
        return
    if not os.fspath(out):
        raise InputError("the name of the output folder is empty; expected a folder, for example -o out")
    folder = Path(out)
    known = {name.rstrip("/") for name in (*outputs, result, LOG, STAGES, LOCK)}
    _check_folder(folder, outputs, known, result, overwrite)
    existed = folder.is_dir()
    _make(folder)
    key = fingerprint(settings, __version__)
    stages = folder / STAGES
    with _locked(folder, folder):
        sweep_below(folder)
        there = _differences(stages, settings, key)
        complete = (folder / result).exists() and there != []  # else it was stopped while it tidied up
        if complete and not overwrite:
            raise InputError(
                f"{folder} already holds another run; choose another folder, or overwrite it (--overwrite)"
            )
        if complete or (overwrite and there):
            _clear(folder, (result, *sorted(known - {LOCK, result})))  # without its result no run is complete
        _agree(stages, settings, key, f"{folder} holds an unfinished run", "start anew with --overwrite")
        run = Run(folder, stages / key, Log(folder / LOG, time.monotonic() if started is None else started))
        try:
            yield run
        except UnfinishedError as error:
            raise _kept(error, run) from error
        except BumpfitError:  # there is no answer to go on to: nothing half-written stays
            if {path.name for path in folder.iterdir()} <= {LOG, STAGES, LOCK}:
                _clear(folder, {LOG, STAGES})
                if not existed:
                    _clear(folder, {LOCK})
                    folder.rmdir()
            raise
        if run.finished:
            _clear(folder, {STAGES})


@contextlib.contextmanager
def beside(path: str | os.PathLike[str] | None, settings: Mapping[str, Any]) -> Iterator[Run]:
    """A run with one result file, whose pieces are in `path`.parts/ (None: a run that keeps nothing).

    Raises:
        InputError: the pieces there are of other settings, another process uses them, or nothing can be written there.
    """
    if path is None:
        yield nowhere()
        return
    check_writable(path)
    file = Path(path)
    folder = file.with_name(file.name + ".parts")
    _make(folder)
    with _locked(folder, file):
        sweep(folder, locked=True)
        run = Run(file.parent, folder, Log(None, time.monotonic()), PART)
        try:
            _agree(folder, settings, fingerprint(settings, __version__), f"{folder} holds pieces", f"remove {folder}")
            yield run
        except UnfinishedError as error:
            raise _kept(error, run) from error
        finally:
            with contextlib.suppress(OSError):
                _forget_empty(folder)
        if run.finished:
            _clear(folder, _ours(folder))


def sweep_below(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder that is locked, at any depth of ours."""
    sweep(folder, locked=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            sweep_below(entry)


@contextlib.contextmanager
def _locked(folder: Path, output: Path) -> Iterator[None]:
    lock = Lock(folder)
    try:
        try:
            lock.acquire(output)
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            if folder.name.endswith(".parts"):
                folder.rmdir()  # only when it is empty


def _unwritable(folder: Path, error: OSError) -> BumpfitError:
    """The failure of a folder that may not be written, or (full disk, quota) cannot be now."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"cannot write into the folder {folder} ({error.strerror}); choose another output")
    return UnfinishedError(f"cannot write into the folder {folder} ({error.strerror})")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot make the folder {folder} ({why}); choose another output") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write into the folder {folder} (permission denied); choose another output")


def _check_folder(folder: Path, outputs: Sequence[str], known: set[str], result: str, overwrite: bool) -> None:
    """Raise InputError, before anything is made, where the outputs could not be written."""
    try:
        there = folder.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot use the folder {folder} ({why}); choose another output") from error
    if not there:
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the output")
    strange = sorted(p.name for p in folder.iterdir() if p.name not in known and not is_temporary(p.name))
    if strange:
        raise InputError(f"{folder} holds other files ({', '.join(strange[:SHOWN])}); choose an empty or new folder")
    for name in (*outputs, result):
        place = folder / name.rstrip("/")
        if place.exists() and place.is_dir() != name.endswith("/"):
            kinds = ("a folder", "a file") if place.is_dir() else ("a file", "a folder")
            raise InputError(
                f"{place} is {kinds[0]}, but the run writes {kinds[1]} of this name; choose another folder"
            )


def _agree(folder: Path, settings: Mapping[str, Any], key: str, what: str, way_out: str) -> None:
    """Compare the settings with those of the pieces in `folder`, or note them there; raises InputError on others."""
    differences = _differences(folder, settings, key)
    if differences is None:  # what is there belongs to nobody
        if folder.is_dir():
            _clear(folder, _ours(folder))
        write_json(folder / SETTINGS, {"key": key, "settings": _noted(settings)})
    elif differences:
        raise InputError(
            f"{what} of other inputs or settings ({', '.join(differences[:SHOWN])}); give the same ones to go on, "
            f"{way_out}, or choose another output"
        )


def _noted(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"bumpfit": __version__, **plain(dict(settings))}


def _differences(folder: Path, settings: Mapping[str, Any], key: str) -> list[str] | None:
    """What the pieces in `folder` were made with and is other now; None where that is not noted, or damaged."""
    try:
        found = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        theirs, known = dict(found["settings"]), found["key"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if known == key:
        return []
    mine = _noted(settings)
    names = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
    words = [f"{name} was {_short(theirs.get(name))}, is {_short(mine.get(name))}" for name in names]
    return words or ["details differ"]


def _kept(error: UnfinishedError, run: Run) -> UnfinishedError:
    """The same failure, with a word about what can be gone on from."""
    if run.folder is None or next(run.pieces(ARRAYS).files(), None) is None:
        return error
    return UnfinishedError(f"{error}; what was finished is kept, and the same command goes on from there")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _ours(folder: Path) -> set[str]:
    """What a run made in the folder of its pieces, without the lock."""
    key = re.compile(r"[0-9a-f]{16}")
    return {
        entry.name
        for entry in folder.iterdir()
        if entry.name == SETTINGS
        or entry.name.startswith(PART)
        or is_temporary(entry.name)
        or (entry.is_dir() and key.fullmatch(entry.name))
    }


def _clear(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        path = folder / name
        try:
            discard(path)
        except OSError as error:
            raise UnfinishedError(f"cannot remove {path} ({error.strerror})") from error


def _forget_empty(folder: Path) -> None:
    """Remove the note of settings where there are no pieces."""
    if {entry.name for entry in folder.iterdir()} <= {SETTINGS, LOCK}:
        _clear(folder, {SETTINGS})
