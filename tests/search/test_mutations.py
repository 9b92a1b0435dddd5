"""A few of the changes of `mutations.py`, one of each kind; all of them: `python tests/search/mutations.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
from mutations import MUTATIONS

from mutation import check

FEW = ("excess error", "trials of spectra and masses", "start of unbiased masses", "reversed: claim")


def test_every_change_can_be_made() -> None:
    check(MUTATIONS)


@pytest.mark.slow
def test_fast_tests_notice() -> None:
    script = Path(__file__).with_name("mutations.py")
    done = subprocess.run([sys.executable, script, *FEW], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("noticed") >= len(FEW)
