"""Workspaces: histograms, shapes and systematic uncertainties as a likelihood; HistFactory and HS3 JSON."""

from bumpfit.workspace.model import Channel, Model
from bumpfit.workspace.parameters import Parameter
from bumpfit.workspace.read import read

__all__ = ["Channel", "Model", "Parameter", "read"]
