"""Archives: ZIP files of a JSON description and NumPy arrays, our format for data sets and models.

`bumpfit.json` names the format and its version; arrays are never pickled. Writing is atomic, and a damaged or foreign
file is told in one sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.files import atomic, require
from bumpfit.foreign import check_memory, parse_json
from bumpfit.results import plain

DESCRIPTION = "bumpfit.json"
# SyntaxError and TokenError: NumPy reads the headers of arrays with the parser of Python
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, LookupError, EOFError, TypeError, AttributeError,
    RuntimeError, ArithmeticError, MemoryError, SyntaxError, tokenize.TokenError,
)  # fmt: skip


def write(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    description: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    contents: Mapping[str, bytes | str] | None = None,
) -> None:
    """Write an archive of the format `kind`, complete or not at all; array `a` is the member `a.npy`."""
    with atomic(path) as temporary:
        fill(temporary, kind, version, description, arrays, contents)


def fill(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    description: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    contents: Mapping[str, bytes | str] | None = None,
    *,
    compress: bool = True,
) -> None:
    """Write an archive to a path that `files.atomic` gave; compressed, unless it is soon read again.

    It holds no dates: equal content makes equal files.
    """
    described = {"format": kind, "version": version, **description}
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED

    def member(name: str) -> zipfile.ZipInfo:
        made = zipfile.ZipInfo(name)
        made.compress_type, made.external_attr = method, 0o600 << 16
        return made

    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(member(DESCRIPTION), json.dumps(plain(described), indent=1, allow_nan=False))
        for name, array in arrays.items():
            with archive.open(member(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        for name, content in (contents or {}).items():
            archive.writestr(member(name), content)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], noun: str) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, which should hold a `noun`; what fails inside the block is told as damage of the file.

    Raises:
        InputError: no such file, no archive, damaged, or the block cannot make sense of it.
    """
    file = require(path)
    try:
        with zipfile.ZipFile(file) as archive:
            fits_memory(archive)
            damaged = archive.testzip()  # before anything is parsed: NumPy's parser of headers fails in many ways
            if damaged is not None:
                raise InputError(f"{file} cannot be read as a {noun}: its part {damaged} is damaged")
            yield archive
    except BumpfitError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{file} cannot be read as a {noun}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


def fits_memory(archive: zipfile.ZipFile) -> None:
    """Raise ValueError when the unpacked archive would not fit into the memory of this machine.

    A file of some megabytes can unpack to terabytes; nothing bigger than announced is ever unpacked by `zipfile`.
    """
    check_memory(sum(member.file_size for member in archive.infolist()))


def texts(value: Any, what: str) -> tuple[str, ...]:
    """A list of texts; raises TypeError for anything else."""
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(f"its {what} are no list of names")
    return tuple(value)


def description(archive: zipfile.ZipFile, kind: str, version: int) -> dict[str, Any]:
    """What `write` described.

    Raises:
        InputError: another format, or a later version than `version`.
    """
    described = parse_json(archive.read(DESCRIPTION), f"{archive.filename}: {DESCRIPTION}")
    if not isinstance(described, dict):
        raise TypeError(f"its {DESCRIPTION} is no description")
    label = archive.filename
    if described.get("format") != kind or not isinstance(described.get("version"), int):
        raise InputError(f"{label} has the format {described.get('format')!r}; expected {kind!r}")
    if described["version"] > version:
        raise InputError(
            f"{label} has version {described['version']} of the format; this bumpfit reads up to {version}"
        )
    return described


def array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """The array `name`; raises KeyError when there is none."""
    with archive.open(f"{name}.npy") as stream:
        found: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return found
