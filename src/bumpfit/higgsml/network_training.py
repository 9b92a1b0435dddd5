"""Training of the networks of an unbinned measurement: class posteriors, and the response to the nuisances (PyTorch).

Both on one thread with random numbers from a seed. A fifth of the generated events is held out; training ends when
their loss has not fallen for `patience` epochs, and the best weights are kept.

The response of process p is ln(dsigma_p(x; nu) / dsigma_p(x; 0)) = c_p(x) . m(nu), its network minimises the
cross-entropy between events at 0 and at nu, parametrised by nu (HEPHY, arXiv:2505.05544), here of pairs of the same
event: most of the fluctuation of the sample falls out of the difference.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.higgsml.network import Floats, Inputs, Network, Scaling
from bumpfit.progress import bar

TERMS = 9
SIZES = np.array([3.0, 3.0, 25.0, 9.0, 9.0, 625.0, 9.0, 75.0, 75.0])
"""Terms of the response at the ends of the training: outputs of the network are coefficients of terms / SIZES."""
TOGETHER = 4
"""Points of the nuisances that a step of the response sees."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Layers and steps of both networks: `hidden` widths, Adam with `learning_rate` and `decay`."""

    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 1e-3
    decay: float = 1e-4
    epochs: int = 60
    batch: int = 1024
    patience: int = 6


@contextlib.contextmanager
def one_thread(seed: int) -> Iterator[Any]:
    """PyTorch on one thread with random numbers from the seed; what others see of both is left as it was."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "deep", "a network") from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield torch
    finally:
        torch.set_num_threads(threads)


def _layers(torch: Any, sizes: list[int], flat: bool) -> Any:
    """A stack of layers; `flat`: it begins with the output 0."""
    parts: list[Any] = []
    for a, b in itertools.pairwise(sizes):
        parts += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    net = torch.nn.Sequential(*parts[:-1])
    if flat:
        torch.nn.init.zeros_(net[-1].weight)
        torch.nn.init.zeros_(net[-1].bias)
    return net


def _plain(net: Any, scaling: Scaling) -> Network:
    layers = [layer for layer in net if hasattr(layer, "weight")]
    weights = tuple(layer.weight.detach().numpy().T.copy() for layer in layers)
    return Network(scaling, weights, tuple(layer.bias.detach().numpy().copy() for layer in layers))


def descend(
    torch: Any, net: Any, how: Training, epoch: Callable[[Any], None], loss: Callable[[], float], name: str
) -> list[float]:
    """Train by epochs until the loss of the held-out events stops to fall; the losses."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=how.learning_rate, weight_decay=how.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.epochs, how.learning_rate * 0.05)
    with torch.no_grad():
        best = loss()  # of the network that knows nothing: it is kept where the events are too few to learn from
    kept, waited, losses = copy.deepcopy(net.state_dict()), 0, [best]
    with bar(f"training {name}", how.epochs) as advance:
        for _ in range(how.epochs):
            epoch(optimiser)
            schedule.step()
            with torch.no_grad():
                now = loss()
            losses.append(now)
            advance(1, f"held-out loss {now:.5f}")
            if now < best:
                best, kept, waited = now, copy.deepcopy(net.state_dict()), 0
            else:
                waited += 1
            if waited >= how.patience:
                break
    if not np.isfinite(best):
        raise InputError(f"the loss of the {name} is not finite; lower learning_rate")
    net.load_state_dict(kept)
    return losses


def balanced(process: NDArray[np.int8], weights: Floats) -> Floats:
    """Weights in which every process that is there has the same sum, their mean is 1."""
    sums = np.bincount(process, weights, minlength=4)
    result = weights / np.where(sums > 0, sums, 1.0)[process]
    return np.asarray(result * len(result) / result.sum())


