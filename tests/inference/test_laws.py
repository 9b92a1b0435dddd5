"""Laws of statistics: tails of formulae and of toys, and the errors that toys leave. Nothing here is compiled.

The toys are of a counting experiment, drawn and fitted in closed form.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import chi2, norm, poisson

from bumpfit.inference import Asymptotic, cls, prepare
from bumpfit.inference.limit import Exclusion
from bumpfit.law import Statistic, Tail
from bumpfit.likelihood import Likelihood
from bumpfit.toys.law import Sampled, Toys, tail_of
from bumpfit.toys.look_elsewhere import GlobalToys
from bumpfit.toys.scan import LARGEST
from bumpfit.workspace import Model, build, read

BACKGROUND = 30.0


def counting(n: float) -> Model:
    samples = [build.sample("s", [1.0], build.modifier("normfactor", "mu")), build.sample("b", [BACKGROUND])]
    return read(build.workspace({"a": samples}, {"a": [n]}, "mu", {"mu": {"bounds": [[0.0, 100.0]]}}))


def q_tilde(n: np.ndarray, mu: float) -> np.ndarray:
    best = np.maximum(n - BACKGROUND, 0.0)
    rise = 2 * (mu - best - n * np.log((BACKGROUND + mu) / (BACKGROUND + best)))
    return np.where(best <= mu, rise, 0.0)


class Drawn(Sampled):
    def _thrown(self, tested: float, true: float) -> np.ndarray:
        uniform = np.random.default_rng(self.toys.seed).random(self.toys.n)
        return q_tilde(poisson.ppf(uniform, BACKGROUND + true), tested)


class Counts(Toys):
    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> Sampled:
        return Drawn(likelihood, parameter, statistic, self)


def test_the_data_are_one_more_world() -> None:
    assert tail_of(np.array([True] * 3 + [False] * 6)).p == pytest.approx(0.4)
    assert tail_of(np.zeros(99, bool)).p == pytest.approx(0.01)


@pytest.mark.parametrize("n", [25.0, 33.0])
def test_cls_of_toys_is_that_of_the_tails(n: float) -> None:
    found = cls(counting(n), 12.0, law=Counts(40_000, seed=1))
    signal, background = poisson.cdf(n, BACKGROUND + 12.0), poisson.cdf(n, BACKGROUND)
    assert found.cl_sb == pytest.approx(signal, rel=0.1)
    assert found.cl_b == pytest.approx(background, rel=0.05)
    assert found.observed == pytest.approx(signal / background, rel=0.1)


def test_errors_of_cls_are_their_spread_over_seeds() -> None:
    found = [cls(counting(33.0), 9.0, law=Counts(300, seed)) for seed in range(120)]
    for values, errors in (
        ([one.observed for one in found], [one.observed_error for one in found]),
        ([one.expected[2] for one in found], [one.expected_errors[2] for one in found]),  # type: ignore[index]
    ):
        assert 0.75 < np.mean(np.array(errors, float)) / np.std(values) < 1.33


def test_the_formula_of_t_has_two_tails() -> None:
    problem = prepare(counting(40.0))
    t = Asymptotic().of(problem, "mu", "t")
    for value in (0.3, 1.0, 6.0):
        assert t.tail(10.0, 10.0, value).p == pytest.approx(chi2.sf(value, 1), rel=1e-9)
        assert t.quantile(10.0, 10.0, chi2.sf(value, 1))[0] == pytest.approx(value, rel=1e-9)
    assert Asymptotic().of(problem, "mu", "q0").tail(0.0, 0.0, 4.0).p == pytest.approx(norm.sf(2.0), rel=1e-9)


def test_the_bound_of_gross_and_vitells() -> None:
    """Two scans of three and five crossings of 0.5: P(chi2 > c) / 2 + 4 exp(-(c - 0.5) / 2), eq. 3."""
    tally = SimpleNamespace(statistic=LARGEST, sums=((8.0, 34.0),), fitted=2, observed=16.0)
    scan = GlobalToys(tally, level=0.5)  # type: ignore[arg-type]
    p, error = scan.gross_vitells()
    assert p == pytest.approx(norm.sf(4.0) + 4 * math.exp(-7.75), rel=1e-9)
    assert error == pytest.approx(math.sqrt(0.5) * math.exp(-7.75), rel=1e-9)


class Known:
    """Tails that are exponentials with an error of .01, and quantiles with an error of .1."""

    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> "Known":
        return self

    def tail(self, tested: float, true: float, value: float) -> Tail:
        return Tail(-value if tested == true else -value / 2, 0.01)

    def quantile(self, tested: float, true: float, p: float) -> tuple[float, float, float]:
        return 1.0, 0.9, 1.1


def test_the_error_of_an_expected_cls_has_two_parts() -> None:
    """Of the tail with signal, and of the quantile without: .5 (exp(-.9) - exp(-1.1)) / exp(-1) = sinh(.1)."""
    found = Exclusion(prepare(counting(30.0)), "mu", "qtilde", Known(), (0.0, 1.0)).ratio(5.0, 0)  # type: ignore[arg-type]
    assert found.error == pytest.approx(math.hypot(math.sinh(0.1), 0.01 * math.e), rel=1e-9)
