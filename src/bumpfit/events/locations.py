"""Where a file of events is: on this machine, in an archive, on a server, and which tree of a ROOT file is meant.

    data.root:Events      the tree Events            data.root.gz      unpacked into a temporary file
    https://HOST/a.csv    fetched through fsspec     root://HOST//a.root   read in place, through fsspec-xrootd

Temporary files live as long as the process.
"""

from __future__ import annotations

import atexit
import gzip
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bumpfit.errors import InputError, MissingExtraError, UnfinishedError
from bumpfit.events.suffixes import split_tree
from bumpfit.files import require, sha256

REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
EXTRAS = {"root": ("fsspec-xrootd", "xrootd"), "http": ("aiohttp", "remote"), "https": ("aiohttp", "remote")}
"""Packages and extras by protocol; other protocols are those of fsspec, which names its package itself."""
PATIENCE = {"XRD_CONNECTIONWINDOW": "20", "XRD_CONNECTIONRETRY": "2"}
"""Seconds for which XRootD tries to connect, and how often, where the user's environment does not say: its own
settings wait ten minutes for a server that is not there."""

_kept: dict[tuple[str, ...], Path] = {}


def is_remote(name: str | os.PathLike[str]) -> bool:
    """Whether a name is a URL."""
    return REMOTE.match(os.fspath(name)) is not None


def local(name: str | os.PathLike[str]) -> Path:
    """The file on this machine that holds the content of a name, without its tree.

    URLs are fetched, and ROOT files that gzip packed are unpacked, once a process.

    Raises:
        InputError: no such file, a server that refuses, a damaged archive.
        MissingExtraError: the package that speaks the protocol of a URL is not installed.
    """
    file, _ = split_tree(name)
    path = _once(("fetched", file), file, lambda out: _fetch(file, out)) if is_remote(file) else require(file)
    if not file.lower().endswith(".root.gz"):
        return path
    return made_of(path, "unpacked.root", lambda out: _unpack(path, out))


def made_of(path: Path, name: str, make: Callable[[BinaryIO], None]) -> Path:
    """A temporary file that is made of another one, once for each content of it."""
    stamp = path.stat()
    return _once((name, str(path.resolve()), str(stamp.st_mtime_ns), str(stamp.st_size)), name, make)


def sha256_of(name: str | os.PathLike[str]) -> str:
    """SHA-256 of the file that a name means: of what was fetched for a URL, of the archive where it is packed."""
    file, _ = split_tree(name)
    return sha256(local(file) if is_remote(file) else file)


def _once(key: tuple[str, ...], name: str, make: Callable[[BinaryIO], None]) -> Path:
    """A temporary file with the suffixes of `name`, made at the first call."""
    if key not in _kept or not _kept[key].exists():
        ending = "".join(Path(name.partition("?")[0]).suffixes[-2:])
        try:
            if ("folder",) not in _kept:
                _kept["folder",] = Path(tempfile.mkdtemp(prefix="bumpfit-"))
                atexit.register(shutil.rmtree, _kept["folder",], ignore_errors=True)
            descriptor, path = tempfile.mkstemp(suffix=ending, dir=_kept["folder",])
        except OSError as error:
            raise UnfinishedError(f"cannot make a temporary file for {name} ({error.strerror})") from error
        try:
            with open(descriptor, "wb") as out:
                make(out)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
        _kept[key] = Path(path)
    return _kept[key]


def _unpack(path: Path, out: BinaryIO) -> None:
    try:
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, out, 1 << 20)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked (cut off, or not packed by gzip): {error}") from error
    except OSError as error:
        raise UnfinishedError(f"cannot unpack {path} into {out.name} ({error.strerror})") from error


def be_patient() -> None:
    """Before the first file is read from a server: bound how long an absent one is waited for."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


def _fetch(url: str, out: BinaryIO) -> None:
    be_patient()
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingExtraError("fsspec", "remote", f"reading {url}") from error
    try:
        with fsspec.open(url, "rb") as stream:
            shutil.copyfileobj(stream, out, 1 << 20)
    except Exception as error:  # every protocol has exceptions of its own
        raise refusal(url, error) from error


def refusal(url: str, error: Exception) -> InputError:
    """The error for a URL that cannot be read."""
    protocol = url.partition("://")[0].lower()
    if isinstance(error, ImportError):
        package, extra = EXTRAS.get(protocol, ("", ""))
        if package:
            return MissingExtraError(package, extra, f"reading {url}")
        return InputError(f"{url} cannot be read: a package for {protocol}:// is not installed ({_words(error)})")
    return InputError(f"{url} cannot be read ({type(error).__name__}: {_words(error)}); check the address")


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or "no reason given"
