"""Rounding of numbers: published examples, and properties of every value."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit.report.rounding import (
    count,
    decimals,
    interval,
    measured,
    probability,
    relation,
    rounded,
    significant,
    z_value,
)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (125.2453, 0.1714, "125.25 ± 0.17"),  # Higgs boson mass as the Particle Data Group wrote it in 2022
        (80.3692, 0.01333, "80.369 ± 0.013"),
        (3501.7, 36.2, "3502 ± 36"),
        (3501.7, 123.0, "3500 ± 120"),
        (0.0, 0.0996, "0.00 ± 0.10"),
        (-0.004, 0.99, "0.00 ± 0.99"),
        (-12.3, 4.56, "−12.3 ± 4.6"),
        (12345.0, 9960.0, "12000 ± 10000"),
    ],
)
def test_error_has_two_digits(value: float, error: float, expected: str) -> None:
    assert measured(value, error) == expected


def test_intervals() -> None:
    assert interval(621.4, 85.4, 83.9) == "621 +84 −85"
    assert interval(621.4, 84.1, 83.9) == "621 ± 84"
    assert interval(0.0, 0.0, 41.7) == "0 +42 −0"
    assert interval(10.0, 1.23, 30.0, "GeV") == "10.0 +30.0 −1.2 GeV"


def test_probabilities() -> None:
    assert probability(0.0432) == "0.043"
    assert probability(3.21e-7) == "3.2 × 10^{−7}"
    assert probability(1.0) == "1.0"
    assert probability(0.0) == "< 10^{−300}"
    assert probability(None) == "—"


def test_numbers_that_do_not_exist() -> None:
    assert significant(None) == z_value(None) == "—"
    assert significant(math.nan) == "—"
    assert z_value(math.inf) == "> 37"
    assert z_value(-math.inf) == "−∞"
    assert decimals(0.0) == decimals(math.inf) == 0


def test_relations_keep_a_bound() -> None:
    assert relation("p", "0.02") == "p = 0.02"
    assert relation("p", "0.02", "<") == "p < 0.02"
    assert relation("Z", "> 37") == "Z > 37"


def test_thousands() -> None:
    assert count(122124) == "122\u202f124"
    assert count(999.6) == "1\u202f000"


def number(text: str) -> float:
    match = re.fullmatch(r"(.*?)(?: × 10\^\{(.*)\})?", text)
    assert match
    return float(match[1].replace("−", "-")) * 10 ** float((match[2] or "0").replace("−", "-"))


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6))
def test_value_is_right_to_half_the_last_digit_of_the_error(value: float, error: float) -> None:
    shown, shown_error = measured(value, error).split(" ± ")
    unit = 10.0 ** -decimals(error)
    assert abs(number(shown) - value) <= 0.5 * unit * (1 + 1e-9) + 1e-9 * abs(value)
    assert abs(number(shown_error) - error) <= 0.5 * unit * (1 + 1e-9)
    assert 0.99 <= number(shown_error) / unit / 10 <= 10.01
    assert "-" not in shown


@given(st.floats(1e-290, 1.0))
def test_probability_is_right_to_two_digits(p: float) -> None:
    assert number(probability(p)) == pytest.approx(p, rel=0.051)


@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(-3, 6))
def test_rounded_never_shows_a_negative_zero(value: float, places: int) -> None:
    assert not re.fullmatch(r"−0(\.0*)?", rounded(value, places))
