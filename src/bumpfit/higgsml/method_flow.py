"""`flow`: contrastive flows by number of jets, a classifier that sees their densities, templates (IBRAHIME's method).

The learners' events train two flows in each category (c = 0.5 and 2) and a network that sees its usual inputs and the
sigmoid of both ln q; its training events are biased with nuisances drawn from the prior. What follows is `binned`: bins
of the score by information, exact templates on a grid of (jes, tes) and of soft_met, all six nuisances profiled.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import NO_NOISE, biased
from bumpfit.higgsml.flows import COORDINATES, Flow, coordinates, jets, train_flow
from bumpfit.higgsml.likelihood import Model, measure, throw
from bumpfit.higgsml.measurement import Curve, Measurement
from bumpfit.higgsml.method import State
from bumpfit.higgsml.method_binned import Binned
from bumpfit.higgsml.network import INPUTS, Floats, Inputs, Network, inputs
from bumpfit.higgsml.network_training import Training, train_posteriors
from bumpfit.higgsml.nuisances import PRIORS
from bumpfit.higgsml.split import learners
from bumpfit.higgsml.surrogate import log_odds
from bumpfit.higgsml.templates import Sample

NO_JET = -20.0
"""Score of an event without a jet: IBRAHIME did not use them."""
FEW = 100
"""Signal and background rows that training needs in a category."""
FROZEN = ("soft_met", "ttbar_scale", "diboson_scale", "bkg_scale")
"""Nuisances that IBRAHIME's fit does not have."""
RANGE = (0.0, 3.0)
"""Where their prior is flat."""
LINE_POINTS, LINE_EXPERIMENTS = 13, 300


@dataclasses.dataclass(frozen=True, eq=False)
class FlowScore:
    """Log-odds of the signal. `flows`: those of one category after the other; `networks`: one each; `shares` (2, 4)."""

    flows: tuple[tuple[Flow, ...], ...]
    networks: tuple[Network, ...]
    shares: Floats

    def __call__(self, features: NDArray[np.float32]) -> Floats:
        """The score of events (28, N), shape (N,)."""
        category = jets(features)
        result = np.full(features.shape[1], NO_JET)
        for place, (flows, network) in enumerate(zip(self.flows, self.networks, strict=True)):
            rows = np.flatnonzero(category == place + 1)
            if len(rows):
                x = seen(features[:, rows], flows, place + 1)
                result[rows] = np.maximum(log_odds(network(x) + np.log(self.shares[place])), NO_JET)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        result: dict[str, NDArray[Any]] = {"shares": self.shares}
        for place, (flows, network) in enumerate(zip(self.flows, self.networks, strict=True)):
            result |= network.arrays(f"classifier{place}")
            for number, flow in enumerate(flows):
                result |= flow.arrays(f"flow{place}{number}")
        return result

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], number: int) -> FlowScore:
        """Back from `arrays`, with `number` flows in a category; raises ValueError when they do not fit together."""
        shares = np.asarray(arrays["shares"], dtype=np.float64)
        if shares.shape != (len(COORDINATES), 4) or not (shares > 0).all():
            raise ValueError("its shares do not fit")
        flows = tuple(
            tuple(Flow.from_arrays(arrays, f"flow{place}{n}", size) for n in range(number))
            for place, size in enumerate(COORDINATES)
        )
        size = (INPUTS + number, 4)
        networks = tuple(Network.from_arrays(arrays, f"classifier{place}", size) for place in range(len(COORDINATES)))
        return cls(flows, networks, shares)


def seen(features: NDArray[np.float32], flows: tuple[Flow, ...], category: int) -> Inputs:
    """What the classifier sees of the events of a category: the usual inputs, and the sigmoid of ln q a coordinate."""
    x = coordinates(features, category)
    logs = [1.0 / (1.0 + np.exp(-np.clip(flow(x) / x.shape[1], -30.0, 30.0))) for flow in flows]
    return np.concatenate([inputs(features), np.stack(logs, axis=1).astype(np.float32)], axis=1)


