"""Files: outputs appear complete or not at all, inputs are named by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bumpfit.errors import BumpfitError, InputError
from bumpfit.results import plain


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the place of `path` when the body ends without an exception.

    The temporary name keeps the suffixes of `path` (writers choose the format by them). What the body leaves there may
    be a file or a folder; a folder never replaces one that exists. Missing parent folders are made. A device or pipe
    (`/dev/stdout`) is given as it is.

    Raises:
        InputError: `path` is an existing folder, or its parent cannot be made or written.
        BumpfitError: the body wrote nothing, or the system refuses the result (disk full, no permission).
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise InputError(f"{path} is a folder; expected the name of a file to write")
        try:
            yield target
        except OSError as error:
            raise BumpfitError(f"cannot write {path} ({error.strerror})") from error
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {target.parent} ({error.strerror}); choose another output") from error
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"cannot write into the folder {target.parent} (permission denied); choose another output")
    temporary = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    try:
        yield temporary
        if not temporary.exists():
            raise BumpfitError(f"nothing was written for {path}")
        os.replace(temporary, target)
    except OSError as error:
        if error.filename in (str(temporary), temporary):
            raise BumpfitError(f"cannot write {path} ({error.strerror})") from error
        raise
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


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
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from error


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
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror})") from error
    if not exists:
        raise InputError(f"there is no file {file}; check the path (the working folder is {Path.cwd()})")
    if folder:
        raise InputError(f"{file} is a folder; expected a file")
    return file
