"""Tables of measured numbers in the documents are those that the benchmarks stored."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("stored", ROOT / "benchmarks" / "stored.py")
assert SPEC is not None and SPEC.loader is not None
stored: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(stored)


def test_documents_show_what_is_stored() -> None:
    shown = []
    for path in stored.documents():
        text = path.read_text()
        assert stored.filled(text) == text, f"{path.name}: python benchmarks/stored.py"
        shown += stored.BEGIN.findall(text)
    assert shown and sorted(shown) == sorted(path.stem for path in stored.RESULTS.glob("*.json"))


def test_claims_are_those_of_the_stored_results() -> None:
    """Numbers of the page of claims that other pages have in a table."""
    text = (ROOT / "docs" / "validation.md").read_text()
    rate, ratio = stored.read("toys_contenders")["rows"][0], stored.read("toys_histfactory")["rows"][1]
    assert f"| 1e6 | {rate['toys_s_core'] / 1e6:.2f}e6;" in text
    assert f"| {ratio['ratio']} times |" in text


def test_results_say_how_they_were_measured() -> None:
    for path in stored.RESULTS.glob("*.json"):
        found = json.loads(path.read_text())
        program, first = found["command"].split()[:2]
        assert found["name"] == path.stem and program in ("python", "bumpfit")
        assert program == "bumpfit" or (ROOT / first).is_file()
        assert found["rows"] and all(list(row) == list(found["columns"]) for row in found["rows"])
        if "recorded" in found:  # before there was `save`: the commits that brought the numbers
            assert not {"machine", "load", "versions", "date"} & set(found) and found["recorded"]
            for commit, date in found["recorded"]:
                assert re.fullmatch(r"[0-9a-f]{10}", commit) and re.fullmatch(r"2026-\d\d-\d\d", date)
        else:
            assert {"python", "bumpfit", "numpy"} <= set(found["versions"])
            assert "/" not in found["machine"] and found["load"] >= 0


@pytest.mark.parametrize(("value", "shown"), [
    (None, ""), ("none", "none"), (7, "7"), (9718, "9718"), (1_071_000, "1 071 000"), (72.9, "72.9"),
    (2.9e-8, "2.9e-8"), (1e20, "1e20"), ([0.0335, 0.001], "0.0335 ± 0.001"), (-3.5e-12, "-3.5e-12"),
])  # fmt: skip
def test_numbers_keep_their_digits(value: Any, shown: str) -> None:
    assert stored.cell(value, "plain") == shown


def test_a_result_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ROOT", tmp_path)
    monkeypatch.setattr(stored, "RESULTS", tmp_path)
    rows = [{"what": "fit", "ms": 1.234, "more": 1}, {"what": "limit", "ms": None}]
    stored.save("speed", "python benchmarks/speed.py", rows, {"what": ("question", ""), "ms": ("time, ms", ".1f")})
    empty = "before\n<!-- stored: speed -->\n<!-- end of stored -->\nafter\n"
    text = stored.filled(empty)
    assert "| question | time, ms |\n| --- | ---: |\n| fit | 1.2 |\n| limit |  |\n" in text
    assert "`python benchmarks/speed.py`, 2" in text and stored.filled(text) == text
    with pytest.raises(ValueError, match="not JSON compliant"):
        stored.save("speed", "", [{"ms": float("nan")}], {"ms": ("", "")})
    assert stored.filled(text) == text  # what is stored stays
    for wrong, said in (
        ("<!-- stored: speed -->\n", "without its"),
        (empty[7:40] + empty[7:], "without its"),
        (empty.replace("speed", "none"), "there is no none.json"),
    ):
        with pytest.raises(SystemExit, match=said):
            stored.filled(wrong)
