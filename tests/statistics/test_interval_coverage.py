"""Coverage of intervals for strength, yield and mass: `benchmarks/interval_coverage.py` makes the table of the docs.

`make studies` runs all of the toys, the usual tests a part; with -s the table is printed.
"""

import sys
from pathlib import Path

import pytest
from scipy.stats import binomtest

from study_size import FULL

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import interval_coverage as study

pytestmark = [
    pytest.mark.statistics,
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning"),  # pyhf asks for it
]


def check(rows: list[study.Row]) -> None:
    print("\n" + study.table(rows))
    for row in rows:
        assert row.failed <= 0.01 * row.toys
        assert binomtest(row.inside, row.toys, row.level).pvalue > 1e-4, row


def test_intervals_of_a_strength_cover() -> None:
    check(study.strength(1000 if FULL else 100, strengths=study.STRENGTHS if FULL else (1.0,)))


def test_intervals_of_yield_and_mass_cover() -> None:
    check(study.peak(1000 if FULL else 30, yields=study.YIELDS if FULL else (800.0,), checked=5))
