"""Log-linear models: a background whose logarithm is linear in its parameters, and signals added to it.

All dijet functions, power laws and exponentials of polynomials are of this kind, and so are plain counting experiments
(no parameter at all). Their toys are fitted thousands of times faster than those of a general model, and by the same
likelihood.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.toys.loglinear_kernel import TILE, Arrays

Floats = NDArray[np.float64]

TOLERANCE = 5e-8
"""Largest error of a minimum of -ln L that a fit may leave (twice that in a test statistic)."""
CURVATURE_MARGIN = 3.0
"""Third derivatives of a toy's likelihood may be this much larger than the expected ones before the tolerance is
exceeded.
"""
ROUNDS = 100
"""Most steps, and halvings of a step, of the fit of the background to the data."""
NEGLIGIBLE = 1e-12
"""A bin with less signal than this, at strength 1 and relative to the background, is left out of the signal's bins."""


@dataclasses.dataclass(frozen=True, eq=False)
class LogLinear:
    """Expected events rate * exp(basis z) + mu signal in B bins, with K background parameters z.

    rate    background at z = 0, shape (B,): toys are thrown there
    basis   derivatives of its logarithm, shape (B, K); need not be whitened
    signal  events at mu = 1, shape (B,), or one row a signal hypothesis, shape (M, B)
    bounds  range of mu
    pull    Gaussian constraints: rows p with p z of unit width, shape (J, K); toys fluctuate what they measure
    observed, observed_pull   the data: counts, shape (B,), and measurements of the pulls, shape (J,)
    limits  range of the pulls, in which `pull @ z` has to stay, shape (J, 2)

    Examples:
        >>> import numpy as np
        >>> toy_model = bumpfit.toys.LogLinear(np.array([9.0, 4.0]), np.ones((2, 1)), np.array([1.0, 2.0]))
        >>> toy_model.basis.shape
        (2, 1)
    """

    rate: Floats
    basis: Floats
    signal: Floats
    bounds: tuple[float, float] = (-math.inf, math.inf)
    pull: Floats | None = None
    observed: Floats | None = None
    observed_pull: Floats | None = None
    limits: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "basis", "signal", "pull", "observed", "observed_pull", "limits"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.ascontiguousarray(value, dtype=np.float64))
        if self.rate.ndim != 1 or self.basis.ndim != 2 or self.signals.shape[1:] != self.rate.shape:
            raise InputError(
                f"expected rate (B,), basis (B, K) and signal (B,) or (M, B); "
                f"got shapes {self.rate.shape}, {self.basis.shape} and {self.signal.shape}"
            )
        if self.basis.shape[0] != self.rate.size:
            raise InputError(f"the basis has {self.basis.shape[0]} rows for {self.rate.size} bins")
        if not np.isfinite(self.basis).all():
            raise InputError("the basis of the background holds values that are not finite")
        if not (np.isfinite(self.rate).all() and (self.rate > 0).all()):
            b = int(np.argmin(np.where(np.isfinite(self.rate), self.rate, -np.inf)))
            raise InputError(
                f"the background expects {self.rate[b]:g} events in bin {b}; toys need a positive expectation in every "
                "bin: merge or drop bins"
            )
        if not (np.isfinite(self.signals).all() and (self.signals >= 0).all() and self.signals.any(axis=1).all()):
            raise InputError("a signal must be finite, not negative, and predict events in at least one bin")
        if self.pull is not None and self.pull.shape[1:] != (self.basis.shape[1],):
            raise InputError(f"constraints of shape {self.pull.shape} do not fit {self.basis.shape[1]} parameters")
        if self.observed is not None:
            if self.observed.shape != self.rate.shape:
                raise InputError(
                    f"expected {self.rate.size} observed counts, got an array of shape {self.observed.shape}"
                )
            if not (np.isfinite(self.observed).all() and (self.observed >= 0).all()):
                raise InputError("observed counts must be finite and not negative")
        if not self.bounds[0] < self.bounds[1]:
            raise InputError(f"the range of mu is {self.bounds}; the lower end must be below the upper")

    @property
    def signals(self) -> Floats:
        """Signals as rows, shape (M, B)."""
        return np.atleast_2d(self.signal)

    def with_signal(self, signal: ArrayLike) -> LogLinear:
        """The same background with other signals, shape (B,) or (M, B)."""
        return dataclasses.replace(self, signal=np.asarray(signal, dtype=np.float64))

    @cached_property
    def whitening(self) -> Floats:
        """W with basis @ W whitened: the information about W^-1 z at z = 0 is the unit matrix, shape (K, K)."""
        size = self.basis.shape[1]
        pull = np.zeros((0, size)) if self.pull is None else self.pull
        information = (self.basis * self.rate[:, None]).T @ self.basis + pull.T @ pull
        scale = np.sqrt(np.diag(information))
        if size and not (scale > 0).all():
            raise InputError(f"background parameter {int(np.argmin(scale))} changes no expectation; leave it out")
        correlation = information / np.outer(scale, scale)
        # orthogonalise by eigenvectors: stable for the strongly correlated parameters of dijet functions
        values, vectors = np.linalg.eigh(correlation) if size else (np.ones(0), np.zeros((0, 0)))
        if size and values[0] < size * 1e-14:
            raise InputError(
                "the parameters of the background cannot be told apart in these bins (the information matrix is "
                "singular); use fewer parameters or more bins"
            )
        return np.asarray(vectors / np.sqrt(values) / scale[:, None])

    @cached_property
    def arrays(self) -> Arrays:
        """What the kernels take: whitened, padded, with tables of the derivatives of the expected likelihood."""
        basis = np.ascontiguousarray(self.basis @ self.whitening)
        n_bins, size = basis.shape
        pull = np.zeros((0, size)) if self.pull is None else np.ascontiguousarray(self.pull @ self.whitening)
        prior = pull.T @ pull
        pairs, triples = _packed(size, 2), _packed(size, 3)
        rate, signals = self.rate, self.signals
        design = np.column_stack([np.ones(n_bins), basis, *(basis[:, j] * basis[:, k] for j, k in pairs)])
        third = np.array([_repeats(p) / 2 * (rate * np.prod(basis[:, p], axis=1)) @ basis for p in pairs])
        fourth = np.array([_repeats(p) / 6 * (rate * np.prod(basis[:, p], axis=1)) @ basis for p in triples])
        curvature = [_norm(_third_derivatives(rate, basis, np.zeros(n_bins))[:size, :size, :size], np.eye(size))]
        bend, first, last = [], [], []
        for signal in signals:
            inside = np.flatnonzero(signal > NEGLIGIBLE * rate)
            if inside.size == 0:
                raise InputError("a signal predicts next to nothing relative to the background in every bin")
            first.append(inside[0])
            last.append(inside[-1] + 1)
            derivatives = _third_derivatives(rate, basis, signal)
            bend.append([_repeats(p) / 2 * derivatives[:, p[0], p[1]] for p in _packed(size + 1, 2)])
            slopes = np.column_stack([basis, signal / rate])
            information = (slopes * rate[:, None]).T @ slopes
            information[:size, :size] += prior
            # a signal that the background can imitate exactly has no information of its own: its strength is
            # undetermined
            own = information[size, size] - information[size, :size] @ np.linalg.solve(
                information[:size, :size], information[:size, size]
            )
            if not own > 1e-12 * information[size, size]:
                raise InputError(
                    "the background can imitate the signal exactly in these bins, so its strength is undetermined"
                )
            curvature.append(_norm(derivatives, np.linalg.inv(np.linalg.cholesky(information)).T))
        bottom = -n_bins % TILE
        return Arrays(
            rate=np.pad(rate, (0, bottom)),
            basis=np.pad(basis, ((0, bottom), (0, 0))),
            design=np.pad(design, ((0, bottom), (0, 0))),
            prior=np.ascontiguousarray(prior),
            pull=pull,
            limits=np.zeros((0, 2)) if self.limits is None else self.limits,
            third=np.ascontiguousarray(third.reshape(len(pairs), size).T),
            fourth=np.ascontiguousarray(fourth.reshape(len(triples), size).T),
            signals=np.pad(signals, ((0, 0), (0, bottom))),
            first=np.array(first, dtype=np.int64),
            last=np.array(last, dtype=np.int64),
            bend=np.ascontiguousarray(np.transpose(bend, (0, 2, 1))),
            curvature=CURVATURE_MARGIN * np.array(curvature) / 6,
            tolerance=TOLERANCE,
            bins=n_bins,
        )


