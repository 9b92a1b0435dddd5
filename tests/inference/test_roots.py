"""Crossings of curves: with their slopes Newton's method, between bounds."""

from __future__ import annotations

import math

import pytest

from bumpfit.errors import BumpfitError
from bumpfit.inference.roots import with_slope


@pytest.mark.parametrize("step", [0.01, 1.0, 1.1, 50.0])
@pytest.mark.parametrize("bend", [-0.3, 0.0, 0.2, 2.0])
def test_the_crossing_of_a_curved_line(step: float, bend: float) -> None:
    """1 - d - bend d^2 where it falls; the crossing is that of the quadratic formula."""
    exact = 1.0 if bend == 0 else (-1 + math.sqrt(1 + 4 * bend)) / (2 * bend) if bend > -0.25 else None
    calls = 0

    def curve(d: float) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        return 1 - d - bend * d**2, -1 - 2 * bend * d

    if exact is None:
        assert with_slope(curve, step, 60.0, 1e-7) is None
        return
    assert with_slope(curve, step, 60.0, 1e-7) == pytest.approx(exact, rel=1e-7)
    assert calls <= (5 if step in (1.0, 1.1) else 12)


@pytest.mark.parametrize("step", [0.3, 1.0, 3.0])
def test_a_wall_and_a_kink(step: float) -> None:
    """An impossible hypothesis has no slope, and a slope that jumps leads astray: the bounds hold."""

    def wall(d: float) -> tuple[float, float]:
        return (1 - 0.5 * d, -0.5) if d < 1.7 else (-math.inf, math.nan)

    assert with_slope(wall, step, 10.0, 1e-7) == pytest.approx(1.7, rel=1e-6)

    def kink(d: float) -> tuple[float, float]:
        return (1 - 0.1 * d, -0.1) if d < 1.5 else (0.85 - 5 * (d - 1.5), -5.0)

    assert with_slope(kink, step, 10.0, 1e-7) == pytest.approx(1.67, rel=1e-7)

    def flat(d: float) -> tuple[float, float]:
        return (1.0, math.nan) if d < 2 else (1 - (d - 2), -1.0)

    assert with_slope(flat, step, 10.0, 1e-7) == pytest.approx(3.0, rel=1e-7)


def test_ends() -> None:
    assert with_slope(lambda d: (1 - d, -1.0), 1.1, 0.9, 1e-7) is None
    assert with_slope(lambda d: (1 - d, -1.0), 1.1, 1.0, 1e-7) in (None, 1.0)
    with pytest.raises(BumpfitError, match="is the parameter determined"):
        with_slope(lambda d: (1.0, 0.0), 1.0, math.inf, 1e-7)
