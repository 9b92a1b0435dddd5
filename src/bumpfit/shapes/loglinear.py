"""Spectra whose logarithm is linear in the parameters: ln f(m) = ln p0 + sum_j p_j phi_j(m).

The dijet functions, the UA2 form, power laws and exponentials of polynomials are all of this kind, so a fit of the
background alone is a Poisson regression with a logarithmic link (a convex problem), and a few weighted least-squares
steps start it well. x = m / sqrt(s).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.quadrature import Rule, rule
from bumpfit.shapes.shape import FREE, Bounds, Shape, Values

Array = NDArray[np.float64]

ROUNDS = 50
"""Most scoring steps of `LogLinear.start`; steps stop earlier when the likelihood no longer rises."""


@dataclass(frozen=True)
class Term:
    """One function phi(x) of the exponent: its parameter's name, its formula in x, and the function itself.

    Examples:
        >>> bumpfit.shapes.exponential(2).terms[0].formula
        '-x'
    """

    parameter: str
    formula: str
    function: Callable[[Array], Array]


@dataclass(frozen=True)
class LogLinear(Shape):
    """f(m) = p0 exp(sum_j p_j phi_j(m / scale)), in events per GeV.

    `scale` is what divides the mass (sqrt(s)); `ends` says that the density ends there. With a `reference` mass every
    phi_j is taken relative to its value there, so that p0 is the density at that mass instead of the prefactor of the
    published formula (which spans hundreds of powers of ten when a narrow range determines the exponents badly).

    Examples:
        >>> bumpfit.shapes.power_law(3).log_linear_basis([100.0, 200.0, 300.0]).shape
        (2, 3)
    """

    terms: tuple[Term, ...]
    scale: float
    ends: bool = True
    reference: float | None = None

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """The prefactor is positive, the exponents are free."""
        return ((0.0, None), *(FREE for _ in self.terms))

    @property
    def positive(self) -> tuple[bool, ...]:
        """Only the prefactor."""
        return (True, *(False for _ in self.terms))

    @property
    def upper(self) -> float | None:
        """sqrt(s) when the density ends there."""
        return self.scale if self.ends else None

    def exponents(self, x: ArrayLike) -> Array:
        """phi_0 = 1 and phi_j at masses x, shape (N, P): the derivatives of ln f with respect to ln p0 and p_j."""
        mass = np.asarray(x, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = [term.function(mass / self.scale) for term in self.terms]
        if self.reference is not None:
            at = np.asarray(self.reference / self.scale)
            columns = [column - term.function(at) for term, column in zip(self.terms, columns, strict=True)]
        return np.stack([np.ones_like(mass), *columns], axis=-1)

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """p0 exp(sum_j p_j phi_j), events per GeV, shape (N,). The logarithm of p0 joins the exponent, so that a huge
        prefactor times a tiny function is no overflow."""
        p = self.array(parameters)
        return _density(self.exponents(x), p)

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """f / p0 for the prefactor and f phi_j for the others, shape (N, P)."""
        return self._slopes(self.exponents(x), self.array(parameters))

    @staticmethod
    def _slopes(exponents: Array, p: Array) -> Array:
        gradient = exponents * _density(exponents, p)[:, None]
        gradient[:, 0] = _density(exponents, np.array([1.0, *p[1:]]))
        return gradient

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin, shape (B,); phi at the nodes of the rule is computed once for the same edges."""
        nodes, exponents = _at_nodes(self, self.check_range(edges).tobytes())
        return nodes.sum(_density(exponents, self.array(parameters)))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate`, shape (B, P)."""
        nodes, exponents = _at_nodes(self, self.check_range(edges).tobytes())
        return nodes.sum(self._slopes(exponents, self.array(parameters)).T).T

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Exact: along the axes (ln p0, p_j) the second derivatives of f are f phi_j phi_k, shape (Z, Z)."""
        nodes, exponents = _at_nodes(self, self.check_range(edges).tobytes())
        density = _density(exponents, self.array(parameters)) * nodes.weights
        basis = exponents @ directions
        return np.asarray((basis * (density * nodes.spread(weights))[:, None]).T @ basis)

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Exact, shape (Z, Z)."""
        exponents = self.exponents(x)
        basis = exponents @ directions
        return np.asarray((basis * (_density(exponents, self.array(parameters)) * weights)[:, None]).T @ basis)

    def log_linear_basis(self, edges: ArrayLike, parameters: Values | None = None) -> Array:
        """Derivatives of the logarithm of a bin's content with respect to (ln p0, p1, ...), shape (B, P).

        Around `parameters` the content of a bin is b = b0 exp(basis @ delta) up to the spread of phi inside the bin
        squared, which is exact for narrow bins. Without parameters phi is averaged over the bin with equal weight.
        """
        nodes, exponents = _at_nodes(self, self.check_range(edges).tobytes())
        weight = np.ones(exponents.shape[0])
        if parameters is not None:
            log = exponents[:, 1:] @ self.array(parameters)[1:]
            weight = np.exp(log - nodes.spread(np.maximum.reduceat(log, nodes.starts)))
        return np.asarray(nodes.sum((exponents * weight[:, None]).T).T / nodes.sum(weight)[:, None])

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """Weighted linear fit of the log counts, then scoring steps of the Poisson likelihood while it rises.

        The first fit takes ln((n + 1/2) / width) at the bin centres with weights n + 1/2, so empty bins do no harm.
        """
        bins, n = self.check_range(edges), np.asarray(counts, dtype=np.float64)
        if not n.sum() > 0:
            raise InputError(f"cannot fit {self.name}: the histogram holds no events")
        basis, widths = self.log_linear_basis(bins), np.diff(bins)
        root = np.sqrt(n + 0.5)
        u = np.linalg.lstsq(basis * root[:, None], np.log((n + 0.5) / widths) * root, rcond=None)[0]
        best = self._scored(bins, n, u)
        with np.errstate(over="ignore"):
            return np.array([np.exp(best[0]), *best[1:]])

    def _scored(self, edges: Array, n: Array, u: Array) -> Array:
        """Scoring steps in u = (ln p0, p1, ...) with halving; the problem is convex, so any rise is progress."""

        def expected(point: Array) -> Array:
            return _integral(self, edges, point)

        def nll(content: Array) -> float:
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                value = float(np.sum(content - np.where(n > 0, n * np.log(content), 0.0)))
            return value if np.isfinite(value) else np.inf

        content = expected(u)
        value = nll(content)
        for _ in range(ROUNDS):
            basis = self.log_linear_basis(edges, np.array([1.0, *u[1:]]))
            root = np.sqrt(np.maximum(content, np.finfo(float).tiny))
            step = np.linalg.lstsq(basis * root[:, None], (n - content) / root, rcond=None)[0]
            for _ in range(ROUNDS):
                trial = expected(u + step)
                risen = value - nll(trial)
                if risen > 0:
                    break
                step = 0.5 * step
            else:
                return u
            u, content, value = u + step, trial, value - risen
            if risen < 1e-9:
                return u
        return u


def _density(exponents: Array, p: Array) -> Array:
    """p0 exp(exponents[:, 1:] @ p[1:]) without overflow of the two factors alone."""
    if p[0] == 0:
        return np.zeros(exponents.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.log(np.abs(p[0])) + exponents[:, 1:] @ p[1:]
        return np.asarray(np.sign(p[0]) * np.exp(total))


def _integral(shape: LogLinear, edges: Array, u: Array) -> Array:
    """Bin contents from u = (ln p0, p1, ...), also where p0 itself is no floating-point number."""
    nodes, exponents = _at_nodes(shape, edges.tobytes())
    with np.errstate(over="ignore"):
        return nodes.sum(np.exp(exponents @ u))


@lru_cache(maxsize=64)
def _at_nodes(shape: LogLinear, edges: bytes) -> tuple[Rule, Array]:
    """The rule for the bins and phi at its nodes: a fit asks for the same ones a hundred times."""
    nodes = rule(np.frombuffer(edges, dtype=np.float64), shape.upper)
    return nodes, shape.exponents(nodes.nodes)
