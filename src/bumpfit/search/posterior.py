"""Scores in [0, 1]: the probability that an event is signal, whose sum is the number of signal events.

Everything is said in background survival fractions u (small is signal-like), which are uniform for background. The
density of signal in u is a mixture of decreasing beta laws; where nothing is claimed it is a fixed law, so that a
fluctuation is not taken for what a signal looks like.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaln, expit, logit, xlog1py, xlogy

Array = NDArray[np.float64]

LAWS = ((1.0, 1.0), *((a, b) for a in (0.6, 0.35, 0.15, 0.05) for b in (1.0, 4.0, 16.0, 64.0)))
"""The beta laws (a, b), decreasing in u, of which the density of signal is made; (1, 1) looks like background."""

DEPTH = 0.003
"""Survival fraction at which the fixed law, 1 / (u + DEPTH), turns over."""

TINY = 1e-3
"""Signal events that the scores sum to where none are measured, so that events keep their order."""

SUMMED = 0.95
"""Share of what the best evidence tells (ln L on other halves) from which the sum of all is taken instead of it."""

STEPS = 200
"""Steps of the expectation maximisation, on `BINS` bins in ln u."""

BINS = 400


def learned_law(u: Array, n_signal: float) -> Array:
    """Weights of `LAWS` (sum 1) that maximise the likelihood of N events, n_signal of them signal; shape (L,)."""
    edges = np.linspace(float(np.log(u).min()) - 1e-9, 0.0, BINS + 1)
    n = np.histogram(np.log(u), edges)[0].astype(float)
    basis = np.diff([betainc(a, b, np.exp(edges)) for a, b in LAWS], axis=1)
    total = n.sum()
    share = min(max(n_signal, TINY) / total, 0.5)
    weights = np.full(len(LAWS), 1 / len(LAWS))
    for _ in range(STEPS):
        signal = share * weights[:, None] * basis
        part = signal / np.maximum((1 - share) * basis[0] + signal.sum(0), 1e-300)
        sums = (n * part).sum(1)
        weights = sums / sums.sum()
    return np.asarray(weights)


def density_ratio(u: Array, weights: Array | None) -> Array:
    """Density of signal over that of background at u, shape of u: of the mixture, or of the fixed law."""
    if weights is None:
        return np.asarray(1 / ((u + DEPTH) * np.log((1 + DEPTH) / DEPTH)))
    result = np.zeros_like(u)
    for w, (a, b) in zip(weights, LAWS, strict=True):
        if w > 0:
            result += w * np.exp(xlogy(a - 1, u) + xlog1py(b - 1, -np.minimum(u, 1 - 1e-12)) - betaln(a, b))
    return result


def calibrated(u: Array, n_signal: float, *, learn: bool) -> Array:
    """P(signal) of events with these survival fractions, shape (N,), whose sum is `n_signal` (`TINY` at least).

    Args:
        u: background survival fractions in (0, 1].
        learn: fit the density of signal to these events; otherwise take the fixed law.
    """
    if not len(u):
        return np.zeros(0)
    wanted = min(max(n_signal, TINY), 0.5 * len(u))
    weights = learned_law(u, wanted) if learn else None
    odds = np.log(density_ratio(u, weights)) + logit(wanted / len(u))
    return scaled(odds, wanted)


def scaled(log_odds: Array, n_signal: float) -> Array:
    """Probabilities of these log odds, moved together so that they sum to `n_signal`."""
    moved = brentq(lambda x: float(expit(log_odds + x).sum()) - n_signal, -60.0, 60.0, xtol=1e-10)
    return np.asarray(expit(log_odds + moved))


def log_likelihood(u: Array, weights: Array, n_signal: float) -> float:
    """ln of the density of these events over that of background alone."""
    share = n_signal / len(u)
    return float(np.log1p(share * (density_ratio(u, weights) - 1)).sum())


def combined(evidence: dict[str, tuple[Array, Array]], n_signal: float, seed: int = 0) -> tuple[str, Array]:
    """The sum of all log ranks, or the one evidence that tells clearly more: name and survival fractions of the data.

    Which is decided on halves of the data: the law learned on one half is tried on the other. The sum is taken unless
    it tells less than `SUMMED` of what one alone does: that is so where the other is wrong, and not a fluctuation.

    Args:
        evidence: name -> survival fractions of data (N,) and background (M,).
    """
    found = dict(evidence)
    if len(evidence) > 1:
        logs = [np.sum([np.log(pair[k]) for pair in evidence.values()], axis=0) for k in (0, 1)]
        found[" and ".join(evidence)] = ranked(logs[0], logs[1]), np.zeros(0)
    n = len(next(iter(evidence.values()))[0])
    n_signal = min(n_signal, 0.5 * n)
    half = np.random.default_rng(np.random.SeedSequence([seed, 19])).permutation(n) < n // 2
    gain = {}
    for name, (u, _) in found.items():
        gain[name] = sum(
            log_likelihood(u[~train], learned_law(u[train], n_signal * train.mean()), n_signal * (~train).mean())
            for train in (half, ~half)
        )
    best, last = max(gain, key=lambda name: gain[name]), list(gain)[-1]
    best = last if gain[last] >= SUMMED * gain[best] else best
    return best, found[best][0]


def ranked(data: Array, background: Array) -> Array:
    """Fraction of background with a value at most as large, shape (N,), in (0, 1); small values are signal-like.

    Between background events it is interpolated, and below the smallest it falls with the value.
    """
    b = np.sort(background)
    m = len(b)
    fraction = np.log((np.arange(m) + 1.0) / (m + 1.0))
    result = np.interp(data, b, fraction)
    below = data < b[0]
    result[below] = fraction[0] + (data[below] - b[0])
    return np.asarray(np.exp(result))


def untied(probability: Array) -> Array:
    """The same probabilities in the same order, no two equal: ties are broken by position, by 1e-13 a place."""
    order = np.argsort(probability, kind="stable")
    result = np.empty_like(probability)
    result[order] = probability[order] + 1e-13 * np.arange(len(probability))
    top = result.max(initial=0.0)
    return np.asarray(result / top if top > 1 else result)
