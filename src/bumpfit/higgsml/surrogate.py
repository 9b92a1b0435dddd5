"""The surrogate of the event density: class posteriors and responses of every process, and their integrals.

The density of an event is r(x; mu, theta) / r(x; 1, 0) = sum_p f_p g_p(x) exp(c_p(x) . m(theta)), g the posteriors of
the processes at the nominal mixture, c the coefficients of their responses. Two networks give both; they are trained on
the learners' events and calibrated in soft bins of the signal's log-odds on the templates' events.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from bumpfit.higgsml import unbinned_kernel as kernel
from bumpfit.higgsml.network import CHUNK, INPUTS, Inputs, Network
from bumpfit.higgsml.network_training import SIZES, TERMS
from bumpfit.higgsml.soft_bins import Tents, fit_response, scale_posteriors
from bumpfit.higgsml.templates import monomials

Floats = NDArray[np.float64]
EDGE = 3.0
"""Standard deviations of the energy scales that the training reaches."""
REACH, TOP = 5.0, 25.0
"""Range of the energy scales in a fit, and the largest square of soft_met (its clip)."""
FINER = (1, 2, 4)
"""Times the soft bins of a region that are tried."""
CLOSED_AT = (0.0, 3.0)
"""Strengths at which the templates' own events must give themselves."""
DEGREES = (7, 7, 6)
"""Of the polynomials of the integrals in the energy scales and in the square of soft_met."""


def terms(t: Floats, j: Floats, u: Floats) -> Floats:
    """The nine terms with q(t) in place of t^2, shape (L, 9)."""
    result = monomials(t, j, u)
    for column, value in ((3, t), (4, j)):
        far = np.abs(value) > EDGE
        result[far, column] = EDGE * (2.0 * np.abs(value[far]) - EDGE)
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """Networks, shares of the processes in the regions (4,), and the calibrations in soft bins: `logit` (H, 4) and
    `response` (H, 4, 9).
    """

    posterior: Network
    change: Network
    shares: Floats
    tents: Tents
    logit: Floats
    response: Floats

    def logits(self, x: Inputs) -> Floats:
        """Logits of the processes at their nominal shares, before the calibration, (N, 4)."""
        return self.posterior(x) + np.log(self.shares)

    def __call__(self, x: Inputs, region: NDArray[np.int64]) -> tuple[Floats, NDArray[np.float32]]:
        """Posteriors (N, 4) and coefficients (N, 4, 9) of events in the regions."""
        g, c = np.empty((len(x), 4)), np.empty((len(x), 4, TERMS), dtype=np.float32)
        for start in range(0, len(x), CHUNK):
            piece = slice(start, start + CHUNK)
            logits = self.logits(x[piece])
            place, share = self.tents(log_odds(logits), region[piece])
            g[piece] = softmax(logits + (share[:, :, None] * self.logit[place]).sum(axis=1), axis=1)
            raw = self.change(x[piece]).reshape(-1, 4, TERMS) / SIZES
            c[piece] = raw + (share[:, :, None, None] * self.response[place]).sum(axis=1)
        return g, c

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        own = {"shares": self.shares, "logit": self.logit, "response": self.response}
        return {**self.posterior.arrays("posterior"), **self.change.arrays("change"), **self.tents.arrays(), **own}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], regions: int) -> Surrogate:
        """Back from `arrays`; raises ValueError when they do not fit together."""
        posterior = Network.from_arrays(arrays, "posterior", (INPUTS, 4))
        change = Network.from_arrays(arrays, "change", (INPUTS, 4 * TERMS))
        tents = Tents.from_arrays(arrays, regions)
        shares, logit, response = (arrays[name].astype(np.float64) for name in ("shares", "logit", "response"))
        if shares.shape != (4,) or logit.shape != (tents.count, 4) or response.shape != (tents.count, 4, TERMS):
            raise ValueError("its surrogate does not fit its soft bins")
        if not (shares > 0).all() or not np.isfinite(logit).all() or not np.isfinite(response).all():
            raise ValueError("its surrogate has values that are not finite")
        return cls(posterior, change, shares, tents, logit, response)


def log_odds(logits: Floats) -> Floats:
    """Log-odds of the signal."""
    return np.asarray(logits[:, 0] - logsumexp(logits[:, 1:], axis=1))


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """Events in the regions: inputs (N, K), regions, processes, weights and the rows they come from (N,)."""

    x: Inputs
    region: NDArray[np.int64]
    process: NDArray[np.int8]
    weights: Floats
    rows: NDArray[np.int64]


