"""Laws of statistics: tails of formulae and of toys, and the errors that toys leave. Nothing here is compiled.

The toys are of a counting experiment, drawn and fitted in closed form.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, norm, poisson

from bumpfit.errors import InputError
from bumpfit.inference import Asymptotic, asimov, cls, limit, prepare
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


BAND = (-2, -1, 0, 1, 2)


def exact_limit(n: float) -> float:
    """P(N <= n | s + b) / P(N <= n | b) = 5 %, the known background's closed form."""
    return float(brentq(lambda s: poisson.cdf(n, BACKGROUND + s) - 0.05 * poisson.cdf(n, BACKGROUND), 0.1, 200.0))


@pytest.mark.parametrize("strength", [0.0, 4.0, 25.0])
def test_bands_of_toys_are_those_of_counts_with_a_signal(strength: float) -> None:
    found = limit(counting(33.0), law=Counts(4000, seed=3), bands_at=strength)
    exact = [exact_limit(poisson.ppf(norm.cdf(n), BACKGROUND + strength)) for n in BAND]
    step = exact_limit(31.0) - exact_limit(30.0)  # a quantile of toys may be one count off
    assert found.bands_at == strength and found.expected_errors is not None
    np.testing.assert_allclose(found.expected, exact, atol=2.1 * step)
    np.testing.assert_allclose(found.expected[1:4], exact[1:4], atol=1.05 * step)
    assert found.observed == pytest.approx(limit(counting(33.0), law=Counts(4000, seed=3)).observed, rel=3e-3)


@pytest.mark.parametrize("strength", [5.0, 25.0, 60.0])
def test_bands_by_formula_are_limits_of_the_counts_at_their_quantiles(strength: float) -> None:
    found = limit(counting(33.0), bands_at=strength).expected
    true = BACKGROUND + strength
    of_counts = [limit(counting(true + n * math.sqrt(true))).observed for n in BAND]
    assert found[2] == pytest.approx(of_counts[2], rel=1e-6)  # at the median the formula is the fit itself
    np.testing.assert_allclose(found, of_counts, atol=0.45 * math.sqrt(true))
    np.testing.assert_allclose(found[1:4], of_counts[1:4], atol=0.12 * math.sqrt(true))


def uncertain(n: float) -> Model:
    samples = [
        build.sample("s", [1.0, 2.0], build.modifier("normfactor", "mu")),
        build.sample("b", [50.0, 40.0], build.modifier("normsys", "rate", (0.8, 1.2))),
    ]
    return read(build.workspace({"a": samples}, {"a": [n, 38.0]}, "mu", {"mu": {"bounds": [[0.0, 100.0]]}}))


def test_the_median_with_a_signal_is_the_limit_of_its_asimov_data() -> None:
    model = uncertain(55.0)
    found = limit(model, bands_at=12.0)
    assert found.expected[2] == pytest.approx(limit(model, asimov(model, 12.0)).observed, rel=1e-6)
    at_limit = cls(model, found.expected[1] or 0.0, bands_at=12.0)
    assert at_limit.expected[1] == pytest.approx(0.05, rel=1e-5) and at_limit.bands_at == 12.0


@pytest.mark.slow
def test_bands_with_a_signal_are_those_of_toys_fitted_one_by_one() -> None:
    model, generator = uncertain(55.0), np.random.default_rng(5)
    problem = prepare(model)
    true = problem.at("mu", 10.0).solve()
    alone = np.array([limit(problem.throw(true.x, generator)).observed for _ in range(150)], float)
    for n, value in zip(BAND[1:4], limit(model, bands_at=10.0).expected[1:4], strict=True):
        below = norm.cdf(n)
        error = math.sqrt(below * (1 - below) / alone.size)
        low, high = np.quantile(alone, [below - 3 * error, below + 3 * error])
        assert low < value < high


@pytest.mark.parametrize("strength", [-1.0, math.nan, math.inf])
def test_data_with_an_impossible_strength_are_refused(strength: float) -> None:
    with pytest.raises(InputError, match="0 or more"):
        limit(counting(33.0), bands_at=strength)


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
