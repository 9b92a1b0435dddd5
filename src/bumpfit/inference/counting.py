"""Counting with a background measured by counting: on/off likelihood and exact laws.

n data events are seen where a background table, tau times as large as the expected background of the data, has m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln

from bumpfit.errors import InputError
from bumpfit.poisson import deviance

Array = NDArray[np.float64]
NEGLIGIBLE = 230.0  # ln 1e100: terms this far below the largest of a law are left out of convolutions


def on_off_q0(n: ArrayLike, m: ArrayLike, tau: ArrayLike) -> Array:
    """q0 of the on/off likelihood Pois(n | s + b) Pois(m | tau b) for s = 0 against s >= 0, broadcast.

    Li & Ma, Astrophys. J. 272 (1983) 317, eq. 17 squared; zero where n <= m / tau.
    """
    n, m, tau = (np.asarray(a, dtype=np.float64) for a in (n, m, tau))
    total = n + m
    with np.errstate(divide="ignore", invalid="ignore"):
        on = np.where(n > 0, n * np.log((1 + tau) * n / total), 0.0)
        off = np.where(m > 0, m * np.log((1 + tau) / tau * m / total), 0.0)
    return np.where(n * tau > m, np.maximum(2 * (on + off), 0.0), 0.0)


def fixed_cut_p(n: ArrayLike, m: ArrayLike, tau: ArrayLike) -> Array:
    """P(N >= n) given n + m for a cut fixed beforehand (Z_Bi): I(1 / (1 + tau); n, m + 1).

    Cousins, Linnemann, Tucker, Nucl. Instrum. Meth. A 595 (2008) 480.
    """
    n, m, tau = (np.asarray(a, dtype=np.float64) for a in (n, m, tau))
    return np.where(n > 0, betainc(np.maximum(n, 1.0), m + 1, 1 / (1 + tau)), 1.0)


def order_statistic_law(n_data: int, n_background: int, m: int) -> Array:
    """ln P(n), n = 0..n_data: data events above the m-th highest of n_background exchangeable background events.

    The negative hypergeometric law C(n + m - 1, n) C(n_data - n + n_background - m, n_data - n) /
    C(n_data + n_background, n_data); for m << n_background it tends to the negative binomial with success
    probability tau / (1 + tau). Shape (n_data + 1,).

    Raises:
        InputError: m outside 1..n_background.
    """
    if not 1 <= m <= n_background:
        raise InputError(f"the cut is on background event number {m} of {n_background}; expected 1 to {n_background}")
    n = np.arange(n_data + 1.0)
    rest = n_data - n

    def choose(a: Array, b: Array) -> Array:
        return np.asarray(gammaln(a + 1) - gammaln(b + 1) - gammaln(a - b + 1))

    total = float(gammaln(n_data + n_background + 1) - gammaln(n_data + 1) - gammaln(n_background + 1))
    return choose(n + m - 1, n) + choose(rest + n_background - m, rest) - total


def sum_of_laws(log_laws: list[Array]) -> tuple[int, Array]:
    """Law of a sum of independent counts: (lowest count kept, probabilities from there up).

    Each ln P is cut where it falls `NEGLIGIBLE` below its maximum. All terms are positive and summed directly, so the
    tails keep their relative precision.
    """
    low, law = 0, np.ones(1)
    for log_law in log_laws:
        keep = np.flatnonzero(log_law > log_law.max() - NEGLIGIBLE)
        low += int(keep[0])
        law = np.convolve(law, np.exp(log_law[keep[0] : keep[-1] + 1]))
    return low, law


def upper_tail(low: int, law: Array, length: int) -> Array:
    """P(N >= n), n = 0..length-1, of a law from `sum_of_laws`; summed from the far end, so never 0 in the support."""
    tail = np.minimum(np.cumsum(law[::-1])[::-1], 1.0)
    result = np.full(length, tail[-1])
    result[: min(low, length)] = 1.0
    stop = min(low + len(tail), length)
    if stop > low:
        result[low:stop] = tail[: stop - low]
    return result


def profile_on_off(n: ArrayLike, m: ArrayLike, tau: ArrayLike, signal: ArrayLike) -> tuple[Array, Array]:
    """Bins with a measured background: (-2 ln L relative to the saturated model, best background), shapes (B,).

    n_i ~ Poisson(s_i + b_i), m_i ~ Poisson(tau b_i); every b_i is profiled in closed form (Rolke, Lopez, Conrad,
    Nucl. Instrum. Meth. A 551 (2005) 493): the positive root of (1 + tau) b^2 - (n + m - (1 + tau) s) b - m s = 0.
    """
    n, m, tau, s = (np.asarray(a, dtype=np.float64) for a in (n, m, tau, signal))
    half = (n + m) / (1 + tau) - s
    root = np.sqrt(half**2 + 4 * m * s / (1 + tau))
    # the form without cancellation where half is negative
    stable = 2 * m * s / (1 + tau) / np.maximum(root - half, 1e-300)
    b = np.where(half >= 0, 0.5 * (half + root), np.maximum(stable, 0.0))

    return deviance(n, s + b) + deviance(m, tau * b), b
