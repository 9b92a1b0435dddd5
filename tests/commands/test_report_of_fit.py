"""`bumpfit fit --report`: the page beside the table."""

import json
from pathlib import Path

import pytest
from command_line import Run, refused

from browser import executable
from bumpfit.pages.origin import without_folders


def test_report_of_a_fit(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    page = tmp_path / "fit.html"
    done = bumpfit("fit", counting, "--report", page, "--json")
    text = page.read_text()
    assert f"{done.json['mu']:.1f} ± " in text and "counting.json" in text and str(counting.parent) not in text
    assert "is an input" in refused(bumpfit("fit", counting, "--report", counting))


def test_no_page_names_folders(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    """Files of options and outputs, in the table of the options and in the command that repeats the page."""
    histogram, patch, page = tmp_path / "data.json", tmp_path / "patch.json", tmp_path / "fit.html"
    histogram.write_text(json.dumps({
        "uhi_schema": 1, "storage": {"type": "int", "values": [7]},
        "axes": [{"type": "regular", "lower": 0, "upper": 1, "bins": 1, "underflow": False, "overflow": False,
                  "circular": False}],
    }))  # fmt: skip
    patch.write_text("[]")
    given = ("--patch", patch, "--counts", f"bin={histogram}", f"--report={page}", "--fix", "mu=1")
    assert bumpfit("fit", counting, *given).code == 0
    text = page.read_text()
    assert str(tmp_path) not in text and str(counting.parent) not in text
    repeat = "bumpfit fit counting.json --patch patch.json --counts bin=data.json --report=fit.html --fix mu=1"
    assert repeat in text and "<code>bin=data.json</code>" in text and "<code>patch.json</code>" in text
    toys = tmp_path / "toys.html"
    assert bumpfit("toys", counting, "-n", 50, "-o", tmp_path / "toys.parquet", "--report", toys).code == 0
    assert str(tmp_path) not in toys.read_text() and "bumpfit toys counting.json -n 50" in toys.read_text()


def test_a_word_without_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for word, want in {
        "/x/w.json": "w.json", "a/w.json": "w.json", "../w.json": "w.json", "~/w.json": "w.json", "/": "/", "-o": "-o",
        "SR=/x/h.root:CR/data": "SR=h.root:CR/data", "SR=h.root:CR/data": "SR=h.root:CR/data", "b/w=1": "b/w=1",
        "b/w": "b/w", "theory=xs*,pdf": "theory=xs*,pdf", "jes=/x/up.ds,/x/down.ds": "jes=up.ds,down.ds",
        "https://x.org/w.json": "https://x.org/w.json", "mu=0:10": "mu=0:10",
    }.items():  # fmt: skip
        assert without_folders(word) == want


@pytest.mark.slow
def test_report_on_paper(bumpfit: Run, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "give both" in refused(bumpfit("fit", counting, "--pdf"))
    executable()
    bumpfit("fit", counting, "--report", tmp_path / "fit.html", "--pdf")
    assert (tmp_path / "fit.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr("bumpfit.report.paper.PROGRAMS", ())
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    none = bumpfit("fit", counting, "--report", tmp_path / "other.html", "--pdf")
    assert none.code == 1 and "install one" in none.err and not (tmp_path / "other.html").exists()