@dataclasses.dataclass
class FlowMethod(Binned):
    """The profile likelihood in bins of a score that sees contrastive flows.

    c: weights of the background in the flows. transforms, flow_hidden: of a flow. hidden: of the classifier. epochs,
    batch, patience, training_rate, decay: of the training. mixtures: times that each event is biased anew for the
    classifier. as_published: IBRAHIME's interval, tes and jes profiled only, a linear correction of mu_hat, and a flat
    prior on [0, 3]. bins, fine, enough, draws as in `binned`.
    """

    kind = "flow"
    loose: float = dataclasses.field(default=0.5, init=False)
    first_trees: int = dataclasses.field(default=1, init=False)
    trees: int = dataclasses.field(default=1, init=False)
    leaves: int = dataclasses.field(default=2, init=False)
    learning_rate: float = dataclasses.field(default=1.0, init=False)
    c: tuple[float, ...] = (0.5, 2.0)
    transforms: int = 3
    flow_hidden: tuple[int, ...] = (64, 64)
    hidden: tuple[int, ...] = (128, 128)
    epochs: int = 40
    batch: int = 512
    patience: int = 5
    training_rate: float = 1e-3
    decay: float = 1e-4
    mixtures: int = 4
    as_published: bool = False

    def __post_init__(self) -> None:
        layers = (*self.flow_hidden, *self.hidden)
        whole = (self.transforms, *layers, self.epochs, self.batch, self.patience, self.mixtures)
        if not (self.c and self.flow_hidden and self.hidden) or min(whole) < 1:
            raise InputError("transforms, layers, epochs, batch, patience and mixtures must be 1 or more")
        if min(self.c) < 0 or not self.training_rate > 0 or self.decay < 0:
            raise InputError("training_rate must be positive, c and decay not negative")
        super().__post_init__()
        self.uses_range = self.as_published

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train flows and classifiers on half of the generated events, make templates of the others."""
        super().fit(train, seed)
        assert self.model is not None
        self.report |= bias_line(self.model, seed)
        return self

    def _learn(self, table: pd.DataFrame, seed: int) -> FlowScore:
        sample = Sample.of(table, 1, seed)
        held = learners(table, 0.1)  # a fifth of the learners: their hashes are below a half
        nominal = biased(sample.primary)
        process, weights = sample.process[nominal.rows], sample.weights[nominal.rows]
        category = jets(nominal.features)
        mixed = _mixtures(sample, self.mixtures, np.random.default_rng([seed, 4]))
        flows, networks, shares = [], [], []
        for place in range(len(COORDINATES)):
            rows = np.flatnonzero(category == place + 1)
            signal, tested = process[rows] == 0, held[nominal.rows[rows]]
            if min(signal[~tested].sum(), (~signal[~tested]).sum(), tested.sum()) < FEW:
                raise InputError(f"signal or background has fewer than {FEW} events with {place + 1} jets: take more")
            x = coordinates(nominal.features[:, rows], place + 1)
            how = Training(self.flow_hidden, self.training_rate, self.decay, self.epochs, self.batch, self.patience)
            own = tuple(
                train_flow(x, signal, weights[rows], tested, c, self.transforms, how, seed + 10 * place + n)[0]
                for n, c in enumerate(self.c)
            )
            features, origin = mixed
            here = np.flatnonzero(jets(features) == place + 1)
            network, _ = train_posteriors(
                seen(features[:, here], own, place + 1), sample.process[origin[here]], sample.weights[origin[here]],
                held[origin[here]], dataclasses.replace(how, hidden=self.hidden), seed + 100 + place,
            )  # fmt: skip
            flows.append(own)
            networks.append(network)
            sums = np.bincount(process[rows], weights[rows], minlength=4)
            shares.append(np.maximum(sums / sums.sum(), 1e-6))
        return FlowScore(tuple(flows), tuple(networks), np.array(shares))

    def _summary_of(self, arrays: Mapping[str, NDArray[Any]]) -> FlowScore:
        return FlowScore.from_arrays(arrays, len(self.c))

    def _measure(self, counts: Floats, begin: float) -> Measurement:
        if not self.as_published:
            return super()._measure(counts, begin)
        assert self.model is not None
        found = published(measure(self.model, counts, frozen=FROZEN), self.report)
        diagnostics = {**found.diagnostics, **self.simulation}
        return dataclasses.replace(found, diagnostics=diagnostics, seconds=time.perf_counter() - begin)

    def restore(self, state: State) -> None:
        """Take over a state."""
        super().restore(state)
        if self.as_published and not {"line_offset", "line_slope", "line_spread"} <= set(self.report):
            raise ValueError("it has no line of the bias")


def _mixtures(sample: Sample, number: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Every event biased `number` times, in groups of events with nuisances drawn from the prior: features and rows."""
    features, rows = [], []
    for piece in (p for _ in range(number) for p in np.array_split(rng.permutation(len(sample.weights)), 50)):
        z = rng.standard_normal(3)
        tes, jes, soft = (PRIORS[name].value(float(v)) for name, v in zip(("tes", "jes", "soft_met"), z, strict=True))
        noise = soft * rng.standard_normal((2, len(piece))) if len(piece) else NO_NOISE
        found = biased(sample.primary[:, piece], tes, jes, noise)
        features.append(found.features)
        rows.append(piece[found.rows])
    return np.concatenate(features, axis=1), np.concatenate(rows)


def bias_line(model: Model, seed: int) -> dict[str, Any]:
    """Mean and spread of mu_hat against mu in experiments from the templates, fitted as IBRAHIME did."""
    mus = np.linspace(*RANGE, LINE_POINTS)
    worlds = throw(model, np.repeat(mus, LINE_EXPERIMENTS), seed + 5, frozen=FROZEN)
    hats = np.where(worlds.fits.valid, worlds.fits.best[:, 0], np.nan).reshape(LINE_POINTS, -1)
    slope, offset = np.polyfit(mus, np.nanmean(hats, axis=1), 1)
    spread = np.nanstd(hats, axis=1)
    return {"line_offset": float(offset), "line_slope": float(slope), "line_spread": [float(s) for s in spread]}


def published(found: Measurement, line: Mapping[str, Any]) -> Measurement:
    """The central interval of the posterior of mu, flat on [0, 3], given mu_hat and the line of its bias."""
    if not found.valid:
        return found
    mu = np.linspace(*RANGE, 3001)
    spread = np.interp(mu, np.linspace(*RANGE, LINE_POINTS), line["line_spread"])
    chi = (found.mu_hat - line["line_offset"] - line["line_slope"] * mu) / spread
    density = np.exp(-0.5 * (chi**2 - (chi**2).min())) / spread
    held = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    tail = 0.5 * (1.0 - 0.6827)
    low, middle, high = np.interp([tail, 0.5, 1.0 - tail], held / held[-1], mu)
    rise = chi**2 + 2.0 * np.log(spread)
    curve = Curve(tuple(mu[::75].tolist()), tuple((rise - rise.min())[::75].tolist()))
    return dataclasses.replace(
        found, mu_hat=float(middle), low=float(low), high=float(high), pieces=((float(low), float(high)),),
        twice_nll=curve, at_bound=False, interval_kind="as published: line of the bias, flat prior on [0, 3]",
    )  # fmt: skip
