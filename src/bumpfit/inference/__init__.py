"""Likelihood inference, one question a file."""

from bumpfit.inference.asymptotic import Asymptotic
from bumpfit.inference.blinding import asimov, blind
from bumpfit.inference.blue import Combination, blue
from bumpfit.inference.breakdown import breakdown
from bumpfit.inference.bump_hunter import bump_hunter
from bumpfit.inference.compatibility import compatibility
from bumpfit.inference.contour import contour
from bumpfit.inference.discovery import discovery
from bumpfit.inference.feldman_cousins import feldman_cousins
from bumpfit.inference.fit import fit
from bumpfit.inference.goodness import goodness
from bumpfit.inference.histfactory import FitOptions, Settings, prepare
from bumpfit.inference.impacts import impacts
from bumpfit.inference.interval import interval
from bumpfit.inference.joint_discovery import joint_discovery
from bumpfit.inference.limit import cls, limit
from bumpfit.inference.masses import discoveries, limits
from bumpfit.inference.on_off import on_off
from bumpfit.inference.posterior import posterior
from bumpfit.inference.pulls import Pulls, pulls
from bumpfit.inference.scan import scan
from bumpfit.inference.simplified import Simplified, simplified
from bumpfit.inference.summary import Summary, summary
from bumpfit.inference.surface import Surface, surface
from bumpfit.inference.yields import postfit, prefit

__all__ = [
    "Asymptotic",
    "Combination",
    "FitOptions",
    "Pulls",
    "Settings",
    "Simplified",
    "Summary",
    "Surface",
    "asimov",
    "blind",
    "blue",
    "breakdown",
    "bump_hunter",
    "cls",
    "compatibility",
    "contour",
    "discoveries",
    "discovery",
    "feldman_cousins",
    "fit",
    "goodness",
    "impacts",
    "interval",
    "joint_discovery",
    "limit",
    "limits",
    "on_off",
    "posterior",
    "postfit",
    "prefit",
    "prepare",
    "pulls",
    "scan",
    "simplified",
    "summary",
    "surface",
]
