"""The report of a search: one HTML file with everything inside, the same text in Markdown, and the figures."""

from __future__ import annotations

from pathlib import Path

from bumpfit.files import write_text
from bumpfit.pages import search_candidate as candidate
from bumpfit.pages import search_conclusions as conclusions
from bumpfit.pages import search_story as story
from bumpfit.pages.answers import Told
from bumpfit.report import embedded, html, markdown
from bumpfit.report.document import Document


def write(findings: Told, out: Path) -> list[Path]:
    """Write `report.html`, `report.md` and `figures/*` into `out` and return their paths.

    Every file appears complete or not at all; the pages are written after the figures that they show.

    Raises:
        InputError: `out` cannot be made or written.
    """
    page = document(findings)
    written = embedded.write(page.pictures(), out)
    for name, text in (("report.md", markdown.render(page)), ("report.html", html.render(page))):
        write_text(out / name, text)
        written.append(out / name)
    return written


def document(findings: Told) -> Document:
    """The report as data: the answer first, then how it was had, what it is worth, and how to repeat it."""
    parts = (
        story.answer,
        story.data,
        story.excess,
        story.second_test,
        candidate.description,
        conclusions.iterations,
        conclusions.checks,
        conclusions.limitations,
        conclusions.next_steps,
        conclusions.provenance,
    )
    blocks = tuple(block for part in parts for block in part(findings))
    return Document(story.title(findings), story.subtitle(findings), blocks)
