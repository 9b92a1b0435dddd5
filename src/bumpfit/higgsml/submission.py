"""Entries of the challenge: an official `Model(get_train_set, systematics)` runs unchanged, in a process of its own.

A prediction that takes too long, raises, or gives what is no interval is a failed measurement with a reason. After one
that took too long the process is started and fitted again. The entry is the user's own program: it is run, not read;
what it answers comes back as JSON.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import math
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bumpfit.errors import BumpfitError, InputError
from bumpfit.files import atomic, require
from bumpfit.higgsml.bias import SEED, bias
from bumpfit.higgsml.columns import LABEL, PROCESS, WEIGHTS
from bumpfit.higgsml.dataset import rescaled
from bumpfit.higgsml.measurement import Measurement, failed

LIMIT = 20.0
"""Seconds that the challenge gives a prediction."""
ANSWERS = ("mu_hat", "delta_mu_hat", "p16", "p84")
FIT_LIMIT = 3 * 3600.0
"""Seconds for the construction and training of an entry."""


def systematics(
    data_set: Any = None, tes: float = 1.0, jes: float = 1.0, soft_met: float = 0.0, seed: int = SEED,
    ttbar_scale: float | None = None, diboson_scale: float | None = None, bkg_scale: float | None = None,
    dopostprocess: bool = True,
) -> Any:  # fmt: skip
    """The biasing as entries call it: a table, or {"data", "weights", ...}, official arithmetic; same form back."""
    if isinstance(data_set, pd.DataFrame):
        return bias(
            data_set, tes=tes, jes=jes, soft_met=soft_met, seed=seed, selection=dopostprocess, compatible=True,
            ttbar_scale=ttbar_scale, diboson_scale=diboson_scale, bkg_scale=bkg_scale,
        )  # fmt: skip
    if not isinstance(data_set, Mapping) or "data" not in data_set or "weights" not in data_set:
        raise ValueError("data_set must be a table or a mapping with the keys 'data' and 'weights'")
    own = [key for key in data_set if key not in ("data", "settings")]
    table = data_set["data"].assign(**{key: np.asarray(data_set[key]) for key in own})
    shifted = systematics(table, tes, jes, soft_met, seed, dopostprocess=dopostprocess)
    result = {key: shifted.pop(key) for key in own}
    result["data"] = shifted
    return result | ({"settings": data_set["settings"]} if "settings" in data_set else {})


@dataclasses.dataclass(frozen=True, eq=False)
class TrainSet:
    """What entries call to get training events: all rows, some, or random ones; weights sum to the total."""

    table: pd.DataFrame
    total: float

    def __call__(self, train_size: float | None = None, selected_indices: Any = None) -> pd.DataFrame:
        """The training events."""
        n = len(self.table)
        if selected_indices is not None:
            rows = np.sort(np.asarray(selected_indices))
        elif train_size is None:
            rows = np.arange(n)
        else:
            size = int(train_size * n) if isinstance(train_size, float) else min(int(train_size), n)
            rows = np.sort(np.random.default_rng(0).choice(n, size, replace=False))
        part = self.table.iloc[rows].reset_index(drop=True)
        if LABEL not in part.columns:
            part[LABEL] = (part[PROCESS] == "htautau").astype(np.float32)
        part[WEIGHTS] = rescaled(part[WEIGHTS].to_numpy(), self.total)
        return part


class Submission:
    """An entry in its own process. Use as a context manager."""

    def __init__(self, path: str | os.PathLike[str], train: pd.DataFrame, limit: float = LIMIT) -> None:
        """Load, construct and fit the entry.

        Raises:
            InputError: no such file, it cannot be imported, or it has no `Model` with `predict`.
            BumpfitError: it fails while it is constructed or fitted.
        """
        self.path = require(path)
        self.limit = limit
        self._train = TrainSet(train, float(train[WEIGHTS].to_numpy(float).sum()))
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(str(self.path), self._train, theirs), daemon=True)
        self._process.start()
        theirs.close()
        kind, content = self._answer(FIT_LIMIT)
        if kind == "ready":
            return
        self.close()
        if kind == "bad":
            raise InputError(f"{self.path}: {content}")
        raise BumpfitError(f"{self.path} failed before its first prediction: {content}")

    def _answer(self, limit: float) -> tuple[str, Any]:
        try:
            if not self._pipe.poll(limit):
                return "slow", f"no answer within {limit:g} s"
            kind, content = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            return "died", "its process died"
        return str(kind), content

    def predict(self, events: pd.DataFrame) -> Measurement:
        """The measurement of a pseudo-experiment; a failure is a value."""
        begin = time.perf_counter()
        try:
            self._pipe.send({"data": events, "weights": np.ones(len(events))})
            kind, content = self._answer(self.limit)
        except (BrokenPipeError, OSError):
            kind, content = "died", "its process died"
        seconds = time.perf_counter() - begin
        if kind in ("slow", "died"):
            self.close()
            self._start()
        return measured(content, seconds) if kind == "answer" else failed(str(content), seconds)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Submission:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def measured(answer: Any, seconds: float) -> Measurement:
    """What an entry answered, as a measurement; failed where it is no interval."""
    if not isinstance(answer, Mapping):
        return failed(f"the prediction is no dictionary but {type(answer).__name__}", seconds)
    missing = [key for key in ANSWERS if key not in answer]
    if missing:
        return failed(f"the prediction has no '{missing[0]}'", seconds)
    if not all(isinstance(answer[key], int | float) and math.isfinite(answer[key]) for key in ANSWERS):
        bad = next(k for k in ANSWERS if not (isinstance(answer[k], int | float) and math.isfinite(answer[k])))
        return failed(f"'{bad}' of the prediction is {answer[bad]}, no finite number", seconds)
    mu, low, high = (float(answer[key]) for key in ("mu_hat", "p16", "p84"))
    if low > high:
        return failed(f"p16 = {low:g} is above p84 = {high:g}", seconds)
    return Measurement(mu, low, high, "submission", {}, None, True, False, seconds, ((low, high),))


def _serve(path: str, train: TrainSet, pipe: Connection) -> None:
    """The entry's process: load, fit, then answer until the pipe is closed."""
    try:
        model = _model(path, train)
        model.fit()
    except _BadEntryError as error:
        _send(pipe, "bad", str(error))
        return
    except BaseException as error:
        _send(pipe, "failed", f"{type(error).__name__}: {error}")
        return
    _send(pipe, "ready", None)
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = model.predict(request)
            content = {str(k): _number(v) for k, v in answer.items()} if isinstance(answer, Mapping) else repr(answer)
            _send(pipe, "answer", content)
        except Exception as error:
            _send(pipe, "failed", f"{type(error).__name__}: {error}")


