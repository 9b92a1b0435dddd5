import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")
pytest.importorskip("uproot")

import awkward as ak
import pyarrow.parquet as pq
import pythia8mc
import uproot

from bumpfit import events as reading
from bumpfit import simulate
from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate import run as running
from bumpfit.simulate.generator import Generator, chunk_seed
from bumpfit.simulate.task import Job, Piece, run_chunk

LIGHT = {"mpi": False}
RESONANCE = simulate.dijet(simulate.resonance(3500, 500, 100), chunk=10)
Z_SETTINGS = ("WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", "23:onIfAny = 13", "PartonLevel:MPI = off")


def z_to_muons(chunk: int = 20) -> Job:
    lines = ["Beams:eCM = 13000.", *Z_SETTINGS, "PhaseSpace:mHatMin = 70."]
    return simulate.general(simulate.from_lines("z", lines), chunk=chunk)


@pytest.mark.slow
def test_one_and_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    first = simulate.events(RESONANCE, 25, one, seed=3, workers=1)
    second = simulate.events(RESONANCE, 25, two, seed=3, workers=2)
    assert one.read_bytes() == two.read_bytes()
    assert first.card == second.card
    assert not list(tmp_path.glob("*.parts"))
    other = tmp_path / "other.parquet"
    simulate.events(RESONANCE, 25, other, seed=4)
    assert not pd.read_parquet(one).equals(pd.read_parquet(other))


