"""On/off bins as a `bumpfit.likelihood.Likelihood`: counts over backgrounds that counts in a control region measure.

n_i ~ Poisson(mu s_i + b_i) and m_i ~ Poisson(tau_i b_i), with the strength mu and all b_i unknown. Every question of
`bumpfit.inference` can be asked of it, with formulae or toys:

    both = inference.on_off(n=25, m=40, tau=4.0)              # mu counts events
    inference.discovery(both).z                               # Li and Ma, Astrophys. J. 272 (1983) 317, eq. 17
    inference.interval(both, level=0.9, law=Toys(10_000))     # Feldman-Cousins
    both.binomial_p                                           # exact given n + m (Z_Bi)

-ln L is convex and each background has its best value in closed form for any strength (Rolke, Lopez, Conrad, Nucl.
Instrum. Meth. A 551 (2005) 493), so that there is one minimum, a root in the strength.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.inference.roots import outward
from bumpfit.likelihood import Floats, Minimum, ZeroLikelihoodError, position
from bumpfit.poisson import deviance

ROUNDING = 1e-15
"""Relative distance that keeps an expectation of zero from being rounded to a negative one."""

TOLERANCE = 1e-13
"""Precision of the best strength, relative to its distance from zero."""


@dataclasses.dataclass(frozen=True, eq=False)
class OnOff:
    """B bins: counts n and m, ratios tau and signals s of the strength 1, shape (B,). Parameters are the strength and
    the backgrounds, P = 1 + B; the arrays below are (P,).
    """

    n: Floats
    m: Floats
    tau: Floats
    signal: Floats
    start: Floats
    low: Floats
    high: Floats
    free: NDArray[np.bool_]

    poi = "mu"
    undetermined: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """mu, and b[0], b[1], ..."""
        return ("mu", *(f"b[{i}]" for i in range(self.n.size)))

    @property
    def constant(self) -> float:
        """-2 ln L of the saturated model."""
        from scipy.special import gammaln, xlogy  # here, for a quicker start

        counts = np.concatenate([self.n, self.m])
        return float(2 * np.sum(counts - xlogy(counts, counts) + gammaln(counts + 1)))

    @property
    def binomial_p(self) -> float:
        """P(N >= n) without a signal given n + m, of one bin: I(1 / (1 + tau); n, m + 1), whose significance is Z_Bi
        (Cousins, Linnemann, Tucker, Nucl. Instrum. Meth. A 595 (2008) 480). Raises InputError for several bins.
        """
        from bumpfit.inference.counting import fixed_cut_p

        if self.n.size > 1:
            raise InputError(f"the binomial test is one of a single bin, got {self.n.size}")
        return float(fixed_cut_p(self.n, self.m, self.tau)[0])

    def _rates(self, x: Floats) -> tuple[Floats, Floats]:
        """Expectations of both counts, shape (B,) each."""
        return x[0] * self.signal + x[1:], self.tau * x[1:]

    def value(self, x: Floats) -> float:
        """-ln L relative to the saturated model."""
        on, off = self._rates(x)
        return 0.5 * float(deviance(self.n, on).sum() + deviance(self.m, off).sum())

    def slope(self, x: Floats) -> Floats:
        """First derivatives of `value`, shape (P,)."""
        one, two = (_excess(count, rate) for count, rate in zip((self.n, self.m), self._rates(x), strict=True))
        return np.append(self.signal @ one, one + self.tau * two)

    def curvature(self, x: Floats) -> Floats:
        """Second derivatives of `value`, shape (P, P): an arrow, as backgrounds meet in the strength alone."""
        one, two = (_bend(count, rate) for count, rate in zip((self.n, self.m), self._rates(x), strict=True))
        result = np.diag(np.append(self.signal**2 @ one, one + self.tau**2 * two))
        result[0, 1:] = result[1:, 0] = self.signal * one
        return result

    def bins(self, x: Floats) -> dict[str, tuple[Floats, Floats]]:
        """Counts and expectations of both regions."""
        on, off = self._rates(x)
        return {"on": (self.n, on), "off": (self.m, off)}

    def pulls(self, x: Floats) -> Floats:
        """There are no auxiliary measurements: the control counts are bins."""
        return np.zeros(0)

    def at(self, name: str, value: float) -> OnOff:
        """The same with one parameter held."""
        i = position(self, name)
        start, free = self.start.copy(), self.free.copy()
        start[i], free[i] = value, False
        return dataclasses.replace(self, start=start, free=free)

    def within(self, name: str, low: float, high: float) -> OnOff:
        """The same with another range of one parameter."""
        i = position(self, name)
        lows, highs, start = self.low.copy(), self.high.copy(), self.start.copy()
        lows[i], highs[i] = low, high
        if self.free[i]:
            start[i] = np.clip(start[i], low, high)
        return dataclasses.replace(self, low=lows, high=highs, start=start)

    def begin(self, x: Floats) -> OnOff:
        """The same with another start, which the only minimum does not depend on."""
        return dataclasses.replace(self, start=np.where(self.free, x, self.start))

    def _backgrounds(self, mu: float) -> Floats:
        """The best backgrounds for a strength, shape (B,), where expectations do not get negative."""
        from bumpfit.inference.counting import profile_on_off

        best = np.maximum(profile_on_off(self.n, self.m, self.tau, mu * self.signal)[1], -mu * self.signal)
        return np.where(self.free[1:], np.clip(best, self.low[1:], self.high[1:]), self.start[1:])

    def _lowest(self) -> float:
        """The strength below which expectations are negative whatever the backgrounds."""
        most = np.where(self.free[1:], self.high[1:], self.start[1:])
        felt = self.signal > 0
        return float((-most[felt] / self.signal[felt]).max()) * (1 - ROUNDING)

    def nearest(self) -> Minimum:
        """The minimum: there is one."""
        return self.solve()

    def solve(self) -> Minimum:
        """The minimum. Raises ZeroLikelihoodError when held parameters leave no likelihood."""
        calls = 0

        def rise(mu: float) -> float:
            """The slope of the profile likelihood, which does not fall anywhere."""
            nonlocal calls
            calls += 1
            b = self._backgrounds(mu)
            inside = self.free[1:] & (b > self.low[1:]) & (b < self.high[1:])
            # a background that follows the strength, also along the wall where nothing is expected, has this slope
            along = -self.tau * _excess(self.m, self.tau * b)
            with np.errstate(invalid="ignore"):  # signal without effect and a background that is held at zero
                each = self.signal * np.where(inside, along, _excess(self.n, mu * self.signal + b))
            return float(each[self.signal > 0].sum())

        mu = float(self.start[0])
        if self.free[0]:
            low, high = max(float(self.low[0]), self._lowest()), float(self.high[0])
            alone = float((self.n[0] - self.m[0] / self.tau[0]) / self.signal[0]) if self.signal[0] > 0 else 0.0
            near = min(max(alone, low), high)
            if self.n.size == 1 and self.free[1] and self.low[1] <= self.m[0] / self.tau[0] <= self.high[1]:
                return self._ended(near, calls)
            step = 1.0 + float((self.n / np.where(self.signal > 0, self.signal, np.inf)).max())
            slope = rise(near)
            if slope > 0:
                found = outward(rise, near, -step, low, TOLERANCE)
                mu = low if found is None else found
            else:
                found = outward(lambda value: -rise(value), near, step, high, TOLERANCE) if slope < 0 else near
                mu = high if found is None else found
        return self._ended(mu, calls)

    def _ended(self, mu: float, calls: int) -> Minimum:
        """The minimum at the best strength."""
        x = np.append(mu, self._backgrounds(mu))
        value = self.value(x)
        if not np.isfinite(value):
            raise ZeroLikelihoodError("the likelihood is zero: counts are there where held parameters expect none")
        return Minimum(x, value, 0.0, calls, calls, True, (f"profile: converged after {calls} calls",))

    def asimov(self, x: Floats) -> OnOff:
        """The same with both counts equal to their expectations; raises InputError where these are negative."""
        on, off = self._rates(x)
        if min(on.min(), off.min()) < 0:
            raise InputError("the expected data have negative counts")
        return self._with(on, off, x)

    def throw(self, x: Floats, generator: np.random.Generator) -> OnOff:
        """The same with both counts drawn at x."""
        on, off = (generator.poisson(rate).astype(np.float64) for rate in self._rates(x))
        return self._with(on, off, x)

    def _with(self, n: Floats, m: Floats, x: Floats) -> OnOff:
        return dataclasses.replace(self, n=n, m=m, start=np.where(self.free, x, self.start))

    def events(self, name: str, x: Floats) -> float:
        """(sum |r'|)^2 / sum(r'^2 / r) over the bins of both regions."""
        i = position(self, name)
        slope = self.signal if i == 0 else np.append(np.eye(self.n.size)[i - 1], self.tau * np.eye(self.n.size)[i - 1])
        rate = np.concatenate(self._rates(x))[: slope.size]
        felt = (slope > 0) & (rate > 0)
        if not felt.any():
            return float("nan")
        return float(slope[felt].sum() ** 2 / np.sum(slope[felt] ** 2 / rate[felt]))


def _excess(count: Floats, rate: Floats) -> Floats:
    """1 - count / rate, shape (B,); 1 where neither is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, 1.0 - count / rate, 1.0)


