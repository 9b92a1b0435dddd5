"""Coverage of intervals for strength, yield and mass: `benchmarks/interval_coverage.py` makes the table of the docs.

CI runs a part of the toys; with -s the table is printed.
"""

import os
import sys
from pathlib import Path

import pytest
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import interval_coverage as study

pytestmark = [
    pytest.mark.statistics,
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning"),  # pyhf asks for it
]

REDUCED = os.environ.get("CI", "").lower() == "true"


def check(rows: list[study.Row]) -> None:
    print("\n" + study.table(rows))
    for row in rows:
        assert row.failed <= 0.01 * row.toys
        assert binomtest(row.inside, row.toys, row.level).pvalue > 1e-4, row


def test_intervals_of_a_strength_cover() -> None:
    check(study.strength(200 if REDUCED else 1000, strengths=(1.0,) if REDUCED else study.STRENGTHS))


def test_intervals_of_yield_and_mass_cover() -> None:
    check(study.peak(60 if REDUCED else 1000, yields=(800.0,) if REDUCED else study.YIELDS, checked=5))
