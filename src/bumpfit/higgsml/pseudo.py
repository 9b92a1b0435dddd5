"""Pseudo-experiments of the challenge: Poisson bootstrap of the simulated events, shuffle, biasing.

An event of weight w appears n ~ Poisson(norm w) times, with norm mu for the signal and the scales of the nuisances for
the backgrounds. The processes have seeds of their own (seed, + 1, + 3, + 6), as in the official code, whose random
numbers these are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import SEED, bias, biased, soft_noise
from bumpfit.higgsml.columns import FEATURES, PRIMARY, PROCESSES, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.nuisances import NAMES, Nuisances, enabled_names, random_state
from bumpfit.results import Record

ORDER = ("ztautau", "diboson", "ttbar", "htautau")
"""The processes in the order in which the bootstrap draws them."""

MU_RANGE = (0.1, 3.0)
"""Where the challenge draws mu."""


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoExperiment:
    """A pseudo-experiment: events without labels or weights, and what they were made with.

    `largest_multiplicity` is the number of times that the most frequent event was repeated in the bootstrap.

    Examples:
        >>> import pandas as pd
        >>> from bumpfit.higgsml import Nuisances, PseudoExperiment
        >>> table = pd.DataFrame({"PRI_met": [20.0]})
        >>> PseudoExperiment(table, 1.0, Nuisances(tes=1.01), seed=3).nuisances.tes
        1.01
    """

    table: pd.DataFrame
    mu: float
    nuisances: Nuisances
    seed: int
    largest_multiplicity: int = 0


def check_mu(mu: Any) -> float:
    """The signal strength; raises InputError when it is negative or no number."""
    try:
        value = float(mu)
    except (TypeError, ValueError):
        raise InputError(f"mu is {mu!r}; expected a number of 0 or more") from None
    if not (math.isfinite(value) and value >= 0.0):
        raise InputError(f"mu is {value:g}; expected a number of 0 or more")
    return value


def multiplicities(
    weights: NDArray[Any], process: NDArray[np.int8], mu: float, nuisances: Nuisances, seed: int,
    compatible: bool = False,
) -> NDArray[np.int64]:  # fmt: skip
    """How often each event appears, shape (N,); `process` are places in `PROCESSES`."""
    result = np.zeros(len(weights), dtype=np.int64)
    place = seed
    for step, name in enumerate(ORDER):
        place += step
        rows = np.flatnonzero(process == PROCESSES.index(name))
        norm = mu if name == "htautau" else nuisances.weight(name, compatible)
        result[rows] = random_state(place).poisson(norm * weights[rows])
    return result


def bootstrap_rows(
    weights: NDArray[Any], process: NDArray[np.int8], mu: float, nuisances: Nuisances, seed: int,
    compatible: bool = False,
) -> NDArray[np.int64]:  # fmt: skip
    """The rows of a pseudo-experiment in its order, an event as often as it appears, before the selection."""
    times = multiplicities(weights, process, mu, nuisances, seed, compatible)
    groups = [np.flatnonzero(process == PROCESSES.index(name)) for name in ORDER]
    rows = np.concatenate([np.repeat(group, times[group]) for group in groups])
    return rows[random_state(seed).permutation(len(rows))]


def experiment(
    table: pd.DataFrame, mu: float, nuisances: Mapping[str, Any] | Nuisances | None = None, seed: int = SEED,
    compatible: bool = False,
) -> PseudoExperiment:  # fmt: skip
    """Bootstrap the weighted table and bias the result.

    Args:
        table: simulated events with weights (expected events) and processes.
        mu: signal strength.
        nuisances: values by name; missing ones have no effect.
        seed: of the bootstrap (the soft noise has the official seed).
        compatible: as the official code, see `Nuisances.weight` and `bias`.

    Raises:
        InputError: bad columns, mu, nuisances or seed; no event in the bootstrap.

    Examples:
        >>> import pandas as pd
        >>> from bumpfit.higgsml.dataset import packaged
        >>> events = pd.read_parquet(packaged())
        >>> made = bumpfit.higgsml.experiment(events, 1.0, seed=7)
        >>> made.mu, len(made.table) > 0
        (1.0, True)
    """
    table = checked(table, weights=True, processes=True)
    values, mu = Nuisances.of(nuisances), check_mu(mu)
    process = process_index(table["detailed_labels"])
    rows = bootstrap_rows(table[WEIGHTS].to_numpy(), process, mu, values, seed, compatible)
    if not len(rows):
        raise InputError("the bootstrap has no event: the weights of the table sum to next to nothing")
    if compatible:
        drawn = table[list(PRIMARY)].iloc[rows].reset_index(drop=True)
        shifted = bias(drawn, tes=values.tes, jes=values.jes, soft_met=values.soft_met, compatible=True)
        result = shifted[list(FEATURES)]
    else:
        noise = soft_noise(len(rows), values.soft_met)
        found = biased(matrix(table)[:, rows], values.tes, values.jes, noise)
        result = pd.DataFrame(dict(zip(FEATURES, found.features, strict=True)), copy=False)
    return PseudoExperiment(result, mu, values, int(seed), int(np.bincount(rows).max()))


def pseudo_experiment(
    table: pd.DataFrame, mu: float, nuisances: Mapping[str, Any] | Nuisances | None, seed: int, compatible: bool = False
) -> pd.DataFrame:
    """The events of `experiment`.

    Examples:
        >>> import pandas as pd
        >>> from bumpfit.higgsml.dataset import packaged
        >>> events = pd.read_parquet(packaged())
        >>> data = bumpfit.higgsml.pseudo_experiment(events, 1.0, {"tes": 1.01}, seed=7)
        >>> "weights" in data or "labels" in data  # as in real data
        False
    """
    return experiment(table, mu, nuisances, seed, compatible).table


def strengths(seed: int, n_sets: int) -> NDArray[np.float64]:
    """True mu of the sets of a test, uniform in `MU_RANGE`."""
    return random_state(seed).uniform(*MU_RANGE, n_sets)


@dataclasses.dataclass(frozen=True)
class Settings(Record):
    """Settings of a test: sets of pseudo-experiments, one mu a set, and which nuisances are drawn.

    Examples:
        >>> from bumpfit.higgsml import Settings
        >>> Settings(mus=(0.5, 1.0), experiments=10).seed
        31415
    """

    mus: tuple[float, ...]
    experiments: int = 100
    enabled: tuple[str, ...] = NAMES
    seed: int = SEED

    @classmethod
    def of(cls, content: Any) -> Settings:
        """From the content of the official test_settings.json.

        Raises:
            InputError: missing keys, or values that cannot be.
        """
        if not isinstance(content, Mapping):
            raise InputError("the test settings are no JSON object")
        wanted = ("systematics", "num_pseudo_experiments", "num_of_sets", "ground_truth_mus")
        missing = [key for key in wanted if key not in content]
        if missing:
            raise InputError(f"the test settings lack '{missing[0]}'; expected {', '.join(wanted)}")
        mus, sets, n = content["ground_truth_mus"], content["num_of_sets"], content["num_pseudo_experiments"]
        if not isinstance(mus, list) or not isinstance(sets, int) or len(mus) < sets or sets < 1:
            raise InputError(f"num_of_sets is {sets!r} and ground_truth_mus {mus!r}; expected a mu for each set")
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise InputError(f"num_pseudo_experiments is {n!r}; expected 1 or more")
        if not isinstance(content["systematics"], Mapping):
            raise InputError("systematics of the test settings is no object of names and true or false")
        return cls(tuple(check_mu(mu) for mu in mus[:sets]), n, enabled_names(content["systematics"]))

    def official(self) -> dict[str, Any]:
        """The content of the official test_settings.json."""
        return {
            "systematics": {name: name in self.enabled for name in NAMES},
            "num_pseudo_experiments": self.experiments,
            "num_of_sets": len(self.mus),
            "ground_truth_mus": list(self.mus),
        }

    def seed_of(self, set_index: int, index: int) -> int:
        """Seed of one pseudo-experiment: of its nuisances and its bootstrap."""
        return set_index * self.experiments + index + self.seed

    def order(self) -> list[tuple[int, int]]:
        """(set, index) in the order in which the official code evaluates them."""
        pairs = [(s, i) for s in range(len(self.mus)) for i in range(self.experiments)]
        random_state(self.seed).shuffle(pairs)
        return pairs
