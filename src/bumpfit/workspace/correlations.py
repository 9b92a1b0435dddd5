"""Correlated constraints: several nuisance parameters whose auxiliary measurements share a covariance.

The measurement states correlations, {"parameters": [names], "matrix": [[1, r], [r, 1]]}; the standard deviations are
those of the parameters (`sigmas`, 1 for most). With the covariance C = L L^T the constraint is the Gaussian
N(aux | theta, C), whose pulls L^-1 (theta - aux) are independent with unit width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.parameters import Parameter
from bumpfit.workspace.structure import Path, check_keys, check_numbers, check_type

SYMMETRIC = 1e-9
"""How far a correlation matrix may be from a symmetric one with a unit diagonal."""


@dataclasses.dataclass(frozen=True, eq=False)
class Correlation:
    """Names of n parameters and the Cholesky factor L of their covariance, shape (n, n)."""

    parameters: tuple[str, ...]
    lower: Floats

    @classmethod
    def of(cls, entry: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Correlation:
        """What a measurement states; raises InputError for parameters without a Gaussian constraint and matrices that
        are none of correlations.
        """
        names = tuple(entry["parameters"])
        if len(set(names)) < len(names):
            raise InputError(f"a correlation names a parameter twice: {', '.join(names)}")
        for name in names:
            if name not in parameters:
                raise InputError(f"a correlation names '{name}', which is no parameter of the workspace")
            if parameters[name].constraint != "normal":
                raise InputError(f"the parameter '{name}' has no Gaussian constraint, so it cannot be correlated")
        matrix = np.array(entry["matrix"], dtype=np.float64) if _square(entry["matrix"], len(names)) else None
        if matrix is None:
            raise InputError(f"the correlation matrix of {', '.join(names)} must have {len(names)} rows and columns")
        off = np.abs(matrix - matrix.T).max(initial=0.0) + np.abs(np.diag(matrix) - 1).max(initial=0.0)
        if not off <= SYMMETRIC:
            raise InputError(
                f"the correlation matrix of {', '.join(names)} must be symmetric with ones on its diagonal"
            )
        try:
            unit = np.linalg.cholesky(0.5 * (matrix + matrix.T))
        except np.linalg.LinAlgError:
            raise InputError(f"the correlation matrix of {', '.join(names)} is not positive definite") from None
        sigmas = np.array([parameters[name].width for name in names], dtype=np.float64)
        return cls(names, sigmas[:, None] * unit)


def _square(matrix: Any, size: int) -> bool:
    return len(matrix) == size and all(len(row) == size for row in matrix)


def check_correlations(entries: Any, path: Path, spec: Any) -> None:
    """Raise InputError unless this is a list of correlations as the module describes them."""
    check_type(entries, "array", path, spec)
    for k, entry in enumerate(entries):
        check_keys(entry, ("parameters", "matrix"), (), [*path, k], spec)
        check_type(entry["parameters"], "array", [*path, k, "parameters"], spec)
        for i, name in enumerate(entry["parameters"]):
            check_type(name, "string", [*path, k, "parameters", i], spec)
        check_type(entry["matrix"], "array", [*path, k, "matrix"], spec)
        for i, row in enumerate(entry["matrix"]):
            check_numbers(row, [*path, k, "matrix", i], spec)
