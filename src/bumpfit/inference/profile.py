"""The profile likelihood of one parameter: the free fit, and the fits with the parameter held, each done once.

A held fit that ends below the free fit shows that the free one was in the higher of several minima: it is repeated from
there, and the question that was being answered begins again (`Profile.settled`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bumpfit.errors import BumpfitError, InputError
from bumpfit.law import Statistic
from bumpfit.likelihood import Likelihood, Minimum, ZeroLikelihoodError, position

LOWER = 1e-6
"""How far below the free fit, in -ln L, a held fit must end to show that the free fit was not the minimum."""

RESTARTS = 10
"""Times that a question begins again from a lower free fit before giving up."""

Answer = TypeVar("Answer")


class LowerMinimumError(BumpfitError):
    """A held fit ended below the free fit, which has been replaced by a lower one."""

    def __init__(self) -> None:
        super().__init__("the likelihood has several minima and the fit keeps finding lower ones; try other starts")


def require_poi(likelihood: Likelihood, parameter: str | None = None) -> str:
    """The named parameter, or the parameter of interest; raises InputError when there is none, or when it is held or
    changes nothing.
    """
    name = likelihood.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    if not likelihood.free[position(likelihood, name)]:
        reason = "changes no expectation" if name in likelihood.undetermined else "is held fixed"
        raise InputError(f"parameter '{name}' {reason}, so nothing can be learnt about it")
    return name


def require_valid(minimum: Minimum, what: str) -> Minimum:
    """The minimum itself; raises BumpfitError when it is not one."""
    if not minimum.valid:
        raise BumpfitError(f"{what} did not converge: {'; '.join(minimum.attempts)}; try other starts or ranges")
    return minimum


def reaching(likelihood: Likelihood, parameter: str, *values: float) -> Likelihood:
    """The likelihood with the range of a parameter wide enough for the values: both fits of a ratio see one range."""
    i = position(likelihood, parameter)
    low, high = min(float(likelihood.low[i]), *values), max(float(likelihood.high[i]), *values)
    if (low, high) == (likelihood.low[i], likelihood.high[i]):
        return likelihood
    return likelihood.within(parameter, low, high)


class Profile:
    """Profile likelihood of one parameter; fits start from their nearest neighbour and keep the lowest minimum."""

    def __init__(self, likelihood: Likelihood, parameter: str) -> None:
        self.likelihood, self.parameter = likelihood, parameter
        self.index = position(likelihood, parameter)
        self.best = require_valid(likelihood.solve(), "the free fit")
        self._held: dict[float, Minimum] = {}

    @property
    def estimate(self) -> float:
        """Best value of the parameter."""
        return float(self.best.x[self.index])

    @property
    def range(self) -> tuple[float, float]:
        """Range of the parameter."""
        return float(self.likelihood.low[self.index]), float(self.likelihood.high[self.index])

    def attempt(self, value: float) -> Minimum:
        """The fit with the parameter held, whether it converged or not; raises ZeroLikelihoodError when no start has a
        likelihood, LowerMinimumError when it shows that the free fit was not the minimum.
        """
        if value not in self._held:
            near = min(self._held.values(), key=lambda m: abs(m.x[self.index] - value), default=self.best)
            if abs(self.estimate - value) < abs(near.x[self.index] - value):
                near = self.best
            found = self.likelihood.at(self.parameter, value).begin(near.x).solve()
            if not found.valid:
                return found
            self._held[value] = found
        found = self._held[value]
        low, high = self.range
        if low <= value <= high:
            self.compare(found)
        return found

    def compare(self, found: Minimum) -> None:
        """Raise LowerMinimumError, after another free fit, where a fit within the free one's space ended below it."""
        if found.value < self.best.value - LOWER:
            again = self.likelihood.begin(found.x).solve()
            if again.valid and again.value < self.best.value:
                self.best = again
            self._held.clear()  # fits from the higher minimum may have stayed there
            raise LowerMinimumError

    def beside(self, value: float) -> None:
        """Begin another free fit where the parameter was held, and raise LowerMinimumError where it ends lower."""
        again = self.likelihood.begin(self.held(value).x).solve()
        if again.valid and again.value < self.best.value - LOWER:
            self.best = again
            raise LowerMinimumError

    def held(self, value: float) -> Minimum:
        """The fit with the parameter held; raises BumpfitError when it does not converge, and as `attempt`."""
        return require_valid(self.attempt(value), f"the fit with {self.parameter} = {value:g}")

    def rise(self, value: float, best: Minimum | None = None) -> float:
        """Rise of -2 ln L above the minimum, or above another fit; inf where the value is impossible."""
        if best is None and value == self.estimate:
            return 0.0
        try:
            return max(2 * (self.held(value).value - (best or self.best).value), 0.0)
        except ZeroLikelihoodError:
            return float("inf")

    def positive(self) -> Minimum:
        """The best fit among strengths of zero and more, which is not the free one where that is negative.

        Of two signs that the data do not tell apart the free fit may have either.
        """
        if self.estimate >= 0:
            return self.best
        null, high = self.held(0.0), self.range[1]
        if high <= 0:
            return null
        found = self.likelihood.within(self.parameter, 0.0, high).begin(null.x).solve()
        found = require_valid(found, f"the fit with {self.parameter} of 0 and more")
        self.compare(found)
        return found if found.x[self.index] > 0 else null

    def statistic(self, name: Statistic, tested: float) -> float:
        """A profile likelihood ratio of the strength, as `law.Statistic` names them."""

        def question() -> float:
            if name == "q0":
                return self.rise(0.0, self.positive())
            return 0.0 if name != "t" and self.estimate > tested else self.rise(tested)

        return self.settled(question)

    def settled(self, question: Callable[[], Answer]) -> Answer:
        """The answer to a question, asked again as long as it finds lower minima."""
        for _ in range(RESTARTS):
            try:
                return question()
            except LowerMinimumError:
                continue
        return question()
