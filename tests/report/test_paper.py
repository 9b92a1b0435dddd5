"""Pages printed to PDF by a browser, and what is said where there is none or it fails."""

import re
from pathlib import Path

import pytest

from browser import executable
from bumpfit.errors import BumpfitError
from bumpfit.report import paper


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "a page.html"
    path.write_text("<!DOCTYPE html><title>t</title><h1>A page</h1>")
    return path


def test_a_page_is_printed(page: Path) -> None:
    executable()
    made = paper.pdf(page)
    assert made == page.with_suffix(".pdf") and made.read_bytes().startswith(b"%PDF-1")
    assert sorted(path.name for path in page.parent.iterdir()) == ["a page.html", "a page.pdf"]


def test_scripts_of_a_page_do_not_run(page: Path) -> None:
    executable()
    script = "document.body.innerHTML = '<p style=\"break-after: page\">x</p>'.repeat(4)"
    page.write_text(f"<!DOCTYPE html><title>t</title><body>A page<script>{script}</script></body>")
    assert len(re.findall(rb"/Type /Page\b", paper.pdf(page).read_bytes())) == 1


def test_no_browser(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(page.parent))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(page.parent))
    monkeypatch.setattr(paper, "PROGRAMS", ("chromium",))
    with pytest.raises(BumpfitError, match="install one"):
        paper.pdf(page)


def test_the_browser_of_playwright_comes_first(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1000, 1001):
        there = page.parent / f"chromium-{number}" / "chrome-linux" / "chrome"
        there.parent.mkdir(parents=True)
        there.write_text("")
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(page.parent))
    assert paper.browser() == str(there)


NO_PDF = 'for one; do case "$one" in --print-to-pdf=*) printf nothing > "${one#*=}";; esac; done'


@pytest.mark.parametrize("body", ["exit 1", "exit 0", NO_PDF])
def test_a_browser_that_fails_leaves_nothing(body: str, page: Path) -> None:
    program = page.parent / "chrome"
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(0o755)
    with pytest.raises(BumpfitError, match="printed no PDF"):
        paper.pdf(page, str(program))
    assert sorted(path.name for path in page.parent.iterdir()) == ["a page.html", "chrome"]