class _BadEntryError(Exception):
    """The file is no entry."""


def _model(path: str, train: TrainSet) -> Any:
    sys.path.insert(0, str(Path(path).resolve().parent))
    specification = importlib.util.spec_from_file_location("submission_model", path)
    if specification is None or specification.loader is None:
        raise _BadEntryError("it is no Python file")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise _BadEntryError(f"it cannot be imported ({type(error).__name__}: {error})") from error
    kind: Any = getattr(module, "Model", None)
    if not inspect.isclass(kind):
        raise _BadEntryError("it has no class Model")
    for name in ("fit", "predict"):
        if not callable(getattr(kind, name, None)):
            raise _BadEntryError(f"its Model has no method {name}")
    known: Mapping[str, Any] = inspect.signature(kind).parameters
    extra = {"model_type": "sample_model"} if "model_type" in known else {}
    make: Callable[..., Any] = kind
    return make(get_train_set=train, systematics=systematics, **extra)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return repr(value)


def _send(pipe: Connection, kind: str, content: Any) -> None:
    pipe.send_bytes(json.dumps([kind, content]).encode())


ENTRY = '''"""An entry of the HiggsML uncertainty challenge: the method saved in {name}."""

from pathlib import Path

from bumpfit.higgsml.method import load


class Model:
    """The saved method; it was trained and calibrated before."""

    def __init__(self, get_train_set=None, systematics=None, model_type=None):
        self.method = load(Path(__file__).with_name("{name}"))

    def fit(self):
        """Nothing is left to do."""

    def predict(self, test_set):
        """mu_hat, delta_mu_hat, p16 and p84 of a pseudo-experiment."""
        return self.method.predict(test_set["data"]).official()
'''


def export(method_file: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """Write an entry for a saved method: a new folder with `model.py` and the method's file.

    Raises:
        InputError: no such method, or the folder is there already.
    """
    source, target = require(method_file), Path(folder)
    if target.exists():
        raise InputError(f"{target} is there already; choose a new folder for the entry")
    with atomic(target) as temporary:
        temporary.mkdir()
        shutil.copyfile(source, temporary / "method.zip")
        (temporary / "model.py").write_text(ENTRY.format(name="method.zip"), encoding="utf-8")
    return target / "model.py"
