"""Limits and p-values of datacards with toys: numbers of Combine's documentation, and a template card in closed form.

The cards and numbers are those of the tutorial of its statistical routines (docs/tutorial_stat_routines); HybridNew's
limits are given there in words (around 2.7, around 1.2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import poisson

from bumpfit import inference, workspace
from bumpfit.toys import Toys
from bumpfit.workspace import Model
from study_size import FULL

COUNTING = """imax 1
jmax 1
kmax 3
shapes * * FAKE
bin bin1
observation {n}
bin bin1 bin1
process ggH WW
process 0 1
rate 2.3 {background}
lumi lnN 1.01 1.01
xs_ggH lnN 1.10 -
xs_WW lnN - 1.16
"""

TEMPLATES = """imax 1
jmax 1
kmax *
shapes * * in.root $PROCESS $PROCESS_$SYSTEMATIC
bin ch1
observation -1
bin ch1 ch1
process signal background
process 0 1
rate -1 -1
"""


def counting(folder: Path, n: int, background: float) -> Model:
    (folder / "card.txt").write_text(COUNTING.format(n=n, background=background))
    return workspace.read(folder / "card.txt")


def templates(folder: Path, signal: list[float], background: list[float], data: list[float]) -> Model:
    uproot, hist = pytest.importorskip("uproot"), pytest.importorskip("hist")
    with uproot.recreate(folder / "in.root") as file:
        for name, values in (("signal", signal), ("background", background), ("data_obs", data)):
            h = hist.Hist(hist.axis.Regular(len(values), 0, len(values)), storage=hist.storage.Weight())
            h.view()["value"], h.view()["variance"] = values, values
            file[name] = h
    (folder / "card.txt").write_text(TEMPLATES)
    return workspace.read(folder / "card.txt")


def test_numbers_of_the_tutorial(tmp_path: Path) -> None:
    model = counting(tmp_path, 6, 5.4)
    ends = inference.interval(model, ranges={"r": (-10.0, 10.0)})
    assert (ends.best, ends.low - ends.best, ends.high - ends.best) == pytest.approx((0.260, -1.004, 1.265), abs=0.0015)  # type: ignore[operator]
    assert inference.discovery(model).z == pytest.approx(0.24, abs=0.002)
    toys = inference.discovery(model, law=Toys(100_000, seed=1))
    assert toys.p_error is not None
    assert toys.p == pytest.approx(0.3798, abs=3 * np.hypot(0.00485, toys.p_error))


@pytest.mark.statistics
@pytest.mark.parametrize(("n", "background", "documented"), [(13, 23.4, 2.7), (0, 1.0, 1.2)])
def test_limits_of_the_tutorial(tmp_path: Path, n: int, background: float, documented: float) -> None:
    found = inference.limit(counting(tmp_path, n, background), law=Toys(100_000 if FULL else 40_000, seed=2))
    assert found.observed_error is not None
    assert found.observed == pytest.approx(documented, abs=0.05 + 3 * found.observed_error)


def test_a_template_card_with_toys_has_the_limit_of_its_closed_form(tmp_path: Path) -> None:
    """Where signal and background have one shape only the sum of the bins counts: CLs is a ratio of Poisson sums."""
    shape = np.array([0.1, 0.3, 0.4, 0.2])
    model = templates(tmp_path, list(3.0 * shape), list(4.0 * shape), [0.0, 2.0, 1.0, 0.0])

    def cls(r: float) -> float:
        return float(poisson.cdf(3, 4.0 + 3.0 * r) / poisson.cdf(3, 4.0))

    exact = brentq(lambda r: cls(r) - 0.05, 0.5, 10.0)
    found = inference.limit(model, law=Toys(50_000, seed=5))
    assert found.observed_error is not None and found.observed_error < 0.05
    assert found.observed == pytest.approx(exact, abs=3 * found.observed_error)
    test = inference.cls(model, 1.5, law=Toys(50_000, seed=6))
    assert test.observed_error is not None
    assert test.observed == pytest.approx(cls(1.5), abs=3 * test.observed_error)
    # the median background world has 4 events or fewer
    median = brentq(lambda r: poisson.cdf(4, 4.0 + 3.0 * r) / poisson.cdf(4, 4.0) - 0.05, 0.5, 10.0)
    assert found.expected[2] == pytest.approx(median, abs=4 * (found.expected_errors or (0.0,) * 5)[2])  # type: ignore[operator]


def test_many_events_in_a_template_card_give_the_asymptotic_limit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    background, signal = np.array([900.0, 700.0, 500.0, 400.0]), np.array([5.0, 40.0, 60.0, 10.0])
    model = templates(tmp_path, list(signal), list(background), list(rng.poisson(background).astype(float)))
    formula, toys = inference.limit(model), inference.limit(model, law=Toys(50_000, seed=7))
    assert toys.observed_error is not None
    assert toys.observed == pytest.approx(formula.observed, abs=3 * toys.observed_error + 0.01 * formula.observed)
