"""Files: outputs appear complete or not at all and survive a power cut; inputs are named by their SHA-256.

A process that is killed while it writes leaves a temporary file (`is_temporary` knows it by its name). The next process
that writes into the same folder removes it (`sweep`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError, UnfinishedError
from bumpfit.results import plain

log = logging.getLogger(__name__)

TEMPORARY = re.compile(r"\.bumpfit-([0-9a-f]{6})-(\d+)-[0-9a-f]{8}(\.[\w.]*)?")
"""Names of files that are being written: `.bumpfit-HOST-PROCESS-NUMBER` and the suffixes of the output."""
EARLIER = re.compile(r"\.[0-9a-f]{8}\.[^/]+")
"""Such names up to version 0.1.0; removed only from folders of runs, which hold nothing else."""
FOREIGN_SECONDS = 86_400.0
"""Age from which a temporary file of another machine (on a shared file system) counts as left behind."""
SUFFIX = re.compile(r"(\.\w{1,8}){1,2}$", re.ASCII)

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_open: set[str] = set()
_swept: set[Path] = set()


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the place of `path` when the body ends without an exception.

    The temporary name keeps the suffixes of `path` (writers choose the format by them). What the body leaves there may
    be a file or a folder; a folder never replaces one that exists. Missing parent folders are made. File and folder
    are forced to the disk before and after the renaming, so that a power cut leaves the old or the new content, whole.
    A device or pipe (`/dev/stdout`) is given as it is.

    Raises:
        InputError: `path` is an existing folder, or its parent cannot be made or written.
        UnfinishedError: the body wrote nothing, or the system refuses the result (disk full, quota, failing disk).
    """
    target = _target(path)
    if _special(target):
        with _refusals(path, target):
            yield target
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {target.parent} ({_why(error)}); choose another output") from error
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"cannot write into the folder {target.parent} (permission denied); choose another output")
    if target.parent not in _swept:
        _swept.add(target.parent)
        sweep(target.parent)
    temporary = _temporary(target)
    _open.add(temporary.name)
    try:
        with _refusals(path, temporary):
            yield temporary
            if not temporary.exists():
                raise UnfinishedError(f"nothing was written for {path}")
            _settle(temporary)
            os.replace(temporary, target)
            _settle_folder(target.parent)
            log.info("wrote %s", target)
    finally:
        _remove(temporary)
        _open.discard(temporary.name)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before a long calculation whether an output can be written.

    Raises:
        InputError: it is a folder, its name is too long, or the folder that would hold it is none or is not writable.
    """
    target = _target(path)
    if _special(target):
        return
    place = target.parent
    with contextlib.suppress(FileNotFoundError):
        while not place.exists() and place != place.parent:
            place = place.parent
    if not place.is_dir():
        raise InputError(f"cannot make the folder {target.parent} ({place} is a file); choose another output")
    if not os.access(place, os.W_OK):
        raise InputError(f"cannot write into the folder {place} (permission denied); choose another output")


def discard(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; raises OSError.

    A folder disappears at once: whoever is killed meanwhile leaves a temporary one, which `sweep` removes.
    """
    if path.is_dir() and not path.is_symlink():
        temporary = _temporary(path)
        os.replace(path, temporary)
        shutil.rmtree(temporary)
    else:
        path.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that `atomic` was writing."""
    return (TEMPORARY.fullmatch(name) or EARLIER.fullmatch(name)) is not None


def sweep(folder: Path, *, locked: bool = False) -> None:
    """Remove temporary files that killed processes left in a folder.

    Args:
        folder: looked at itself, not below it.
        locked: nobody else writes here, so that every temporary file is one that was left behind.
    """
    with contextlib.suppress(OSError):  # what cannot be listed or removed is in nobody's way
        for entry in list(os.scandir(folder)):
            known = TEMPORARY.fullmatch(entry.name)
            old = is_temporary(entry.name) if locked else known is not None and _left(known, entry)
            if old and entry.name not in _open:
                _remove(Path(entry.path))


def _left(known: re.Match[str], entry: os.DirEntry[str]) -> bool:
    """Whether the process that made a temporary file is gone."""
    if known.group(1) != _HOST:
        return time.time() - entry.stat().st_mtime > FOREIGN_SECONDS
    return int(known.group(2)) == os.getpid() or not is_alive(int(known.group(2)))


def is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    if process < 1 or process >= 1 << 31:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that is written, behind links; raises InputError for a folder and a name that the system refuses."""
    if not os.fspath(path):
        raise InputError("the name of an output is empty; expected the name of a file")
    target = Path(os.path.realpath(path))
    try:
        folder = target.is_dir()
        target.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write {path} ({_why(error)}); choose another output") from error
    if folder:
        raise InputError(f"{path} is a folder; expected the name of a file to write")
    return target


def _temporary(target: Path) -> Path:
    ending = SUFFIX.search(target.name)
    return target.with_name(f".bumpfit-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}{ending.group() if ending else ''}")


def _special(target: Path) -> bool:
    return target.exists() and not target.is_file()


@contextlib.contextmanager
def _refusals(path: str | os.PathLike[str], written: Path) -> Iterator[None]:
    """Turn what the system refuses while `written` is written for `path` into a sentence.

    A full disk has no file's name in its error; an error that names another file is that of an input.
    """
    try:
        yield
    except OSError as error:
        other = error.filename is not None and not str(os.fsdecode(error.filename)).startswith(str(written))
        if other:
            raise
        raise UnfinishedError(f"cannot write {path} ({_why(error)})") from error


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    known = os.strerror(number) if number else getattr(error, "strerror", None)  # libraries write texts of their own
    return known or " ".join(str(error).split()) or type(error).__name__


def _settle(path: Path) -> None:
    """Force a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            _settle(entry)
        _settle_folder(path)
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle_folder(path: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # this system cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot do this with folders
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # a failing disk; the next process tries again
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, complete or not at all (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write records, arrays and numbers as JSON (`results.plain`: NaN and infinities become null), see `atomic`."""
    write_text(path, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    require(path)
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from error
    log.debug("read %s, SHA-256 %s", path, digest)
    return digest


def require(path: str | os.PathLike[str]) -> Path:
    """Return the path of an existing file.

    Raises:
        InputError: there is no such file, or it is a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"got {type(path).__name__}; expected the path of a file")
    file = Path(path)
    try:
        exists, folder = file.exists(), file.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file} ({_why(error)})") from error
    if not exists and str(path) == "-":
        raise InputError("standard input (-) is not read; write it to a file, and give its path")
    if not exists:
        raise InputError(f"there is no file {file}; check the path (the working folder is {Path.cwd()})")
    if folder:
        raise InputError(f"{file} is a folder; expected a file")
    return file
