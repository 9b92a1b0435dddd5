"""Keep what C++ libraries print away from standard output, where a command writes its JSON."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """Catch what C++ code writes to standard output; gives a function that returns the text so far."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    saved = os.dup(1)
    with tempfile.TemporaryFile() as stream:

        def said() -> str:
            libc.fflush(None)
            stream.seek(0)
            return stream.read().decode(errors="replace")

        try:
            os.dup2(stream.fileno(), 1)
            yield said
        finally:
            libc.fflush(None)
            os.dup2(saved, 1)
            os.close(saved)
