"""Likelihood scans: the profile along one parameter, with the nuisance parameters refitted at every point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.fit import likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.interval import first_step
from bumpfit.inference.profile import Profile, reaching, require_poi
from bumpfit.likelihood import Floats, Likelihood, Minimum, ZeroLikelihoodError, at_ends
from bumpfit.results import Scan
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data, numbers


def scan(
    model: Model | Likelihood,
    parameter: str | None = None,
    points: Sequence[float] | None = None,
    data: Data = None,
    *,
    n_points: int = 41,
    n_sigma: float = 3.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Scan:
    """Profile likelihood at `points`, by default `n_points` over the best fit -/+ `n_sigma` errors within the range.

    Points outside the range extend it, for the free fit too. A point whose fit does not converge has no value and says
    so in its status. Raises InputError for empty or non-finite points, BumpfitError when the free fit fails.

    Examples:
        >>> found = bumpfit.inference.scan(model, "mu", [0.0, 1.0, 2.0])
        >>> [round(rise, 2) for rise in found.delta_twice_nll]
        [2.91, 0.11, 0.86]
    """
    if points is None and not (n_points >= 1 and 0 < n_sigma < math.inf):
        raise InputError(f"a scan needs n_points >= 1 and n_sigma > 0, got {n_points} and {n_sigma}")
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    at = None if points is None else numbers(points, "the points of a scan")
    if at is not None:
        if at.ndim != 1 or at.size == 0 or not np.isfinite(at).all():
            raise InputError("a scan needs a list of finite points")
        likelihood = reaching(likelihood, name, float(at.min()), float(at.max()))
    profile = Profile(likelihood, name)

    def question() -> tuple[Floats, list[Minimum | str]]:
        values = at
        if values is None:
            reach, (low, high) = first_step(profile, n_sigma**2), profile.range
            values = np.linspace(max(low, profile.estimate - reach), min(high, profile.estimate + reach), n_points)
        # outwards from the best value, so that every fit starts from its neighbour
        order = np.argsort(np.abs(values - profile.estimate), kind="stable")
        found = {int(k): _point(profile, float(values[k])) for k in order}
        return values, [found[k] for k in range(values.size)]

    values, found = profile.settled(question)
    valid = [one for one in found if isinstance(one, Minimum)]
    held = likelihood.at(name, profile.estimate)
    return Scan(
        parameter=name,
        points=tuple(float(v) for v in values),
        delta_twice_nll=tuple(
            2 * (one.value - profile.best.value) if isinstance(one, Minimum) else None for one in found
        ),
        best=profile.estimate,
        twice_nll_min=likelihood.constant + 2 * profile.best.value,
        status=tuple("converged" if isinstance(one, Minimum) else one for one in found),
        at_bounds=tuple(dict.fromkeys((*at_ends(likelihood, profile.best), *at_ends(held, *valid)))),
    )


def _point(profile: Profile, value: float) -> Minimum | str:
    """The fit at one point, or why there is none."""
    try:
        found = profile.attempt(value)
    except ZeroLikelihoodError as error:
        return str(error)
    return found if found.valid else found.attempts[-1]
