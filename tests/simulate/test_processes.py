from pathlib import Path

import pytest

from bumpfit.errors import InputError
from bumpfit.simulate import boosted_w, from_file, from_lines, qcd_dijets, resonance


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3500, 2000, 900), "cannot decay"),
        ((-1, 100, 100), "mass is -1"),
        ((3500, float("nan"), 100), "first is nan"),
    ],
)
def test_masses_that_do_not_fit(arguments: tuple[float, float, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resonance(*arguments)


@pytest.mark.parametrize("prongs", [1, 4, (2, 5), (2, 3, 2)])
def test_prongs_that_are_not_made(prongs: int) -> None:
    with pytest.raises(InputError, match="prongs"):
        resonance(3500, 500, 100, prongs=prongs)


def test_ranges_of_momentum() -> None:
    with pytest.raises(InputError, match="lower end first"):
        boosted_w(pt_min=300, pt_max=250)
    with pytest.raises(InputError, match="energy is 0"):
        qcd_dijets(energy=0)


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "top.cmnd"
    path.write_text(
        "! comment\n# another\n\nTop:gg2ttbar = on\n  PhaseSpace:pTHatMin =   20. ! hard\n"
        "Random:seed = 3\nMain:numberOfEvents = 7\nNext:numberShowEvent = 0\n"
    )
    made = from_file(path)
    assert made.name == "top"
    assert made.settings == ("Top:gg2ttbar = on", "PhaseSpace:pTHatMin = 20. ! hard")


@pytest.mark.parametrize(
    ("text", "words"), [("! nothing\n", "no Pythia settings"), ("include = other.cmnd\n", "include = other.cmnd")]
)
def test_files_that_cannot_be_taken(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "file.cmnd"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        from_file(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "file.cmnd"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text file"):
        from_file(path)


def test_the_events_that_are_read_are_named_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "events.lhe"
    path.write_text("abc")
    made = from_lines("lhe", ["Beams:frameType = 4", f"Beams:LHEF = {path}"])
    # sha256 of "abc", FIPS 180-4
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert made.asked == (("lhef_sha256", digest),)
