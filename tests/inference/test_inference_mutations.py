"""One of the changes of `inference_mutations.py`, one of each kind in `make studies`; that script makes all of them."""

from pathlib import Path

import pytest
from inference_mutations import MUTATIONS

from mutation import check, few_noticed
from study_size import FULL

ONE_A_KIND = ("error of a fit", "swapped tails", "hits of toys", "trials of Gross", "ends untold")
FEW = ONE_A_KIND if FULL else ONE_A_KIND[:1]


def test_every_change_can_be_made() -> None:
    check(MUTATIONS)


@pytest.mark.slow
def test_fast_tests_notice() -> None:
    few_noticed(Path(__file__).with_name("inference_mutations.py"), FEW)
