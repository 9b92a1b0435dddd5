"""`combined`: the best linear combination of two or more trained methods, by the correlation that experiments show.

Weights w = C^-1 1 / (1' C^-1 1) (Lyons, Gibaut and Clifford, Nucl. Instrum. Meth. A 270 (1988) 110), C the covariance
of the members' mu_hat in pseudo-experiments with the nuisances drawn from the prior, all members on the same events.
Other experiments give the law of the combination at each mu (see `belt`), so that members' biases and errors do not
matter; it is calibrated like any method.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.belt import Belt
from bumpfit.higgsml.columns import checked
from bumpfit.higgsml.interval import STRENGTHS
from bumpfit.higgsml.measurement import Measurement, failed
from bumpfit.higgsml.method import Method, State, method, tuples
from bumpfit.higgsml.population import Population, nuisance_points
from bumpfit.higgsml.split import parts
from bumpfit.progress import bar

Floats = NDArray[np.float64]
FEW = 30
"""Experiments in which all members have an estimate that a covariance needs."""


@dataclasses.dataclass
class Combined(Method):
    """A linear combination of members (`with_members`).

    points: of the nuisances. experiments: pseudo-experiments at each point.
    """

    kind = "combined"
    points: int = 60
    experiments: int = 10

    def __post_init__(self) -> None:
        if self.points < 2 or self.experiments < 1:
            raise InputError("points must be 2 or more, and experiments 1 or more")
        self.members: tuple[Method, ...] = ()
        self.weights: Floats = np.empty(0)
        self.belt: Belt | None = None
        self.report: dict[str, Any] = {}

    def with_members(self, members: Sequence[Method]) -> Self:
        """Give the fitted methods that are combined; returns itself.

        Raises:
            InputError: fewer than two, not fitted, for different luminosities, or one that uses the challenge's range.
        """
        if len(members) < 2:
            raise InputError(f"a combination of {len(members)} methods; give two or more, with --member FILE")
        for one in members:
            one.state()
            if one.uses_range:
                raise InputError(f"'{one.kind}' uses that mu is in a range; a combination needs a free estimate")
        if len({one.luminosity for one in members}) > 1:
            raise InputError("the methods are for different luminosities and cannot be combined")
        self.members, self.luminosity = tuple(members), members[0].luminosity
        return self

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Weights and the law of the combination from experiments drawn from the templates' events."""
        begin = time.perf_counter()
        if not self.members:
            raise InputError("a combination needs two or more trained methods: give their files with --member")
        _, templates = parts(checked(train, weights=True, processes=True))
        mu, hats, half = self._experiments(Population.of(templates, self.luminosity), seed)
        good = np.isfinite(hats).all(axis=1)
        first, second = good & (half == 0), good & (half == 1)
        if min(first.sum(), second.sum()) < FEW:
            raise InputError(
                f"all methods have an estimate in {good.sum()} of {len(mu)} experiments; expected {2 * FEW} or more"
            )
        covariance = _covariance(mu[first], hats[first])
        part = np.linalg.solve(covariance, np.ones(len(covariance)))
        self.weights = part / part.sum()
        self.belt = Belt.of(mu[second], hats[second] @ self.weights)
        other = _covariance(mu[second], hats[second])
        spread = np.sqrt(np.diag(other))
        self.report = {
            "members": [one.kind for one in self.members], "weights": self.weights.tolist(),
            "correlation": (other / np.outer(spread, spread)).tolist(), "spread": spread.tolist(),
            "combined_spread": float(np.sqrt(self.weights @ other @ self.weights)),
            "pseudo_experiments": len(mu), "failed": int((~good).sum()), "seconds": time.perf_counter() - begin,
        }  # fmt: skip
        return self

    def _experiments(self, population: Population, seed: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """True mu, the members' mu_hat (T, members; NaN where one failed), and the half of each experiment."""
        rng = np.random.default_rng([seed, 47])
        mus, hats, halves = [], [], []
        with bar("points of the nuisances", self.points) as advance:
            for k, values in enumerate(nuisance_points(self.points, seed)):
                point = population.at(values, [seed, 53, k])
                summaries = self.summaries(point.features)
                for mu in rng.uniform(STRENGTHS[0], STRENGTHS[-1], self.experiments):
                    times = point.times(float(mu), rng)
                    there = times > 0
                    hats.append(self._hats(summaries[there], times[there]))
                    mus.append(mu)
                    halves.append(k % 2)
                advance()
        return np.array(mus), np.array(hats), np.array(halves)

    def _hats(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Floats:
        found = [one.measure_summaries(summaries[f"m{k}"], times) for k, one in enumerate(self.members)]
        return np.array([one.mu_hat if one.valid else np.nan for one in found])

    def summaries(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """What the members need, one field a member."""
        each = [one.summaries(features) for one in self.members]
        kinds = [(f"m{k}", values.dtype, values.shape[1:]) for k, values in enumerate(each)]
        result = np.empty(features.shape[1], dtype=kinds)
        for k, values in enumerate(each):
            result[f"m{k}"] = values
        return result

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """The measurement of events of which each appears `times` (N,)."""
        begin = time.perf_counter()
        return self._combined(self._hats(summaries, times), begin)

    def measure(self, events: pd.DataFrame) -> Measurement:
        """The combination of the members' measurements."""
        begin = time.perf_counter()
        found = [one.measure(events) for one in self.members]
        return self._combined(np.array([one.mu_hat if one.valid else np.nan for one in found]), begin)

    def _combined(self, hats: Floats, begin: float) -> Measurement:
        if self.belt is None:
            raise InputError("this method is not fitted")
        if not np.isfinite(hats).all():
            bad = self.members[int(np.flatnonzero(~np.isfinite(hats))[0])].kind
            return failed(f"the member '{bad}' has no estimate", time.perf_counter() - begin)
        found = self.belt.measurement(float(hats @ self.weights))
        each = {one.kind: float(hat) for one, hat in zip(self.members, hats, strict=True)}
        return dataclasses.replace(found, seconds=time.perf_counter() - begin, diagnostics={"members": each})

    def state(self) -> State:
        """Weights, belt, and the states of the members."""
        if self.belt is None:
            raise InputError("this method is not fitted")
        arrays: dict[str, NDArray[Any]] = {"weights": self.weights, **self.belt.arrays()}
        contents: dict[str, bytes] = {}
        members = []
        for k, one in enumerate(self.members):
            state = one.state()
            arrays |= {f"m{k}.{name}": array for name, array in state.arrays.items()}
            contents |= {f"m{k}.{name}": content for name, content in state.contents.items()}
            members.append({
                "method": one.kind, "settings": one.settings, "description": dict(state.description),
                "luminosity": one.luminosity, "mode": one.mode,
            })  # fmt: skip
        return State({"report": self.report, "members": members}, arrays, contents)

    def restore(self, state: State) -> None:
        """Take over a state."""
        a = state.arrays
        members = []
        for k, told in enumerate(state.description["members"]):
            one = method(str(told["method"]), **tuples(told["settings"]))
            one.luminosity, one.mode = float(told["luminosity"]), str(told["mode"])
            own = f"m{k}."
            arrays = {name.removeprefix(own): array for name, array in a.items() if name.startswith(own)}
            contents = {name.removeprefix(own): c for name, c in state.contents.items() if name.startswith(own)}
            one.restore(State(told["description"], arrays, contents))
            members.append(one)
        self.with_members(members)
        self.weights = np.asarray(a["weights"], dtype=np.float64)
        if self.weights.shape != (len(members),):
            raise ValueError("its weights do not fit its members")
        self.belt = Belt.from_arrays(a)
        self.report = dict(state.description["report"])


def _covariance(mu: Floats, hats: Floats) -> Floats:
    """Covariance of the members about their own mean at each mu (a parabola in mu)."""
    terms = np.vander(mu, 3)
    rest = hats - terms @ np.linalg.lstsq(terms, hats, rcond=None)[0]
    return np.asarray(rest.T @ rest / (len(mu) - 3))