def _packed(size: int, order: int) -> list[tuple[int, ...]]:
    return list(combinations_with_replacement(range(size), order))


def _repeats(place: Sequence[int]) -> float:
    """How often an element of a symmetric tensor comes up in a full sum over its indices."""
    return math.factorial(len(place)) / math.prod(math.factorial(c) for c in Counter(place).values())


def _third_derivatives(rate: Floats, basis: Floats, signal: Floats) -> Floats:
    """Third derivatives of sum lambda - n ln lambda in (z, mu) at n = lambda = rate, shape (K + 1, K + 1, K + 1)."""
    first = np.column_stack([basis, signal / rate])  # lambda' / lambda
    second = np.column_stack([basis, np.zeros(rate.size)])  # lambda'' / lambda is an outer product of these
    mixed = np.einsum("b,bj,bk,bl->jkl", rate, first, second, second)
    pure = np.einsum("b,bj,bk,bl->jkl", rate, first, first, first)
    return np.asarray(mixed + mixed.transpose(1, 0, 2) + mixed.transpose(1, 2, 0) - 2 * pure)


def _norm(tensor: Floats, metric: Floats) -> float:
    """Frobenius norm in coordinates x = metric y: a bound on the third derivative in any direction of unit length."""
    return float(np.sqrt(np.sum(np.einsum("jkl,ja,kb,lc->abc", tensor, metric, metric, metric) ** 2)))


