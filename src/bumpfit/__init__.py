"""bumpfit: likelihood fits for particle-physics searches, from event tables to calibrated p-values, masses and yields.

    import bumpfit
    answers = bumpfit.run("data.csv", "background.csv", "out")
    model = bumpfit.workspace.read("workspace.json")
    bumpfit.inference.discovery(model).p

Submodules are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bumpfit.pages.search_run import run

    __version__: str

_MODULES = (
    "errors",
    "events",
    "higgsml",
    "histograms",
    "inference",
    "report",
    "results",
    "scoring",
    "search",
    "shapes",
    "simulate",
    "tagging",
    "toys",
    "workspace",
)

__all__ = ["__version__", "run", *_MODULES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("bumpfit")
    if name == "run":
        return importlib.import_module("bumpfit.pages.search_run").run
    if name in _MODULES:
        return importlib.import_module(f"bumpfit.{name}")
    raise AttributeError(f"module 'bumpfit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
