"""Long runs: the same numbers after interruptions, in shards, on workers and executors, and clear words for misuse."""

import dataclasses
import importlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from toy_models import dijet

from bumpfit import toys
from bumpfit.errors import BumpfitError, InputError
from bumpfit.law import estimate, upper_limit
from bumpfit.runs import Pieces
from bumpfit.toys.engine import LogLinearEngine
from bumpfit.toys.tally import Tally, read
from bumpfit.toys.tallying import merge, missing

runs = importlib.import_module("bumpfit.toys.run")
N = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class SmallChunks(LogLinearEngine):
    """The engine with chunks so small that a short run has many pieces."""

    @property
    def chunk(self) -> int:
        return 64


@pytest.fixture(scope="module")
def engine() -> SmallChunks:
    return SmallChunks(dijet(6000))


@pytest.fixture(scope="module")
def whole(engine) -> Tally:
    return runs.run(engine, N, seed=2, observed=4.0)


def same(a: Tally, b: Tally) -> bool:
    return np.array_equal(a.value, b.value) and np.array_equal(a.toys, b.toys) and a.ranges == b.ranges


@pytest.mark.parametrize(("hits", "n"), [(0, 1000), (3, 200), (60, 100)])
def test_what_a_p_value_is_at_most(hits: int, n: int) -> None:
    """With the upper limit as the truth, so few hits happen in 5 % of all runs."""
    assert stats.binom.cdf(hits, n, upper_limit(hits, n)) == pytest.approx(0.05, rel=1e-6)
    assert estimate(hits, hits, n, plain=True)[0] == (hits + 1) / (n + 1)


def test_a_tally_is_the_toys(engine, whole) -> None:
    thrown = toys.throw(engine.model, N, seed=2)
    assert whole.n == whole.fitted == N
    assert whole.p_value(4.0) == thrown.p_value(4.0)
    assert whole.p_value(1e9) == (whole.floor, pytest.approx(whole.floor, rel=1e-3))
    assert whole.floor == 1 / (N + 1)
    for q in (0.16, 0.6, 0.975):
        assert whole.quantile(q) == pytest.approx(np.quantile(thrown.statistic, q), abs=0.02)


@pytest.mark.slow
def test_workers_and_executors_change_nothing(engine, whole) -> None:
    assert same(whole, runs.run(engine, N, seed=2, workers=2))
    with ThreadPoolExecutor(3) as pool:
        assert same(whole, runs.run(engine, N, seed=2, executor=pool))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert same(whole, runs.run(engine, N, seed=2, executor=processes))


def test_shards_merge_to_the_whole(engine, whole, tmp_path: Path) -> None:
    files = []
    for i in (3, 1, 2):
        files.append(tmp_path / f"{i}.parquet")
        runs.run(engine, N, seed=2, part=runs.shard(N, i, 3), path=files[-1])
    merged = merge([read(f) for f in files])
    assert same(merged, whole)
    assert merged.ranges == ((0, N),)


