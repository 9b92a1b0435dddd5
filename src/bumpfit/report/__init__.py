"""Draw and write results: figures in the style of the field, documents in HTML and Markdown, tables for the terminal.

Nothing is computed here. Every function takes arrays or records and returns a figure, a text or a rich renderable;
`plot` draws any record, `style` holds the look, `png` turns a figure into bytes. Modules are imported when they are
first used: whoever only rounds a number does not wait for matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bumpfit.report.beside import pulls_beside
    from bumpfit.report.classifiers import performance, templates
    from bumpfit.report.cutflows import cut_flow
    from bumpfit.report.datasets import images, observables, point_cloud
    from bumpfit.report.distributions import ShapeRatio, background_shapes, data_and_background, probabilities
    from bumpfit.report.document import Document
    from bumpfit.report.fitted import ranking, yields
    from bumpfit.report.measurements import Bins, mass_peak, score_bins
    from bumpfit.report.pictures import plot
    from bumpfit.report.profiles import brazil, cls_curve, contours, profile
    from bumpfit.report.significance import selection_significances
    from bumpfit.report.spectra import ScanLine, scan, spectrum
    from bumpfit.report.style import drawing_on, png
    from bumpfit.report.toys import (
        coverage_ladder,
        global_p_value,
        sensitivity_bands,
        tail_probability,
        toy_distribution,
        two_hypotheses,
    )

_PLACES = {
    "beside": ("pulls_beside",),
    "classifiers": ("performance", "templates"),
    "cutflows": ("cut_flow",),
    "datasets": ("images", "observables", "point_cloud"),
    "distributions": ("ShapeRatio", "background_shapes", "data_and_background", "probabilities"),
    "document": ("Document",),
    "fitted": ("ranking", "yields"),
    "measurements": ("Bins", "mass_peak", "score_bins"),
    "pictures": ("plot",),
    "profiles": ("brazil", "cls_curve", "contours", "profile"),
    "significance": ("selection_significances",),
    "spectra": ("ScanLine", "scan", "spectrum"),
    "style": ("drawing_on", "png"),
    "toys": (
        "coverage_ladder",
        "global_p_value",
        "sensitivity_bands",
        "tail_probability",
        "toy_distribution",
        "two_hypotheses",
    ),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Bins",
    "Document",
    "ScanLine",
    "ShapeRatio",
    "background_shapes",
    "brazil",
    "cls_curve",
    "contours",
    "coverage_ladder",
    "cut_flow",
    "data_and_background",
    "drawing_on",
    "global_p_value",
    "images",
    "mass_peak",
    "observables",
    "performance",
    "plot",
    "png",
    "point_cloud",
    "probabilities",
    "profile",
    "pulls_beside",
    "ranking",
    "scan",
    "score_bins",
    "selection_significances",
    "sensitivity_bands",
    "spectrum",
    "tail_probability",
    "templates",
    "toy_distribution",
    "two_hypotheses",
    "yields",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bumpfit.report' has no attribute '{name}'")
    return getattr(importlib.import_module(f"bumpfit.report.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
