"""Tagging studies: from a data set and an approach to templates, a workspace, and expected and observed results."""

from bumpfit.tagging.prospects import Prospects, Setup, check, prospects
from bumpfit.tagging.templates import Templates, score_edges, templates
from bumpfit.tagging.variations import Effect, Variation, Varied, scaled

__all__ = [
    "Effect",
    "Prospects",
    "Setup",
    "Templates",
    "Variation",
    "Varied",
    "check",
    "prospects",
    "scaled",
    "score_edges",
    "templates",
]