def test_a_chunk_does_not_depend_on_what_was_simulated_before() -> None:
    alone = run_chunk((RESONANCE, 7, 3, 10))
    run_chunk((z_to_muons(), 1, 0, 20))
    run_chunk((RESONANCE, 7, 9, 10))
    again = run_chunk((RESONANCE, 7, 3, 10))
    assert alone.table.equals(again.table)
    assert alone.cross_section == again.cross_section


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "stopped.parquet"
    simulate.events(RESONANCE, 25, whole, seed=3)
    done: list[int] = []

    def interrupted(task: tuple[Job, int, int, int]) -> Piece:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task[2])
        return run_chunk(task)

    monkeypatch.setattr(running, "run_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate.events(RESONANCE, 25, stopped, seed=3)
    assert not stopped.exists()
    assert done == [0, 1]

    def counted(task: tuple[Job, int, int, int]) -> Piece:
        done.append(task[2])
        return run_chunk(task)

    monkeypatch.setattr(running, "run_chunk", counted)
    with pytest.raises(InputError, match="seed was 3, is 4"):
        simulate.events(RESONANCE, 25, stopped, seed=4)
    simulate.events(RESONANCE, 25, stopped, seed=3)
    assert len(done) == len(set(done))  # nothing twice
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_place_that_cannot_be_written_is_found_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "run_chunk", lambda task: pytest.fail("simulated"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot make the folder .*; choose another output"):
        simulate.events(RESONANCE, 5, tmp_path / "file" / "x.parquet")


def test_a_failure_in_the_first_chunk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(task: tuple[Job, int, int, int]) -> Piece:
        raise BumpfitError("Pythia gave none")

    monkeypatch.setattr(running, "run_chunk", failing)
    with pytest.raises(BumpfitError):
        simulate.events(RESONANCE, 5, tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


def test_files_of_others_beside_the_chunks_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "x.parquet.parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / ".1234abcd.part-00000001.parquet").write_text("half-written when the process was killed")
    simulate.events(z_to_muons(), 5, tmp_path / "x.parquet")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_damaged_chunks_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None) -> None:
    whole, stopped = tmp_path / "whole.parquet", tmp_path / "x.parquet"
    simulate.events(RESONANCE, 15, whole, seed=3)
    with monkeypatch.context() as patch:
        patch.setattr(running.store, "write", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            simulate.events(RESONANCE, 15, stopped, seed=3)
    first, *_ = sorted((tmp_path / "x.parquet.parts").glob("part-*"))
    content = first.read_bytes()
    first.write_bytes(content[:200] + bytes(8) + content[208:] if damage is None else damage)
    simulate.events(RESONANCE, 15, stopped, seed=3)
    assert stopped.read_bytes() == whole.read_bytes()


def test_a_changed_file_of_events_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lhe(tmp_path / "z.lhe", 7)
    lines = ["Beams:frameType = 4", f"Beams:LHEF = {tmp_path / 'z.lhe'}", *Z_SETTINGS[1:]]
    job = simulate.general(simulate.from_lines("lhe", lines), chunk=4)
    with monkeypatch.context() as patch:
        patch.setattr(running.store, "write", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            simulate.events(job, None, tmp_path / "z.parquet", generate=7)
    lhe(tmp_path / "z.lhe", 8)
    with pytest.raises(InputError, match="other inputs or settings"):
        simulate.events(job, None, tmp_path / "z.parquet", generate=7)


def test_the_jets_of_a_resonance_have_its_masses(tmp_path: Path) -> None:
    path = tmp_path / "signal.parquet"
    made = simulate.events(dataclasses.replace(RESONANCE, chunk=60), None, path, generate=60, seed=2)
    table = pd.read_parquet(path)
    assert made.generated == 60
    assert made.events == len(table) > 30
    assert table.m_JJ.median() == pytest.approx(3500, rel=0.06)
    assert (table.m_J1 + table.delta_m_J).median() == pytest.approx(500, rel=0.08)
    assert table.m_J1.median() == pytest.approx(100, rel=0.2)
    assert (table.pt_j1 > 1200).all()
    assert (table.pt_j1 >= table.pt_j2).all()
    assert table.tau_2_over_tau_1_J2.median() < 0.35  # two prongs
    assert made.efficiency == len(table) / 60


def test_three_prongs_are_less_like_two(tmp_path: Path) -> None:
    job = simulate.dijet(simulate.resonance(3500, 700, 700, prongs=3), chunk=50)
    simulate.events(job, None, tmp_path / "three.parquet", generate=50, seed=2)
    table = pd.read_parquet(tmp_path / "three.parquet")
    simulate.events(simulate.dijet(simulate.resonance(3500, 700, 700), chunk=50), None, tmp_path / "two.parquet",
                    generate=50, seed=2)  # fmt: skip
    two = pd.read_parquet(tmp_path / "two.parquet")
    assert table.tau_2_over_tau_1_J2.median() > 1.5 * two.tau_2_over_tau_1_J2.median()


def test_qcd_falls_and_trimming_counts_what_was_needed(tmp_path: Path) -> None:
    path = tmp_path / "qcd.parquet"
    made = simulate.events(simulate.dijet(chunk=40), 12, path, seed=5)
    table = pd.read_parquet(path)
    assert len(table) == 12
    # the same seeds, all of the chunk: the twelfth event that passes is the last that was needed
    whole = run_chunk((simulate.dijet(chunk=40), 5, 0, 40))
    if whole.table.num_rows >= 12:
        assert made.generated == whole.table.column("__position__")[11].as_py() + 1
    assert made.efficiency == 12 / made.generated
    assert table.m_JJ.min() > 1500
    assert np.isfinite(table.to_numpy()).all()


@pytest.fixture(scope="module")
def wtag(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Boosted W bosons in a ROOT file."""
    path = tmp_path_factory.mktemp("wtag") / "signal.root"
    simulate.events(simulate.wtag("signal", mpi=False, all_flow=True, chunk=20), 40, path, seed=1)
    return str(path)


def test_a_root_file_opens_in_our_reader_and_in_uproot(wtag: str) -> None:
    source = reading.open(wtag)
    with uproot.open(wtag) as file:
        tree = file["Delphes"]
        assert tree.num_entries == len(source) == 40
        for ours, branch in (
            ("jet.pt", "Jet.PT"), ("fatjet.mass", "FatJet.Mass"), ("fatjet.tau1", "FatJet.Tau1"),
            ("fatjet.tau5", "FatJet.Tau5"), ("constituent.eta", "Constituent.Eta"), ("met.pt", "MissingET.MET"),
            ("eflowtrack.phi", "EFlowTrack.Phi"), ("scalarht.ht", "ScalarHT.HT"),
        ):  # fmt: skip
            assert ak.to_list(reading.observable(ours, source)) == ak.to_list(tree[branch].array())
        assert list(tree["Jet_size"].array()) == list(reading.observable("jet.size", source))
        run = file["Run"].arrays(library="np")
    assert run["events"][0] == run["generated"][0] == 40
    card = simulate.run_card(wtag)
    assert run["cross_section_pb"][0] == card["cross_section_pb"] > 0
    assert card["settings"][-1] == "PhaseSpace:pTHatMax = 300.0"
    assert card["versions"]["pythia"] == f"{pythia8mc.Pythia('', False).parm('Pythia:versionNumber'):.3f}"


def test_the_fat_jet_is_a_w(wtag: str) -> None:
    source = reading.open(wtag)
    mass = np.array([m for m in ak.to_list(reading.observable("fatjet0.mass", source)) if m is not None])
    assert len(mass) > 25
    assert np.median(mass) == pytest.approx(80.4, abs=8)
    met = np.median(ak.to_numpy(ak.flatten(reading.observable("met.pt", source))))
    assert 200 < met < 320


def test_parquet_and_root_hold_the_same(wtag: str, tmp_path: Path) -> None:
    path = tmp_path / "signal.parquet"
    job = simulate.wtag("signal", mpi=False, all_flow=True, chunk=20)
    simulate.events(job, 40, path, seed=1)
    ours, theirs = reading.open(path), reading.open(wtag)
    for name in ("jet.pt", "fatjet0.tau21", "constituent.phi", "eflowphoton.eta", "eflowtrack.fatjet", "muon.pt"):
        assert ak.to_list(reading.observable(name, ours)) == ak.to_list(reading.observable(name, theirs))
    assert simulate.run_card(path) == simulate.run_card(wtag)


def test_the_cross_section_is_pythias(tmp_path: Path) -> None:
    path = tmp_path / "z.parquet"
    made = simulate.events(z_to_muons(100), 200, path, seed=1)
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", *made.card["settings"], "Random:setSeed = on", "Random:seed = 77"):
        assert pythia.readString(line)
    assert pythia.init()
    for _ in range(400):
        pythia.next()
    info = pythia.infoPython()
    error = np.hypot(made.cross_section.error, info.sigmaErr() * 1e9)
    assert abs(made.cross_section.value - info.sigmaGen() * 1e9) < 5 * error
    assert made.cross_section.error < 0.1 * made.cross_section.value
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"bumpfit.run_card"])["cross_section_pb"] == made.cross_section.value
    # two isolated muons of opposite charge with the mass of the Z
    source = reading.open(path)
    two = reading.mask("muon.size == 2", source)
    mass = np.array(ak.to_list(reading.observable("muon0,muon1.inv_mass", source)[two])).ravel()
    assert len(mass) > 50
    assert np.median(mass) == pytest.approx(91.2, abs=2)
    charge = ak.to_numpy(ak.sum(reading.observable("muon.charge", source)[two], axis=1))
    assert np.all(charge == 0)


def test_weights_are_those_of_pythia() -> None:
    settings = (
        "HardQCD:all = on", "PhaseSpace:pTHatMin = 100.", "PartonLevel:all = off", "HadronLevel:all = off",
        "PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4.", "PhaseSpace:bias2SelectionRef = 100.",
    )  # fmt: skip
    batch = Generator(settings, 11).batch(20)
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", *settings, "Random:setSeed = on", "Random:seed = 1"):
        assert pythia.readString(line)
    assert pythia.init()
    pythia.rndm.init(11)
    theirs = []
    for _ in range(20):
        pythia.next()
        theirs.append(pythia.infoPython().weight())
    assert batch.weight == pytest.approx(theirs)
    assert len(set(theirs)) > 10


def lhe(path: Path, n: int) -> None:
    """Z bosons with different boosts."""
    mass, events = 91.1876, []
    for k in range(n):
        e1, e2 = mass / 2 * (1 + 0.3 * k), mass / 2 / (1 + 0.3 * k)
        quark, other, boson = (e1, e1, 0), (-e2, e2, 0), (e1 - e2, e1 + e2, mass)
        heads = ("2 -1 0 0 501 0", "-2 -1 0 0 0 501", "23 1 1 2 0 0")
        lines = [
            f" {head} 0. 0. {pz:.10e} {e:.10e} {m:.10e} 0. 9."
            for head, (pz, e, m) in zip(heads, (quark, other, boson), strict=True)
        ]
        events.append("<event>\n 3 1 1.0 91.2 0.0078 0.118\n" + "\n".join(lines) + "\n</event>\n")
    init = "<init>\n 2212 2212 6500. 6500. 0 0 10042 10042 3 1\n 42.0 0.5 1.0 1\n</init>\n"
    path.write_text('<LesHouchesEvents version="1.0">\n' + init + "".join(events) + "</LesHouchesEvents>\n")


def test_events_of_a_les_houches_file(tmp_path: Path) -> None:
    lhe(tmp_path / "z.lhe", 7)
    lines = ["Beams:frameType = 4", f"Beams:LHEF = {tmp_path / 'z.lhe'}", *Z_SETTINGS[1:]]
    job = simulate.general(simulate.from_lines("lhe", lines), chunk=4)
    with pytest.raises(BumpfitError, match=r"file of events ends"):
        simulate.events(job, 9, tmp_path / "z.parquet")
    made = simulate.events(job, None, tmp_path / "z.parquet", generate=7)
    assert made.events == 7
    assert made.cross_section.value == pytest.approx(42)
    assert np.unique(pd.read_parquet(tmp_path / "z.parquet", columns=["ScalarHT"]).ScalarHT.astype(str)).size > 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: simulate.events(RESONANCE, 5, path / "x.csv"), "ends in .parquet or .root"),
        (lambda path: simulate.events(RESONANCE, 5, path), "ends in"),
        (lambda path: simulate.events(RESONANCE, 0, path / "x.root"), "at least 1"),
        (lambda path: simulate.events(RESONANCE, None, path / "x.root"), "one of the two"),
        (lambda path: simulate.events(RESONANCE, 5, path / "x.root", generate=5), "one of the two"),
        (lambda path: simulate.events(RESONANCE, 5, path / "x.root", seed=-1), "seed is -1"),
        (
            lambda path: simulate.events(settings("Foo:bar = 3"), 5, path / "x.root"),
            "does not understand 'Foo:bar = 3'",
        ),
        (lambda path: simulate.events(settings("Beams:eCM = 8000."), 5, path / "x.root"), "cannot start"),
        (lambda path: simulate.wtag("both"), "expected signal or background"),  # type: ignore[arg-type]
        (lambda path: dataclasses.replace(RESONANCE, chunk=0), "chunk of 0"),
    ],
)
def test_what_cannot_be_simulated(tmp_path: Path, call: Callable[[Path], Any], words: str) -> None:
    with pytest.raises(InputError) as refusal:
        call(tmp_path)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def settings(line: str) -> Job:
    return simulate.general(simulate.from_lines("user", [line]))


def test_a_selection_that_nothing_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PATIENCE", 20)
    job = simulate.dijet(simulate.resonance(3500, 500, 100), pt_min=5000, chunk=10)
    with pytest.raises(BumpfitError, match="none of 20 generated events passes"):
        simulate.events(job, 5, tmp_path / "none.parquet")
    made = simulate.events(job, None, tmp_path / "empty.parquet", generate=10)
    assert made.events == 0
    assert len(pd.read_parquet(tmp_path / "empty.parquet")) == 0


def test_files_without_a_run_card(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="no run card"):
        simulate.run_card(tmp_path / "x.parquet")
    (tmp_path / "x.root").write_bytes(b"no root")
    with pytest.raises(InputError, match="cannot be read as a ROOT file"):
        simulate.run_card(tmp_path / "x.root")


def test_chunks_have_seeds_of_their_own() -> None:
    seeds = {chunk_seed(seed, index) for seed in range(20) for index in range(1000)}
    assert len(seeds) == 20_000
    assert min(seeds) >= 1
    assert max(seeds) <= 900_000_000
