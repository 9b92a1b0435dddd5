"""One process at a time in the folder of a run: a second one is told which, a lock left by a dead one is taken over."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any

from bumpfit.errors import InputError
from bumpfit.files import is_alive

if sys.platform != "win32":  # which has no locks that end with their process
    import fcntl

LOCK = ".lock"
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """Holds `folder`/.lock from `acquire` to `release`.

    The system frees the lock of a process that ends, however it ends. Where a file system knows no locks the number of
    the process decides, if it was one of this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._stream: IO[str] | None = None

    def acquire(self, output: Path) -> None:
        """Take the lock; raises InputError when another process has it (`output`: what the message calls the run)."""
        while True:
            stream = self._path.open("a+", encoding="utf-8")
            try:
                locked = _try(stream)
            except BlockingIOError:
                holder = _holder(stream)
                stream.close()
                raise InputError(_told(output, holder)) from None
            with contextlib.suppress(OSError):
                if os.fstat(stream.fileno()).st_ino == self._path.stat().st_ino:
                    break
            stream.close()  # it was released and removed in this moment
        holder = _holder(stream)
        mine = holder.get("host") == socket.gethostname() and holder.get("pid") != os.getpid()
        if not locked and mine and is_alive(int(holder.get("pid", 0))):
            stream.close()
            raise InputError(_told(output, holder))
        content = {
            "pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }  # fmt: skip
        try:
            stream.seek(0)
            stream.truncate()
            stream.write(json.dumps(content) + "\n")
            stream.flush()
        except OSError:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                stream.close()  # which tries to write once more
            raise
        self._stream = stream

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._stream is not None:
            self._path.unlink(missing_ok=True)  # while it is held: nobody can have taken it
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


def _try(stream: IO[str]) -> bool:
    """Lock the file if this system can; raises BlockingIOError when another process has it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    return True


def _holder(stream: IO[str]) -> dict[str, Any]:
    stream.seek(0)
    try:
        content = json.loads(stream.read(1000))
    except ValueError:
        return {}
    known = isinstance(content, dict) and isinstance(content.get("pid"), int)
    return content if known else {}


def _told(output: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder['pid']} on {holder.get('host')}, since {holder.get('since')}" if holder else "another one"
    return f"{output} is being written by {who}; wait until it ends, stop it, or choose another output"
