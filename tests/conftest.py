"""For all tests."""

import signal
from collections.abc import Iterator

import pytest

from browser import Chromium, started


def pytest_configure() -> None:
    """Ctrl-C works in the programs that tests start, also where pytest itself runs in the background of a script, whose
    shell makes its jobs ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A headless browser, one a process; tests that ask for it are skipped where there is none."""
    browser = started()
    yield browser
    browser.close()
