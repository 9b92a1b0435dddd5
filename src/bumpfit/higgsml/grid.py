"""Template grids: expected signal and background in bins at points (tes, jes), and the likelihood between them.

A grid file is JSON: {"(tes, jes)": {"sig": [...], "bg": [...]}, ...} with the energy scales as factors, every
combination of their values, and expected events at mu = 1. Between the points each bin is a tensor-product spline
(cubic where there are four points or more; linear in a bin where that would go below 0). tes and jes have the
challenge's prior, N(1, 0.01), and stay inside the grid.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

from bumpfit.errors import InputError
from bumpfit.files import require
from bumpfit.foreign import read_json
from bumpfit.higgsml.expected_kernel import GRID, Arrays
from bumpfit.higgsml.likelihood import Model
from bumpfit.higgsml.nuisances import PRIORS

Array = NDArray[np.float64]
PARTS = ("sig", "bg")
KEY = re.compile(r"^\s*\(?\s*([^,()\s]+)\s*,\s*([^,()\s]+)\s*\)?\s*$")


def read_grid(path: str | os.PathLike[str]) -> Model:
    """The likelihood of a grid file.

    Raises:
        InputError: no such file, no JSON, or no grid (see `grid_model`).
    """
    file = require(path)
    content = read_json(file)
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f'{file} is no template grid; expected an object {{"(tes, jes)": {{"sig": [...], "bg": [...]}}}}'
        )
    points = {_point(key, str(file)): _templates(value, key, str(file)) for key, value in content.items()}
    if len(points) != len(content):
        raise InputError(f"{file} has a point of the grid more than once")
    tes, jes = (sorted({point[axis] for point in points}) for axis in (0, 1))
    for t in tes:
        for j in jes:
            if (t, j) not in points:
                raise InputError(
                    f"{file} has a gap in its grid: there is no point ({t:g}, {j:g}), but {len(points)} others"
                )
    sizes = {templates.shape[1] for templates in points.values()}
    if len(sizes) != 1:
        raise InputError(f"{file} has templates of {min(sizes)} and of {max(sizes)} bins; expected equal numbers")
    return grid_model(tes, jes, np.array([[points[t, j] for j in jes] for t in tes]))


def _point(key: str, what: str) -> tuple[float, float]:
    found = KEY.match(key)
    try:
        point = tuple(float(part) for part in found.groups()) if found else ()
    except ValueError:
        point = ()
    if len(point) != 2 or not all(map(math.isfinite, point)):
        raise InputError(f"{what} has the key {key!r}; expected '(tes, jes)' with two numbers")
    return point[0], point[1]


def _templates(value: Any, key: str, what: str) -> Array:
    lists = [value.get(part) for part in PARTS] if isinstance(value, Mapping) else [None, None]
    try:
        templates = np.array(lists, dtype=np.float64)
    except (TypeError, ValueError):
        templates = np.empty(0)
    if templates.ndim != 2 or not templates.shape[1]:
        raise InputError(f"{what} has no lists 'sig' and 'bg' of equal length at {key}")
    if not np.isfinite(templates).all() or (templates < 0).any():
        raise InputError(f"{what} has templates at {key} that are not finite or negative")
    return templates


def grid_model(tes: ArrayLike, jes: ArrayLike, templates: Array) -> Model:
    """The likelihood of templates (T, J, 2, B) at the factors tes (T,) and jes (J,), signal before background.

    Raises:
        InputError: fewer than two values of a factor, or a grid that does not hold 1; bins where nothing is expected.
    """
    edges = []
    for name, values in (("tes", tes), ("jes", jes)):
        axis = (np.asarray(values, dtype=np.float64) - 1.0) / PRIORS[name].sigma
        if len(axis) < 2 or not axis[0] <= 1e-9 or not axis[-1] >= -1e-9:
            raise InputError(f"the grid has {name} at {', '.join(f'{v:g}' for v in np.asarray(values))}; expected two "
                             "values or more, with 1 between them")  # fmt: skip
        edges.append(axis)
    if templates[:, :, 0].sum() <= 0.0:
        raise InputError("the grid has no signal")
    if (templates.sum(axis=2) == 0).any(axis=(0, 1)).any():
        bad = int(np.flatnonzero((templates.sum(axis=2) == 0).any(axis=(0, 1)))[0])
        raise InputError(f"nothing is expected in bin {bad} of the grid; merge it with another one")
    cells = _cells(edges, templates, 3)
    below = _negative(edges, cells)
    if below.any():
        cells[:, :, below] = _cells(edges, templates, 1)[:, :, below]
    low, high = np.array([e[0] for e in edges]), np.array([e[-1] for e in edges])
    none = np.empty((0, 4))
    arrays = Arrays(
        GRID, none, np.empty((0, 4, 9)), np.zeros(3), False, False, np.ascontiguousarray(cells), edges[0],
        edges[1], low, high, np.zeros(templates.shape[3]),
    )  # fmt: skip
    return Model(arrays, ("tes", "jes"), templates.shape[3])


STEPS = 9
"""Points of a cell and axis at which a spline is looked at for negative expectations."""


def _cells(edges: list[Array], templates: Array, degree: int) -> Array:
    """Coefficients (T, J, B, 2, 4, 4) of the splines in the cells."""
    by_t, by_j = (_cardinal(axis, degree) for axis in edges)
    return np.asarray(np.einsum("acT,bdJ,TJpn->cdnpab", by_t, by_j, templates))


def _negative(edges: list[Array], cells: Array) -> NDArray[np.bool_]:
    """Bins (B,) whose signal or background is negative at points of the cells, by more than rounding."""
    within = np.linspace(0.0, 1.0, STEPS)
    result = np.zeros(cells.shape[2], dtype=bool)
    for i, t in enumerate(np.diff(edges[0])):
        for k, j in enumerate(np.diff(edges[1])):
            powers = [(within * width)[:, None] ** np.arange(4) for width in (t, j)]
            values = np.einsum("sa,qb,npab->npsq", *powers, cells[i, k])
            scale = np.abs(values).max(axis=(1, 2, 3))
            result |= values.min(axis=(1, 2, 3)) < -1e-12 * scale
    return result


def _cardinal(x: Array, degree: int) -> Array:
    """Polynomials of the interpolating spline of each unit vector: (4 powers, cells, points).

    Powers count from the lower corner of a cell.
    """
    degree = min(degree, len(x) - 1)
    spline = make_interp_spline(x, np.eye(len(x)), k=degree)
    result = np.zeros((4, len(x) - 1, len(x)))
    for power in range(degree + 1):
        result[power] = spline(x[:-1], power) / math.factorial(power)
    return result
