"""LHE, HepMC and LHCO: the numbers of the text, under the names of observables."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events.formats import read_frame

LHE = """<LesHouchesEvents version="3.0">
<init>
2212 2212 6500.0 6500.0 0 0 247000 247000 -4 1
1.0 0.1 1.0 1
</init>
{events}</LesHouchesEvents>
"""
EVENT = """<event>
4 1 {weight} 91.188 0.00782 0.118
 2 -1 0 0 501 0 0.0 0.0 50.0 50.0 0.0 0.0 9.0
 -2 -1 0 0 0 501 0.0 0.0 -50.0 50.0 0.0 0.0 9.0
 11 1 1 2 0 0 {px} 40.0 0.0 {e} 0.0 0.0 9.0
 -11 1 1 2 0 0 -{px} -40.0 0.0 {e} 0.0 0.0 9.0
</event>
"""
LHCO = """  #  typ  eta    phi      pt   jmass  ntrk  btag   had/em  dum1  dum2
 0      1   3700
 1  4  -0.5   1.0   120.0  12.5   7.0   2.0   1.1  0.0  0.0
 2  1   0.3   2.0    45.0   0.0  -1.0   0.0   0.1  0.0  0.0
 3  6   0.0   3.0    60.0   0.0   0.0   0.0   0.0  0.0  0.0
0 2 3700
 1  4   1.5  -1.0   220.0  22.5   3.0   0.0   2.1  0.0  0.0
 2  4   0.5  -2.0   110.0   2.5   5.0   0.0   3.1  0.0  0.0
 3  2   0.0  -3.0    10.0   0.0   1.0   0.0   0.0  0.0  0.0
