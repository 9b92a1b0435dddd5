"""Draw and write results: figures in the style of the field, documents in HTML and Markdown, tables for the terminal.

Nothing is computed here. Every function takes arrays or records and returns a figure, a text or a rich renderable;
`style` holds the look, `png` turns a figure into bytes.
"""

from bumpfit.report.distributions import ShapeRatio, background_shapes, data_and_background, probabilities
from bumpfit.report.document import Document
from bumpfit.report.measurements import Bins, mass_peak, score_bins
from bumpfit.report.significance import selection_significances
from bumpfit.report.spectra import ScanLine, scan, spectrum
from bumpfit.report.style import png, style

__all__ = [
    "Bins",
    "Document",
    "ScanLine",
    "ShapeRatio",
    "background_shapes",
    "data_and_background",
    "mass_peak",
    "png",
    "probabilities",
    "scan",
    "score_bins",
    "selection_significances",
    "spectrum",
    "style",
]