def train_posteriors(
    x: Inputs, process: NDArray[np.int8], weights: Floats, held: NDArray[np.bool_], how: Training, seed: int
) -> tuple[Network, list[float]]:
    """Logits of the four processes at equal shares, from weighted events (N, K); `held` are held out.

    Returns:
        The network and the losses of the held-out events.
    """
    w = balanced(process, weights)
    scaling = Scaling.of(x[~held], w[~held])
    with one_thread(seed) as torch:
        net = _layers(torch, [x.shape[1], *how.hidden, 4], False)
        inputs, factors = torch.from_numpy(scaling(x)), torch.from_numpy(w.astype(np.float32))
        target = torch.from_numpy(process.astype(np.int64))
        training, tested = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~held, held))
        entropy = torch.nn.CrossEntropyLoss(reduction="none")

        def epoch(optimiser: Any) -> None:
            for rows in training[torch.randperm(len(training))].split(how.batch):
                optimiser.zero_grad()
                ((entropy(net(inputs[rows]), target[rows]) * factors[rows]).sum() / len(rows)).backward()
                optimiser.step()

        def loss() -> float:
            lost = (entropy(net(inputs[tested]), target[tested]) * factors[tested]).sum()
            return float(lost / factors[tested].sum())

        losses = descend(torch, net, how, epoch, loss, "class posteriors")
        return _plain(net, scaling), losses


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Events at one point: inputs of those that are in the regions there, their rows, and the terms of the point."""

    x: Inputs
    rows: NDArray[np.int64]
    terms: Floats


def train_response(
    nominal: Pair, shifted: Callable[[int], Pair], points: int, process: NDArray[np.int8], weights: Floats,
    held: NDArray[np.bool_], how: Training, seed: int,
) -> tuple[Network, list[float]]:  # fmt: skip
    """Coefficients of the response of the four processes, outputs (N, 4 x 9).

    Args:
        nominal: the events at 0.
        shifted: the events at a point, each call with new noise.
        points: number of points.
        process: of every row.
        weights: expected events of every row.
        held: rows that are held out.
        how: layers and steps.
        seed: of everything random.
    """
    w = balanced(process, weights).astype(np.float32)
    scaling = Scaling.of(nominal.x, weights[nominal.rows] / np.bincount(process, weights)[process[nominal.rows]])
    rng = np.random.default_rng([seed, 3])
    with one_thread(seed) as torch:
        net = _layers(torch, [nominal.x.shape[1], *how.hidden, 4 * TERMS], True)
        softplus = torch.nn.functional.softplus

        def coefficients(x: Inputs, rows: NDArray[np.int64]) -> Any:
            out = net(torch.from_numpy(scaling(x))).view(-1, 4, TERMS)
            return out[torch.arange(len(x)), torch.from_numpy(process[rows].astype(np.int64))]

        def lost(group: list[Pair], rows: NDArray[np.bool_]) -> Any:
            """Cross-entropy at some points over the rows of a mask, less that of no response."""
            here = rows[nominal.rows]
            zero = coefficients(nominal.x[here], nominal.rows[here])
            factor = torch.from_numpy(w[nominal.rows[here]])
            total = torch.zeros(())
            for pair in group:
                terms = torch.from_numpy((pair.terms / SIZES).astype(np.float32))
                there = rows[pair.rows]
                moved = coefficients(pair.x[there], pair.rows[there])
                total = total + (factor * (softplus(zero @ terms) - np.log(2.0))).sum()
                total = total + (
                    torch.from_numpy(w[pair.rows[there]]) * (softplus(-(moved @ terms)) - np.log(2.0))
                ).sum()  # fmt: skip
            return total / (len(group) * rows.sum())

        tests = [shifted(k) for k in range(points)]

        def epoch(optimiser: Any) -> None:
            order = rng.permutation(points)
            free = np.flatnonzero(~held)
            for start in range(0, points, TOGETHER):
                group = [shifted(int(k)) for k in order[start : start + TOGETHER]]
                for rows in np.array_split(rng.permutation(free), max(1, len(free) // how.batch)):
                    mask = np.zeros(len(held), dtype=bool)
                    mask[rows] = True
                    optimiser.zero_grad()
                    lost(group, mask).backward()
                    optimiser.step()

        losses = descend(torch, net, how, epoch, lambda: float(lost(tests, held)), "response")
        return _plain(net, scaling), losses
