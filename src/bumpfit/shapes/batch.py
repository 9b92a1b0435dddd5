"""Many spectra at once: vectorised Poisson fits of a log-linear background, with or without a signal of fixed shape.

Fisher scoring with step halving on all toys together, with exact bin integrals. Each toy carries its own status; one
that does not converge stops nothing. This serves the studies of this folder (orders, bias); the fast kernels for
calibrating p-values are in `bumpfit.toys`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from bumpfit.errors import InputError
from bumpfit.poisson import whiten
from bumpfit.results import Record
from bumpfit.shapes.loglinear import LogLinear
from bumpfit.shapes.quadrature import Rule, rule

Array = NDArray[np.float64]

BLOCK = 256
"""Toys that are fitted together: bounds the memory, changes no result."""


@dataclass(frozen=True, eq=False)
class Batch(Record):
    """Fits of T spectra. `deviance` is -2 ln L relative to the saturated model, a chi-square for large counts.

    n_signal and n_error are zero when no signal was fitted; n_error comes from the expected information at the fit.

    Examples:
        >>> edges, counts = [100.0, 110.0, 120.0, 130.0], [[52, 25, 13], [50, 26, 12]]
        >>> found = bumpfit.shapes.fit_many(bumpfit.shapes.exponential(2), edges, counts)
        >>> found.deviance.shape, found.n_signal.tolist()
        ((2,), [0.0, 0.0])
    """

    n_signal: Array
    n_error: Array
    deviance: Array
    expected: Array
    converged: NDArray[np.bool_]


def fit_many(
    shape: LogLinear,
    edges: ArrayLike,
    counts: ArrayLike,
    *,
    signal: ArrayLike | None = None,
    tolerance: float = 1e-7,
    iterations: int = 100,
) -> Batch:
    """Fit a log-linear shape, and `signal` (B,) times a free number, to many spectra `counts`, shape (T, B).

    A fit has converged when a step promises to lower -2 ln L by less than `tolerance`. Raises InputError for shapes
    that do not fit together and when no spectrum has an event.

    Examples:
        >>> edges, counts = [100.0, 110.0, 120.0, 130.0], [[52, 25, 13], [50, 26, 12]]
        >>> found = bumpfit.shapes.fit_many(bumpfit.shapes.exponential(2), edges, counts)
        >>> found.converged.tolist(), found.expected.shape
        ([True, True], (2, 3))
    """
    bins, n = shape.check_range(edges), np.asarray(counts, dtype=np.float64)
    if n.ndim != 2 or n.shape[1] != bins.size - 1:
        raise InputError(f"counts must have the shape (toys, {bins.size - 1}), got {n.shape}")
    content = np.zeros(bins.size - 1) if signal is None else np.asarray(signal, dtype=np.float64)
    if content.shape != (bins.size - 1,) or (signal is not None and not content.any()):
        raise InputError(f"signal must be {bins.size - 1} numbers, not all zero; got shape {content.shape}")
    nodes = rule(bins, shape.upper)
    centre = shape.start(bins, n.mean(axis=0))
    reference = np.log(centre[0]) + shape.exponents(nodes.nodes)[:, 1:] @ centre[1:]
    basis, expected = shape.log_linear_basis(bins, centre), shape.integrate(bins, centre)
    matrix = whiten((basis * expected[:, None]).T @ basis)
    model = _Model(np.exp(reference), shape.exponents(nodes.nodes) @ matrix, nodes, content, signal is not None)
    parts = [_block(model, n[k : k + BLOCK], tolerance, iterations) for k in range(0, n.shape[0], BLOCK)]
    return Batch(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True, eq=False)
class _Model:
    """Background at the nodes f exp(Z z), plus the signal; coordinates y = (z, number of signal events)."""

    density: Array
    basis: Array
    rule: Rule
    signal: Array
    with_signal: bool

    def expected(self, y: Array) -> Array:
        """Events a bin, shape (T, B)."""
        return self._binned(self._at_nodes(y)) + y[:, -1:] * self.signal

    def jacobian(self, y: Array) -> Array:
        """Derivatives, shape (T, B, P + 1)."""
        value = self._at_nodes(y)
        columns = [self._binned(value * self.basis[:, k]) for k in range(self.basis.shape[1])]
        return np.stack([*columns, np.broadcast_to(self.signal, columns[0].shape)], axis=-1)

    def _at_nodes(self, y: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(self.density * np.exp(y[:, :-1] @ self.basis.T))

    def _binned(self, values: Array) -> Array:
        return self.rule.sum(values)


def _deviance(n: Array, expected: Array) -> Array:
    """2 sum (mu - n + n ln(n / mu)), infinite where the expectation is impossible, shape (T,)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = 2 * np.sum(expected - n + xlogy(n, n) - xlogy(n, expected), axis=1)
    return np.where(np.isfinite(value) & (expected > 0).all(axis=1), value, np.inf)


def _block(
    model: _Model, n: Array, tolerance: float, iterations: int
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_]]:
    size = model.basis.shape[1] + 1
    y = np.zeros((n.shape[0], size))
    expected = model.expected(y)
    deviance = _deviance(n, expected)
    converged = np.zeros(n.shape[0], dtype=bool)
    used = size if model.with_signal else size - 1
    inverse = np.zeros((n.shape[0], used, used))
    active = np.arange(n.shape[0])
    for _ in range(iterations):
        jacobian = model.jacobian(y[active])[:, :, :used]
        weighted = jacobian / expected[active][:, :, None]
        information = np.swapaxes(weighted, 1, 2) @ jacobian
        slope = np.einsum("tbp,tb->tp", weighted, n[active] - expected[active])
        inverse[active] = np.linalg.pinv(information, rcond=1e-13, hermitian=True)
        step = np.einsum("tpq,tq->tp", inverse[active], slope)
        promise = np.sum(step * slope, axis=1)
        converged[active] = promise < tolerance
        going = ~converged[active]
        active, step = active[going], step[going]
        if not active.size:
            break
        moved = _halved(model, n[active], y[active], step, deviance[active])
        y[active], expected[active], deviance[active], better = moved
        # A toy whose deviance no step lowers any more is left with its status: not converged.
        active = active[better]
    error = np.sqrt(np.maximum(inverse[:, -1, -1], 0.0)) if model.with_signal else np.zeros(n.shape[0])
    return y[:, -1], error, deviance, expected, converged


def _halved(
    model: _Model, n: Array, y: Array, step: Array, before: Array
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Steps shortened until the deviance falls: coordinates, expectation and deviance after, and whether it fell."""
    length = np.ones(y.shape[0])
    point, better = y.copy(), np.zeros(y.shape[0], dtype=bool)
    for _ in range(30):
        trial = y.copy()
        trial[:, : step.shape[1]] += length[:, None] * step
        fallen = _deviance(n, model.expected(trial)) <= before
        point = np.where((fallen & ~better)[:, None], trial, point)
        better |= fallen
        if better.all():
            break
        length = np.where(better, length, 0.5 * length)
    expected = model.expected(point)
    return point, expected, _deviance(n, expected), better
