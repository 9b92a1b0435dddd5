"""All usual questions to one likelihood at once: what a report of a workspace tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Unpack

from bumpfit.errors import BumpfitError
from bumpfit.inference.discovery import discovery
from bumpfit.inference.fit import fit
from bumpfit.inference.goodness import goodness
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.impacts import impacts
from bumpfit.inference.interval import interval
from bumpfit.inference.limit import limit
from bumpfit.inference.scan import scan
from bumpfit.inference.yields import postfit, prefit
from bumpfit.results import Discovery, Fit, Goodness, Impacts, Interval, Limit, Record, Scan, Yields
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


@dataclasses.dataclass(frozen=True, eq=False)
class Summary(Record):
    """Answers by question; a question that has no answer is None, and `refused` says why.

    Examples:
        >>> found = bumpfit.inference.Summary("mu", bumpfit.inference.fit(model))
        >>> found.fit.valid, found.limit is None
        (True, True)
    """

    parameter: str | None
    fit: Fit
    prefit: Yields | None = None
    postfit: Yields | None = None
    discovery: Discovery | None = None
    interval: Interval | None = None
    limit: Limit | None = None
    scan: Scan | None = None
    impacts: Impacts | None = None
    goodness: Goodness | None = None
    refused: dict[str, str] = dataclasses.field(default_factory=dict)


def summary(
    model: Model, data: Data = None, *, options: FitOptions = FitOptions(), **settings: Unpack[Settings]
) -> Summary:
    """Ask a workspace everything, by formula; settings as for `fit`.

    Raises BumpfitError when the free fit does not converge, InputError for wrong settings or data.

    Examples:
        >>> b, s = build.sample("b", [9.0]), build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> counts = bumpfit.workspace.read(build.workspace({"A": [s, b]}, {"A": [12]}, "mu"))
        >>> found = bumpfit.inference.summary(counts)
        >>> print(f"Z = {found.discovery.z:.2f}, mu < {found.limit.observed:.1f}")
        Z = 0.95, mu < 2.0
    """
    best = fit(model, data, options=options, **settings)
    if not best.valid:
        raise BumpfitError(f"the fit did not converge: {best.status}")
    held = model.poi is None or model.poi in (*best.fixed, *best.undetermined)
    refused: dict[str, str] = {}

    def asked(name: str, question: Callable[..., Any]) -> Any:
        try:
            return question(model, data=data, options=options, **settings)
        except BumpfitError as error:
            refused[name] = str(error)
            return None

    whole: dict[str, Callable[..., Any]] = {"prefit": _prefit, "postfit": postfit, "goodness": goodness}
    of_interest: dict[str, Callable[..., Any]] = {
        "discovery": discovery, "interval": interval, "limit": limit, "scan": scan, "impacts": impacts,
    }  # fmt: skip
    answers = {name: asked(name, question) for name, question in whole.items()}
    if held:
        refused |= dict.fromkeys(of_interest, "there is no parameter of interest that the fit determines")
    else:
        answers |= {name: asked(name, question) for name, question in of_interest.items()}
    return Summary(parameter=None if held else model.poi, fit=best, refused=refused, **answers)


def _prefit(model: Model, data: Data = None, **_: Any) -> Yields:
    return prefit(model, data)
