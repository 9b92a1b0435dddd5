"""For all of nonsense: no memory above 1 GB, and no file is written outside the folder of the test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

GB = 1e6  # kilobytes, as the system tells
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CACHES = ("__pycache__", ".nbi", ".nbc")
"""Of Python and numba."""
_written: list[str] | None = None
"""Files that were opened for writing, while a test looks."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None or event not in ("open", "os.rename", "os.mkdir"):
        return
    path = arguments[1] if event == "os.rename" else arguments[0]
    if isinstance(path, str | bytes | os.PathLike) and (event != "open" or arguments[2] & WRITING):
        _written.append(os.fsdecode(path))


sys.addaudithook(_watch)


def resident(what: str) -> float:
    """Kilobytes of this process in its memory: VmRSS now, VmHWM at most since it was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(what))


@pytest.fixture(autouse=True)
def bounded(tmp_path: Path) -> Iterator[None]:
    global _written
    measurable = Path("/proc/self/clear_refs").exists()
    if measurable:
        Path("/proc/self/clear_refs").write_text("5")  # the largest size is counted from here
        before = resident("VmRSS")
    _written = []
    try:
        yield
        written = _written
    finally:
        _written = None
    outside = {name for name in written if not Path(name).resolve().is_relative_to(tmp_path.parent.resolve())}
    outside = {name for name in outside if not name.startswith("/dev/") and not any(end in name for end in CACHES)}
    assert not outside
    assert not measurable or resident("VmHWM") - before < GB
