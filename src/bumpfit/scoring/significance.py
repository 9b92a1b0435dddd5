"""Expected significance of a count: signal and background events that pass, and how well the background is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError

Array = NDArray[np.float64]
NEGLIGIBLE = 1e-6  # relative size of sigma_b^2 / b below which the formula with error loses digits to the one without


def simple(signal: ArrayLike, background: ArrayLike) -> Array:
    """S / sqrt(S + B), broadcast; 0 where there is no signal.

    It is the precision of a cross-section measurement, not a discovery significance: it stays finite for B = 0.
    """
    s, b = _events(signal, background)
    return np.asarray(np.divide(s, np.sqrt(s + b), out=np.zeros(np.broadcast(s, b).shape), where=s + b > 0))


def asimov(signal: ArrayLike, background: ArrayLike, error: ArrayLike = 0.0) -> Array:
    """Median discovery significance of `signal` over `background` events known to +- `error` events, broadcast.

    Cowan, "Discovery sensitivity for a counting experiment with background uncertainty" (2012), eq. 20: the Asimov
    value of the on/off likelihood with tau = b / error^2; error = 0 gives eq. 97 of Cowan, Cranmer, Gross, Vitells,
    Eur. Phys. J. C 71 (2011) 1554. 0 without signal, and for b = 0 +- error; infinite for a signal over a background
    known to be 0.

    Raises:
        InputError: negative or non-finite events, negative errors.
    """
    s, b = _events(signal, background)
    sigma = np.asarray(error, dtype=np.float64)
    if not np.isfinite(sigma).all() or (sigma < 0).any():
        raise InputError("the error of the background must be a number of events of 0 or more")
    s, b, variance = np.broadcast_arrays(s, b, sigma**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = (s + b) * np.log1p(s / b) - s
        known = variance <= NEGLIGIBLE * b
        v = np.where(known, 1.0, variance)
        first = (s + b) * np.log((s + b) * (b + v) / (b**2 + (s + b) * v))
        uncertain = first - b**2 / v * np.log1p(v * s / (b * (b + v)))
        result = np.sqrt(2 * np.maximum(np.where(known, exact, uncertain), 0.0))
    # without background the formula with error tends to 0: tau = b / error^2 = 0 says that nothing was measured
    result = np.where((b == 0) & (s > 0), np.where(variance > 0, 0.0, np.inf), result)
    return np.asarray(np.where(s > 0, result, 0.0), dtype=np.float64)


def _events(signal: ArrayLike, background: ArrayLike) -> tuple[Array, Array]:
    s, b = np.asarray(signal, dtype=np.float64), np.asarray(background, dtype=np.float64)
    if not (np.isfinite(s).all() and np.isfinite(b).all()) or (s < 0).any() or (b < 0).any():
        raise InputError("signal and background must be numbers of events of 0 or more")
    return s, b
