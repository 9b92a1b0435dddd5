"""The interface of all methods: fit(train) -> itself, predict(events) -> Measurement, and one safe file.

A method is a dataclass whose fields are its settings. `fit` takes a table of weighted, labelled training events before
any biasing (the 16 primary columns, `weights` as expected events, `detailed_labels`, and `hard_event` where an event
may appear in several rows) and biases them itself. `measure` takes the events of a pseudo-experiment after the
selection (the 28 features) and gives a measurement with its profile curve; `predict` puts the calibrated interval on
it. Many pseudo-experiments of the same simulated events go through `summaries`, what a measurement needs of each event
whatever the others are, and `measure_summaries`, the measurement of events that appear several times: the costly part
is done once an event. The same seed gives the same numbers. A file is an archive of a description, arrays and what a
library writes itself; reading it runs no code.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
import math
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit import __version__, archives
from bumpfit.errors import InputError
from bumpfit.higgsml.columns import FEATURES, LUMINOSITY, checked, matrix
from bumpfit.higgsml.interval import Calibration, RangeCalibration, with_interval
from bumpfit.higgsml.likelihood import Model
from bumpfit.higgsml.measurement import Measurement

FORMAT, VERSION = "bumpfit-higgsml-method", 1

METHODS = {
    "aggregate": "bumpfit.higgsml.method_aggregate:Aggregate",
    "baseline": "bumpfit.higgsml.method_baseline:Baseline",
    "binned": "bumpfit.higgsml.method_binned:Binned",
    "combined": "bumpfit.higgsml.method_combined:Combined",
    "unbinned": "bumpfit.higgsml.method_unbinned:Unbinned",
    "flow": "bumpfit.higgsml.method_flow:FlowMethod",
}
"""Where the methods are, "module:class" by name: a method is imported when it is used."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """What a fitted method is made of: plain JSON values, arrays, and files of libraries (safetensors)."""

    description: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    contents: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


class Method(abc.ABC):
    """A method; subclasses are dataclasses whose init fields are plain JSON settings, and name themselves by `kind`.

    `luminosity` (fb-1) is that of the data it measures; in the mode `independent` the error of the simulation is in its
    interval, in `closure` it is not. `model` is the binned likelihood whose bins `summaries` gives, where there is one.
    `uses_range`: its interval uses that mu is in the range of the challenge, also when nobody asks for it.
    `as_published`: it answers as its authors' program did, and is not calibrated.
    """

    kind: ClassVar[str]
    luminosity: float = LUMINOSITY
    mode: str = "closure"
    model: Model | None = None
    uses_range: bool = False
    as_published: bool = False
    calibration: Calibration | None = None
    range_calibration: RangeCalibration | None = None

    @property
    def counted(self) -> Model | None:
        """The `model`, where a measurement is its profile likelihood of the counts alone; None for others."""
        return None if self.as_published else self.model

    @abc.abstractmethod
    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train on weighted, labelled events before the biasing; returns itself."""

    def measure(self, events: pd.DataFrame) -> Measurement:
        """The measurement of selected events without labels, with the asymptotic interval and the profile curve.

        Here: of their summaries. A method writes this, or `summaries` and `measure_summaries`.
        """
        begin = time.perf_counter()
        summaries = self.summaries(matrix(events, FEATURES))
        found = self.measure_summaries(summaries, np.ones(len(summaries), dtype=np.int64))
        return dataclasses.replace(found, seconds=time.perf_counter() - begin)

    def summaries(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """What a measurement needs of selected events (28, N), one row an event. Here: the features themselves."""
        return np.ascontiguousarray(features.T)

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """The measurement of events of which each appears `times` (N,) in the data; as `measure` of them one by one."""
        rows = np.repeat(np.arange(len(times)), times)
        return self.measure(pd.DataFrame(dict(zip(FEATURES, summaries[rows].T, strict=True))))

    def statistic(self, summaries: NDArray[Any], times: NDArray[np.integer], mu: float) -> tuple[float, float]:
        """mu_hat, and -2 ln L at `mu` above its minimum: what a calibration needs of an experiment.

        Both are NaN where the measurement is not valid. Here from the whole curve; a method may know it for less.
        """
        found = self.measure_summaries(summaries, times)
        if not found.valid or found.twice_nll is None:
            return np.nan, np.nan
        return found.mu_hat, max(float(found.twice_nll.at(mu)), 0.0)

    @property
    def simulation(self) -> dict[str, Any]:
        """What the method knows about the size of its simulation; `simulation_large_enough` is False where mu_hat or
        its interval cannot be believed.
        """
        return {}

    @abc.abstractmethod
    def state(self) -> State:
        """What was fitted. Raises InputError before `fit`."""

    @abc.abstractmethod
    def restore(self, state: State) -> None:
        """Take over what `state` gave; raises ValueError, KeyError or TypeError where that cannot be."""

    def predict(self, events: pd.DataFrame, *, challenge_range: bool = False) -> Measurement:
        """The measurement with the calibrated interval (the asymptotic one where there is no calibration).

        Args:
            events: pseudo-experiment: the 28 features of selected events.
            challenge_range: use that mu is in the range of the challenge: flat prior on it, calibrated.

        Raises:
            InputError: columns are missing or have bad values, no range calibration; the number of events is that
                of another luminosity.
        """
        if challenge_range and self.range_calibration is None:
            raise InputError(f"the method '{self.kind}' {UNRANGED}")
        table = checked(events, FEATURES, what="the pseudo-experiment")
        self._check_size(len(table))
        return self.calibrated(self.measure(table), challenge_range)

    @property
    def expected_events(self) -> float | None:
        """Selected events expected at mu = 1 and the nominal nuisances; None where the method does not know."""
        return None

    def _check_size(self, events: int) -> None:
        """No strength and no nuisance doubles or halves the events: such data are of another luminosity."""
        expected = self.expected_events
        if expected is None or expected / OTHER < events < expected * OTHER:
            return
        raise InputError(
            f"the pseudo-experiment has {events} selected events where the method '{self.kind}', made for "
            f"{self.luminosity:g} fb-1, expects {expected:.0f}: data of about "
            f"{self.luminosity * events / expected:.3g} fb-1; train for it (--luminosity), or take other data"
        )

    def calibrated(self, measured: Measurement, challenge_range: bool = False) -> Measurement:
        """A measurement with the calibrated interval, where there is a calibration; as published it stays as it is."""
        if self.as_published:
            return measured
        chosen = self.range_calibration if challenge_range else self.calibration
        return measured if chosen is None else with_interval(measured, chosen)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]


