"""CLs exclusion and upper limits.

Statistics q-tilde and q: Cowan et al., arXiv:1007.1727, eqs. 14-16; CLs = p(s + b) / p(b): Read, J. Phys. G 28 (2002)
2693. Both probabilities come from the law: asymptotic formulae (eqs. 57-66), or toys. Expected values are those of
data with strength 0, or another one (`bands_at`), at -2, -1, 0, 1, 2 standard deviations, where the background is that
of the fit with that strength. CLs falls as the statistic rises, so that a quantile of the limit is the strength whose
statistic has the opposite quantile at 1 - level. Data with a signal are tested as if they had been observed: their own
fit without signal gives the law of CLs.

The range of the strength does not matter to an upper limit beyond what the statistic says: q-tilde compares with
strength 0 where the best one is negative, so it ranges over [0, inf); q over [low, inf), low the end of the range. An
upper end would change nothing: q is 0 where the best strength is above the tested one.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.asymptotic import Asymptotic, few_events
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import LowerMinimumError, Profile, require_poi, require_valid
from bumpfit.inference.roots import falling
from bumpfit.law import Distribution, Law, Tail
from bumpfit.likelihood import Likelihood, Minimum, at_ends, position
from bumpfit.normal import upper_tail
from bumpfit.results import CLs, Limit
from bumpfit.words import Exclusive
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

SIGMAS = (-2, -1, 0, 1, 2)
STEP = 2.5
"""First step up from the best strength in its uncertainties: a limit at 95 % is mostly 1.64 of them above it, a little
more where they grow with the strength. Changes no answer.
"""
SLOPE = 0.1
"""Relative distance from a limit over which the slope of CLs is taken for the error of the limit."""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """CLs: ln of it, its standard error relative to it (None without toys), and whether no toy with signal is as
    extreme.
    """

    log: float
    error: float | None
    floor: bool = False

    @property
    def value(self) -> float:
        """CLs itself."""
        return math.exp(self.log)


@dataclasses.dataclass(frozen=True, eq=False)
class Exclusion:
    """Tests of signal strengths on one data set: the fits that all strengths share are done once."""

    likelihood: Likelihood
    parameter: str
    statistic: Exclusive
    law: Law
    declared: tuple[float, float]  # range of the strength, which the likelihood here does not keep
    bands_at: float = 0.0  # strength of the data whose values are expected

    @cached_property
    def profile(self) -> Profile:
        """Profile likelihood of the data."""
        return Profile(self.likelihood, self.parameter)

    @cached_property
    def distribution(self) -> Distribution:
        """Law of the statistic."""
        return self.law.of(self.likelihood, self.parameter, self.statistic)

    @cached_property
    def expectation(self) -> Distribution:
        """Law of the statistic for the data with the strength `bands_at` that are expected."""
        if self.bands_at == 0:
            return self.distribution
        fitted = self.likelihood.at(self.parameter, self.bands_at).begin(self.profile.best.x).solve()
        fitted = require_valid(fitted, f"the fit with {self.parameter} = {self.bands_at:g}")
        return self.law.of(self.likelihood.asimov(fitted.x), self.parameter, self.statistic)

    @cached_property
    def null(self) -> Minimum:
        """Fit without signal."""
        return self.likelihood.at(self.parameter, 0.0).begin(self.profile.best.x).solve()

    def q(self, mu: float) -> float:
        """Test statistic of the data."""
        return self.profile.statistic(self.statistic, mu)

    @cached_property
    def scale(self) -> float:
        """Uncertainty of the strength without signal, for a first guess of a limit."""
        expected = self.likelihood.asimov(self.null.x)
        error = float(covariance_at(expected, dataclasses.replace(self.null, covariance=None))[1][self.profile.index])
        return error if error > 0 and math.isfinite(error) else 1.0

    @cached_property
    def _known(self) -> dict[tuple[float, int | None, float], Ratio]:
        return {}

    def _key(self, mu: float, sigma: int | None) -> tuple[float, int | None, float]:
        """What a ratio depends on: that of the data, also on the free fit, which may be replaced by a lower one."""
        return mu, sigma, self.profile.best.value if sigma is None else 0.0

    def ratio(self, mu: float, sigma: int | None = None) -> Ratio:
        """CLs of a strength, observed or expected at a number of standard deviations."""
        if (known := self._known.get(self._key(mu, sigma))) is not None:
            return known
        found = self._observed(mu) if sigma is None else self._expected(mu, sigma)
        self._known[self._key(mu, sigma)] = found
        return found

    def tails(self, mu: float) -> tuple[Tail, Tail]:
        """p(s + b) and p(b) of the observed statistic."""
        q, law = self.q(mu), self.distribution
        return law.tail(mu, mu, q), law.tail(mu, 0.0, q)

    def _observed(self, mu: float) -> Ratio:
        signal, background = self.tails(mu)
        log = min(signal.log_p - background.log_p, 0.0)
        if signal.error is None or background.error is None:
            return Ratio(log, None)
        return Ratio(log, math.hypot(signal.error / signal.p, background.error / background.p), signal.floor)

    def _expected(self, mu: float, sigma: int) -> Ratio:
        p, law = upper_tail(-sigma), self.expectation
        value, below, above = law.quantile(mu, self.bands_at, p)
        signal, background = law.tail(mu, mu, value), law.tail(mu, 0.0, value)
        log = min(signal.log_p - background.log_p, 0.0)
        if signal.error is None:
            return Ratio(log, None)
        # the toys of the expected data move the quantile, those with signal its tail
        moved = 0.5 * (law.tail(mu, mu, below).p - law.tail(mu, mu, above).p) / signal.p
        return Ratio(log, math.hypot(moved, signal.error / signal.p), signal.floor)

    def test(self, mu: float) -> CLs:
        """CLs at one strength."""
        observed, (signal, background) = self.ratio(mu), self.tails(mu)
        # CLs never grows with the statistic, whatever chance toys do
        logs = np.minimum.accumulate([self.ratio(mu, n).log for n in SIGMAS][::-1])[::-1]
        errors = [self.ratio(mu, n).error for n in SIGMAS]
        return CLs(
            mu=mu,
            observed=observed.value,
            expected=tuple(float(math.exp(log)) for log in logs),
            cl_sb=signal.p,
            cl_b=background.p,
            statistic=self.q(mu),
            statistic_name=self.statistic,
            method=self.law.method,
            parameter=self.parameter,
            bands_at=self.bands_at,
            observed_error=None if observed.error is None else observed.value * observed.error,
            expected_errors=_all([None if e is None else e * math.exp(g) for e, g in zip(errors, logs, strict=True)]),
            at_bounds=self.at_bounds(mu),
            notes=self.notes("bumpfit limit WORKSPACE --test STRENGTH --toys 10000", mu),
        )

    def at_bounds(self, *strengths: float) -> tuple[str, ...]:
        """Nuisance parameters at an end of their range in the fits behind the tests; the strength has no wall."""
        held = self.likelihood.at(self.parameter, 0.0)
        fits = [self.profile.held(mu) for mu in strengths]
        return at_ends(held, self.profile.best, self.null, *fits)

    def notes(self, command: str, *strengths: float) -> tuple[str, ...]:
        """What the answers do not hold for, and strengths beyond the range of the parameter."""
        found = []
        low, high = self.declared
        if any(mu > high for mu in (*strengths, self.profile.estimate)):
            found.append(
                f"{self.parameter} is taken beyond its range [{low:g}, {high:g}]: all fits behind a limit see it open"
            )
        if self.law.method == "asymptotic":
            found += few_events(self.likelihood, self.parameter, self.null, command)
        return tuple(found)

    def limit(self, target: float, guess: float, sigma: int | None = None, step: float | None = None) -> float:
        """Strength at which CLs is the target; raises TooFewToysError where toys do not reach that far.

        The search begins at a guess, with a step up from it of the size of the guess where none is given.
        """

        def curve(mu: float) -> float:
            found = self.ratio(mu, sigma)
            if found.floor and found.log > math.log(target):
                raise TooFewToysError(
                    f"no toy with {self.parameter} = {mu:g} is as extreme, and CLs is not yet below {target:g}: throw "
                    "more toys"
                )
            return found.log - math.log(target)

        def question() -> float:
            lowest = self.profile.best
            found = falling(curve, guess, step or guess, self.law.precision)
            if sigma is None:
                self.profile.beside(found)
            if self.profile.best is not lowest:
                raise LowerMinimumError
            return found

        return self.profile.settled(question)

    def observed(self, target: float, median: float) -> float:
        """Observed limit, looked for from the median or the best strength upwards.

        The best strength may be many times its uncertainty, and a fit with twice of it held would be far from the data.
        """
        best = self.profile.estimate
        if best <= median:
            return self.limit(target, median)
        error = float(covariance_at(self.likelihood, self.profile.best)[1][self.profile.index])
        return self.limit(target, best, step=STEP * error if error > 0 else best)

    def band(self, target: float, guess: float, sigma: int) -> float | None:
        """Expected limit; None where toys do not reach that far."""
        try:
            return self.limit(target, guess, sigma)
        except TooFewToysError:
            return None

    def error(self, limit: float, sigma: int | None = None) -> float | None:
        """Statistical error of a limit from that of CLs there and its slope; None without toys."""
        at = self.ratio(limit, sigma)
        if at.error is None:
            return None
        low, high = (self.ratio(limit * (1 + sign * SLOPE), sigma).log for sign in (-1, 1))
        slope = (low - high) / (2 * SLOPE * limit)
        return at.error / slope if slope > 0 else math.nan

    @property
    def tested(self) -> list[float]:
        """Strengths that were tested on the data, ascending."""
        return sorted(mu for mu, sigma, best in self._known if sigma is None and best == self.profile.best.value)


class TooFewToysError(BumpfitError):
    """Toys do not reach the tail that is asked for."""


def _all(values: list[float | None]) -> tuple[float, ...] | None:
    found = tuple(value for value in values if value is not None)
    return found if len(found) == len(values) else None


def exclusion(
    model: Model | Likelihood,
    data: Data = None,
    *,
    parameter: str | None = None,
    statistic: Exclusive = "qtilde",
    law: Law = Asymptotic(),
    bands_at: float = 0.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Exclusion:
    """Prepare tests of signal strengths on these data; arguments as for `limit`."""
    if statistic not in ("qtilde", "q"):
        raise InputError(f"unknown test statistic {statistic!r}; choose 'qtilde' or 'q'")
    if not (math.isfinite(bands_at) and bands_at >= 0):
        raise InputError(f"expected values are those of data with a signal strength of 0 or more, got {bands_at}")
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    i = position(likelihood, name)
    declared = float(likelihood.low[i]), float(likelihood.high[i])
    low = 0.0 if statistic == "qtilde" else min(0.0, declared[0])
    return Exclusion(likelihood.within(name, low, math.inf), name, statistic, law, declared, bands_at)


def cls(
    model: Model | Likelihood,
    mu: float,
    data: Data = None,
    *,
    parameter: str | None = None,
    statistic: Exclusive = "qtilde",
    law: Law = Asymptotic(),
    bands_at: float = 0.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> CLs:
    """Observed and expected CLs of the hypothesis that the signal strength is `mu`; arguments as for `limit`.

    Raises InputError for a strength that is not positive or not finite, BumpfitError when a fit does not converge.

    Examples:
        >>> print(f"{bumpfit.inference.cls(model, 2.0).observed:.3f}")
        0.186
    """
    if not (math.isfinite(mu) and mu > 0):
        raise InputError(f"CLs tests a signal strength above 0, got {mu}")
    tests = exclusion(
        model, data, parameter=parameter, statistic=statistic, law=law, bands_at=bands_at, options=options, **settings
    )
    return tests.test(mu)


def limit(
    model: Model | Likelihood,
    data: Data = None,
    level: float = 0.95,
    *,
    parameter: str | None = None,
    statistic: Exclusive = "qtilde",
    law: Law = Asymptotic(),
    bands_at: float = 0.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Limit:
    """Upper limit on the signal strength where CLs falls to 1 - level, observed and expected.

    `statistic`: "qtilde", or "q" for a strength that may be negative. `law`: asymptotic, or `bumpfit.toys.Toys(n)` for
    few events. `bands_at`: the expected limits are those of data with this strength, at -2, -1, 0, 1, 2 standard
    deviations. Raises InputError for a level outside (0, 1) or a negative `bands_at`, BumpfitError when a fit does not
    converge or no strength is excluded.

    Examples:
        >>> found = bumpfit.inference.limit(model)
        >>> print(f"mu < {found.observed:.2f}, expected {found.expected[2]:.2f}")
        mu < 2.63, expected 1.49
        >>> print(f"with mu = 1: {bumpfit.inference.limit(model, bands_at=1.0).expected[2]:.2f}")
        with mu = 1: 2.36
    """
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    law.resolves(1 - level)
    tests = exclusion(
        model, data, parameter=parameter, statistic=statistic, law=law, bands_at=bands_at, options=options, **settings
    )
    median = tests.limit(1 - level, bands_at + 2 * tests.scale, 0)
    expected = [median if n == 0 else tests.band(1 - level, median, n) for n in SIGMAS]
    observed = tests.observed(1 - level, median)
    errors = tuple(None if one is None else tests.error(one, n) for one, n in zip(expected, SIGMAS, strict=True))
    strengths = tests.tested
    return Limit(
        observed=observed,
        expected=_rising(expected),
        level=level,
        method=f"{law.method} CLs",
        parameter=tests.parameter,
        bands_at=bands_at,
        scan_mu=tuple(strengths),
        scan_cls=tuple(tests.ratio(mu).value for mu in strengths),
        statistic_name=statistic,
        observed_error=tests.error(observed),
        expected_errors=errors if any(error is not None for error in errors) else None,
        at_bounds=tests.at_bounds(observed),
        notes=(*tests.notes("bumpfit limit WORKSPACE --toys 10000", observed), *_few_toys(expected)),
    )


def _rising(expected: list[float | None]) -> tuple[float | None, ...]:
    """Expected limits without what chance toys add: a band further up is never lower."""
    top, result = 0.0, []
    for one in expected:
        top = max(top, one or 0.0)
        result.append(None if one is None else top)
    return tuple(result)


def _few_toys(expected: list[float | None]) -> tuple[str, ...]:
    lost = [f"{n:+d}" for n, one in zip(SIGMAS, expected, strict=True) if one is None]
    if not lost:
        return ()
    return (f"too few toys for the expected limit at {', '.join(lost)} standard deviations: throw more",)
