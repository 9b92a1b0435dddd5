"""The page of a workspace says what the questions answer, and names that files bring are text."""

import re
from pathlib import Path

from browser import Chromium, is_well_made
from bumpfit import inference, workspace
from bumpfit.pages.likelihood_report import document
from bumpfit.report import html
from bumpfit.workspace import build

HEAD = {"version": "1.2", "inputs": [{"path": "folder/w.json", "sha256": "ab" * 32}], "options": {"fix": "a=1"}}


def model(poi: str = "mu") -> workspace.Model:
    signal = build.sample("signal", [5.0, 9.0], build.modifier("normfactor", "mu"))
    background = build.sample("<b>", [50.0, 30.0], build.modifier("normsys", "<i>norm", (0.9, 1.1)))
    return workspace.read(build.workspace({"SR": [signal, background]}, {"SR": [58, 41]}, "mu"), poi=poi)


def test_report() -> None:
    asked = model()
    found = inference.summary(asked)
    assert not found.refused and found.discovery is not None and found.limit is not None
    assert (
        found.discovery.q0 == inference.discovery(asked).q0 and found.limit.observed == inference.limit(asked).observed
    )
    page = html.render(document(found, asked, "w.json", HEAD))
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+ from [^"]+"', page)) == 4
    assert "1.26 ± 0.77" in page and "1.71" in page and "2.63" in page and "expected 1.49" in page
    assert "<b>norm" not in page and "<i>norm" not in page and "&lt;i&gt;norm" in page
    assert "Parts of the goodness of fit in the channels" in page and "constraints" in page
    assert "folder/w.json" not in page and "ab" * 32 in page and "--fix" in page
    assert page.count("<script") == 1 and "://" not in page


def test_what_has_no_answer_is_told() -> None:
    asked = model(poi="")
    found = inference.summary(asked)
    assert found.parameter is None and set(found.refused) == {"discovery", "interval", "limit", "scan", "impacts"}
    page = html.render(document(found, asked, "w.json", HEAD))
    assert "No upper limit: <code>there is no parameter of interest" in page and page.count("<svg") == 1


def test_a_value_that_is_held_is_no_answer() -> None:
    found = inference.summary(model(), fixed={"mu": 1.0})
    assert found.parameter is None and found.limit is None and "limit" in found.refused


def test_no_event_at_all() -> None:
    asked = model()
    found = inference.summary(asked, [0, 0])
    assert html.render(document(found, asked, "w.json", HEAD)).count("<figure") >= 3


def test_in_a_browser(chromium: Chromium, tmp_path: Path) -> None:
    asked = model()
    (tmp_path / "report.html").write_text(html.render(document(inference.summary(asked), asked, "w.json", HEAD)))
    is_well_made(chromium.see(tmp_path / "report.html"), 4)
