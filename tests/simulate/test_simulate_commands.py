import json
from pathlib import Path

import pandas as pd
import pytest

from bumpfit.cli import main
from bumpfit.simulate.task import Piece, run_chunk


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(["simulate", *map(str, words)])
    said = capsys.readouterr()
    return int(done.value.code or 0), said.out, said.err


def test_a_table_for_the_search(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    card = tmp_path / "card.toml"
    card.write_text("[fat_jets]\nradius = 0.8\n")
    out = tmp_path / "signal.parquet"
    code, text, error = call(
        capfd, "dijet", "--resonance", "3000,400,200", "--prongs", "2,3", "--lead-pt", 1000, "-n", 5, "-o", out,
        "--seed", 3, "--workers", 1, "--chunk", 10, "--card", card, "--json",
    )  # fmt: skip
    assert code == 0, error
    made = json.loads(text)  # nothing of what Pythia and fastjet print about themselves is in it
    assert made["events"] == 5 == len(pd.read_parquet(out))
    assert made["card"]["fat_jets"]["radius"] == 0.8
    assert made["card"]["subjettiness"]["axes"] == "KT_Axes"
    assert (made["asked"]["prongs_first"], made["asked"]["prongs_second"]) == (2, 3)


def test_any_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    settings = tmp_path / "z.cmnd"
    settings.write_text("! Z bosons\nWeakSingleBoson:ffbar2gmZ = on\nPartonLevel:MPI = off\n")
    out = tmp_path / "z.parquet"
    code, text, error = call(capsys, "process", "--settings", settings, "-n", 5, "-o", out, "--workers", 1)
    assert code == 0, error
    assert "cross section" in text
    assert "5 of 5 generated" in text
    code, _, error = call(capsys, "process", "--settings", settings, "-n", 5, "-o", settings)
    assert (code, error.startswith("bumpfit: ")) == (2, True)


def test_an_interruption_is_said_and_keeps_finished_chunks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    from bumpfit.simulate import run as running

    def interrupted(task: tuple[object, ...]) -> Piece:
        if task[2] == 1:
            raise KeyboardInterrupt
        return run_chunk(task)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "run_chunk", interrupted)
    settings = tmp_path / "z.cmnd"
    settings.write_text("WeakSingleBoson:ffbar2gmZ = on\nPartonLevel:all = off\nHadronLevel:all = off\n")
    out = tmp_path / "z.parquet"
    code, text, error = call(
        capfd, "process", "--settings", settings, "-n", 20, "--chunk", 10, "-o", out, "--workers", 1
    )
    assert (code, text) == (130, "")
    assert error.startswith("bumpfit: interrupted; what was finished is kept")
    assert sorted(path.name for path in tmp_path.rglob("*.parquet")) == ["part-00000000.parquet"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dijet", "-n", "5", "-o", "x.csv"), "ends in .parquet or .root"),
        (("dijet", "-o", "x.parquet"), "one of the two"),
        (("dijet", "--resonance", "3500,500", "-n", "5", "-o", "x.parquet"), "expected 3 numbers"),
        (("dijet", "--resonance", "3500,500,100", "--prongs", "2.5", "-n", "5", "-o", "x.parquet"), "--prongs 2.5"),
        (("dijet", "--prongs", "3", "-n", "5", "-o", "x.parquet"), "--prongs means nothing for QCD: add --resonance"),
        (("dijet", "--resonance", "3500,500,100", "--parton-pt", "9", "-n", "5", "-o", "x.root"), "--parton-pt means"),
        (("dijet", "--resonance", "3500,500,100", "--width", "50", "-n", "5", "-o", "x.root"), "width is 50"),
        (("dijet", "--energy", "1e12", "-n", "5", "-o", "x.parquet"), "at most 1e+06"),
        (("wtag", "both", "-n", "5", "-o", "x.root"), "expected signal or background"),
        (("process", "--settings", "none.cmnd", "-n", "5", "-o", "x.root"), "there is no file none.cmnd"),
        (("response", "-o", "x.parquet", "--grid", "a"), "--grid a"),
        (("response", "-o", "x.csv"), "ends in .parquet"),
        (("madgraph", "--read", "none"), "there is no folder none"),
        (("madgraph", "--dry"), "no process"),
        (("madgraph", "p p > z", "--set", "nevents", "--dry"), "expected NAME=VALUE"),
        (("madgraph", "p p > z", "-n", "5", "--set", "nevents=6", "--dry"), "given twice"),
        (("madgraph", "p p > z", "--executable", "mg5_that_is_not_there"), "not installed"),
    ],
)
def test_mistakes_are_one_sentence(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, out, error = call(capsys, *words)
    assert (code, out) == (2, "")
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_script_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        capsys, "madgraph", "p p > w+ z", "p p > w- z", "-o", "wz", "--define", "j = g u d", "-n", 10, "--seed", 7,
        "--shower", "Pythia8", "--set", "ptj=20", "--dry",
    )  # fmt: skip
    assert code == 0
    assert out == (
        "import model sm\ndefine j = g u d\ngenerate p p > w+ z\nadd process p p > w- z\noutput wz\n"
        "# the seed of Cards/pythia8_card.dat: Random:setSeed = on, Random:seed = 7\nlaunch wz\n"
        "shower=Pythia8\ndetector=OFF\nmadspin=OFF\ndone\nset nevents 10\nset ptj 20\nset iseed 7\ndone\n"
    )


def test_runs_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    place = tmp_path / "wz" / "Events" / "run_01"
    place.mkdir(parents=True)
    (place / "run_01_tag_1_banner.txt").write_text(
        " 33 = iseed\n#  Number of Events        :       100\n#  Integrated weight (pb)  :       0.51234\n"
    )
    code, out, _ = call(capsys, "madgraph", "--read", tmp_path / "wz")
    assert code == 0
    assert [word for word in ("run_01", "tag_1", "0.51234", "100", "33") if word not in out] == []
    code, out, _ = call(capsys, "madgraph", "--read", tmp_path / "wz", "--json")
    assert json.loads(out)["runs"][0]["cross_section"] == 0.51234
