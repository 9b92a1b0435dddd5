"""Asymptotic laws of profile likelihood ratios: Cowan, Cranmer, Gross, Vitells, Eur. Phys. J. C 71 (2011) 1554.

They hold for many events. `few_events` says where they are not to be trusted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.profile import Profile
from bumpfit.law import SHAPES, Nested, Statistic, Tail
from bumpfit.likelihood import Likelihood, Minimum, at_ends, position
from bumpfit.normal import significance
from bumpfit.words import Fitness

FEW = 10.0
"""Expected events below which asymptotic probabilities are off by tens of percent."""
SPARSE = 5.0
"""Expected events of a bin below which chi2 is no good law (Cochran, Ann. Math. Stat. 23 (1952) 315)."""


@dataclasses.dataclass(frozen=True)
class Asymptotic:
    """The formulae for many events, as a `Law`.

    Examples:
        >>> law = bumpfit.inference.Asymptotic()
        >>> bumpfit.inference.discovery(model, law=law).method
        'asymptotic'
    """

    method: str = dataclasses.field(default="asymptotic", init=False)
    precision: float = dataclasses.field(default=1e-8, init=False)

    def resolves(self, p: float) -> None:
        """Formulae know every probability."""

    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> Ratios:
        """Law of a test statistic."""
        return Ratios(likelihood, parameter, statistic)

    def fitness(
        self, likelihood: Likelihood, best: Minimum, statistic: Fitness, value: float, parts: Mapping[str, float]
    ) -> tuple[Tail | None, int | None, dict[str, Tail]]:
        """Chi-squared with as many degrees of freedom as measurements more than free parameters; none for shapes.

        Channels have none: how many degrees of freedom the fit takes from each is no whole number.
        """
        if statistic in SHAPES:
            return None, None, {}
        freedom = degrees_of_freedom(likelihood, best)
        if freedom < 1:
            raise InputError(
                f"{freedom + int(likelihood.free.sum())} bins and measurements and {int(likelihood.free.sum())} free "
                "parameters leave no degree of freedom, so every data set fits; fix parameters or take more bins"
            )
        return chi2_tail(freedom, value), None, {}

    def nested(self, ratio: Nested, best: Minimum, value: float) -> tuple[Tail, int | None]:
        """The formula for many events that the ratio knows."""
        return ratio.tail(value), None


def chi2_tail(freedom: int, value: float) -> Tail:
    """P(chi2 >= value)."""
    from scipy.special import chdtrc  # here, for a quicker start

    p = float(chdtrc(freedom, value))
    return Tail(math.log(p) if p > 0 else -math.inf)


def degrees_of_freedom(likelihood: Likelihood, best: Minimum) -> int:
    """Bins that can have events and auxiliary measurements of free parameters, minus free parameters."""
    bins = sum(counts.size for counts, _ in likelihood.bins(best.x).values())
    return int(bins + likelihood.pulls(best.x).size - likelihood.free.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Ratios:
    """Law of q0, q, q-tilde or t of one parameter, as a `Distribution`.

    Those of q and q-tilde take the uncertainty sigma of the strength from the Asimov data of the fit without signal, at
    each tested strength: q_A = (mu / sigma)^2 (eq. 31); for data with a signal from those with that signal. Expected
    values may lie at sqrt(q) < 0, which is that of a best strength above the tested one; such a statistic is given, and
    taken, as a negative number (as in pyhf).
    """

    likelihood: Likelihood
    parameter: str
    statistic: Statistic

    @cached_property
    def _profiles(self) -> dict[float, Profile]:
        return {}

    def asimov(self, true: float) -> Profile:
        """Profile likelihood of the Asimov data of a strength."""
        if true not in self._profiles:
            fitted = self.likelihood.at(self.parameter, true).solve()
            self._profiles[true] = Profile(self.likelihood.asimov(fitted.x), self.parameter)
        return self._profiles[true]

    def root(self, tested: float) -> float:
        """mu / sigma: square root of the test statistic of the Asimov data without signal."""
        return math.sqrt(self.asimov(0.0).statistic("q", tested))

    def distance(self, tested: float, true: float) -> float:
        """(mu - mu') / sigma: signed square root of the non-centrality (eqs. 29-31), from the Asimov data of the true
        strength mu'.
        """
        if true in (0.0, tested):
            return self.root(tested) if true != tested else 0.0
        asimov = self.asimov(true)
        return asimov.settled(lambda: math.copysign(math.sqrt(asimov.rise(tested)), tested - true))

    def _position(self, tested: float, true: float, value: float) -> float:
        """Where the statistic is on the axis of a standard normal variable (eqs. 57-66)."""
        signed = math.copysign(math.sqrt(abs(value)), value)
        if self.statistic in ("q0", "t"):
            if true != tested:
                raise InputError(f"the asymptotic law of {self.statistic} is known where the tested strength is true")
            return signed
        root = self.root(tested)
        if self.statistic == "qtilde" and value > root**2 and root != 0:
            signed = (value + root**2) / (2 * root)
        return signed - self.distance(tested, true)

    def tail(self, tested: float, true: float, value: float) -> Tail:
        """P(statistic >= value); of t on both sides."""
        from scipy.special import log_ndtr  # here, for a quicker start

        both = math.log(2) if self.statistic == "t" else 0.0
        return Tail(both + float(log_ndtr(-self._position(tested, true, value))))

    def quantile(self, tested: float, true: float, p: float) -> tuple[float, float, float]:
        """The value that is reached with probability p."""
        if self.statistic in ("q0", "t"):
            signed = significance(p / 2 if self.statistic == "t" else p)
            value = math.copysign(signed**2, signed)
            return value, value, value
        root, signed = self.root(tested), significance(p) + self.distance(tested, true)
        value = math.copysign(signed**2, signed)
        if self.statistic == "qtilde" and signed > root:
            value = 2 * root * signed - root**2
        return value, value, value


def few_events(likelihood: Likelihood, parameter: str, null: Minimum, command: str) -> tuple[str, ...]:
    """Why asymptotic probabilities of tests of a parameter are off, in sentences; `null` is the fit without signal.

    Fewer than `FEW` events decide (`Likelihood.events`), or a nuisance parameter is at an end of its range, where it
    then is in every other toy, a wall that the formulae do not know; or one changes nothing without signal, as the mass
    of a peak (Davies, Biometrika 74 (1987) 33).
    """
    notes = []
    if null.idle:
        notes.append(
            f"{', '.join(null.idle)} {'changes' if len(null.idle) == 1 else 'change'} nothing without signal: "
            "asymptotic formulae take the best value for one that was known before (no look-elsewhere effect): throw "
            f"toys, {command}"
        )
    events = likelihood.events(parameter, null.x)
    if events < FEW:
        notes.append(
            f"only {events:.2g} expected background events decide about {parameter}, and asymptotic formulae are off "
            f"below about {FEW:g}: throw toys, {command}"
        )
    i = position(likelihood, parameter)
    walls = [name for name in at_ends(likelihood, null) if name != likelihood.names[i]]
    if walls:
        notes.append(
            f"{', '.join(walls[:6])} at an end of the range without signal, as then in most toys, which asymptotic "
            f"formulae do not know: throw toys, {command}"
        )
    return tuple(notes)


def sparse_bins(likelihood: Likelihood, best: Minimum, command: str) -> tuple[str, ...]:
    """Why chi2 is no law of a goodness of fit, in a sentence: bins with few expected events."""
    expected = [rate for _, rate in likelihood.bins(best.x).values()]
    rates = np.concatenate(expected) if expected else np.zeros(0)
    few = int(np.sum(rates < SPARSE))
    if not few:
        return ()
    return (
        f"{few} of {rates.size} bins expect fewer than {SPARSE:g} events, and chi2 is no good law of the statistic "
        f"then: throw toys, {command}",
    )
