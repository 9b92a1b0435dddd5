"""`bumpfit hepdata`: the numbers of results in tables that HEPData takes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from command_line import Run, refused

from bumpfit.workspace import build


@pytest.fixture
def results(tmp_path: Path, bumpfit: Run) -> Path:
    samples = [
        build.sample("signal", [5.0, 3.0], build.modifier("normfactor", "mu")),
        build.sample("background", [30.0, 20.0], build.modifier("normsys", "rate", (0.9, 1.1))),
    ]
    spec = build.workspace({"SR": samples}, {"SR": [38, 21]}, "mu", {"mu": {"bounds": [[-4, 10]]}})
    (tmp_path / "w.json").write_text(json.dumps(spec))
    w = tmp_path / "w.json"
    for name, words in {
        "fit": ("fit", w, "--yields"), "limit": ("limit", w, "--bands-at", "1"), "impacts": ("impacts", w),
        "scan": ("scan", w, "--points", "5"), "masses": ("limit", w, w, "--masses", "100,200"),
        "gof": ("gof", w), "over": ("scan", w, w, "--masses", "100,200"),
    }.items():  # fmt: skip
        assert bumpfit(*words, "-o", tmp_path / f"{name}.json").code == 0
    return tmp_path


def tables(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Documents of the submission, and the tables by file; JSON is YAML."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    documents = [json.loads(text) for text in files.pop("submission.yaml").split("---\n") if text.strip()]
    return documents, {name: json.loads(text) for name, text in files.items()}


def test_the_numbers_are_those_of_the_results(results: Path, bumpfit: Run) -> None:
    out = results / "s.zip"
    names = ("fit", "limit", "impacts", "scan", "masses")
    done = bumpfit("hepdata", *(results / f"{name}.json" for name in names), "-o", out, "--energy", "13")
    assert done.code == 0 and "8 tables written" in done.out
    documents, found = tables(out)
    assert {one["data_file"] for one in documents[1:]} == set(found)
    assert all(len(one["name"]) <= 64 for one in documents[1:])
    assert {"name": "cmenergies", "values": [13000.0]} in documents[1]["keywords"]
    limit = json.loads((results / "limit.json").read_text())
    observed, expected = found["limits_limit.yaml"]["dependent_variables"]
    assert observed["values"][0]["value"] == pytest.approx(limit["observed"], rel=1e-5)
    (cell,) = expected["values"]
    assert cell["value"] == pytest.approx(limit["expected"][2], rel=1e-5)
    for error, (low, high) in zip(cell["errors"], ((1, 3), (0, 4)), strict=True):
        ends = [cell["value"] + error["asymerror"]["minus"], cell["value"] + error["asymerror"]["plus"]]
        assert ends == pytest.approx([limit["expected"][low], limit["expected"][high]], rel=1e-4)
    assert "with mu = 1" in next(one["description"] for one in documents[1:] if one["name"] == "Limits limit")
    assert [v["value"] for v in found["limits_masses.yaml"]["independent_variables"][0]["values"]] == [100, 200]
    fit = json.loads((results / "fit.json").read_text())
    correlation = [v["value"] for v in found["correlation_fit.yaml"]["dependent_variables"][0]["values"]]
    assert correlation == pytest.approx([one for row in fit["correlation"] for one in row], rel=1e-5)
    events = found["events_postfit_sr_fit.yaml"]["dependent_variables"]
    assert [v["value"] for v in events[0]["values"]] == [38, 21]
    total = fit["yields"]["postfit"]["channels"][0]
    assert [v["value"] for v in events[1]["values"]] == pytest.approx(total["total"], rel=1e-5)
    scan = json.loads((results / "scan.json").read_text())
    rises = [v["value"] for v in found["scan_scan.yaml"]["dependent_variables"][0]["values"]]
    assert rises == pytest.approx(scan["delta_twice_nll"], rel=1e-5, abs=1e-12)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_the_same_results_are_the_same_bytes_and_valid(results: Path, bumpfit: Run) -> None:
    for name in ("a.zip", "b.zip"):
        bumpfit("hepdata", results / "fit.json", results / "limit.json", "-o", results / name)
    assert (results / "a.zip").read_bytes() == (results / "b.zip").read_bytes()
    validators = pytest.importorskip("hepdata_validator.full_submission_validator")
    with zipfile.ZipFile(results / "a.zip") as archive:
        archive.extractall(results / "there")
    validator = validators.FullSubmissionValidator()
    assert validator.validate(directory=str(results / "there")), validator.get_messages()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "gof.json -o s.zip",
            "'gof' is a result of 'gof'; tables are made of those of fit, limit, scan, impacts, dataset",
        ),
        ("w.json -o s.zip", "'w' is a result of None"),
        ("over.json -o s.zip", "is a scan over masses"),
        ("fit.json -o s.yaml", "a submission is a .zip archive"),
        ("fit.json fit.json -o s.zip", "two results are named fit"),
        ("list.json -o s.zip", "expected a JSON object, got list"),
        ("part.json -o s.zip", "'part' is no whole result of bumpfit limit"),
    ],
)
def test_wrong_use_is_one_sentence(results: Path, bumpfit: Run, words: str, message: str) -> None:
    (results / "list.json").write_text("[1]")
    (results / "part.json").write_text('{"command": "limit", "level": 0.95}')
    given = [results / word if "." in word else word for word in words.split()]
    assert message in refused(bumpfit("hepdata", *given))
    assert not (results / "s.zip").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_cut_flows(tmp_path: Path, bumpfit: Run) -> None:
    """Events counted by hand: masses 10, 20, ... 100, weights 2 in one class, and 10, 20, 30."""
    rows = "".join(f"{10 * (i + 1)},{i % 2}\n" for i in range(10))
    for name in ("qcd", "w"):
        (tmp_path / f"{name}.csv").write_text("mass,odd\n" + (rows if name == "w" else "10,0\n20,0\n30,0\n"))
    words = [
        "dataset",
        "--observable",
        "mass",
        "-o",
        tmp_path / "d.ds",
        "--json",
        "--weight",
        "w=2",
        "--split",
        "0.5,0.5",
    ]
    words += [
        f"--class=qcd={tmp_path}/qcd.csv",
        f"--class=w={tmp_path}/w.csv",
        "--cut",
        "mass > 15",
        "--cut",
        "odd < 1",
    ]
    for name, more in (("cuts", ["--cutflow"]), ("none", [])):
        done = bumpfit(*words, *more)
        assert done.code == 0
        (tmp_path / f"{name}.json").write_text(done.out)
    out = tmp_path / "s.zip"
    assert bumpfit("hepdata", tmp_path / "cuts.json", "-o", out).code == 0
    documents, found = tables(out)
    assert [one["name"] for one in documents[1:]] == ["Cut flow cuts", "All cuts but one cuts"]
    assert "weights of w: event weights" in documents[1]["description"]
    flow, rest = (
        {c["header"]["name"]: [cell["value"] for cell in c["values"]] for kind in
         ("independent_variables", "dependent_variables") for c in found[one["data_file"]][kind]}
        for one in documents[1:]
    )  # fmt: skip
    assert flow["cut"] == ["all", "mass > 15", "odd < 1"]
    assert (flow["qcd, events"], flow["qcd, efficiency"]) == ([3, 2, 2], [1, 0.666667, 0.666667])
    assert (flow["w, simulated events"], flow["w, events"]) == ([10, 9, 4], [20, 18, 8])
    assert flow["w, efficiency"] == [1, 0.9, 0.4]
    assert (rest["w, events of all other cuts"], rest["w, part that passes"]) == ([10, 18], [0.8, 0.444444])
    assert (rest["qcd, events of all other cuts"], rest["qcd, part that passes"]) == ([3, 2], [0.666667, 1])
    (column,) = [
        c for c in found[documents[1]["data_file"]]["dependent_variables"] if c["header"]["name"] == "w, events"
    ]
    errors = [cell["errors"][0]["asymerror"]["plus"] for cell in column["values"]]
    assert errors == pytest.approx([2 * n**0.5 for n in (10, 9, 4)], rel=1e-5)
    validators = pytest.importorskip("hepdata_validator.full_submission_validator")
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "there")
    validator = validators.FullSubmissionValidator()
    assert validator.validate(directory=str(tmp_path / "there")), validator.get_messages()
    assert "'none' has no cut flow; make the data set with --cutflow" in refused(
        bumpfit("hepdata", tmp_path / "none.json", "-o", out)
    )
