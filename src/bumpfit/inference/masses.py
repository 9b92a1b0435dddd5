"""One question at many masses: limits for a Brazil plot, local significances for a p-value scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, Unpack

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.asymptotic import Asymptotic
from bumpfit.inference.discovery import discovery
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.limit import limit
from bumpfit.law import Law
from bumpfit.results import Discovery, Limit, MassScan
from bumpfit.words import Exclusive
from bumpfit.workspace import Model

Answer = TypeVar("Answer")


def _ask(models: Mapping[float, Model], question: Callable[[Model], Answer]) -> tuple[list[Answer | None], list[str]]:
    """The answer at each mass, None with the reason where there is none: one bad mass does not stop a scan."""
    answers: list[Answer | None] = []
    status = []
    for mass in sorted(models):
        try:
            answers.append(question(models[mass]))
            status.append("converged")
        except BumpfitError as error:
            answers.append(None)
            status.append(str(error))
    return answers, status


def _masses(models: Mapping[float, Model]) -> tuple[float, ...]:
    if not models:
        raise InputError("a mass scan needs at least one mass")
    return tuple(sorted(float(m) for m in models))


def limits(
    models: Mapping[float, Model],
    level: float = 0.95,
    *,
    statistic: Exclusive = "qtilde",
    law: Law = Asymptotic(),
    bands_at: float = 0.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> MassScan:
    """CLs upper limits, observed and expected, of the model at each mass; settings as for `limit`.

    Examples:
        >>> b, s = build.sample("b", [9.0]), build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> counts = bumpfit.workspace.read(build.workspace({"A": [s, b]}, {"A": [12]}, "mu"))
        >>> found = bumpfit.inference.limits({100.0: counts})
        >>> found.masses, round(found.limits[0].observed, 1)
        ((100.0,), 2.0)
    """
    masses = _masses(models)
    answers: list[Limit | None]
    answers, status = _ask(
        models,
        lambda model: limit(
            model, level=level, statistic=statistic, law=law, bands_at=bands_at, options=options, **settings
        ),
    )
    return MassScan(masses, tuple(answers), None, tuple(status))


def discoveries(
    models: Mapping[float, Model],
    *,
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> MassScan:
    """q0 and local significance of the model at each mass; settings as for `discovery`.

    Examples:
        >>> found = bumpfit.inference.discoveries({100.0: model})
        >>> found.masses, round(found.discoveries[0].z, 2)
        ((100.0,), 1.71)
    """
    masses = _masses(models)
    answers: list[Discovery | None]
    answers, status = _ask(models, lambda model: discovery(model, law=law, options=options, **settings))
    return MassScan(masses, None, tuple(answers), tuple(status))
