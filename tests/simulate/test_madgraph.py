import gzip
import stat
from pathlib import Path
from typing import Any

import pytest

from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate import madgraph_cards
from bumpfit.simulate.madgraph import Launch, MadGraph, find
from bumpfit.simulate.madgraph_runs import read_runs

# Written as MadGraph5_aMC does it: madgraph/various/banner.py (add_generation_info, write) and the run card template,
# madgraph/various/gen_crossxhtml.py (crossx.html), and the Les Houches accord's <init> block (hep-ph/0609017).
BANNER = """<LesHouchesEvents version="3.0">
<header>
<MG5ProcCard>
import model sm
generate p p > w+ z
output wz
</MG5ProcCard>
<MGRunCard>
#*********************************************************************
# Tag name for the run (one word)                                    *
#*********************************************************************
  {tag}     = run_tag ! name of the run
  10000 = nevents ! Number of unweighted events requested
  {seed}   = iseed   ! rnd seed (0=assigned automatically=default))
     1        = lpp1    ! beam 1 type
     1        = lpp2    ! beam 2 type
     6500.0     = ebeam1  ! beam 1 total energy in GeV
     6500.0     = ebeam2  ! beam 2 total energy in GeV
 {{}} = pt_min_pdg ! pt cut for other particles
</MGRunCard>
<MGGenerationInfo>
#  Number of Events        :       10000
#  Integrated weight (pb)  :       {cross}
{matched}</MGGenerationInfo>
</header>
</LesHouchesEvents>
"""
ROW = """
        <tr>
        <td rowspan=2>{run}</td>
        <td rowspan=2><center> p p <br> 6500.0 x 6500.0  GeV</center></td>
        <td rowspan=2> <a href="./Events/{run}/{run}_{tag}_banner.txt">{tag}</a></td>
        <td rowspan=1><center><a href="./HTML/{run}/results.html"> {cross} <font face=symbol>&#177;</font> {error} </a>  </center></td>
        <td rowspan=1><center> {events}<center></td><td> parton madevent </td>
        <td> <a  id='{run}_{tag}_parton_LHE' href='./Events/{run}/unweighted_events.lhe.gz'>LHE</a></td>
        <td> action</td>
        </tr>
"""  # noqa: E501
PAGE = """<HTML><BODY>
    <H2 align=center> Results in the sm for p p > w+ z </H2>
    <A HREF="./HTML/run_02/results.html">9.999 <font face=symbol>&#177;</font> 0.99 (pb)</A>
    <H2 align="center"> Available Results </H2>
        <TABLE BORDER=2 align="center">
            <TR align="center">
                <TH>Run</TH>
                <TH>Collider</TH>
                <TH> Tag </TH>
                <TH> Cross section (pb) </TH>
                <TH> Events </TH>
            </TR>
{rows}
        </TABLE></BODY></HTML>
"""
LHE = """<LesHouchesEvents version="3.0">
<header>
</header>
<init>
2212 2212 6.500000e+03 6.500000e+03 0 0 247000 247000 -4 2
1.200000e+01 3.000000e-02 1.200000e+01 1
4.000000e+00 4.000000e-02 4.000000e+00 2
<generator name='MadGraph5_aMC@NLO' version='3.5.3'>please cite 1405.0301</generator>
</init>
</LesHouchesEvents>
"""


def banner(folder: Path, run: str, tag: str = "tag_1", **values: Any) -> None:
    place = folder / "Events" / run
    place.mkdir(parents=True, exist_ok=True)
    entries = {"seed": 21, "cross": "16.0123", "matched": "", "tag": tag, **values}
    (place / f"{run}_{tag}_banner.txt").write_text(BANNER.format(**entries))


