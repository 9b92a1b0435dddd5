"""What a network sees of events, and a trained network as plain arrays: inference needs numpy only.

The rotation about the beam and both reflections carry nothing and are taken away exactly: angles are counted from the
lepton, with the tau at a positive one, and the sum of the pseudorapidities of lepton and tau is positive. Momenta and
masses enter as logarithms. An undefined quantity is 0, and an indicator says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.higgsml import kernel as k

Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]
FAR = 8.0
"""Standard deviations at which inputs are cut off: beyond, a network extrapolates."""
CHUNK = 4096
"""Events at a time; no number depends on it."""


def inputs(features: NDArray[np.float32]) -> Inputs:
    """What networks see of events (28, N): (N, 34)."""
    x = features
    one, two = x[k.N_JETS] >= 1, x[k.N_JETS] >= 2
    one, two = one & (x[k.J1_PT] >= 0), two & (x[k.J2_PT] >= 0)
    up = np.where(x[k.LEP_ETA] + x[k.HAD_ETA] >= 0, np.float32(1), np.float32(-1))
    lep, had = x[k.LEP_PHI], x[k.HAD_PHI]
    side = np.where(np.sin(had - lep) >= 0, np.float32(1), np.float32(-1))
    columns: list[NDArray[Any]] = [np.log(x[row]) for row in (k.LEP_PT, k.HAD_PT)]
    columns += [np.log1p(x[row]) for row in (k.MET, k.ALL_PT)]
    columns += [up * x[k.LEP_ETA], up * x[k.HAD_ETA], x[k.N_JETS], one, two]
    for phi in (had, x[k.MET_PHI]):
        columns += [np.cos(phi - lep), side * np.sin(phi - lep)]
    for jet, there in ((k.J1_PT, one), (k.J2_PT, two)):
        turn = x[jet + 2] - lep
        values = (np.log(np.maximum(x[jet], 1.0)), up * x[jet + 1], np.cos(turn), side * np.sin(turn))
        columns += [np.where(there, value, 0.0) for value in values]
    m_t, vis, pt_h, gap, m_jj, product, apart, total, scalar, ratio, met_c, lep_c = x[k.PRI :]
    columns += [m_t / 50.0, np.log1p(vis), np.log1p(pt_h), apart, np.log1p(total), np.log1p(scalar), np.log(ratio)]
    pair = gap >= 0
    for value in (gap, np.log1p(np.maximum(m_jj, 0.0)), product, lep_c):
        columns.append(np.where(pair, value, 0.0))
    sided = met_c >= -2
    columns += [np.where(sided, met_c, 0.0), sided]
    return np.stack(columns, axis=1).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Scaling:
    """Means and standard deviations of inputs, (K,) each."""

    mean: Inputs
    spread: Inputs

    @classmethod
    def of(cls, x: Inputs, weights: Floats) -> Scaling:
        """From weighted events (N, K); a constant input keeps its size."""
        mean = np.average(x, axis=0, weights=weights)
        spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
        return cls(mean.astype(np.float32), np.where(spread > 1e-6, spread, 1.0).astype(np.float32))

    def __call__(self, x: Inputs) -> Inputs:
        """Standardised inputs, cut off at `FAR`."""
        return np.asarray(np.clip((x - self.mean) / self.spread, -FAR, FAR))


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Layers of weights (in, out) and offsets (out,), with max(0, x) between them."""

    scaling: Scaling
    weights: tuple[Inputs, ...]
    offsets: tuple[Inputs, ...]

    def __call__(self, x: Inputs) -> Floats:
        """The outputs for inputs (N, K)."""
        result = np.empty((len(x), self.weights[-1].shape[1]))
        for start in range(0, len(x), CHUNK):
            y = self.scaling(x[start : start + CHUNK])
            for place, (w, b) in enumerate(zip(self.weights, self.offsets, strict=True)):
                y = y @ w + b
                if place + 1 < len(self.weights):
                    np.maximum(y, np.float32(0), out=y)
            result[start : start + CHUNK] = y
        return result

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a file, their names begin with `name`."""
        result: dict[str, NDArray[Any]] = {f"{name}_scaling": np.stack([self.scaling.mean, self.scaling.spread])}
        for place, (w, b) in enumerate(zip(self.weights, self.offsets, strict=True)):
            result[f"{name}_layer{place}"] = np.concatenate([w, b[None]])
        return result

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str, size: tuple[int, int]) -> Network:
        """Back from `arrays`; `size` are the numbers of inputs and outputs. Raises ValueError when they do not fit."""
        scaling = np.asarray(arrays[f"{name}_scaling"], dtype=np.float32)
        layers: list[Inputs] = []
        while f"{name}_layer{len(layers)}" in arrays:
            layers.append(np.asarray(arrays[f"{name}_layer{len(layers)}"], dtype=np.float32))
        widths = [size[0], *(layer.shape[-1] for layer in layers)]
        if not layers or widths[-1] != size[1] or scaling.shape != (2, size[0]):
            raise ValueError(f"the network '{name}' has other inputs or outputs")
        if any(layer.shape != (a + 1, b) for layer, a, b in zip(layers, widths, widths[1:], strict=False)):
            raise ValueError(f"the layers of the network '{name}' do not fit together")
        if not all(np.isfinite(part).all() for part in (scaling, *layers)) or (scaling[1] <= 0).any():
            raise ValueError(f"the network '{name}' has values that are not finite")
        return cls(
            Scaling(scaling[0], scaling[1]), tuple(la[:-1] for la in layers), tuple(la[-1] for la in layers)
        )  # fmt: skip


INPUTS = 34
