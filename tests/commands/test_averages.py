"""`bumpfit blue`."""

from pathlib import Path

import pytest
from command_line import Run, refused

from bumpfit import inference

FILE = """
[[measurement]]
name = "A"
value = 172.4
errors = {stat = 0.3, jes = 0.5}

[[measurement]]
name = "B"
value = 173
errors = {stat = 0.6}

[[measurement]]
name = "C"
value = 171.5
errors = {stat = 0.8, jes = 0.2}

[correlation]
jes = [[1, 0, 0.8], [0, 1, 0], [0.8, 0, 1]]
"""


def test_the_combination_is_that_of_inference(bumpfit: Run, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(FILE)
    found = bumpfit("blue", tmp_path / "m.toml", "--json").json
    direct = inference.blue(
        {"A": 172.4, "B": 173.0, "C": 171.5}, {"stat": [0.3, 0.6, 0.8], "jes": [0.5, 0.0, 0.2]},
        {"jes": [[1, 0, 0.8], [0, 1, 0], [0.8, 0, 1]]},
    )  # fmt: skip
    assert (found["value"], found["error"], found["weights"]) == (direct.value, direct.error, direct.weights)
    assert "combination" in bumpfit("blue", tmp_path / "m.toml").out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[correlation]", "[correlations]", "has correlations; expected"),
        ('name = "B"', 'name = "A"', "'A' twice"),
        ("value = 173\n", 'value = "173"\n', "the value of 'B' in"),
        ("value = 173\n", "", "has a measurement"),
        ("[0, 1, 0], ", "", "a symmetric 3 by 3 matrix"),
        ("[0, 1, 0], ", "[0, 1], ", "3 rows of as many"),
        ("jes = [[1", 'jes = [["x"', "the correlation of jes"),
        ("stat = 0.6", "stat = nan", "must be 3 numbers"),
    ],
)
def test_wrong_files_are_one_sentence(bumpfit: Run, tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    (tmp_path / "m.toml").write_text(FILE.replace(old, new))
    assert message in refused(bumpfit("blue", tmp_path / "m.toml"))


def test_brackets_of_help_are_no_markup(bumpfit: Run) -> None:
    shown = bumpfit("blue", "--help").out
    assert "[[measurement]]" in shown
    assert "[correlation]" in shown