def refitted(model: LogLinear, mu: float) -> tuple[LogLinear, Floats]:
    """The model around the background that fits its data best at strength mu, and the z of that, shape (K,).

    The model itself when it has no data. Raises BumpfitError when there is no best fit.
    """
    size = model.basis.shape[1]
    if model.observed is None or size == 0:
        return model, np.zeros(size)
    pull = np.zeros((0, size)) if model.pull is None else model.pull @ model.whitening
    seen = np.zeros(len(pull)) if model.observed_pull is None else model.observed_pull
    basis, extra, counts = model.basis @ model.whitening, mu * model.signals[0], model.observed
    z = np.zeros(size)
    rate, value = _background(model.rate, basis, pull, seen, extra, counts, z)
    settled = False
    for _ in range(ROUNDS):
        total = rate + extra
        down = basis.T @ (rate * (counts / total - 1)) - pull.T @ (pull @ z - seen)
        # expected information: positive definite, and the Hessian itself for a background without signal
        information = (basis * (rate**2 / total)[:, None]).T @ basis + pull.T @ pull
        step = np.linalg.lstsq(information, down, rcond=None)[0]
        settled = bool(down @ step < TOLERANCE)
        for _ in range(ROUNDS):
            trial, lower = _background(model.rate, basis, pull, seen, extra, counts, z + step)
            if lower <= value + 1e-12 * abs(value):
                z, rate, value = z + step, trial, lower
                break
            step = 0.5 * step
        if settled:
            break
    if not (settled and np.isfinite(rate).all() and (rate > 0).all()):
        raise BumpfitError(
            f"no background fits the data at strength {mu:g}; with few events use fewer parameters or wider bins"
        )
    moved = pull @ z
    centred = dataclasses.replace(
        model,
        rate=rate,
        observed_pull=None if model.observed_pull is None else model.observed_pull - moved,
        limits=None if model.limits is None else model.limits - moved[:, None],
    )
    return centred, np.asarray(model.whitening @ z)


def _background(
    rate: Floats, basis: Floats, pull: Floats, seen: Floats, extra: Floats, counts: Floats, z: Floats
) -> tuple[Floats, float]:
    """Expected background at z, and -ln L with the extra signal (infinite where an expectation is not positive)."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = rate * np.exp(basis @ z)
        total = moved + extra
        if not (np.isfinite(total).all() and (total > 0).all()):
            return moved, math.inf
        value = np.sum(total - counts * np.log(total / rate)) + 0.5 * np.sum((pull @ z - seen) ** 2)
    return moved, float(value)
