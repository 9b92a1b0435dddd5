"""CLs exclusion and upper limits by asymptotic formulae.

Statistics q-tilde and q and their distributions: Cowan et al., arXiv:1007.1727, eqs. 14-16 and 57-65; CLs: Read,
J. Phys. G 28 (2002) 2693. Conventions are pyhf's: the Asimov data come from the fit with signal strength 0, expected
values are those of the median and its -2, -1, 1, 2 sigma variations of the background-only hypothesis, and the range of
the parameter of interest is the model's. q-tilde is meant for a strength that cannot be negative: where the range goes
below zero and the best strength is negative, its formulae are applied to q, as pyhf does. There, let the range start at
zero (setting `ranges`) for the proper q-tilde, or ask for the statistic q with its own formulae.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property
from typing import Literal, Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.discovery import free_and_null, require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, prepare, solve
from bumpfit.normal import upper_tail
from bumpfit.results import CLs, Limit
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Statistic = Literal["qtilde", "q"]

SIGMAS = (-2, -1, 0, 1, 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Exclusion:
    """Tests of signal strengths on one data set: the fits that all strengths share are done once."""

    problem: Problem
    parameter: str
    statistic: Statistic
    options: FitOptions

    @cached_property
    def fits(self) -> tuple[Minimum, Minimum]:
        """Free and background-only fit to the data."""
        return free_and_null(self.problem, self.parameter, self.options)

    @property
    def best(self) -> Minimum:
        """Free fit to the data."""
        return self.fits[0]

    @cached_property
    def asimov(self) -> Problem:
        """The same likelihood with the Asimov data of the background-only fit."""
        null = self.fits[1]
        model = self.problem.model
        main, aux = model.split(model.asimov(null.x))
        # its fits start at their answer
        start = np.where(self.problem.free, null.x, self.problem.start)
        return dataclasses.replace(self.problem, main=main, aux=aux, start=start)

    @cached_property
    def asimov_best(self) -> Minimum:
        """Free fit to the Asimov data."""
        return require_valid(solve(self.asimov, self.options), "the free fit to the Asimov data")

    @cached_property
    def sigma(self) -> float:
        """Uncertainty of the strength around zero from the Asimov data, for a first guess of a limit."""
        step = self._scale()
        root = self.root_qa(step)
        return step / root if root > 0 else step

    def _scale(self) -> float:
        i = self.problem.model.index(self.parameter)
        information = self.problem.model.information(self.asimov.start)[i, i]
        return float(1 / math.sqrt(information)) if information > 0 else 1.0

    def _q(self, problem: Problem, best: Minimum, mu: float) -> float:
        i = self.problem.model.index(self.parameter)
        if best.x[i] > mu:
            return 0.0
        held = require_valid(
            solve(problem.at(self.parameter, mu, best.x), self.options), f"the fit with {self.parameter} = {mu:g}"
        )
        return max(0.0, 2 * (held.value - best.value))

    def q(self, mu: float) -> float:
        """Test statistic of the data."""
        return self._q(self.problem, self.best, mu)

    def root_qa(self, mu: float) -> float:
        """Square root of the test statistic of the Asimov data."""
        return math.sqrt(self._q(self.asimov, self.asimov_best, mu))

    def position(self, mu: float) -> tuple[float, float]:
        """Where the data are on the axis of -mu_hat / sigma, with the background at 0, and the distance to the
        signal.
        """
        q, root = self.q(mu), self.root_qa(mu)
        if self.statistic == "q" or q <= root**2 or root == 0:
            return math.sqrt(q) - root, root
        return (q - root**2) / (2 * root), root

    def test(self, mu: float) -> CLs:
        """CLs at one strength."""
        value, root = self.position(mu)
        return CLs(
            mu=mu,
            observed=math.exp(log_cls(value, root)),
            expected=tuple(math.exp(log_cls(-float(n), root)) for n in SIGMAS),
            cl_sb=upper_tail(value + root),
            cl_b=upper_tail(value),
            statistic=self.q(mu),
            statistic_name=self.statistic,
            parameter=self.parameter,
        )


def log_cls(value: float, root: float) -> float:
    """ln CLs = ln p(s+b) - ln p(b); the logarithm stays finite far out, where both p-values underflow."""
    from scipy.special import log_ndtr  # here, for a quicker start

    return float(log_ndtr(-value - root) - log_ndtr(-value))


def exclusion(
    model: Model,
    data: Data = None,
    *,
    parameter: str | None = None,
    statistic: Statistic = "qtilde",
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Exclusion:
    """Prepare tests of signal strengths on these data."""
    name = require_poi(model, parameter)
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    if statistic not in ("qtilde", "q"):
        raise InputError(f"unknown test statistic {statistic!r}; choose 'qtilde' or 'q'")
    return Exclusion(problem, name, statistic, options)


def cls(
    model: Model,
    mu: float,
    data: Data = None,
    *,
    parameter: str | None = None,
    statistic: Statistic = "qtilde",
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> CLs:
    """Observed and expected CLs of the hypothesis that the signal strength is `mu`.

    `statistic`: "qtilde", or "q" for a strength that may be negative (see above).
    Raises InputError for a strength that is not positive or not finite, BumpfitError when a fit does not converge.
    """
    if not (math.isfinite(mu) and mu > 0):
        raise InputError(f"CLs tests a signal strength above 0, got {mu}")
    return exclusion(model, data, parameter=parameter, statistic=statistic, options=options, **settings).test(mu)


def limit(
    model: Model,
    data: Data = None,
    level: float = 0.95,
    *,
    parameter: str | None = None,
    statistic: Statistic = "qtilde",
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Limit:
    """Upper limit on the signal strength where CLs falls to 1 - level, observed and expected.

    `statistic` as in `cls`. The search goes beyond the range of the parameter when needed (as pyhf's does). Raises
    InputError for a level outside (0, 1), BumpfitError when a fit does not converge or no strength is excluded.
    """
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    tests = exclusion(model, data, parameter=parameter, statistic=statistic, options=options, **settings)
    known: dict[float, tuple[float, float]] = {}

    def at(mu: float) -> tuple[float, float]:
        if mu not in known:
            known[mu] = tests.position(mu)
        return known[mu]

    def expected_at(n: int) -> float:
        return _root(lambda mu: log_cls(-float(n), at(mu)[1]), math.log1p(-level), tests.sigma)

    expected = [expected_at(n) for n in SIGMAS]
    guess = max(expected[2], float(tests.best.x[model.index(tests.parameter)]))
    found = _root(lambda mu: log_cls(*at(mu)), math.log1p(-level), guess)
    points = sorted(known)
    return Limit(
        observed=found,
        expected=tuple(expected),
        level=level,
        parameter=tests.parameter,
        scan_mu=tuple(points),
        scan_cls=tuple(math.exp(log_cls(*known[mu])) for mu in points),
    )


def _root(curve: Callable[[float], float], target: float, guess: float) -> float:
    """Where a falling curve of mu > 0 crosses the target."""
    low, high = guess, guess
    for _ in range(60):
        if curve(high) <= target:
            break
        low, high = high, 2 * high
    else:
        raise BumpfitError(f"no signal strength up to {high:g} is excluded; is there enough signal in the workspace?")
    for _ in range(60):
        if curve(low) > target:
            break
        low, high = low / 2, low
    else:
        raise BumpfitError(f"every signal strength down to {low:g} is excluded")
    from scipy.optimize import brentq  # here, for a quicker start

    return float(brentq(lambda mu: curve(mu) - target, low, high, xtol=1e-12 * high, rtol=1e-8))
