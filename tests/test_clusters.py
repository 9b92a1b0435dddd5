"""Dask workers that are lost: said, waited for, and nothing done twice or lost."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def address() -> Iterator[str]:
    """A scheduler without workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, silence_logs=60, protocol="tcp"
        ) as made:
            yield made.scheduler_address


def worker(address: str) -> subprocess.Popen[bytes]:
    """A worker that nobody starts again."""
    quiet = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "20"]
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, *quiet],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_all_workers_lost_is_said_and_new_ones_go_on(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "NOTICE", 1.0)
    first = worker(address)
    later: list[subprocess.Popen[bytes]] = []
    with dask_executor(address) as executor:
        found = ordered_map(slow, range(30), executor=executor)
        results = [next(found) for _ in range(3)]
        first.kill()
        timer = threading.Timer(6.0, lambda: later.append(worker(address)))
        timer.start()
        with pytest.warns(WaitingWarning, match="no worker is left"):
            results += found
        timer.join()
    assert results == [x * x for x in range(30)]
    for process in (first, *later):
        process.kill()
        process.wait()


def test_patience_ends(address: str) -> None:
    process = worker(address)
    with dask_executor(address, patience=6.0) as executor:
        found = ordered_map(slow, range(30), executor=executor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WaitingWarning)  # while the first worker starts
            assert next(found) == 0
        process.kill()
        begin = time.monotonic()
        with pytest.warns(WaitingWarning), pytest.raises(BumpfitError, match="had no worker for 6 seconds"):
            list(found)
        assert time.monotonic() - begin < 30
    process.wait()


def test_wrong_addresses() -> None:
    for address in ("", "nonsense", "tcp://", "host", "tcp://host:port"):
        with pytest.raises(InputError, match="no address of a Dask scheduler"), dask_executor(address):
            pass
    with pytest.raises(BumpfitError, match="no Dask scheduler answers"), dask_executor("tcp://127.0.0.1:1"):
        pass


def test_simulation_and_search_have_the_same_bits(address: str, tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    import bumpfit
    from bumpfit import simulate

    rng = np.random.default_rng(1)

    def table(n: int) -> pd.DataFrame:
        return pd.DataFrame({
            "m_JJ": 3000 * (1 - rng.random(n) * 0.6) ** -0.25, "m_J1": rng.gamma(4, 40, n),
            "delta_m_J": rng.gamma(3, 60, n), "tau_2_over_tau_1_J1": rng.beta(5, 2, n),
            "tau_2_over_tau_1_J2": rng.beta(5, 2, n),
        })  # fmt: skip

    data, background = table(1200), table(1200)
    job = dataclasses.replace(simulate.dijet(simulate.resonance(3500, 500, 100, mpi=False)), chunk=4)
    found, files = [], []
    running = worker(address)
    try:
        with dask_executor(address) as executor:
            for name, how in (("dask", executor), ("here", None)):
                found.append(bumpfit.run(data, background, quick=True, iterations=0, executor=how).to_dict())
                files.append(tmp_path / f"{name}.parquet")
                simulate.events(job, 6, files[-1], executor=how)
    finally:
        running.kill()
        running.wait()
    assert {**found[0], "runtime_s": 0} == {**found[1], "runtime_s": 0}
    assert pq.read_table(files[0]).equals(pq.read_table(files[1]))
