"""Data sets and cut flows read by workers: the same bits, whatever reads."""

import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import dataset, ranges
from bumpfit.events.cutflow import cutflow

CUTS = ("x > 0.2", "y < 0.9")


class Elsewhere(ThreadPoolExecutor):
    """What is sent to it is taken apart and put together, as on the way to another machine."""

    sent = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.sent += 1
        fn, args, kwargs = pickle.loads(pickle.dumps((fn, args, kwargs)))
        return super().submit(lambda: pickle.loads(pickle.dumps(fn(*args, **kwargs))))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two files with weights whose sum depends on the order."""
    monkeypatch.setattr(ranges, "EVENTS", 300)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        table = pd.DataFrame(rng.random((700, 2)), columns=["x", "y"]).assign(w=rng.lognormal(0, 3, 700))
        table.to_parquet(tmp_path / f"{name}.parquet")
    return ["a.parquet", "b.parquet"]  # workers have another working folder


def test_a_data_set_and_its_cut_flow(files: list[str]) -> None:
    classes = {"b": files, "s": files[1:]}
    here = dataset.build(classes, ["x", "y"], cuts=CUTS, weights={"b": "w"})
    flow = cutflow(files, CUTS, weights="w")
    with Elsewhere(2) as executor:
        there = dataset.build(classes, ["x", "y"], cuts=CUTS, weights={"b": "w"}, executor=executor)
        assert executor.sent == 5 + 3
        assert cutflow(files, CUTS, weights="w", executor=executor).to_dict() == flow.to_dict()
        assert executor.sent == 5 + 3 + 5
    for name in ("samples", "targets", "weights", "index"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    assert here.provenance == there.provenance
    whole = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    passed = whole[(whole["x"] > 0.2) & (whole["y"] < 0.9)]
    np.testing.assert_array_equal(here.index[here.targets == 0], passed.index)
    np.testing.assert_array_equal(here.weights[here.targets == 0], passed["w"])
    assert [step.events for step in flow.steps] == [(whole["x"] > 0.2).sum(), len(passed)]
    assert flow.steps[1].weighted == pytest.approx(passed["w"].sum())


def test_frames_and_weights_in_memory_stay_here(files: list[str]) -> None:
    with Elsewhere(1) as executor:
        cutflow(files, CUTS, weights=np.ones(1400), executor=executor)
        cutflow(pd.read_parquet(files[0]), CUTS, executor=executor)
        assert executor.sent == 0
        with pytest.raises(InputError, match="z"):
            cutflow(files, "z > 1", executor=executor)


def test_events_of_a_range() -> None:
    source = events.open({"x": np.arange(50.0)})
    for start, stop in ((0, 50), (7, 33), (49, 50), (20, 20)):
        got = [chunk.column("x").tolist() for chunk in source.chunks(events=8, start=start, stop=stop)]
        assert [x for part in got for x in part] == list(np.arange(50.0)[start:stop])