def page(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "crossx.html").write_text(PAGE.format(rows="".join(ROW.format(**row) for row in rows)))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A process folder with a plain run and a multi_run of two."""
    folder = tmp_path / "wz"
    banner(folder, "run_01", seed=42)
    place = folder / "Events" / "run_01"
    (place / "unweighted_events.lhe.gz").write_bytes(gzip.compress(LHE.encode()))
    (place / "tag_1_delphes_events.root").write_bytes(b"root")
    (place / "tag_1_pythia8.log").write_text("log")
    banner(folder, "run_02", cross="16.2")
    banner(folder, "run_02", "tag_2", cross="16.2", matched="#  Matched Integrated weight (pb)  :       12.5\n")
    for part, seed in ((0, 51), (1, 52)):
        banner(folder, f"run_02_{part}", seed=seed, cross=f"16.{part}")
    page(
        folder,
        {"run": "run_01", "tag": "tag_1", "cross": "16.01", "error": "0.051", "events": 9998},
        {"run": "run_02", "tag": "tag_2", "cross": "16.2", "error": "4.1e-02", "events": 20000},
        {"run": "run_02_0", "tag": "tag_1", "cross": "16", "error": "0.06", "events": 10000},
    )
    return folder


def test_runs_are_read_from_what_madgraph_leaves(finished: Path) -> None:
    first, second = read_runs(finished)
    assert (first.name, first.tag, first.seed, first.events) == ("run_01", "tag_1", 42, 9998)
    assert (first.cross_section, first.error, first.matched) == (16.0123, 0.051, None)
    assert first.collider == "p p 6500 x 6500 GeV"
    assert [Path(file).name for file in first.files] == ["tag_1_delphes_events.root", "unweighted_events.lhe.gz"]
    assert (second.tag, second.cross_section, second.error, second.matched) == ("tag_2", 16.2, 0.041, 12.5)
    assert [(part.name, part.seed, part.cross_section) for part in second.parts] == [
        ("run_02_0", 51, 16.0),
        ("run_02_1", 52, 16.1),
    ]
    # a run that is in no table: number of events as asked for, error unknown
    assert (second.parts[1].error, second.parts[1].events) == (None, 10000)


def test_the_error_is_in_the_event_file_too(finished: Path) -> None:
    (finished / "crossx.html").unlink()
    first, _ = read_runs(finished)
    assert first.cross_section == 16.0123
    assert first.error == pytest.approx(0.05)  # 0.03 and 0.04 in quadrature


def test_ten_tags_and_names_of_ones_own(tmp_path: Path) -> None:
    for tag in ("tag_9", "tag_10"):
        banner(tmp_path, "mine", tag)
    banner(tmp_path, "scan_1", seed=3)
    mine, scan = read_runs(tmp_path)
    assert mine.tag == "tag_10"
    assert (scan.name, scan.parts) == ("scan_1", ())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", "there is no folder"),
        (lambda folder: folder, "no folder Events"),
        (lambda folder: (folder / "Events" / "run_01").mkdir(parents=True) or folder, "no finished run"),
    ],
)
def test_folders_without_runs(tmp_path: Path, make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_runs(make(tmp_path))


def test_a_truncated_event_file(finished: Path) -> None:
    (finished / "crossx.html").unlink()
    path = finished / "Events" / "run_01" / "unweighted_events.lhe.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be read as an event file"):
        read_runs(finished)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("run_01_tag_1_banner.txt", "16.0123", "1.2.3", "banner.txt is damaged: '1.2.3' stands where a number"),
        ("run_01_tag_1_banner.txt", "16.0123", "nan", "'nan' stands where a number"),
        ("run_01_tag_1_banner.txt", "6500.0", "many", "'many' stands where a number"),
        ("run_01_tag_1_banner.txt", None, "", "no banner of MadGraph"),
        ("events.lhe", "1.200000e+01", "lots", "'lots' stands where a number"),
        ("events.lhe", "1.200000e+01 3.000000e-02 1.200000e+01 1", "12.0", "no cross section with an error"),
    ],
)
def test_damaged_files_of_a_run(finished: Path, file: str, old: str | None, new: str, words: str) -> None:
    place = finished / "Events" / "run_01"
    (place / "unweighted_events.lhe.gz").unlink()
    (place / "events.lhe").write_text(LHE)
    (finished / "crossx.html").unlink()
    text = (place / file).read_text()
    assert old is None or old in text
    (place / file).write_text("" if old is None else text.replace(old, new))
    with pytest.raises(InputError, match=words):
        read_runs(finished)


def test_a_damaged_summary_page_is_no_number(finished: Path) -> None:
    page(finished, {"run": "run_01", "tag": "tag_1", "cross": "1.6.01", "error": "0.051", "events": 9998})
    assert read_runs(finished)[0].error == pytest.approx(0.05)  # that of the event file


WZ = MadGraph(("p p > w+ z", "p p > w- z"), "out/wz", definitions={"j": "g u d", "v": "ve vm vt"})


def test_the_script_of_a_launch(tmp_path: Path) -> None:
    card = tmp_path / "delphes_card.dat"
    launch = Launch(
        shower="pythia8", detector="DELPHES", madspin="on", decays=("w+ > j j", "z > v v~"),
        settings={"nevents": 1000, "ptj": 20.0, "mass": [6, 172.5]}, cards=(str(card),), seed=42,
    )  # fmt: skip
    # as a user types it: launch, switches, done; then cards, parameters, decays, done
    assert (
        WZ.script(launch)
        == f"""import model sm
