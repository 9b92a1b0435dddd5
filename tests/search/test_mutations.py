"""Changes of `mutations.py` that fast tests must notice: one of them usually, one a kind in `make studies`.

All of them: `python tests/search/mutations.py`.
"""

import os
from pathlib import Path

import pytest
from mutations import MUTATIONS

from mutation import check, few_noticed

FEW = ("trials of the shape check",)
ONE_A_KIND = (
    *FEW,
    "weights of the blocks",
    "excess error",
    "trials of spectra and masses",
    "start of unbiased masses",
    "reversed: claim",
)


def test_every_change_can_be_made() -> None:
    check(MUTATIONS)


@pytest.mark.slow
def test_fast_tests_notice() -> None:
    chosen = ONE_A_KIND if os.environ.get("BUMPFIT_STUDIES") else FEW
    few_noticed(Path(__file__).with_name("mutations.py"), chosen)
