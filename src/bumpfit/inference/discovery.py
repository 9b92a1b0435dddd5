"""Discovery: how improbable are the data without signal?

The statistic is q0 of Cowan, Cranmer, Gross, Vitells (Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727), eq. 12; its
asymptotic p-value is 1 - Phi(sqrt(q0)), eq. 52. Where strengths of both signs describe the data better than none (an
interference and a square), "the best strength" of eq. 12 is the best one of zero and more, in toys as in data.
"""

from __future__ import annotations

import math
from typing import Unpack

from bumpfit.inference.asymptotic import Asymptotic, few_events
from bumpfit.inference.fit import likelihood_of, report
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.interval import parts
from bumpfit.inference.profile import LOWER, Profile, reaching, require_poi
from bumpfit.law import Law
from bumpfit.likelihood import Likelihood, Minimum, at_ends
from bumpfit.normal import significance
from bumpfit.results import Discovery
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

SAME_HEIGHT = 1e-3
"""What strengths of both signs must be better than none by, in -2 ln L, to be told."""


def discovery(
    model: Model | Likelihood,
    data: Data = None,
    *,
    parameter: str | None = None,
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Discovery:
    """q0, p-value and significance of the background-only hypothesis `parameter` = 0 (default: the model's own).

    `law`: asymptotic, or `bumpfit.toys.Toys(n)`. A range without zero is taken as far as there. Raises InputError
    without a parameter of interest, BumpfitError when a fit does not converge.

    Examples:
        >>> found = bumpfit.inference.discovery(model)
        >>> print(f"q0 = {found.q0:.2f}, p = {found.p:.3f}, Z = {found.z:.2f}")
        q0 = 2.91, p = 0.044, Z = 1.71
    """
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    likelihood = reaching(likelihood, name, 0.0)
    profile = Profile(likelihood, name)

    def question() -> tuple[float, float, Minimum]:
        positive = profile.positive()
        q0 = profile.rise(0.0, positive)
        if q0 > SAME_HEIGHT and positive.value <= profile.best.value + LOWER:
            profile.best = positive  # of two signs that the data do not tell apart
        return q0, math.copysign(math.sqrt(profile.rise(0.0)), profile.estimate), positive

    q0, signed, positive = profile.settled(question)
    null = profile.held(0.0)
    held = likelihood.at(name, 0.0)
    tail = law.of(likelihood, name, "q0").tail(0.0, 0.0, q0)
    free_fit, error = report(likelihood, profile.best), None
    if free_fit.errors[name] > 0:
        error = free_fit.errors[name]
    asymptotic = law.method == "asymptotic"
    return Discovery(
        q0=q0,
        p=tail.p,
        z=q0**0.5 if asymptotic else significance(tail.p),
        mu=profile.estimate,
        mu_error=error,
        z_signed=signed + 0.0,
        parameter=name,
        method=law.method,
        p_error=tail.error,
        free_fit=free_fit,
        null_fit=report(held, null),
        p_upper=tail.upper,
        p_is_upper_bound=tail.underflows,
        at_bounds=tuple(dict.fromkeys((*at_ends(likelihood, profile.best), *at_ends(held, null)))),
        notes=(
            *(few_events(likelihood, name, null, "bumpfit toys WORKSPACE -n 1000000") if asymptotic else ()),
            *_other_sign(profile, positive, q0),
        ),
    )


def _other_sign(profile: Profile, positive: Minimum, q0: float) -> tuple[str, ...]:
    """Says where strengths of both signs describe the data better than none: q0 is that of the positive ones."""
    if profile.estimate >= 0:
        found = parts(profile, q0 - SAME_HEIGHT, 0.0, None)
    else:
        found = [(float(positive.x[profile.index]), profile.rise(0.0) - q0)] if q0 > SAME_HEIGHT else []
    return tuple(
        f"{profile.parameter} = {place:.4g}, of the other sign, describes the data better than none, too (-2 ln L "
        f"{rise:.2g} above its minimum): q0 and p are those of {profile.parameter} >= 0, see bumpfit scan"
        for place, rise in found
    )
