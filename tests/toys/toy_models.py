"""Models with known answers. Not in conftest.py, so that worker processes can import them by a name of their own."""

import numpy as np
from scipy.stats import norm

from bumpfit.toys import LogLinear

SQRT_S = 13000.0
EDGES = np.linspace(2500.0, 6500.0, 41)


def dijet(events: float, edges: np.ndarray = EDGES, parameters: int = 4, peak: float = 3500.0, width: float = 150.0):
    """A falling spectrum ln f = p0 + p1 ln(1 - x) - p2 ln x - p3 ln^2 x ... with a Gaussian signal of events / 600."""
    x = 0.5 * (edges[1:] + edges[:-1]) / SQRT_S
    columns = [np.ones_like(x), np.log(1 - x), *(-(np.log(x) ** k) for k in range(1, 5))]
    basis = np.column_stack(columns)[:, :parameters]
    shape = np.exp(9 * np.log(1 - x) - 5 * np.log(x) - 0.1 * np.log(x) ** 2)
    signal = events / 600 * np.diff(norm.cdf(edges, peak, width))
    return LogLinear(events * shape / shape.sum(), basis, signal, bounds=(-1e3, 1e3))
