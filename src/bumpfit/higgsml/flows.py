"""Contrastive normalising flows (Elsharkawy and Kahn, arXiv:2505.08709): a density that is high where signal is and
background is not.

A masked autoregressive flow q maximises E_signal[ln q] - c E_background[ln q]: without limits its optimum is
(p_signal - c p_background)_+, so that c sets how much signal an event must show. ln q of the background is bounded
below, or the loss would have no minimum. Flows see coordinates without redundancy (derived quantities follow from them,
and a density on a surface does not exist); they are trained with zuko and kept as plain arrays.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import MissingExtraError
from bumpfit.higgsml import kernel as k
from bumpfit.higgsml.network import CHUNK, Floats, Inputs, Scaling
from bumpfit.higgsml.network_training import Training, descend, one_thread

SLOPE = math.log(1e-3)
"""Where the logarithm of a scale is cut off softly, as in zuko."""
FLOOR = 3.0
"""ln q of background is bounded below by minus this for each coordinate (a standard normal law has -1.4 on average)."""
COORDINATES = (10, 13)
"""Numbers of coordinates of events with one jet, and with two or more."""


def jets(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """0, 1 or 2: no jet, one, two or more, of events (28, N)."""
    first = (features[k.N_JETS] >= 1) & (features[k.J1_PT] >= 0)
    second = first & (features[k.N_JETS] >= 2) & (features[k.J2_PT] >= 0)
    return np.asarray(first.astype(np.int64) + second)


def coordinates(features: NDArray[np.float32], category: int) -> Inputs:
    """Coordinates of events (28, N) with one (10) or two jets (13): the primary quantities up to the symmetries."""
    x = features
    up = np.where(x[k.LEP_ETA] + x[k.HAD_ETA] >= 0, np.float32(1), np.float32(-1))
    lep = x[k.LEP_PHI]
    side = np.where(np.sin(x[k.HAD_PHI] - lep) >= 0, np.float32(1), np.float32(-1))

    def turned(phi: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(side * ((phi - lep + 3 * np.pi) % (2 * np.pi) - np.pi))

    columns = [np.log(np.maximum(x[k.LEP_PT] - 19.0, 0.5)), np.log(np.maximum(x[k.HAD_PT] - 25.0, 0.5)),
               np.log1p(x[k.MET]), up * x[k.LEP_ETA], up * x[k.HAD_ETA], turned(x[k.HAD_PHI]),
               turned(x[k.MET_PHI])]  # fmt: skip
    for jet in (k.J1_PT, k.J2_PT)[:category]:
        columns += [np.log(np.maximum(x[jet] - 25.0, 0.5)), up * x[jet + 1], turned(x[jet + 2])]
    return np.stack(columns, axis=1).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """A masked autoregressive flow: affine transforms, each with layers of weights (in, out) and offsets (out,)."""

    scaling: Scaling
    transforms: tuple[tuple[tuple[Inputs, Inputs], ...], ...]

    def __call__(self, x: Inputs) -> Floats:
        """ln q of coordinates (N, D), per standardised volume."""
        result = np.empty(len(x))
        size = x.shape[1]
        for start in range(0, len(x), CHUNK):
            z = self.scaling(x[start : start + CHUNK])
            log = np.zeros(len(z), dtype=np.float32)
            for layers in self.transforms:
                y = z
                for place, (w, b) in enumerate(layers):
                    y = y @ w + b
                    if place + 1 < len(layers):
                        np.maximum(y, np.float32(0), out=y)
                shift, scale = y[:, 0::2], y[:, 1::2]
                scale = scale / (1.0 + np.abs(scale / np.float32(SLOPE)))
                z = z * np.exp(scale) + shift
                log += scale.sum(axis=1)
            result[start : start + CHUNK] = log - 0.5 * (z**2).sum(axis=1)
        return np.asarray(result - 0.5 * size * math.log(2.0 * math.pi))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a file, their names begin with `name`."""
        result: dict[str, NDArray[Any]] = {f"{name}_scaling": np.stack([self.scaling.mean, self.scaling.spread])}
        for number, layers in enumerate(self.transforms):
            for place, (w, b) in enumerate(layers):
                result[f"{name}_{number}_{place}"] = np.concatenate([w, b[None]])
        return result

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str, size: int) -> Flow:
        """Back from `arrays`, `size` is the number of coordinates; raises ValueError when they do not fit."""
        scaling = np.asarray(arrays[f"{name}_scaling"], dtype=np.float32)
        if scaling.shape != (2, size) or not np.isfinite(scaling).all() or (scaling[1] <= 0).any():
            raise ValueError(f"the flow '{name}' has other coordinates")
        transforms: list[tuple[tuple[Inputs, Inputs], ...]] = []
        while f"{name}_{len(transforms)}_0" in arrays:
            layers: list[tuple[Inputs, Inputs]] = []
            width = size
            while f"{name}_{len(transforms)}_{len(layers)}" in arrays:
                layer = np.asarray(arrays[f"{name}_{len(transforms)}_{len(layers)}"], dtype=np.float32)
                if layer.ndim != 2 or layer.shape[0] != width + 1 or not np.isfinite(layer).all():
                    raise ValueError(f"the layers of the flow '{name}' do not fit together")
                layers.append((layer[:-1], layer[-1]))
                width = layer.shape[1]
            if width != 2 * size:
                raise ValueError(f"the layers of the flow '{name}' do not fit together")
            transforms.append(tuple(layers))
        if not transforms:
            raise ValueError(f"the flow '{name}' has no transforms")
        return cls(Scaling(scaling[0], scaling[1]), tuple(transforms))


