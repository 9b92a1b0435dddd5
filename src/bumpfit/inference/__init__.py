"""Likelihood inference, one question a file."""

from bumpfit.inference.discovery import discovery
from bumpfit.inference.fit import FitOptions, fit
from bumpfit.inference.interval import interval
from bumpfit.inference.limit import cls, limit
from bumpfit.inference.scan import scan

__all__ = ["FitOptions", "cls", "discovery", "fit", "interval", "limit", "scan"]
