"""Commands with `--dask`: the same bits as on this machine, on the workers of a scheduler."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, refused
from writing_commands import Inputs

ASKED = {
    "toys": "toys WORKSPACE -n 20000",
    "coverage": "coverage WORKSPACE --strengths 0,2 -n 200",
    "sensitivity": "sensitivity WORKSPACE --strengths 0,5 -n 200 --threshold 2",
    "gof": "gof WORKSPACE --toys 100",
    "gof of chi2": "gof WORKSPACE --toys 30 --statistic chi2",
    "limit": "limit WORKSPACE --toys 200",
    "limit of a strength": "limit WORKSPACE --toys 200 --test 6",
    "interval": "interval WORKSPACE --method feldman-cousins --toys 120 --level 0.6827",
}
TRAINED = "higgsml train baseline EVENTS --calibrate 60 --set bins=10 --set points=7 --set degree=3 --set trees=20"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with one worker process."""
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_workers_give_the_same_numbers(name: str, address: str, bumpfit: Run, counting: Path) -> None:
    words = [str(counting) if word == "WORKSPACE" else word for word in ASKED[name].split()]
    assert bumpfit(*words, "--dask", address, "--json").json == bumpfit(*words, "--json", "--workers", 1).json


@pytest.mark.slow
@pytest.mark.parametrize("by", ["templates", "events"])
def test_a_method_is_calibrated_on_workers(by: str, address: str, bumpfit: Run, inputs: Inputs, tmp_path: Path) -> None:
    from bumpfit.higgsml.method import load

    words = [str(inputs["higgs"]) if word == "EVENTS" else word for word in TRAINED.split()]
    found = []
    for name, where in (("there", ("--dask", address)), ("here", ("--workers", "1"))):
        done = bumpfit(*words, "--calibrate-with", by, *where, "-o", tmp_path / f"{name}.zip", "--json")
        assert done.json["calibrated_with"] == by
        method = load(tmp_path / f"{name}.zip")
        assert method.calibration is not None and method.range_calibration is not None
        found.append([json.dumps(one.to_dict()) for one in (method.calibration, method.range_calibration)])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ASKED)
def test_a_scheduler_that_does_not_answer(name: str, bumpfit: Run, counting: Path) -> None:
    pytest.importorskip("distributed")
    words = [str(counting) if word == "WORKSPACE" else word for word in ASKED[name].split()]
    assert "no Dask scheduler answers" in refused(bumpfit(*words, "--dask", "tcp://127.0.0.1:1"), 1)


def test_a_wrong_address_is_told_before_the_training(bumpfit: Run, inputs: Inputs, tmp_path: Path) -> None:
    words = [str(inputs["higgs"]) if word == "EVENTS" else word for word in TRAINED.split()]
    done = bumpfit(*words, "-o", tmp_path / "m.zip", "--dask", "here")
    assert "no address of a Dask scheduler" in refused(done) and not (tmp_path / "m.zip").exists()


@pytest.mark.parametrize("words", ["gof", "limit", "interval", "compatibility", "discovery"])
def test_without_toys_there_is_nothing_to_throw(words: str, bumpfit: Run, inputs: Inputs) -> None:
    said = refused(bumpfit(words, inputs["shared"], "--dask", "tcp://127.0.0.1:1"))
    assert "none are asked for" in said and "--toys" in said
