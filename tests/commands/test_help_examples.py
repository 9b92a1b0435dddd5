"""The examples in the help of the commands are run, on small files of the names that stand there."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import document_inputs
import documents
import files_of_tools
import pytest
import typer
from command_line import Run
from writing_commands import Inputs

from bumpfit.cli import application

NOT_RUN = {
    "demo": "tests/test_end_to_end.py",
    "doctor": "tests/commands/test_doctor.py",
    "report": "a run: tests/test_end_to_end.py",
    "simulate": "Pythia: tests/commands/test_document_commands.py",
    "run": "tests/commands/test_document_commands.py",
    "train": "events of Delphes: tests/commands/test_document_commands.py",
    "metrics": "the same",
    "dataset": "the same",
    "higgsml train": "tests/commands/test_document_commands.py",
    "higgsml benchmark": "the same",
    "higgsml workspace": "a trained method",
    "higgsml fit data.parquet": "a trained method",
    "higgsml score": "tests/commands/test_document_commands.py",
}
"""Beginnings of examples that are not run, and why."""
SLOW = ("fit hepdata", "limit", "higgsml coverage", "higgsml fit", "posterior", "compatibility", "interval", "impacts")
MORE = {"sensitivity": "-n 20", "gof": "--toys 40", "higgsml coverage": "--calibrate 50",
        "fit hepdata": "--scan-masses 4000:6000:1000"}  # fmt: skip
"""Options that make a command smaller, by its beginning."""


def examples() -> Iterator[str]:
    """What begins with `bumpfit` in a help, up to a semicolon or the end of its sentence."""
    waiting: list[Any] = [typer.main.get_command(application())]
    while waiting:
        command = waiting.pop()
        waiting += [command.commands[name] for name in sorted(getattr(command, "commands", {}), reverse=True)]
        for part in re.split(r"\n\s*\n", command.help or ""):
            for found in re.findall(r"(?<!`)\bbumpfit ([a-z].*?)(?=;|: | \(|\. |\.?$)", " ".join(part.split())):
                if "..." not in found and found != "fit --family":  # a word in a sentence
                    yield found


EXAMPLES = list(dict.fromkeys(examples()))
DOCUMENTED = {
    command.removeprefix("bumpfit ")
    for page in documents.pages()
    for block in documents.blocks(page)
    if block.language == "shell"
    for command in documents.commands(block.text)
}
"""Commands that test_document_commands.py runs."""
TRIED = [one for one in EXAMPLES if one not in DOCUMENTED and not one.startswith(tuple(NOT_RUN))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all names in the examples."""
    place: Path = tmp_path_factory.mktemp("examples")
    files_of_tools.write_all(place)
    document_inputs.asked(place)
    document_inputs.taken_apart(place)
    document_inputs.bumps(place)
    document_inputs.scored(place)
    shared = document_inputs.spectra(("SR1", "SR2", "SR_2016", "SR_2017", "CR"))
    text = json.dumps(shared).replace('"scale"', '"xs_ttbar"')
    for name in ("workspace", "w"):
        (place / f"{name}.json").write_text(text)
    for name in ("m3000", "m3500", "sr1", "sr2", "both"):
        (place / f"{name}.json").write_text(json.dumps(document_inputs.spectra(shapes=False)))
    for name in ("tight", "loose"):
        (place / f"{name}.json").write_text((place / "a.json").read_text())
    (place / "masses.toml").write_text(files_of_tools.BLUE)
    patches = json.loads((place / "patchset.json").read_text())
    patches["metadata"]["digests"]["sha256"] = files_of_tools.digest(json.loads(text))
    for name in ("patchset", "p"):
        (place / f"{name}.json").write_text(json.dumps(patches))
    return place


@pytest.mark.parametrize(
    "line", [pytest.param(one, marks=[pytest.mark.slow] if one.startswith(SLOW) else []) for one in TRIED]
)
def test_an_example_of_the_help_runs(
    line: str, folder: Path, inputs: Inputs, tmp_path: Path, bumpfit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    if line.startswith("contour"):  # of a workspace that `build` makes
        assert bumpfit("build", "scores.csv", "-o", "workspace.json", "--keep", "0.01").code == 0
    if line.startswith("higgsml") and not line.startswith("higgsml sample"):
        shutil.copy(inputs["higgs"], "events.parquet")
        shutil.copy(inputs["grid"], "grid.json")
        Path("counts.json").write_text("[905, 120, 60]")
    if "--merge" in line:
        for k in (1, 2):
            assert bumpfit("toys", "workspace.json", "-n", 100, "--shard", f"{k}/2", "-o", f"part{k}.parquet").code == 0
    more = next((words.split() for start, words in MORE.items() if line.startswith(start)), [])
    reader = documents.Reader(bumpfit, lambda _: more, {}, lambda _: False)
    reader.command(f"bumpfit {line}")


def test_every_command_has_an_example() -> None:
    assert len(EXAMPLES) > 60 and len(TRIED) > 20
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in EXAMPLES), f"{start!r} is in no help"