def _bend(count: Floats, rate: Floats) -> Floats:
    """count / rate^2, shape (B,); 0 without counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, count / rate**2, 0.0)


def on_off(n: ArrayLike, m: ArrayLike, tau: ArrayLike, signal: ArrayLike = 1.0) -> OnOff:
    """The likelihood of counts n over backgrounds that control counts m measure; one bin, or arrays of them.

    tau: expected background of the control region in units of that of the signal region. signal: expected signal at the
    strength mu = 1, so that mu counts events where it is 1. mu and the backgrounds are not negative; `ranges` of the
    questions say otherwise for mu.
    Raises InputError for shapes that do not match, counts or signals that are negative or not finite, a signal that is
    zero everywhere, and ratios that are not positive.

    Examples:
        >>> likelihood = bumpfit.inference.on_off(n=12, m=10, tau=2.0)
        >>> likelihood.names
        ('mu', 'b[0]')
        >>> print(f"Z = {bumpfit.inference.discovery(likelihood).z:.2f}")
        Z = 2.04
    """
    given = [np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (n, m, tau, signal)]
    try:
        arrays = [np.array(a) for a in np.broadcast_arrays(*given)]
    except ValueError:
        raise InputError(
            f"on/off bins need as many n, m, tau and signals, got {', '.join(str(a.size) for a in given)}"
        ) from None
    for name, values in zip(("n", "m", "tau", "signal"), arrays, strict=True):
        good = np.isfinite(values) & ((values > 0) if name == "tau" else (values >= 0))
        if values.ndim > 1 or not (values.size and good.all()):
            wanted = "positive" if name == "tau" else "not negative"
            raise InputError(f"{name} of on/off bins must be finite and {wanted}, got {values[~good][:1]}")
    if not arrays[3].any():
        raise InputError("the signal of all on/off bins is zero, so nothing can be learnt about its strength")
    counts, control, ratio, expected = arrays
    size = 1 + counts.size
    start = np.append(1.0, np.maximum(control / ratio, 1.0))
    high = np.full(size, np.inf)
    return OnOff(counts, control, ratio, expected, start, np.zeros(size), high, np.ones(size, dtype=bool))
