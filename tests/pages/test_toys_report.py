"""The page of toys says what the toys say: the p-value or its bound, the statistic, and how p settled."""

import re
from pathlib import Path
from typing import Any

import pytest

from browser import Chromium, is_well_made
from bumpfit import toys, workspace
from bumpfit.commands.output import Drawing, Output, Page
from bumpfit.commands.toy_results import Told, give, give_scan
from bumpfit.report import html
from bumpfit.report.document import Document
from bumpfit.workspace import build

HEAD: dict[str, Any] = {
    "command": "toys", "version": "1.2", "inputs": [{"path": "folder/<b>.json", "sha256": "ab" * 32}],
    "options": {"seed": 1, "part": "<i>"},
}  # fmt: skip


def model(scale: float = 1.0) -> workspace.Model:
    signal = build.sample("signal", [5.0 * scale, 9.0], build.modifier("normfactor", "mu"))
    background = build.sample("b", [50.0, 30.0], build.modifier("normsys", "norm", (0.9, 1.1)))
    return workspace.read(build.workspace({"SR": [signal, background]}, {"SR": [58, 41]}, "mu"))


class Kept(Page):
    """Keeps the document instead of writing it."""

    def write(self, make: Any) -> None:
        object.__setattr__(self, "made", make())


def page_of(found: Any, tell: Any = give) -> tuple[Document, str]:
    page = Kept(Path("r.html"))
    tell(found, HEAD, Told(Drawing(), page, None, Output(None, True)))
    made: Document = page.made  # type: ignore[attr-defined]
    return made, re.sub(r"</?(sub|sup)>", "", html.render(made))


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    found = toys.run(toys.engine(model()), 2000, seed=1)
    document, text = page_of(found)
    p, error = found.p_value()
    assert f"{p:.4f} ± {error:.4f}" in text and f"Z = {toys_z(p):.2f}" in text
    (quantiles,) = (block for block in document.blocks if getattr(block, "name", "") == "quantiles")
    assert ("95 %", f"{found.quantile(0.95):.5g}", "100") in quantiles.rows  # type: ignore[union-attr]
    assert text.count("<figure") == 1 and "<b>.json" not in text and "&lt;b&gt;.json" in text
    assert "folder" not in text and "&lt;i&gt;" in text and text.count("<script") == 1 and "://" not in text


def toys_z(p: float) -> float:
    from scipy.stats import norm

    return float(norm.isf(p))


def test_no_toy_is_as_extreme(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = page_of(toys.run(toys.engine(model()), 2000, seed=1, observed=60.0))
    assert (
        "p &lt; 5.0 × 10−4" in text
        and "none is as extreme as the data" in text
        and "At 95 % confidence p &lt; 0.0015" in text
    )


def test_weighted_toys(capsys: pytest.CaptureFixture[str]) -> None:
    from bumpfit.toys.importance import tail_engine

    engine = tail_engine(toys.engine(model()), 5.0)
    found = toys.run(engine, engine.whole(2000), seed=1, observed=25.0)
    _, text = page_of(found)
    p, _ = found.p_value()
    assert f"({p * 1e7:.1f}" in text and "× 10−7" in text and "importance sampling" in text and "Toys below" not in text


def test_scans(capsys: pytest.CaptureFixture[str]) -> None:
    found = toys.scan_toys([model(), model(0.2)], 500, seed=1)
    _, text = page_of(found, give_scan)
    p, error = found.p_value()
    assert f"{p:.3f} ± {error:.3f}" in text and "bound of Gross and Vitells" in text and "500 scans" in text


def test_nothing_to_compare_with(capsys: pytest.CaptureFixture[str]) -> None:
    whole = toys.run(toys.engine(model()), 100, seed=1)
    _, text = page_of(toys.Tally(**{**vars(whole), "observed": None, "course": ()}))
    assert "No p-value" in text and "There is no observed statistic" in text


def test_in_a_browser(chromium: Chromium, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, found, tell in (
        ("toys", toys.run(toys.engine(model()), 2000, seed=1), give),
        ("scans", toys.scan_toys([model(), model(0.2)], 500, seed=1), give_scan),
    ):
        (tmp_path / f"{name}.html").write_text(html.render(page_of(found, tell)[0]))
        is_well_made(chromium.see(tmp_path / f"{name}.html"), 1)
