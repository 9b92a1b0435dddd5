"""`bumpfit fit --report`: the page beside the table."""

from pathlib import Path

from command_line import Run, refused


def test_report_of_a_fit(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    page = tmp_path / "fit.html"
    done = bumpfit("fit", counting, "--report", page, "--json")
    text = page.read_text()
    assert f"{done.json['mu']:.1f} ± " in text and "counting.json" in text and str(counting.parent) not in text
    assert "is an input" in refused(bumpfit("fit", counting, "--report", counting))