define j = g u d
define v = ve vm vt
generate p p > w+ z
add process p p > w- z
output out/wz
# the seed of Cards/pythia8_card.dat: Random:setSeed = on, Random:seed = 42
# the seed of Cards/delphes_card.dat: set RandomSeed 42
launch out/wz
shower=Pythia8
detector=Delphes
madspin=ON
done
{card}
set nevents 1000
set ptj 20.0
set mass 6 172.5
set iseed 42
decay w+ > j j
decay z > v v~
done
"""
    )


def test_several_launches_and_runs() -> None:
    script = WZ.script(Launch(multi_run=3), Launch())
    lines = script.splitlines()
    first = lines.index("launch -i out/wz")
    assert lines[first : first + 7] == [
        "launch -i out/wz", "multi_run 3", "shower=OFF", "detector=OFF", "madspin=OFF", "done", "done",
    ]  # fmt: skip
    assert lines[first + 7 : first + 9] == ["exit", "launch out/wz"]
    assert WZ.script().endswith("output out/wz\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Launch(shower="herwig"), "shower is 'herwig'"),
        (lambda: Launch(detector="Delphes"), "needs showered events"),
        (lambda: Launch(decays=("w+ > j j",)), "add madspin"),
        (lambda: Launch(madspin="ON", decays=("w+ j j",)), "no decay"),
        (lambda: Launch(multi_run=0), "multi_run is 0"),
        (lambda: Launch(seed=0), "seed is 0"),
        (lambda: Launch(seed=30081**2), "seed is"),
        (lambda: Launch(seed=1, settings={"iseed": 2}), "given twice"),
        (lambda: Launch(settings={"nevents": "10; exit"}), "without semicolons"),
        (lambda: MadGraph((), "x"), "no process"),
        (lambda: MadGraph(("p p w+",), "x"), "no process; expected"),
        (lambda: MadGraph(("p p > z\nexit",), "x"), "one line"),
        (lambda: MadGraph(("p p > z",), "my folder"), "without blanks"),
        (lambda: MadGraph(("p p > z",), "wz;exit"), "semicolons"),
        (lambda: MadGraph(("p p > z",), "-f"), "begins with none of"),
        (lambda: MadGraph((" > z",), "x"), "no process; expected"),
        (lambda: Launch(seed=1.5), "seed is 1.5; expected a whole number"),  # type: ignore[arg-type]
        (lambda: Launch(multi_run=1.5), "multi_run is 1.5"),  # type: ignore[arg-type]
        (lambda: Launch(seed=1, settings={"ISEED": 2}), "given twice"),
        (lambda: Launch(settings={"nevents": ""}), "setting is ''"),
        (lambda: Launch(cards=("a\nexit",)), "the card is"),
        (lambda: MadGraph(("p p > z",), "x", definitions={"j": "g; exit"}), "definition"),
    ],
)
def test_what_no_script_is_made_of(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def program(folder: Path, body: str) -> str:
    """An executable that stands in for MadGraph: it writes down its script and does what `body` says."""
    path = folder / "mg5_aMC"
    path.write_text(f"#!/bin/sh\ncp $1 {folder}/got.mg5\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_madgraph_is_run_with_the_script_and_its_runs_are_read(tmp_path: Path, finished: Path) -> None:
    process = MadGraph(("p p > w+ z",), str(tmp_path / "new"))
    launch = Launch(seed=5)
    runs = process.run(launch, executable=program(tmp_path, f"echo hello; cp -r {finished} {tmp_path}/new"))
    assert (tmp_path / "got.mg5").read_text() == process.script(launch)
    assert [run.name for run in runs] == ["run_01", "run_02"]
    assert (tmp_path / "new.log").read_text() == "hello\n"
    with pytest.raises(InputError, match="exists"):
        process.run(launch, executable=program(tmp_path, ""))


def test_madgraph_that_fails(tmp_path: Path) -> None:
    process = MadGraph(("p p > w+ z",), str(tmp_path / "new"))
    said = 'Command \\"generate p p > w+ z\\" interrupted with error: NoDiagramException'
    with pytest.raises(BumpfitError, match=r"ended with code 1: Command .* NoDiagramException; its output is in"):
        process.run(Launch(), executable=program(tmp_path, f'echo "{said}"; exit 1'))
    with pytest.raises(InputError, match="there is no card"):
        process.run(Launch(cards=("none.dat",)), executable=program(tmp_path, ""))


def test_madgraph_that_cannot_start(tmp_path: Path) -> None:
    process = MadGraph(("p p > w+ z",), str(tmp_path / "new"))
    path = tmp_path / "mg5_aMC"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InputError, match="mg5_aMC cannot be started"):
        process.run(Launch(), executable=str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["mg5_aMC"]
    for output in (path / "new", tmp_path / "made"):
        (tmp_path / "made.log").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=r"cannot write .*\.log .*; choose another output"):
            MadGraph(("p p > w+ z",), str(output)).run(Launch(), executable=program(tmp_path, ""))


def test_madgraph_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="not installed: there is no program 'mg5_aMC'"):
        find()


def test_every_program_gets_the_seed(tmp_path: Path, finished: Path) -> None:
    """The process is made first; its launch takes copies of the cards that hold the seed."""
    process = MadGraph(("p p > w+ z",), str(tmp_path / "new"))
    # MadGraph knows a card by its content: the name of the first lies, the last of a kind counts
    texts = {
        "old.tcl": "module ParticlePropagator {}\n", "my_pythia8.tcl": "set ExecutionPath {}\n",
        "run_delphes.dat": "gridpack ebeam1\n",
    }  # fmt: skip
    mine = [str(tmp_path / name) for name in texts]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    body = (
        f"[ -d {tmp_path}/new ] || {{ cp -r {finished} {tmp_path}/new; mkdir {tmp_path}/new/Cards; "
        f"echo 'Main:numberOfEvents = -1' > {tmp_path}/new/Cards/pythia8_card_default.dat; }}\n"
        f"mkdir -p {tmp_path}/cards; grep _card.dat $1 | xargs -I F cp F {tmp_path}/cards"
    )
    launch = Launch(shower="Pythia8", detector="Delphes", seed=7, cards=tuple(mine))
    assert len(process.run(launch, executable=program(tmp_path, body))) == 2
    got = (tmp_path / "got.mg5").read_text().splitlines()
    assert "set iseed 7" in got and got[0].startswith("launch")
    given = [line for line in got if line.startswith("/")]
    assert given[:3] == mine and len(given) == 5
    cards = {card.name.partition("_")[2]: card.read_text() for card in (tmp_path / "cards").iterdir()}
    assert cards["delphes_card.dat"] == "set RandomSeed 7\nset ExecutionPath {}\n"
    assert cards["pythia8_card.dat"].split("\n")[0] == "Main:numberOfEvents = -1"
    assert "Random:setSeed = on\nRandom:seed = 7\n" in cards["pythia8_card.dat"]
    with pytest.raises(InputError, match="given twice"):
        Launch(seed=1, settings={"pythia8_card Random:seed": 2})


@pytest.mark.parametrize(("text", "kind"), [
    ("! comment\nMain:numberOfEvents = -1\n", "pythia8_card"), ("module TreeWriter TreeWriter {\n}", "delphes_card"),
    ("  = gridpack\n 6500.0 = ebeam1\n", ""), ("Block mass\nDECAY 6 1.5\n", ""), ("launch\nset spinmode none", ""),
    ("@MG5aMC inputs = *.hepmc\n# Main:numberOfEvents", ""), ("<MGVersion>\nParticlePropagator", ""), ("", ""),
])  # fmt: skip
def test_the_kind_of_a_card_is_in_its_content(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "pythia8_delphes_card.dat").write_text(text)
    assert madgraph_cards.kind(tmp_path / "pythia8_delphes_card.dat") == kind


def test_a_card_of_pythia_that_madgraph_would_not_know(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("PartonLevel:MPI = off\n")
    with pytest.raises(InputError, match=r"a\.dat holds settings of Pythia 8, but .* add 'Main:numberOfEvents = -1'"):
        MadGraph(("p p > w+ z",), str(tmp_path / "new")).run(
            Launch(cards=(str(tmp_path / "a.dat"),)), executable=program(tmp_path, "")
        )


def test_a_joined_run_whose_banner_is_beside_its_folder(tmp_path: Path) -> None:
    for part, seed in ((0, 51), (1, 52)):
        banner(tmp_path, f"run_02_{part}", seed=seed)
    inside = next((tmp_path / "Events" / "run_02_0").glob("*_banner.txt"))
    (tmp_path / "Events" / "run_02_banner.txt").write_text(inside.read_text())
    (tmp_path / "Events" / "run_02_unweighted_events.lhe.gz").write_bytes(gzip.compress(LHE.encode()))
    for make in (lambda: None, (tmp_path / "Events" / "run_02").mkdir):
        make()
        (joined,) = read_runs(tmp_path)
        assert joined.name == "run_02" and [part.name for part in joined.parts] == ["run_02_0", "run_02_1"]
        assert joined.cross_section is not None and joined.tag == ""
