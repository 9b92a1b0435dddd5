import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")
pytest.importorskip("awkward")

from bumpfit import simulate
from bumpfit.cli import application
from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate import run as running
from bumpfit.simulate.higgs import EXPECTED, PRIMARY, SHARES, simulate_chunk
from bumpfit.simulate.task import Piece, run_chunk

SMALL = simulate.higgsml("htautau", scale=0.006)


@pytest.mark.slow
def test_a_chunk_depends_on_its_seed_and_number_alone() -> None:
    alone = simulate_chunk("htautau", 7, 3, 30)
    simulate_chunk("ztautau", 1, 0, 60)
    simulate_chunk("htautau", 7, 9, 12)
    again = simulate_chunk("htautau", 7, 3, 30)
    assert alone.table.num_rows > 3
    assert alone.table.equals(again.table)
    assert not alone.table.equals(simulate_chunk("htautau", 8, 3, 30).table)


@pytest.mark.slow
def test_any_number_of_workers_and_interruptions_make_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, stopped = (tmp_path / f"{name}.parquet" for name in ("one", "two", "stopped"))
    card = simulate.events(SMALL, 16, one, seed=3, workers=1).card
    assert simulate.events(SMALL, 16, two, seed=3, workers=2).card == card
    assert one.read_bytes() == two.read_bytes()

    def interrupted(task: Any) -> Piece:
        if task[2] == 1:
            raise KeyboardInterrupt
        return run_chunk(task)

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate.events(SMALL, 16, stopped, seed=3)
    assert list((tmp_path / "stopped.parquet.parts").iterdir())
    simulate.events(SMALL, 16, stopped, seed=3)
    assert stopped.read_bytes() == one.read_bytes()


def test_rows_weights_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "h.parquet"
    made = simulate.events(SMALL, 12, path, seed=1)
    table = pd.read_parquet(path)
    assert list(table.columns) == [*PRIMARY, "weights", "detailed_labels", "labels", "stratum", "hard_event"]
    assert len(table) == made.events == 12
    assert table.weights.sum() == pytest.approx(EXPECTED["htautau"], rel=1e-5)
    assert set(table.labels) == {1.0}
    assert table.hard_event.is_unique
    assert all(table[name].dtype == np.float32 for name in PRIMARY)
    assert (table.PRI_lep_pt >= 20).all()
    assert (table.PRI_had_pt > 22).all()
    numbers = made.card["processes"]["htautau"]
    assert numbers["rows"] == 12
    assert numbers["tries"] == made.generated
    assert 0.01 < numbers["efficiency"] < 0.15
    assert 1 < numbers["effective_rows"] <= 12
    assert "cross_section_pb" not in made.card
    assert json.loads(json.dumps(made.card))["content"]["kind"] == "higgsml"


def test_all_processes_come_in_their_shares() -> None:
    job = simulate.higgsml()
    names = [job.process_of(i) for i in range(400)]
    assert set(names[:8]) == set(SHARES)
    assert names[:100] == [simulate.higgsml().process_of(i) for i in range(100)]
    assert job.size(0, 5, None) == job.size(0, None, None)


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown process 'qcd'; expected all, ztautau"):
        simulate.higgsml("qcd")
    with pytest.raises(InputError, match="expected a positive number"):
        simulate.higgsml(scale=float("nan"))
    with pytest.raises(InputError, match=r"expected a name that ends in \.parquet$"):
        simulate.events(SMALL, 5, tmp_path / "x.root")
    with pytest.raises(InputError, match="means nothing here"):
        simulate.events(SMALL, None, tmp_path / "x.parquet", generate=10)


def test_pythia_that_gives_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from bumpfit.simulate import higgs as module

    empty = module.batch_of

    def nothing(pythia: Any, n: int) -> Any:
        particles, keys = empty(pythia, 1)
        module._sources["htautau"][1].tried = 0
        return particles, keys

    simulate_chunk("htautau", 1, 0, 2)
    monkeypatch.setattr(module, "batch_of", nothing)
    with pytest.raises(BumpfitError, match="no more events of htautau"):
        simulate_chunk("htautau", 1, 0, 5)


def test_the_command(tmp_path: Path) -> None:
    out = tmp_path / "h.parquet"
    command = ["simulate", "higgs", "--process", "htautau", "-n", "6", "--scale", "0.005", "-o", str(out), "--json",
               "--workers", "1"]  # fmt: skip
    result = CliRunner().invoke(application("simulate"), command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["processes"]["htautau"]["rows"] == 6
    assert len(pd.read_parquet(out)) == 6
