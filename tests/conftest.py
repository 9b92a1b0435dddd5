"""For all tests."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from browser import Chromium, started
from bumpfit import execute

# several threads of each test process wait for each other: a boosted tree of 900 events takes a hundred times as long
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    """Ctrl-C works in the programs that tests start, also where pytest itself runs in the background of a script, whose
    shell makes its jobs ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # of the tests that are chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` gives each of two processes one half. What compiles most begins them, other kernels in each: few
    are compiled twice, and fits that run compiled where that lies on disk do so from the beginning.
    """
    marked = [(marker.args, item) for item in items if (marker := item.get_closest_marker("compiles"))]
    marked.sort(key=lambda pair: pair[0])
    one, two = ([item for (half, _), item in marked if half == which] for which in (0, 1))
    others = [item for item in items if not item.get_closest_marker("compiles")]
    cut = max(len(items) // 2 - len(one), 0)
    items[:] = [*one, *others[:cut], *two, *others[cut:]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A headless browser, one a process; tests that ask for it are skipped where there is none."""
    browser = started()
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def one_process_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are not told a number of workers take one and not all cores: to start a process costs seconds."""
    monkeypatch.setattr(execute, "available_cores", lambda: 1)


@pytest.fixture(autouse=True)
def pyhf_as_it_starts() -> Iterator[None]:
    """No test changes the minimiser of pyhf for the ones after it."""
    yield
    pyhf = sys.modules.get("pyhf")
    if pyhf is not None and pyhf.get_backend()[1].name != "scipy":
        pyhf.set_backend("numpy")
