"""Tagging studies: from a data set and an approach to templates, a workspace, and expected and observed results."""

from bumpfit.tagging.prospects import Prospects, Setup, prospects
from bumpfit.tagging.templates import Templates, score_edges, templates

__all__ = ["Prospects", "Setup", "Templates", "prospects", "score_edges", "templates"]
