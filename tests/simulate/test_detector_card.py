from pathlib import Path

import pytest

from bumpfit.errors import InputError
from bumpfit.simulate.card import DELPHES, SEARCH, Card, Jets, read_card


def card(folder: Path, text: str) -> Path:
    path = folder / "card.toml"
    path.write_text(text)
    return path


def test_a_card_changes_only_what_it_names(tmp_path: Path) -> None:
    made = read_card(card(tmp_path, "[hcal]\nstochastic = 0.5\nmerge = true\n[fat_jets]\nradius = 2\n"), SEARCH)
    assert made.hcal.stochastic == 0.5
    assert made.hcal.merge is True
    assert made.hcal.cell == SEARCH.hcal.cell
    assert made.fat_jets == Jets(radius=2.0, pt_min=50.0)
    assert made.tracks == SEARCH.tracks
    assert made.ecal == DELPHES.ecal


def test_a_card_written_out_reads_back(tmp_path: Path) -> None:
    def written(value: object) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    text = "".join(
        f"[{title}]\n" + "".join(f"{name} = {written(value)}\n" for name, value in entries.items())
        for title, entries in SEARCH.to_dict().items()
    )
    assert read_card(card(tmp_path, text), Card()) == SEARCH


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[muons]\nx = 1\n", "muons"),
        ("[hcal]\nsize = 1\n", "[hcal] has no 'size'"),
        ("[hcal]\ncell = 'wide'\n", "hcal.cell is 'wide'"),
        ("[hcal]\ncell = 0\n", "hcal.cell is 0"),
        ("[hcal]\nmerge = 1\n", "hcal.merge is 1"),
        ("[tracks]\nefficiency = 1.5\n", "from 0 to 1"),
        ("[tracks]\neta_max = 1e9\n", "tracks.eta_max is 1000000000.0; expected a number from 0.001 to 20"),
        ("[hcal]\ncell = 1e-300\n", "hcal.cell is 1e-300"),
        ("[hcal]\nstochastic = 1e300\n", "hcal.stochastic"),
        ("[jets]\nradius = 2000.0\n", "jets.radius is 2000.0; expected a number from 0.001 to 3.2"),
        ("[subjettiness]\nmost = 21\n", "subjettiness.most is 21; expected a number from 1 to 20"),
        ("[subjettiness]\nradius = 1e-300\n", "subjettiness.radius"),
        ("[leptons]\nisolation = 1e9\n", "expected a number from 0 to 1e+06"),
        ("[tracks]\nthreshold = nan\n", "nan"),
        ("[ecal]\nnoise = -1\n", "ecal.noise"),
        ("[subjettiness]\naxes = 'best'\n", "OnePass_KT_Axes"),
        ("[jets]\nalgorithm = 'cone'\n", "antikt"),
        ("[jets\n", "not valid TOML"),
        ("jets = 3\n", "jets"),
    ],
)
def test_wrong_cards_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_card(card(tmp_path, text))
    assert words in str(refusal.value)


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_card(tmp_path / "none.toml")