def calibrated(
    posterior: Network, change: Network, nominal: Chosen,
    shifted: Iterable[tuple[tuple[float, float, float], Chosen]], at: list[tuple[float, float, float]], regions: int,
    knots: int, enough: float,
) -> tuple[Surrogate, tuple[float, float]]:  # fmt: skip
    """The surrogate of two networks, calibrated on the templates' events, and its `closure`.

    Args:
        posterior: logits of the processes at equal shares.
        change: coefficients of the responses.
        nominal: the templates' events at 0.
        shifted: points (t, j, soft_met) and the events there; weights of a point that is there several times add up.
        at: all points.
        regions: number of regions.
        knots: soft bins of a region, at most, or `FINER` times as many: the number whose `closure` is the best.
        enough: effective simulated events of a process that a soft bin needs.
    """
    shares = np.maximum(np.bincount(nominal.process, nominal.weights, minlength=4), 1e-6 * nominal.weights.sum())
    none = Tents(tuple(np.zeros(1) for _ in range(regions)))
    bare = Surrogate(posterior, change, shares / shares.sum(), none, np.zeros((regions, 4)),
                     np.zeros((regions, 4, TERMS)))  # fmt: skip
    logits = bare.logits(nominal.x)
    odds = log_odds(logits)
    tried = [_scaled(logits, nominal, regions, factor * knots, enough) for factor in FINER]
    tents, logit, closed = min(tried, key=lambda one: max(map(abs, one[2])))
    place, share = tents(odds, nominal.region)
    wanted = np.zeros((len(at), tents.count, 4))
    for point, events in shifted:
        there, part = tents(log_odds(bare.logits(events.x)), events.region)
        for p in range(4):
            own = events.process == p
            wanted[at.index(point), :, p] += tents.sums(there[own], part[own], events.weights[own])
    t, j, s = np.array(at).T
    response = np.zeros((tents.count, 4, TERMS))
    raw = change(nominal.x).reshape(-1, 4, TERMS) / SIZES
    for p in range(4):
        own = nominal.process == p
        response[:, p] = fit_response(
            tents, place[own], share[own], raw[own, p], nominal.weights[own], terms(t, j, s**2), wanted[:, :, p], enough
        )
    return dataclasses.replace(bare, tents=tents, logit=logit, response=response), closed


def _scaled(
    logits: Floats, nominal: Chosen, regions: int, knots: int, enough: float
) -> tuple[Tents, Floats, tuple[float, float]]:
    """Soft bins, so many in a region at most, the shifts of the logits in them, and how well these close."""
    signal, w, odds = nominal.process == 0, nominal.weights, log_odds(logits)
    # knots where both classes are: half of the weight is the signal's
    even = np.where(signal, w / max(w[signal].sum(), 1e-300), w / max(w[~signal].sum(), 1e-300))
    tents = Tents.of(odds, nominal.region, even, regions, knots)
    place, share = tents(odds, nominal.region)
    shifts = scale_posteriors(tents, place, share, logits, nominal.process, w, enough)
    posterior = softmax(logits + (share[:, :, None] * shifts[place]).sum(axis=1), axis=1)[:, 0]
    return tents, shifts, closure(posterior, signal, w)


def closure(posterior: Floats, signal: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """mu_hat - mu of the templates' events themselves at mu = 0 and 3, the nuisances known.

    Posteriors (N,) of the signal that are right on average in each soft bin can still tell more than they know inside
    of it: mu_hat is then right at mu = 1, where they were made, and drawn to it elsewhere.
    """
    total = float((weights * posterior).sum())
    result = []
    for mu in CLOSED_AT:
        rows = (weights > 0) & (posterior > 0) & (~signal | (mu > 0))
        g, n = posterior[rows], (weights * np.where(signal, mu, 1.0))[rows]

        def slope(x: float, g: Floats = g, n: Floats = n) -> float:
            return float((n * g / (1.0 + (x - 1.0) * g)).sum()) - total

        low, high = (1.0 - 1.0 / g.max() if len(g) else 0.0) + 1e-9, 2.0 + mu
        while slope(high) > 0.0:
            high *= 2.0
        result.append((float(brentq(slope, low, high)) if len(g) and slope(low) > 0.0 else low) - mu)
    return result[0], result[1]


def surface(g: Floats, c: NDArray[np.float32], weights: Floats) -> tuple[Floats, float]:
    """Chebyshev coefficients (4, 3, 3, A, B, C) of the integrals over weighted events in the patches of the energy
    scales, and the largest deviation of their sum between the nodes, in expected events.
    """
    nodes = [np.cos(np.pi * (np.arange(n + 1) + 0.5) / (n + 1)) for n in DEGREES]
    edges = np.array([-REACH, -EDGE, EDGE, REACH])
    centres, halves = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (edges[1:] - edges[:-1])
    transforms = [_transform(x) for x in nodes]
    result, worst = np.empty((4, 3, 3, *(len(x) for x in nodes))), 0.0
    rng = np.random.default_rng(0)
    rows = kernel.blocks(g, c, weights)
    for a in range(3):
        for b in range(3):
            inner = rng.uniform(-1.0, 1.0, (4, 3))
            grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 3)
            at = np.concatenate([grid, inner]) * [halves[a], halves[b], 0.5 * TOP]
            at += [centres[a], centres[b], 0.5 * TOP]
            found = np.empty((len(at), 4))
            kernel.integrals(*rows, np.ascontiguousarray(at), EDGE, found)
            values = found[: len(grid)].T.reshape(4, *result.shape[3:])
            result[:, a, b] = np.einsum("pijk,ai,bj,ck->pabc", values, *transforms, optimize=True)
            basis = [np.polynomial.chebyshev.chebvander(x, n) for x, n in zip(inner.T, DEGREES, strict=True)]
            model = np.einsum("pabc,ka,kb,kc->kp", result[:, a, b], *basis)
            worst = max(worst, float(np.abs((model - found[len(grid) :]).sum(axis=1)).max()))
    return result, worst


def _transform(nodes: Floats) -> Floats:
    """Values at Chebyshev nodes to coefficients."""
    n = len(nodes)
    result = np.polynomial.chebyshev.chebvander(nodes, n - 1).T * 2.0 / n
    result[0] *= 0.5
    return np.asarray(result)
