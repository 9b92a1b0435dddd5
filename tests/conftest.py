"""For all tests."""

import signal


def pytest_configure() -> None:
    """Ctrl-C works in the programs that tests start, also where pytest itself runs in the background of a script, whose
    shell makes its jobs ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
