"""Dask workers that are lost: said, waited for, and nothing done twice or lost."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bumpfit import clusters
from bumpfit.clusters import dask_executor
from bumpfit.errors import BumpfitError, InputError, WaitingWarning
from bumpfit.execute import ordered_map

pytestmark = pytest.mark.slow
distributed = pytest.importorskip("distributed")


def slow(x: int) -> int:
    time.sleep(0.1)
    return x * x


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A scheduler without workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, silence_logs=60, protocol="tcp"
        ) as made:
            yield made


@pytest.fixture
def worker(scheduler: Any) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a worker that nobody starts again."""
    quiet = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "60"]
    made: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", scheduler.scheduler_address, *quiet],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ))  # fmt: skip
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.wait()


def ready(scheduler: Any) -> None:
    """Wait until there is a worker: starting one takes as long as the machine is busy."""
    while not scheduler.scheduler.workers:
        time.sleep(0.05)


def test_all_workers_lost_is_said_and_new_ones_go_on(scheduler: Any, worker: Callable[[], Any],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(clusters, "NOTICE", 0.5)
    monkeypatch.setattr("bumpfit.execute.TICK", 0.3)
    monkeypatch.setattr(clusters, "TICK", 0.3)
    first = worker()
    ready(scheduler)
    with dask_executor(scheduler.scheduler_address) as executor:
        found = ordered_map(slow, range(12), executor=executor)
        results = [next(found) for _ in range(3)]
        first.kill()
        timer = threading.Timer(1.5, worker)
        timer.start()
        with pytest.warns(WaitingWarning, match="no worker is left"):
            results += found
        timer.join()
    assert results == [x * x for x in range(12)]


def test_patience_ends(scheduler: Any, worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bumpfit.execute.TICK", 0.3)
    monkeypatch.setattr(clusters, "TICK", 0.3)
    process = worker()
    ready(scheduler)
    with dask_executor(scheduler.scheduler_address, patience=2.0) as executor:
        found = ordered_map(slow, range(12), executor=executor)
        assert next(found) == 0
        process.kill()
        with pytest.warns(WaitingWarning), pytest.raises(BumpfitError, match="had no worker for 2 seconds"):
            list(found)


def test_wrong_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT", "200ms")
    for address in ("", "nonsense", "tcp://", "host", "tcp://host:port"):
        with pytest.raises(InputError, match="no address of a Dask scheduler"), dask_executor(address):
            pass
    with pytest.raises(BumpfitError, match="no Dask scheduler answers"), dask_executor("tcp://127.0.0.1:1"):
        pass


def test_simulation_scores_and_cut_flows_have_the_same_bits(
    scheduler: Any, worker: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythia8mc")
    from bumpfit import simulate
    from bumpfit.events import ranges
    from bumpfit.events.cutflow import cutflow
    from bumpfit.scoring import BoostedTrees
    from bumpfit.scoring.forward import forward_scores

    rng = np.random.default_rng(1)
    tables = rng.normal(0, 1, (400, 2)), rng.normal(0.2, 1, (400, 2))
    blocks = [np.arange(400) % 3] * 2
    everywhere = [(np.ones(400, bool), np.ones(400, bool))]
    trees = BoostedTrees(models=1, iterations=10)
    job = dataclasses.replace(simulate.dijet(simulate.resonance(3500, 500, 100, mpi=False)), chunk=2)
    worker()
    monkeypatch.setattr(ranges, "EVENTS", 150)
    pd.DataFrame(tables[0], columns=["x", "y"]).to_csv(tmp_path / "events.csv", index=False)
    found, files, flows = [], [], []
    with dask_executor(scheduler.scheduler_address) as executor:
        for name, how in (("dask", executor), ("here", None)):
            scored = forward_scores(*tables, *blocks, everywhere, trees, seed=1, executor=how)
            found.append([(block.data, block.background) for _, block in scored])
            files.append(tmp_path / f"{name}.parquet")
            simulate.events(job, 4, files[-1], executor=how)
            flows.append(cutflow(tmp_path / "events.csv", ["x > 0", "y > 0"], weights="x", executor=how).to_dict())
    assert len(found[0]) == 2 and flows[0] == flows[1]
    np.testing.assert_array_equal(*found)
    assert pq.read_table(files[0]).equals(pq.read_table(files[1]))