UNRANGED = (
    "was not calibrated for the range of the challenge; `train` does that unless --no-challenge-range or --calibrate 0 "
    "is given"
)
"""Why an interval that uses the range cannot be had."""
OTHER = 2.0
"""Factor between the events of a pseudo-experiment and those expected from which its luminosity is another one."""


def check_luminosity(value: float) -> None:
    """Raise InputError for a luminosity that is no positive number."""
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"the luminosity is {value:g} fb-1; this method needs a number above 0")


def method(name: str, **settings: Any) -> Method:
    """A method by its name.

    Raises:
        InputError: an unknown name or setting.
    """
    kind, known = _kind(name), settings_of(name)
    for setting in settings:
        if setting not in known:
            raise InputError(f"the method '{name}' has no setting '{setting}'; it has {', '.join(known) or 'none'}")
    return kind(**settings)


def settings_of(name: str) -> tuple[str, ...]:
    """Names of the settings of a method.

    Raises:
        InputError: an unknown method.
    """
    return tuple(f.name for f in dataclasses.fields(_kind(name)) if f.init)  # type: ignore[arg-type]


def _kind(name: str) -> type[Method]:
    if name not in METHODS:
        raise InputError(f"there is no method '{name}'; expected one of {', '.join(METHODS)}")
    module, _, member = METHODS[name].partition(":")
    kind: type[Method] = getattr(importlib.import_module(module), member)
    return kind


def save(fitted: Method, path: str | os.PathLike[str]) -> None:
    """Write a fitted method, complete or not at all."""
    state = fitted.state()
    described = {
        "bumpfit": __version__, "method": fitted.kind, "settings": fitted.settings, "features": list(FEATURES),
        "luminosity": fitted.luminosity, "mode": fitted.mode,
        "calibration": None if fitted.calibration is None else fitted.calibration.to_dict(),
        "range_calibration": None if fitted.range_calibration is None else fitted.range_calibration.to_dict(),
        "description": dict(state.description), "arrays": list(state.arrays), "contents": list(state.contents),
    }  # fmt: skip
    archives.write(path, FORMAT, VERSION, described, state.arrays, state.contents)


def load(path: str | os.PathLike[str]) -> Method:
    """Read a method that `save` wrote.

    Raises:
        InputError: no such file, damaged, another format, an unknown method, or trained on other features.
    """
    with archives.opened(path, "method of HiggsML") as archive:
        described = archives.description(archive, FORMAT, VERSION)
        if described.get("features") != list(FEATURES):
            raise InputError(f"{path} was trained on other features than the {len(FEATURES)} of the challenge")
        settings = described["settings"]
        if not isinstance(settings, dict):
            raise TypeError("its settings are no object")
        result = method(str(described["method"]), **tuples(settings))
        arrays = {name: archives.array(archive, name) for name in archives.texts(described["arrays"], "arrays")}
        contents = {name: archive.read(name) for name in archives.texts(described["contents"], "contents")}
        result.restore(State(described["description"], arrays, contents))
        if described["calibration"] is not None:
            result.calibration = Calibration.from_dict(described["calibration"])
        if described["range_calibration"] is not None:
            result.range_calibration = RangeCalibration(**described["range_calibration"])
        return result


def tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists only; settings are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
