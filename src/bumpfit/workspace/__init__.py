"""Workspaces: histograms, shapes and systematic uncertainties as a likelihood; HistFactory and HS3 JSON."""

from bumpfit.workspace import build
from bumpfit.workspace.combine import combine, prune, rename
from bumpfit.workspace.datacard_model import from_card
from bumpfit.workspace.model import Channel, Model
from bumpfit.workspace.parameters import Parameter
from bumpfit.workspace.read import read
from bumpfit.workspace.write import write

__all__ = ["Channel", "Model", "Parameter", "build", "combine", "from_card", "prune", "read", "rename", "write"]
