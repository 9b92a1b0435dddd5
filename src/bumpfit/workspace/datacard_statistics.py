"""Statistical uncertainties of templates as Combine's autoMCStats chooses them (arXiv:2404.06614, section 4.1.3).

In a bin with n +- e events of all backgrounds (signals too if asked for), n_eff = (n / e)^2. Above the threshold one
Gaussian parameter scales the sum (Barlow-Beeston light), else each process has its own: a Poisson one with n_eff events
of that process, or a Gaussian one if it has more than the threshold. Combine lets the width of the common parameter
follow the normalisations of the processes in the fit; here the relative width is that before the fit, as in
HistFactory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bumpfit.types import Floats
from bumpfit.workspace.datacard import Statistics
from bumpfit.workspace.effects_bins import SHAPESYS, STATERROR
from bumpfit.workspace.templates import Template

PREFIX = "prop_bin"
"""What the names of the parameters of bins begin with, as in Combine."""


def effective(values: Floats, errors: Floats) -> Floats:
    """Effective numbers of events (value / error)^2, infinite without an error; shape (B,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors > 0, (values / errors) ** 2, np.inf)


def bin_uncertainties(
    channel: str, members: Sequence[tuple[Template, bool]], statistics: Statistics
) -> list[tuple[int, list[dict[str, Any]], dict[str, dict[str, Any]]]]:
    """Modifiers of the samples of a channel, by their number, with settings of the parameters.

    `members`: template of each sample and whether it is a signal. A negative threshold stands for no uncertainties.
    """
    counted = [i for i, (_, signal) in enumerate(members) if statistics.signal or not signal]
    if statistics.threshold < 0 or not counted:
        return []
    total = np.sum([members[i][0].values for i in counted], axis=0)
    error = np.sqrt(np.sum([members[i][0].errors ** 2 for i in counted], axis=0))
    with_error = (total > 0) & (error > 0)
    common = with_error & (effective(total, error) > statistics.threshold)
    single = with_error & ~common
    name = f"{PREFIX}{channel}"
    result = []
    for i in counted:
        template = members[i][0]
        modifiers: list[dict[str, Any]] = []
        settings: dict[str, dict[str, Any]] = {}
        if common.any():
            modifiers.append(STATERROR.modifier(name, np.where(common, template.errors, 0.0)))
        events = np.round(effective(template.values, template.errors))
        alone = single & (template.values > 0) & (template.errors > 0)
        few = alone & (events <= statistics.threshold) & (events > 0)
        for chosen, constraint in ((few, "poisson"), (alone & ~few, "gaussian")):
            if not chosen.any():
                continue
            own = f"{name}_{i}_{constraint}"
            errors = template.errors
            if constraint == "poisson":
                errors = np.where(few, template.values / np.sqrt(np.where(few, events, 1.0)), 0.0)
            modifiers.append(SHAPESYS.modifier(own, np.where(chosen, errors, 0.0)))
            settings[own] = {"name": own, "constraint": constraint}
        if modifiers:
            result.append((i, modifiers, settings))
    return result