"""
HEPMC = """HepMC::Version 3.02.05
HepMC::Asciiv3-START_EVENT_LISTING
E 7 1 3
U {unit} MM
W 0.5
P 1 0 11 0.0000000000000000e+00 0.0000000000000000e+00 4.5e+0{p} 4.5e+0{p} 0.0 4
P 2 0 -11 0.0000000000000000e+00 0.0000000000000000e+00 -4.5e+0{p} 4.5e+0{p} 0.0 4
V -1 0 [1,2]
P 3 -1 23 3.0e+0{p} 4.0e+0{p} 0.0 9.0e+0{p} 7.4833e+0{p} 1
HepMC::Asciiv3-END_EVENT_LISTING
"""
HEPMC_2_HEAD = "HepMC::Version 2.06.09\nHepMC::IO_GenEvent-START_EVENT_LISTING\n"
HEPMC_2 = """E {number} 0 0.0 0.0 0.0 0 0 1 10001 10002 0 1 0.5
U GEV MM
V -1 0 0 0 0 0 2 1 0
P 10001 11 0.0 0.0 4.5e+01 4.5e+01 0.0 4 0 0 -1 0
P 10002 -11 0.0 0.0 -4.5e+01 4.5e+01 0.0 4 0 0 -1 0
P 10003 23 3.0e+01 4.0e+01 0.0 9.0e+01 7.4833e+01 1 0 0 0 0
"""
HEPMC_2_END = "HepMC::IO_GenEvent-END_EVENT_LISTING\n"


def lhe(path: Path, number: int = 2) -> Path:
    body = "".join(
        EVENT.format(weight=-0.5 if i % 2 else 1.5, px=30.0 + i, e=(1600 + (30.0 + i) ** 2) ** 0.5)
        for i in range(number)
    )
    text = LHE.format(events=body)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.lhe", "a.lhe.gz"])
def test_les_houches(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pylhe")
    source = events.open(lhe(tmp_path / name))
    assert events.observable("particle.pid", source).tolist() == [[2, -2, 11, -11]] * 2
    pt = events.observable("particle2.pt", source)
    np.testing.assert_allclose(np.asarray(pt), np.hypot([30.0, 31.0], 40.0))
    assert events.observable("event.weight", source).tolist() == [1.5, -0.5]
    mass = events.observable("particle2,particle3.inv_mass", source)
    np.testing.assert_allclose(np.asarray(mass), 2 * np.hypot([30.0, 31.0], 40.0), rtol=1e-12)
    assert events.mask("particle.status == 1 and particle.px > 30.5 [any]", source).tolist() == [False, True]
    assert list(source.sha256()) == [str(tmp_path / name)]
    with pytest.raises(InputError, match="holds particles, not a table"):
        read_frame(tmp_path / name)


def test_pieces_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pylhe")
    from bumpfit.events import records

    monkeypatch.setattr(records, "ROWS", 12)
    source = events.open([lhe(tmp_path / "a.lhe", 10), lhe(tmp_path / "b.lhe", 3)])
    assert len(source) == 13
    px = events.observable("particle2.px", source)
    assert px.tolist() == [30.0 + i for i in (*range(10), *range(3))]


@pytest.mark.filterwarnings("ignore")  # as for a user: pylhe warns where a file is cut off, and ends
def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    pytest.importorskip("pylhe")
    whole = lhe(tmp_path / "a.lhe", 5).read_bytes()
    for part in range(0, len(whole), 97):
        (tmp_path / "b.lhe").write_bytes(whole[:part])
        with pytest.raises(InputError, match=r"b\.lhe (cannot be read after \d events|holds no events)"):
            events.open(tmp_path / "b.lhe")


@pytest.mark.filterwarnings("error")  # pylhe's own warnings are a part of the sentence
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("\n4 1 ", "\n9 1 ", "says that it has 9 particles and has 4"), ("<header>", "<header>&x;", "Parse Error"),
     ("<LesHouches", "{}", "Parse Error")],
)  # fmt: skip
def test_events_that_lack_particles_and_what_is_no_les_houches_file(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    pytest.importorskip("pylhe")
    text = lhe(tmp_path / "a.lhe").read_text()
    assert old in text or old == "<header>"
    text = text.replace(old, new) if old in text else text.replace("<init>", "<header>&x;</header><init>")
    (tmp_path / "a.lhe").write_text(text)
    with pytest.raises(InputError, match=words):
        events.open(tmp_path / "a.lhe")


@pytest.mark.parametrize(("unit", "power"), [("GEV", 1), ("MEV", 4)])
def test_hepmc(tmp_path: Path, unit: str, power: int) -> None:
    pytest.importorskip("pyhepmc")
    path = tmp_path / "a.hepmc"
    path.write_text(HEPMC.format(unit=unit, p=power))
    source = events.open(path)
    assert events.observable("particle.pid", source).tolist() == [[11, -11, 23]]
    assert events.observable("particle2.pt", source).tolist() == pytest.approx([50.0])
    assert events.observable("particle2.e", source).tolist() == pytest.approx([90.0])
    assert events.observable("event.weight", source).tolist() == [0.5]
    (tmp_path / "c.hepmc").write_text(path.read_text()[:-60])
    with pytest.raises(InputError, match=r"c\.hepmc cannot be read after"):
        events.open(tmp_path / "c.hepmc")
    (tmp_path / "b.hepmc.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert events.observable("particle2.pt", tmp_path / "b.hepmc.gz").tolist() == pytest.approx([50.0])


def test_lhc_olympics(tmp_path: Path) -> None:
    path = tmp_path / "a.lhco"
    path.write_text(LHCO)
    source = events.open(path)
    assert events.observable("jet.pt", source).tolist() == [[120.0], [220.0, 110.0]]
    assert events.observable("jet.b_tag", source).tolist() == [[2.0], [0.0, 0.0]]
    assert events.observable("electron0.charge", source).tolist() == [-1.0, None]
    assert events.observable("muon.size", source).tolist() == [0, 1]
    assert events.observable("met0.pt", source).tolist() == [60.0, 0.0]
    assert events.observable("event.number", source).tolist() == [1, 2]
    for wrong, message in (
        ("0 1 2\n1 4 x\n", "line 2, of event 1, holds '1 4 x'"),
        ("1 4 0 0 1\n", "line 1 is no object"),
    ):
        path.write_text(wrong)
        with pytest.raises(InputError, match=message):
            events.open(path)


def test_a_list_of_two_kinds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.lhco").write_text(LHCO)
    (tmp_path / "c.hepmc.gz").write_bytes(gzip.compress(HEPMC.format(unit="GEV", p=1).encode()))
    for paths in itertools.permutations([lhe(tmp_path / "a.lhe"), tmp_path / "b.lhco", tmp_path / "c.hepmc.gz"], 2):
        with pytest.raises(InputError, match=f"{paths[0].name} and .*{paths[1].name} are files of different kinds"):
            events.open(paths)


@pytest.mark.parametrize("word", ["nan", "-inf", "1e999", "abc", "", "3.0e", "1,5", "4.0d1", "0x1"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_particle_of_hepmc_that_has_no_number(tmp_path: Path, word: str, version: int) -> None:
    """HepMC reads 0 or the digits at the front of such words, or moves the others."""
    pytest.importorskip("pyhepmc")
    head, mark, rest = HEPMC.format(unit="GEV", p=1).partition("E 7")
    body, end, tail = rest.partition("HepMC::")
    text = f"{head}{mark}{body}E 9{body}{end}{tail}"
    if version == 2:
        text = HEPMC_2_HEAD + HEPMC_2.format(number=7) + HEPMC_2.format(number=9) + HEPMC_2_END
    path = tmp_path / "a.hepmc"
    path.write_text(text)
    assert events.observable("particle2.px", path).tolist() == [30.0, 30.0]
    assert events.observable("event.weight", path).tolist() == [0.5, 0.5]
    for right in ("3.0e+01", "0.5"):
        before, _, after = text.rpartition(right)
        if (right, word) == ("0.5", ""):
            continue  # an event may have no weights
        path.write_text(f"{before}{word}{after}")
        with pytest.raises(InputError, match=r"a\.hepmc cannot be read after 1 events .* event 9[ ,]"):
            events.open(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("word", ["nan", "-inf", "1e999", "abc", ""])
@pytest.mark.parametrize("right", [" 31.0 ", "4 1 -0.5 "])
def test_a_particle_of_les_houches_that_has_no_number(tmp_path: Path, word: str, right: str) -> None:
    pytest.importorskip("pylhe")
    text = lhe(tmp_path / "a.lhe").read_text()
    assert text.count(right) == 1
    (tmp_path / "a.lhe").write_text(text.replace(right, right.replace("31.0", word).replace("-0.5", word)))
    with pytest.raises(
        InputError, match=r"cannot be read after 1 events .*(of event 2 is|could not|out of range|unpack)"
    ):
        events.open(tmp_path / "a.lhe")


@pytest.mark.parametrize("word", ["nan", "-inf", "1e999", "abc", ""])
def test_an_object_of_lhc_olympics_text_that_has_no_number(tmp_path: Path, word: str) -> None:
    path = tmp_path / "a.lhco"
    path.write_text(LHCO.replace("220.0", word))
    with pytest.raises(InputError, match=r"a\.lhco cannot be read after 1 events .* line 7, of event 2,"):
        events.open(path)