def test_files_are_plain_parquet_with_provenance(engine, whole, tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    runs.run(engine, N, seed=2, path=path, observed=4.0)
    table = pq.read_table(path)
    content = json.loads(table.schema.metadata[b"bumpfit"])
    assert content["seed"] == 2 and content["model"] == engine.digest and content["observed"] == 4.0
    frame = table.to_pandas()
    hits = frame.toys[frame.value >= 4.0].sum()
    assert (hits + 1) / (frame.toys.sum() + 1) == whole.p_value(4.0)[0]
    assert same(read(path), whole)
    assert not list(tmp_path.glob("*.parts"))


def test_bins_below_the_threshold(engine, whole) -> None:
    coarse = runs.run(engine, N, seed=2, keep_above=2.0)
    assert coarse.value.size < whole.value.size
    for value in (0.0, 2.5, 6.0):
        assert coarse.p_value(value) == whole.p_value(value)
    for value in (0.004, 0.7, 1.999):
        exact, rounded = whole.p_value(value)[0], coarse.p_value(value)[0]
        assert exact <= rounded <= exact + 0.04


def test_until(engine) -> None:
    found = runs.run(engine, 10**9, seed=2, observed=1.0, until=0.1)
    p, error = found.p_value()
    assert error < 0.1 * p
    assert found.n < 3000  # about 100 hits at p = 0.16
    again = runs.run(engine, 10**9, seed=2, observed=1.0, until=0.1, workers=2)
    assert same(found, again)


def test_a_failed_run_continues_where_it_was(engine, whole, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "toys.parquet"
    kept = Pieces.keep
    pieces: list[int] = []

    def interrupted(self: Pieces[Tally], name: str, piece: Tally) -> None:
        if len(pieces) == 3:
            raise KeyboardInterrupt
        pieces.append(piece.n)
        kept(self, name, piece)

    monkeypatch.setattr(Pieces, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.run(engine, N, seed=2, path=path, workers=2)
    assert not path.exists()
    assert len(list(tmp_path.glob("*.parts/part-*"))) == 3
    thrown: list[int] = []
    monkeypatch.setattr(Pieces, "keep", lambda self, name, piece: thrown.append(piece.n))
    assert same(runs.run(engine, N, seed=2, path=path), whole)
    assert sum(thrown) == N - sum(pieces)
    assert same(read(path), whole)


def test_more_toys_extend_a_finished_run(engine, tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    runs.run(engine, 1000, seed=2, path=path)
    more = runs.run(engine, N, seed=2, path=path)
    assert same(more, runs.run(engine, N, seed=2))
    with pytest.raises(InputError, match="at least as many"):
        runs.run(engine, 500, seed=2, path=path)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_loses_nothing(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_run import SmallChunks, dijet, runs\n"
        f"runs.run(SmallChunks(dijet(6000)), 3_000_000, seed=2, path={str(tmp_path / 'toys.parquet')!r}, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*.parts/part-*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, how)
    process.communicate(timeout=30)
    assert not (tmp_path / "toys.parquet").exists()
    pieces = [read(p) for p in tmp_path.glob("*.parts/part-*")]
    assert len(pieces) >= 5
    done = merge(pieces)
    engine = SmallChunks(dijet(6000))
    first, end = done.ranges[0]
    assert same(dataclasses.replace(merge([p for p in pieces if p.ranges[0][1] <= end]), observed=None), runs.run(
        engine, end, seed=2, part=(first, end)
    ))  # fmt: skip


@pytest.mark.slow
def test_dask(engine, whole, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            toys.dask_executor(cluster.scheduler_address) as executor,
        ):
            victim = next(iter(cluster.workers.values()))
            pid = victim.pid
            seen: list[int] = []

            def kill_once(self: Pieces[Tally], name: str, piece: Tally) -> None:
                if not seen:
                    os.kill(pid, signal.SIGKILL)
                seen.append(piece.n)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Pieces, "keep", kill_once)
                found = runs.run(engine, N, seed=2, path=tmp_path / "toys.parquet", executor=executor)
        assert same(found, whole)


def test_longer_runs_put_what_shorter_ones_kept_into_bins(engine, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "KEEP", ((1000, 0.0), (4000, 1.0)))
    path = tmp_path / "toys.parquet"
    for n, keep_above in ((500, 0.0), (3000, 1.0), (N, 9.0)):
        found = runs.run(engine, n, seed=2, path=path, observed=2.0)
        assert found.keep_above == keep_above
        assert same(found, runs.run(engine, n, seed=2))
        assert sum(hits for _, hits, _ in found.course) == found.hits(2.0)
    with pytest.raises(InputError, match="other toys"):
        runs.run(engine, N, seed=2, path=path, keep_above=0.0)  # what is in bins stays there


def test_a_result_knows_how_long_its_run_is(engine, tmp_path: Path) -> None:
    path = tmp_path / "first.parquet"
    runs.run(engine, N, seed=2, part=runs.shard(N, 1, 3), path=path)
    assert (read(path).wanted, read(path).n) == (N, N // 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranges": ()}, "ranges"),
        ({"ranges": ((5, 2),)}, "ranges"),
        ({"ranges": ((0, N - 1),)}, "do not add up"),
        ({"failed": -1}, "do not add up"),
        ({"seed": "two"}, "do not add up"),
        ({"observed": "high"}, "not a number"),
        ({"keep_above": math.nan}, "not a number"),
        ({"toys": np.full(3, 2), "value": np.array([1.0, 3.0, 2.0]), "ranges": ((0, 6),)}, "not in order"),
        ({"toys": np.full(2, 3), "value": np.array([1.0, math.nan]), "ranges": ((0, 6),)}, "not in order"),
        ({"value": np.array(["a"]), "toys": np.array([N])}, "not a result"),
        ({"value": np.array([1.0]), "toys": np.array([N]), "weight": np.array([-1.0])}, "weight"),
    ],
)
def test_results_that_contradict_themselves_are_refused(whole, tmp_path: Path, changes, words: str) -> None:
    path = tmp_path / "toys.parquet"
    dataclasses.replace(whole, **changes).write(path)
    with pytest.raises(InputError, match=words):
        read(path)


def test_a_flipped_bit_is_noticed(whole, tmp_path: Path) -> None:
    path = tmp_path / "toys.parquet"
    whole.write(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read(path)


def test_misuse_is_said(engine, whole, tmp_path: Path, monkeypatch) -> None:
    for index, shards in ((0, 3), (4, 3), (1, 0), (-1, 2)):
        with pytest.raises(InputError, match="no shard"):
            runs.shard(N, index, shards)
    with pytest.raises(InputError, match="at most as many shards as toys"):
        runs.shard(10, 3, 11)
    with pytest.raises(InputError, match="numbered up to"):
        runs.run(engine, 10**23, seed=2)
    for address in ("", "nonsense", "tcp://", "host", "tcp://host:port"):
        with pytest.raises(InputError, match="no address of a Dask scheduler"), toys.dask_executor(address):
            pass
    path = tmp_path / "toys.parquet"
    runs.run(engine, 200, seed=2, path=path)
    with pytest.raises(InputError, match="other toys"):
        runs.run(engine, 200, seed=3, path=path)
    with pytest.raises(InputError, match="model is"):
        merge([whole, runs.run(SmallChunks(dijet(6001)), 100, seed=2)])
    with pytest.raises(InputError, match="seed is"):
        merge([whole, runs.run(engine, 100, seed=3)])
    with pytest.raises(InputError, match="more than one result"):
        merge([whole, whole])
    with pytest.raises(InputError, match="nothing to merge"):
        merge([])
    with pytest.raises(InputError, match="no file"):
        read(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not a table")
    with pytest.raises(InputError, match="not a result"):
        read(tmp_path / "text.parquet")
    with pytest.raises(InputError, match="no observed data"):
        runs.run(engine, 100, until=0.1)
    with pytest.raises(InputError, match="between 0 and 1"):
        runs.run(engine, 100, until=1.5, observed=1.0)
    absent = importlib.util.find_spec("distributed") is None
    expected = "which is not installed" if absent else "no Dask scheduler"
    with pytest.raises(BumpfitError, match=expected), toys.dask_executor("tcp://127.0.0.1:1"):
        pass

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(BumpfitError, match="No space left on device"):
        runs.run(engine, 300, seed=9, path=tmp_path / "full.parquet")


def test_the_course_of_p_is_that_of_the_toys_in_order(engine, whole, tmp_path: Path) -> None:
    thrown = toys.throw(engine.model, N, seed=2).statistic
    fitted, hits, _ = np.cumsum(whole.course, axis=0).T
    assert (fitted[0], fitted[-1], hits[-1]) == (10, N, whole.hits(4.0))
    assert len(fitted) > 30
    np.testing.assert_array_equal(hits, [(thrown[: int(n)] >= 4.0).sum() for n in fitted])
    files = [tmp_path / f"{i}.parquet" for i in (1, 2)]
    for i, file in enumerate(files, start=1):
        runs.run(engine, N, seed=2, part=runs.shard(N, i, 2), path=file, observed=4.0)
    merged = merge([read(file) for file in reversed(files)])
    curve = toys.convergence(merged)
    np.testing.assert_allclose(curve.p, [((thrown[: int(n)] >= 4.0).sum() + 1) / (n + 1) for n in curve.x])
    # for another observed value all toys are one group
    other = toys.convergence(merged, 1.0)
    assert (other.x.tolist(), other.p[0]) == ([N], merged.p_value(1.0)[0])
    for value in (0.0, 0.004, 0.7, 1.999, 2.5):
        coarse = runs.run(engine, N, seed=2, keep_above=2.0, observed=value)
        assert sum(hits for _, hits, _ in coarse.course) == coarse.hits(value)


def test_progress_says_rate_and_p(engine, whole) -> None:
    count = runs.Count(4.0)
    assert count.note() == ""
    count.add(whole, new=False)
    p, error = whole.p_value(4.0)
    assert count.note() == f"p = {p:.3g} ± {error:.1g}"
    count.started = time.monotonic() - 2
    count.add(whole, new=True)
    rate, unit, *rest = count.note().split()
    assert unit == "toys/s" and rest[:2] == ["p", "="]
    assert float(rate.replace(",", "")) == pytest.approx(N / 2, rel=0.1)
    rare = runs.Count(1e6)
    rare.add(whole, new=False)
    assert rare.note() == "p = 0.0002 ± 0.0002"


def test_a_full_disk_keeps_what_is_done(engine, whole, tmp_path: Path) -> None:
    """The system refuses files larger than the pieces but smaller than the result."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "toys.parquet"
    whole.write(path)
    size = path.stat().st_size
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        with pytest.raises(BumpfitError, match=r"cannot write .*kept"):
            runs.run(engine, N, seed=2, path=path, observed=4.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    pieces = sorted(tmp_path.glob("*.parts/part-*"))
    assert sum(read(piece).n for piece in pieces) == N
    assert [file.name for file in tmp_path.iterdir()] == ["toys.parquet.parts"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.__class__, "run", None)  # nothing is thrown again
        assert same(runs.run(engine, N, seed=2, path=path, observed=4.0), whole)
    assert same(read(path), whole)


def test_a_disk_that_fills_in_the_middle(engine, whole, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "toys.parquet"
    write, written = pq.write_table, []

    def full(table, where, **how):
        if len(written) == 4:
            raise OSError(28, "No space left on device")
        written.append(where)
        write(table, where, **how)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(BumpfitError, match=r"No space left on device.*kept"):
        runs.run(engine, N, seed=2, path=path, observed=4.0)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*.parts/part-*"))) == 4
    found = runs.run(engine, N, seed=2, path=path, observed=4.0)
    assert same(found, whole) and found.course == whole.course


def test_missing_ranges() -> None:
    assert missing(0, 10, []) == [(0, 10)]
    assert missing(0, 10, [(2, 4), (6, 10)]) == [(0, 2), (4, 6)]
    assert missing(3, 8, [(0, 5)]) == [(5, 8)]
    assert missing(0, 10, [(0, 10)]) == []


def test_p_value_of_no_toys(engine) -> None:
    from bumpfit.toys.tallying import empty

    with pytest.raises(BumpfitError, match="no toy"):
        empty(engine, 0, 0.0).p_value(1.0)
    with pytest.raises(BumpfitError, match="no observed"):
        runs.run(engine, 10).p_value()
    assert math.isclose(runs.run(engine, 10).floor, 1 / 11)
