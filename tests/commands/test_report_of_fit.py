"""`bumpfit fit --report`: the page beside the table."""

from pathlib import Path

import pytest
from command_line import Run, refused

from browser import executable


def test_report_of_a_fit(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    page = tmp_path / "fit.html"
    done = bumpfit("fit", counting, "--report", page, "--json")
    text = page.read_text()
    assert f"{done.json['mu']:.1f} ± " in text and "counting.json" in text and str(counting.parent) not in text
    assert "is an input" in refused(bumpfit("fit", counting, "--report", counting))


def test_report_on_paper(bumpfit: Run, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "give both" in refused(bumpfit("fit", counting, "--pdf"))
    executable()
    bumpfit("fit", counting, "--report", tmp_path / "fit.html", "--pdf")
    assert (tmp_path / "fit.pdf").read_bytes().startswith(b"%PDF")
    monkeypatch.setattr("bumpfit.report.paper.PROGRAMS", ())
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    none = bumpfit("fit", counting, "--report", tmp_path / "other.html", "--pdf")
    assert none.code == 1 and "install one" in none.err and not (tmp_path / "other.html").exists()
