"""A log of a run: one JSON object a line, with the seconds since the start."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from bumpfit.errors import UnfinishedError
from bumpfit.results import plain

log = logging.getLogger(__name__)


class Log:
    """Appends to `path` (None writes nothing); times are relative to `started` of `time.monotonic`."""

    def __init__(self, path: Path | None, started: float) -> None:
        self._path = path
        self._started = started

    def write(self, event: str, **details: Any) -> None:
        """Add one line; raises UnfinishedError when the system refuses it."""
        log.debug("%s %s", event, details)
        if self._path is None:
            return
        entry = {"seconds": round(time.monotonic() - self._started, 2), "event": event, **plain(details)}
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UnfinishedError(f"cannot write {self._path} ({error.strerror})") from error
