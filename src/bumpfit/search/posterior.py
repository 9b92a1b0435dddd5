"""Scores in [0, 1]: the estimated probability that an event is signal, from the data themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

Array = NDArray[np.float64]


def posterior_from_survival(data: Array, background: Array, *, tie_share: float = 1e-3, bins: int = 60) -> Array:
    """P(signal | rank) of each data event, shape (N,).

    Args:
        data, background: background survival fractions of the events of one region (`scoring.survival`), all folds
            together, shapes (N,), (M,); small is signal-like.
        tie_share: share of the score that is the rank itself, so that events with equal probability keep their order.
        bins: bins in -ln(survival), each with about the same number of events of the tail it bounds.

    In bins of rank, data over expected background estimates the density ratio r; the probability 1 - 1/r is made
    monotone in the rank by isotonic regression (weighted by the events) and clipped to [0, 1].
    """
    x_data, x_background = -np.log(data), -np.log(background)
    top = float(np.quantile(np.concatenate([x_data, x_background]), 1 - min(0.5, 10 / len(data))))
    edges = np.r_[-np.inf, np.linspace(0, max(top, 1e-6), bins), np.inf]
    n = np.histogram(x_data, edges)[0].astype(float)
    b = np.histogram(x_background, edges)[0] * (len(data) / len(background))
    use = n + b > 0
    # (n - b) / n, pulled to 0 by half a background event where there are hardly any
    fraction = 1 - np.minimum((b[use] + 0.5) / (n[use] + 0.5), 1.0)
    centre = np.r_[0.0, 0.5 * (edges[1:-2] + edges[2:-1]), edges[-2]][use]
    monotone = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(centre, fraction, n[use] + 1e-9)
    probability = monotone.predict(x_data)
    rank = 1 - data
    return np.asarray((1 - tie_share) * probability + tie_share * rank, dtype=np.float64)


def posterior_from_templates(log_ratio: Array, n_signal: float, n_events: int) -> Array:
    """P(signal | x) = S p_s / (S p_s + (N - S) p_b) from ln p_s / p_b, shape (N,)."""
    prior = np.clip(n_signal / n_events, 1e-9, 1 - 1e-9)
    return np.asarray(1 / (1 + np.exp(-(log_ratio + np.log(prior / (1 - prior))))), dtype=np.float64)
