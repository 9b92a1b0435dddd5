"""What a command does, told by the standard library's `logging`: to a file, to the terminal, or to nobody.

Modules tell it to `logging.getLogger(__name__)`, so programs that use bumpfit as a library get it under the name
`bumpfit` as they set up their own logging. `told` is for the command line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bumpfit.console import printable
from bumpfit.errors import InputError

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 [A-Z]+ bumpfit")
"""How a line of a log begins."""


class Lines(logging.Formatter):
    """One line a message: time, level, module, text; nothing in it is a command to a terminal.

    `clock`: the time as the wall shows it, `time.gmtime` or `time.localtime`.
    """

    def __init__(self, line: str, clock_format: str, clock: Callable[[float], time.struct_time]) -> None:
        super().__init__(line, style="{")
        self._clock, self._clock_format = clock, clock_format

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, logging's own
        """When it was."""
        return time.strftime(self._clock_format, self._clock(record.created))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line; an end of line inside a name could fake another one."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Where an error arose."""
        return printable(super().formatException(ei), lines=True)


class File(logging.FileHandler):
    """A log file; one that cannot be written any more ends the command as any output does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """The failure of the system itself."""
        raise


class Terminal(logging.Handler):
    """Standard error as it is now: a progress bar takes its place while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        sys.stderr.write(f"{self.format(record)}\n")


CACHES = re.compile(r"cache|mkdir -p failed|not a writable directory")
"""Messages of matplotlib on where it keeps its list of fonts: without such a folder it makes a temporary one itself."""


def _of_no_cache(record: logging.LogRecord) -> bool:
    return CACHES.search(str(record.msg)) is None


@contextlib.contextmanager
def told(file: str | None = None, *, verbose: bool = False) -> Iterator[None]:
    """Inside the block bumpfit tells what it does, at the end of `file` in full, with `verbose` on standard error.

    Drawing libraries do not tell that their caches cannot be written: no number or figure depends on it.

    Raises InputError for a file that cannot be written, or that exists and is no log.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_opened(Path(file)))
        handlers[0].setFormatter(
            Lines("{asctime} {levelname} {name}: {message}", "%Y-%m-%dT%H:%M:%S+0000", time.gmtime)
        )
    if verbose:
        shown = Terminal(logging.INFO)
        shown.setFormatter(Lines("{asctime} {message}", "%H:%M:%S", time.localtime))
        handlers.append(shown)
    log = logging.getLogger("bumpfit")
    before = log.level, log.propagate
    if handlers:
        log.setLevel(logging.DEBUG)
        log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    drawing = [logging.getLogger(name) for name in ("matplotlib", "matplotlib.font_manager")]
    for logger in drawing:
        logger.addFilter(_of_no_cache)
    try:
        yield
    finally:
        for logger in drawing:
            logger.removeFilter(_of_no_cache)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(before[0])
        log.propagate = before[1]


def _opened(path: Path) -> File:
    """The handler of a log file, which goes on at the end of one that is there."""
    try:
        if path.is_file():
            with path.open("rb") as stream:
                head = stream.read(200)
            if head and LINE.match(head) is None:
                raise InputError(f"{path} exists and is no log of bumpfit; give --log another name")
        return File(path, encoding="utf-8")
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(f"cannot write the log {path} ({why}); give --log another name") from error
