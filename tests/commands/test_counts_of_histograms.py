"""`--counts CHANNEL=FILE`: data from histogram files, as if the workspace had held them."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit import histograms

COUNTS = [14.0]


@pytest.fixture
def other(counting: Path, tmp_path: Path) -> Path:
    """The counting experiment with 14 events as its own data."""
    spec = json.loads(counting.read_text())
    spec["observations"][0]["data"] = COUNTS
    path = tmp_path / "other.json"
    path.write_text(json.dumps(spec))
    return path


def uhi(counts: list[float]) -> dict:
    return {
        "uhi_schema": 1,
        "axes": [{"type": "variable", "edges": [0.0, 1.0], "underflow": False, "overflow": False, "circular": False}],
        "storage": {"type": "double", "values": counts},
    }


@pytest.mark.parametrize(
    "question", [["fit"], ["limit"], ["gof", "--fix", "mu=3"], ["interval"], ["fit", "--asimov", "2"]]
)
def test_answers_are_those_of_the_workspace_with_the_data(
    bumpfit: Run, counting: Path, other: Path, tmp_path: Path, question: list[str]
) -> None:
    file = tmp_path / "h.json"
    file.write_text(json.dumps({"data": uhi(COUNTS), "more": uhi([3.0])}))
    name, *options = question
    found = bumpfit(name, counting, *options, "--counts", f"bin={file}:data", "--json").json
    wanted = bumpfit(name, other, *options, "--json").json
    assert str(file) in [entry["path"] for entry in found["inputs"]]
    for key in set(wanted) - {"inputs", "options"}:
        assert found[key] == wanted[key]


def test_root_files(bumpfit: Run, counting: Path, other: Path, tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(tmp_path / "h.root") as file:
        file["SR/data"] = (np.array(COUNTS), np.array([0.0, 1.0]))
        file["SR/other"] = (np.array([2.0]), np.array([0.0, 1.0]))
    found = bumpfit("fit", counting, "--counts", f"bin={tmp_path / 'h.root'}:SR/data", "--json").json
    assert found["values"] == bumpfit("fit", other, "--json").json["values"]
    said = refused(bumpfit("fit", counting, "--counts", f"bin={tmp_path / 'h.root'}"))
    assert "2 histograms" in said and "SR/other" in said
    assert "no histogram 'x'" in refused(bumpfit("fit", counting, "--counts", f"bin={tmp_path / 'h.root'}:x"))
    assert histograms.as_histogram(f"{tmp_path / 'h.root'}:SR/other").counts.tolist() == [2.0]
    (tmp_path / "bad.root").write_bytes(b"nothing")
    assert "cannot read" in refused(bumpfit("fit", counting, "--counts", f"bin={tmp_path / 'bad.root'}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bin", "expected CHANNEL=FILE"),
        ("bin=", "expected CHANNEL=FILE"),
        ("SR=FILE", "the workspace has bin"),
        ("bin=nothing.json", "nothing.json"),
        ("bin=FILE:x", "no histogram 'x'"),
        ("bin=WIDE", "mismatching binnings"),
    ],
)
def test_wrong_counts(bumpfit: Run, counting: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "h.json").write_text(json.dumps(uhi(COUNTS)))
    wide = uhi([1.0, 2.0])
    wide["axes"][0]["edges"] = [0.0, 1.0, 2.0]
    (tmp_path / "w.json").write_text(json.dumps(wide))
    given = text.replace("FILE", str(tmp_path / "h.json")).replace("WIDE", str(tmp_path / "w.json"))
    assert words in refused(bumpfit("fit", counting, "--counts", given))
    assert "twice" in refused(bumpfit("fit", counting, "--counts", "bin=a.json", "--counts", "bin=b.json"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": [{**uhi([])["axes"][0], "circular": True}]}, "circular axis"),
        ({"storage": {"type": "double", "values": [float("nan")]}}, "content of nan in bin 1"),
        ({"storage": {"type": "weighted", "values": [2.0], "variances": [float("inf")]}}, "variance of inf in bin 1"),
        ({"storage": {"type": "weighted", "values": [2.0], "variances": [0.0]}}, "variance of 0 in bin 1"),
    ],
)
def test_histograms_that_are_none(bumpfit: Run, counting: Path, tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps(uhi(COUNTS) | change))
    assert words in refused(bumpfit("fit", counting, "--counts", f"bin={path}"))
    assert words in refused(bumpfit("fit", path, "--family", "exponential"))
    assert words in refused(bumpfit("bumphunter", path, path))
