"""A few of the changes of `mutations.py`, one of each kind; all of them: `python tests/search/mutations.py`."""

from pathlib import Path

import pytest
from mutations import MUTATIONS

from mutation import check, few_noticed

FEW = ("excess error", "trials of spectra and masses", "start of unbiased masses", "reversed: claim")


def test_every_change_can_be_made() -> None:
    check(MUTATIONS)


@pytest.mark.slow
def test_fast_tests_notice() -> None:
    few_noticed(Path(__file__).with_name("mutations.py"), FEW)