def train_flow(
    x: Inputs, signal: NDArray[np.bool_], weights: Floats, held: NDArray[np.bool_], c: float, transforms: int,
    how: Training, seed: int,
) -> tuple[Flow, list[float]]:  # fmt: skip
    """Train one flow on weighted events.

    Args:
        x: coordinates (N, D).
        signal: which are signal.
        weights: expected events.
        held: which are held out.
        c: weight of the background.
        transforms: number of affine transforms.
        how: layers and steps.
        seed: of everything random.

    Returns:
        The flow and the losses of the held-out events.
    """
    try:
        import zuko
    except ModuleNotFoundError as error:
        raise MissingExtraError("zuko", "deep", "a normalising flow") from error
    w = np.where(signal, weights / weights[signal].sum(), c * weights / weights[~signal].sum()) * len(x)
    scaling = Scaling.of(x[~held], w[~held])
    with one_thread(seed) as torch:
        flow = zuko.flows.MAF(x.shape[1], transforms=transforms, hidden_features=how.hidden)
        inputs, factors = torch.from_numpy(scaling(x)), torch.from_numpy(w.astype(np.float32))
        classes = torch.from_numpy(signal)
        training, tested = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~held, held))
        floor = -FLOOR * x.shape[1]

        def lost(rows: Any) -> Any:
            log = flow().log_prob(inputs[rows])
            bounded = floor + torch.nn.functional.softplus(log - floor)
            return (factors[rows] * torch.where(classes[rows], -log, bounded)).sum() / len(rows)

        def epoch(optimiser: Any) -> None:
            for rows in training[torch.randperm(len(training))].split(how.batch):
                optimiser.zero_grad()
                lost(rows).backward()
                torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
                optimiser.step()

        def loss() -> float:
            return float(sum(lost(rows) * len(rows) for rows in tested.split(CHUNK)) / max(len(tested), 1))

        losses = descend(torch, flow, how, epoch, loss, f"flow, c = {c:g}")
        return Flow(scaling, plain(flow)), losses


def plain(flow: Any) -> tuple[tuple[tuple[Inputs, Inputs], ...], ...]:
    """The masked layers of zuko's flow as arrays."""
    return tuple(
        tuple(
            ((layer.mask * layer.weight).detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
            for layer in transform.hyper
            if hasattr(layer, "mask")
        )
        for transform in flow.transform.transforms
    )
