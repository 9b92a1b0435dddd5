"""The physical limit of a measurement: Fisher bounds on the error of mu, with the nuisances known and profiled."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.likelihood import Model
from bumpfit.results import Record

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Bound(Record):
    """Bounds on the standard deviation of mu (Cramer and Rao), in all of them the priors of the nuisances are used.

    `known`: all nuisances known; `profiled`: none. `one_known`: all profiled but the named one; `one_profiled`: the
    named one alone; `post_fit`: standard deviation of a nuisance after the fit, in units of its prior.
    """

    mu: float
    known: float
    profiled: float
    one_known: dict[str, float]
    one_profiled: dict[str, float]
    post_fit: dict[str, float]


def bound(model: Model, mu: float, theta: ArrayLike | None = None) -> Bound:
    """Bounds at a true mu and nuisances (default: at their centres, 0)."""
    return bound_of(model.information(mu, theta), model.nuisances, mu)


def bound_of(information: Array, nuisances: tuple[str, ...], mu: float) -> Bound:
    """Bounds from an information matrix, mu first, priors included.

    Raises:
        InputError: nothing depends on mu.
    """
    if not information[0, 0] > 0.0:
        raise InputError("no expectation depends on mu: there is no bound")
    size = len(information)
    covariance = np.linalg.pinv(information, hermitian=True)

    def error(kept: list[int]) -> float:
        part = information[np.ix_(kept, kept)]
        return float(np.sqrt(np.linalg.pinv(part, hermitian=True)[0, 0]))

    return Bound(
        float(mu), error([0]), error(list(range(size))),
        {name: error([i for i in range(size) if i != k]) for k, name in enumerate(nuisances, 1)},
        {name: error([0, k]) for k, name in enumerate(nuisances, 1)},
        {name: float(np.sqrt(covariance[k, k])) for k, name in enumerate(nuisances, 1)},
    )  # fmt: skip


def unbinned_information(weights: Array, gradient: Array) -> Array:
    """Fisher information of a Poisson process, priors included: sum_i w_i g_i g_i^T + 1 for the nuisances.

    Args:
        weights: expected events of each simulated event at the point, shape (N,).
        gradient: derivatives of ln r at the event in mu and the nuisances, r the expected density, shape (N, 1 + K).
    """
    prior = np.diag([0.0, *np.ones(gradient.shape[1] - 1)])
    return np.asarray((gradient * weights[:, None]).T @ gradient + prior)


def kept(coarse: Array, fine: Array) -> float:
    """Share of the information on mu, after profiling, that a coarser description keeps: (sigma fine / coarse)^2."""
    sigmas = [np.linalg.pinv(information, hermitian=True)[0, 0] for information in (fine, coarse)]
    return float(sigmas[0] / sigmas[1])
