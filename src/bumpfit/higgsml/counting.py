"""Counts in the six regions of HEPHY's analysis: a complete model with six nuisances, and what nuisances cost.

Yields of each process and region in 10 fb-1 and their log-quadratic response to the energy scales (in standard
deviations) and to soft_met (in GeV) are published; scales of yields are (1 + alpha)^theta. All six nuisances have unit
normal constraints. Six counts cannot constrain six nuisances and mu: with the nuisances known the error of mu = 1 is
0.8, with all profiled 3.3. What measures mu is the shape inside the regions, which this model does not have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.files import require
from bumpfit.foreign import read_json
from bumpfit.higgsml.columns import PROCESSES
from bumpfit.higgsml.likelihood import Model, response_model

SCALES = ("tt", "diboson", "bkg")
REACH = 8.0
"""Range of the nuisances in standard deviations: six counts leave them at their prior."""


def published() -> Path:
    """The packaged file of HEPHY's regions."""
    return Path(str(resources.files("bumpfit.data").joinpath("higgsml_regions.json")))


def read_regions(path: str | os.PathLike[str] | None = None) -> tuple[tuple[str, ...], Model]:
    """Names of the regions and their likelihood, from a file of the form of the packaged one (default: that one).

    Raises:
        InputError: no such file, no JSON, or a part is missing or no number.
    """
    file = require(published() if path is None else path)
    content = read_json(file)
    if not isinstance(content, Mapping):
        raise InputError(f"{file} is no region model: expected an object with 'alpha' and regions")
    parts = [content.get(key, {}) for key in ("regions", "unbinned", "poisson")]
    regions = {name: region for part in parts if isinstance(part, Mapping) for name, region in part.items()}
    if not regions:
        raise InputError(f"{file} has no regions")
    try:
        yields = np.array([[float(r[p]["nominal_yield"]) for p in PROCESSES] for r in regions.values()])
        response = np.array([[_nine(r[p]["icp_DeltaA"]) for p in PROCESSES] for r in regions.values()])
        scales = np.array([float(content["alpha"][name]) for name in SCALES])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no region model: {type(error).__name__} at {error}") from error
    if not (np.isfinite(scales).all() and (scales > -1).all()):
        raise InputError(f"{file} has scales {scales.tolist()}; expected numbers above -1")
    model = response_model(yields, response, power=True, square=False, reach=REACH)
    return tuple(regions), Model(model.arrays._replace(scales=scales), model.nuisances, model.bins)


def _nine(values: Any) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) != 9:
        raise ValueError(f"{len(numbers)} coefficients, expected 9")
    return numbers
