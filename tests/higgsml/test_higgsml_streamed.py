"""Files larger than memory: experiments by one pass are those of the table in memory."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from higgs_events import table

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import dataset, streamed
from bumpfit.higgsml.benchmark import Plan, benchmark
from bumpfit.higgsml.dataset import Dataset
from bumpfit.higgsml.nuisances import Nuisances
from bumpfit.higgsml.streamed import Wanted, experiments, large, training


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dataset, "BATCH", 700)
    monkeypatch.setattr(streamed, "LARGE", 2000)
    monkeypatch.setattr(Dataset.stream, "__defaults__", ("all", 700))
    events = table(6000, 2, total=4000.0)
    path = tmp_path / "data.parquet"
    events.to_parquet(path)
    (tmp_path / "data_metadata.json").write_text(json.dumps({"sum_weights": 4000.0, "total_rows": 6000}))
    return path


def test_experiments_by_one_pass_are_those_of_the_table(file: Path) -> None:
    wanted = [
        Wanted(1.5, Nuisances.of(higgsml.draw_nuisances(9)), 9), Wanted(0.3, Nuisances(tes=1.01, bkg_scale=1.002), 77),
    ]  # fmt: skip
    whole = Dataset(file).read("test")
    for got, one in zip(experiments(Dataset(file), wanted), wanted, strict=True):
        want = higgsml.experiment(whole, one.mu, one.nuisances, one.seed)
        pd.testing.assert_frame_equal(got.table, want.table)
        assert got.largest_multiplicity == want.largest_multiplicity
    (less,) = experiments(Dataset(file), wanted[:1], luminosity=1.0)
    assert len(less.table) == pytest.approx(0.1 * len(higgsml.experiment(whole, 1.5, {}, 1).table), rel=0.3)


def test_training_rows_are_drawn_evenly_from_the_training_part(file: Path) -> None:
    assert large(file)
    train = Dataset(file).read("train")
    drawn = training(file, 1500, 1)
    assert len(drawn) == 1500 and len(training(file, 10_000)) == 4200 == len(train)
    keys, found = (t["PRI_lep_phi"].to_numpy(float) + 10 * t["PRI_met"].to_numpy(float) for t in (train, drawn))
    places = np.flatnonzero(np.isin(keys, found))
    assert np.isin(found, keys).all() and len(places) == pytest.approx(1500, abs=3)
    assert np.histogram(places, 6, (0, 4200))[0].std() < 40
    assert drawn["weights"].sum() == pytest.approx(4000.0, rel=1e-5)


def test_rows_of_a_small_file_stand_for_the_same_luminosity(tmp_path: Path) -> None:
    """Without metadata the weights of the whole table are the expected events, with the paper's names too."""
    path = tmp_path / "small.parquet"
    table(2000, 3, total=1234.0).rename(columns={"weights": "Weight"}).to_parquet(path)
    for rows in (500, 1999):
        assert training(path, rows, 1)["weights"].sum() == pytest.approx(1234.0, rel=1e-5)
    assert len(training(path, 2000)) == 2000


def test_a_benchmark_streams_a_large_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_higgsml_method import Gaussian

    from bumpfit.higgsml import benchmark as benchmarks
    from bumpfit.higgsml import method

    monkeypatch.setitem(method.METHODS, "gaussian", f"{Gaussian.__module__}:Gaussian")
    method.save(Gaussian(0.2).fit(table(600, 3, total=600.0)), tmp_path / "gaussian.zip")
    plan = Plan(str(file), (str(tmp_path / "gaussian.zip"),), settings=higgsml.Settings((0.5, 1.5), 5))
    assert len(benchmarks._tasks(plan)[1]) == 2
    found = benchmark(plan, tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "experiments.jsonl").read_text().splitlines()]
    assert [(line["set"], line["index"]) for line in lines] == [(s, i) for s in range(2) for i in range(5)]
    one = lines[7]
    want = higgsml.experiment(Dataset(file).read("test"), one["mu"], one["nuisances"], one["seed"])
    assert one["events"] == len(want.table) and found.methods[0].scores.merged.n == 10


def test_a_file_without_events_is_told(file: Path) -> None:
    with pytest.raises(InputError, match="no event"):
        list(experiments(Dataset(file), [Wanted(1.0, Nuisances(), 1)], luminosity=1e-9))
