"""Every workspace at hand against pyhf: all of them in studies, the small sources and a few of the random ones else."""

import os

import pytest
from every_workspace import SAME, SOURCES, Compared, compare, compared

FULL = bool(os.environ.get("BUMPFIT_STUDIES"))
"""Set by `make studies`."""
SMALL = ("shipped", "in pyhf's package", "pyhf's constructors")


def agree(found: Compared) -> None:
    assert found.value < 1e-10, found
    assert found.below < 1e-6, found  # no fit of ours ends above pyhf's
    assert found.tested is None or found.tested < 2e-3, found


@pytest.mark.parametrize("source", SMALL)
def test_likelihoods(source: str) -> None:
    for found in compared(source, answers=False):
        agree(found)
        assert not found.refused


def test_answers_of_a_few() -> None:
    some = [entry for source in SMALL for entry in list(SOURCES[source]())[:2]]
    tested = [compare(name, spec) for name, spec in some]
    for found in tested:
        agree(found)
    assert sum(found.tested is not None for found in tested) >= 3


@pytest.mark.statistics
@pytest.mark.skipif(not FULL, reason="minutes; make studies")
@pytest.mark.parametrize("source", SOURCES)
def test_answers_of_all(source: str) -> None:
    found = compared(source)
    for one in found:
        agree(one)
    same = [one for one in found if one.tested is not None or one.above > SAME or one.failed]
    assert sum(one.tested is not None for one in found) >= 0.7 * len(same)
