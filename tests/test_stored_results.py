"""Tables of measured numbers in the documents are those that the benchmarks stored."""

import importlib.util
import json
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


def test_results_say_how_they_were_measured() -> None:
    for path in stored.RESULTS.glob("*.json"):
        found = json.loads(path.read_text())
        assert found["name"] == path.stem and found["command"].startswith("python benchmarks/")
        assert (ROOT / found["command"].split()[1]).is_file() and "/" not in found["machine"] and found["load"] >= 0
        assert found["rows"] and all(list(row) == list(found["columns"]) for row in found["rows"])
        assert {"python", "bumpfit", "numpy"} <= set(found["versions"])


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
