"""Discovery of several strengths at once: how improbable are the data without any of the signals?

The statistic is q0 = -2 ln [L(all strengths 0) / L(best strengths >= 0)]. Its law for many events is chi-bar-squared
(`chi_bar`), with the correlation of the strengths in the Asimov data of the fit without signal, or that of toys, thrown
at that fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.asymptotic import Asymptotic, few_events
from bumpfit.inference.chi_bar import ChiBar
from bumpfit.inference.discovery import discovery
from bumpfit.inference.fit import SINGULAR, likelihood_of, report
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import LOWER, require_poi, require_valid
from bumpfit.law import Law, Tail
from bumpfit.likelihood import Floats, Likelihood, Minimum, at_ends, position
from bumpfit.normal import significance_of_log
from bumpfit.results import Record
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

ALIKE = 1e-9
"""Smallest eigenvalue of the information of strengths, in units of its diagonal, that tells them apart."""


@dataclasses.dataclass(frozen=True)
class JointDiscovery(Record):
    """Test of no signal in several strengths: q0, p, z = Phi^-1(1 - p), and `strengths` with `errors` at the best fit.

    `weights`: shares of chi2 with 0, 1, ... degrees of freedom in the asymptotic law, with their `weight_errors` where
    they are simulated (three strengths and more); None of toys. `p_error`: the statistical error of p from toys or
    simulated weights, `p_upper` what p is at most with 95 % confidence, `toys` those that were fitted.
    """

    q0: float
    p: float
    z: float
    strengths: dict[str, float]
    errors: dict[str, float | None]
    method: str
    p_error: float | None = None
    p_upper: float | None = None
    p_is_upper_bound: bool = False
    weights: tuple[float, ...] | None = None
    weight_errors: tuple[float, ...] | None = None
    toys: int | None = None
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class NoSignal:
    """Strengths of a likelihood that may be zero or more, against all zero, as `law.Nested`.

    `null` has the strengths free, as its toys are to have; `x` is its fit without signal, shape (P,).
    """

    null: Likelihood
    strengths: tuple[str, ...]
    x: Floats

    def statistic(self, toy: Likelihood) -> float:
        """q0 of a toy; raises BumpfitError where a fit does not converge."""
        best, held = minima(toy, self.strengths)
        return max(2 * (held.value - best.value), 0.0)

    @cached_property
    def law(self) -> ChiBar:
        """The law for many events; raises BumpfitError for strengths that the data do not tell apart."""
        free = self.null.free
        matrix = self.null.asimov(self.x).curvature(self.x)[np.ix_(free, free)]
        scale = np.sqrt(np.where(np.diag(matrix) > 0, np.diag(matrix), 1.0))
        matrix = matrix / scale[:, None] / scale
        names = [name for name, loose in zip(self.null.names, free, strict=True) if loose]
        own = [names.index(name) for name in self.strengths]
        rest = [i for i in range(len(names)) if i not in own]
        cross = matrix[np.ix_(own, rest)]
        known = np.linalg.pinv(matrix[np.ix_(rest, rest)], rcond=SINGULAR, hermitian=True)
        information = matrix[np.ix_(own, own)] - cross @ known @ cross.T
        if not (np.isfinite(information).all() and np.linalg.eigvalsh(information)[0] > ALIKE):
            raise BumpfitError(
                f"the data do not tell {', '.join(self.strengths)} apart, from each other or from the background, so "
                "no formula has the law of q0; hold one of them, or throw toys"
            )
        return ChiBar(information)

    def tail(self, value: float) -> Tail:
        """P(q0 >= value) for many events."""
        return self.law.tail(value)


def minima(likelihood: Likelihood, strengths: Sequence[str]) -> tuple[Minimum, Minimum]:
    """The best fit and the fit without signal, which is not the lower one."""
    best, null = require_valid(likelihood.solve(), "the free fit"), likelihood
    for name in strengths:
        null = null.at(name, 0.0)
    held = require_valid(null.begin(best.x).solve(), "the fit without signal")
    if held.value < best.value - LOWER:
        best = require_valid(likelihood.begin(held.x).solve(), "the free fit")
    return best, held


def joint_discovery(
    model: Model | Likelihood,
    parameters: Sequence[str] | None = None,
    data: Data = None,
    *,
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> JointDiscovery:
    """q0, p-value and significance of the hypothesis that all of the strengths `parameters` are 0.

    parameters   names of the strengths; one (default: that of interest) is the question of `discovery`
    law          asymptotic, or `bumpfit.toys.Toys(n)`

    Strengths are zero or more in the best fit; their ranges are taken from zero. Raises InputError for names that do
    not exist, are held or come twice, and ranges without room above zero; BumpfitError when a fit does not converge or
    the data do not tell the strengths apart.

    Examples:
        >>> one, two = (build.sample("s", [5.0], build.modifier("normfactor", mu)) for mu in ("mu_1", "mu_2"))
        >>> background = build.sample("b", [9.0])
        >>> both = build.workspace({"A": [one, background], "B": [two, background]}, {"A": [14], "B": [16]}, "mu_1")
        >>> found = bumpfit.inference.joint_discovery(bumpfit.workspace.read(both), ["mu_1", "mu_2"])
        >>> print(f"q0 = {found.q0:.2f}, p = {found.p:.3f}, Z = {found.z:.2f}")
        q0 = 6.78, p = 0.013, Z = 2.23
    """
    likelihood = likelihood_of(model, data, options=options, **settings)
    names = _strengths(likelihood, parameters)
    if len(names) == 1:
        return _of_one(likelihood, names[0], law)
    null = likelihood
    for name in names:
        likelihood = likelihood.within(name, 0.0, float(likelihood.high[position(likelihood, name)]))
        null = null.at(name, 0.0)
    best, held = minima(likelihood, names)
    q0 = max(2 * (held.value - best.value), 0.0)
    ratio = NoSignal(likelihood, names, held.x)
    tail, fitted = law.nested(ratio, held, q0)
    asymptotic = law.method == "asymptotic"
    notes: list[str] = []
    if asymptotic:
        command = f"bumpfit discovery WORKSPACE {' '.join(f'-p {name}' for name in names)} --toys 10000"
        notes = [note for name in names for note in few_events(null, name, held, command)]
    errors = report(likelihood, best).errors
    ends = [n for n in at_ends(likelihood, best) if n not in names or best.x[position(likelihood, n)] > 0]
    return JointDiscovery(
        q0=q0,
        p=tail.p,
        z=significance_of_log(tail.log_p),
        strengths={name: float(best.x[position(likelihood, name)]) for name in names},
        errors={name: errors[name] if errors[name] > 0 else None for name in names},
        method=law.method,
        p_error=tail.error,
        p_upper=tail.upper,
        p_is_upper_bound=tail.underflows,
        weights=ratio.law.weights if asymptotic else None,
        weight_errors=ratio.law.weight_errors if asymptotic else None,
        toys=fitted,
        at_bounds=tuple(dict.fromkeys((*ends, *at_ends(null, held)))),
        notes=tuple(dict.fromkeys(notes)),
    )


def _strengths(likelihood: Likelihood, parameters: Sequence[str] | None) -> tuple[str, ...]:
    """The names, checked."""
    if isinstance(parameters, str):
        parameters = (parameters,)
    names = (require_poi(likelihood),) if parameters is None else tuple(parameters)
    if not names:
        raise InputError("no strength is named; name one or more, or leave them out for the parameter of interest")
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(f"strength '{name}' is named twice; name each strength once")
        high = float(likelihood.high[position(likelihood, require_poi(likelihood, name))])
        if high <= 0:
            raise InputError(
                f"the range of strength '{name}' ends at {high:g}, with nothing above zero to discover; take a range "
                "with room above zero"
            )
    return names


def _of_one(likelihood: Likelihood, name: str, law: Law) -> JointDiscovery:
    """The answer of `discovery`, whose best strength may be negative where its range allows."""
    found = discovery(likelihood, parameter=name, law=law)
    error = found.mu_error if found.mu_error is not None and math.isfinite(found.mu_error) else None
    return JointDiscovery(
        q0=found.q0, p=found.p, z=found.z, strengths={name: found.mu}, errors={name: error}, method=found.method,
        p_error=found.p_error, p_upper=found.p_upper, p_is_upper_bound=found.p_is_upper_bound,
        weights=(0.5, 0.5) if law.method == "asymptotic" else None, at_bounds=found.at_bounds, notes=found.notes,
    )  # fmt: skip
