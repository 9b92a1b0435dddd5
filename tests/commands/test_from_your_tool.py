"""The tables of docs/how-to/from-your-tool.md: every command in them is typed, on files of the names that stand there.

Numbers of toys and points are made small. Beside pyhf the numbers are compared where a command prints one.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import files_of_tools
import pytest
from command_line import Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "from-your-tool.md"

SMALL = {"--toys": "200", "--points": "5", "--grid": "3"}
"""Options whose numbers are made small."""

ALONE = {"pyhf": "bumpfit fit ws.json", "Combine": "bumpfit fit card.txt"}
"""What options without a command are given to."""

BESIDE = {"--breakdown", "--correlation", "--ratio", "--sidebands", "--deficits", "--draw SR", "--summary",
             "--stack top=ttbar,single_top", "--group SR1='SR1*'"}  # fmt: skip
"""Options that stand beside the command they belong to; they are added to it."""


def rows() -> Iterator[tuple[str, list[str]]]:
    """The tool and the pieces of code in the last cell of each row."""
    tool = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            tool = line[3:]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if line.startswith("|") and not set(line) <= set("| -:") and cells[-1] not in ("bumpfit", "tool"):
            yield tool, re.findall(r"`([^`]+)`", cells[-1])


def typed() -> Iterator[str]:
    """Every command line, with what belongs to it."""
    for tool, codes in rows():
        line = ""
        for code in codes:
            if code.startswith("bumpfit "):
                if line:
                    yield line
                line = code
            elif code == "--join none":
                continue  # an option of pyhf
            elif code in BESIDE or (code.startswith("--") and line):
                line += f" {code}"
            elif code.startswith("--"):
                yield f"{ALONE[tool]} {code}"
        if line:
            yield line


LINES = list(dict.fromkeys(typed()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all names in the tables."""
    place: Path = tmp_path_factory.mktemp("tools")
    files_of_tools.write_all(place)
    return place


@pytest.mark.parametrize("line", LINES)
def test_what_stands_there_can_be_typed(
    line: str, folder: Path, tmp_path: Path, bumpfit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    words = shlex.split(line.replace("--parameter NAME", "--parameter mu").replace("NAME", "s1").replace("FOLDER", "."))
    words = [SMALL.get(words[i - 1], word) for i, word in enumerate(words)][1:]
    if "--signal" in words and words[0] == "fit":
        words += ["--scan-masses", "4000:5000:1000"]
    if words[0] in ("bias", "bumphunter"):
        words += ["--toys", "20"]
    if words[:2] == ["convert", "top.xml"]:
        (tmp_path / "w" / "ws.json").unlink()
    done = bumpfit(*words)
    assert done.code == 0, done.err
    for option in ("--figure", "--prefit-figure", "--correlation-figure", "-o"):
        if option in words:
            assert Path(words[words.index(option) + 1]).stat().st_size > 100


def test_numbers_are_those_of_pyhf(folder: Path, bumpfit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three commands of pyhf that print a number, by what they call."""
    pyhf = pytest.importorskip("pyhf")
    monkeypatch.chdir(folder)
    workspace = pyhf.Workspace(json.loads(Path("ws.json").read_text()))
    model = workspace.model(
        modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    )
    data = workspace.data(model)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-8))
    best, lowest = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    found = bumpfit("fit", "ws.json", "--json").json
    assert found["twice_nll"] == pytest.approx(float(lowest), abs=1e-5)
    assert found["mu"] == pytest.approx(float(best[model.config.poi_index]), abs=1e-3)
    cls = float(pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde"))
    assert bumpfit("limit", "ws.json", "--test", "1", "--json").json["observed"] == pytest.approx(cls, abs=2e-4)
    digest = pyhf.utils.digest(json.loads(Path("ws.json").read_text()))
    assert digest in bumpfit("workspace", "digest", "ws.json").out


def test_every_row_says_something() -> None:
    found = list(rows())
    assert len(found) > 60 and len(LINES) > 60
