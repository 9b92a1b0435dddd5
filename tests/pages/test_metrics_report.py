"""The page of a classifier: figures of merit, the likelihood of its score, and names that files bring as text."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from browser import Chromium, is_well_made
from bumpfit.events.dataset import Dataset
from bumpfit.pages.metrics_report import document
from bumpfit.report import html
from bumpfit.report.classifiers import performance
from bumpfit.scoring.curves import curves
from bumpfit.scoring.merits import evaluate
from bumpfit.tagging import Prospects, Setup, Variation, Varied, prospects, scaled

HEAD = {
    "version": "1.2", "inputs": [{"path": "folder/<b>.ds", "sha256": "ab" * 32}],
    "options": {"part": "test", "seed": 1},
}  # fmt: skip
CLASSES = ("<b>", "w")


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(1)
    samples = np.r_[rng.normal(0, 1, (400, 1)), rng.normal(1.5, 1, (400, 1))].astype("f4")
    return Dataset(samples, np.repeat([0, 1], 400).astype("i4"), np.ones(800), ("x",), CLASSES)


def asked_of(data: Dataset) -> Prospects:
    varied = Variation(*(Varied(one, one.samples[:, 0]) for one in (scaled(data, "x", 1.1), scaled(data, "x", 0.9))))
    setup = Setup(events={"<b>": 1000.0, "w": 50.0}, signal="w")
    return prospects(data, data.samples[:, 0], setup, variations={"<i>": varied})


def test_report(data: Dataset) -> None:
    score = 1 / (1 + np.exp(-data.samples[:, 0] + 0.7))
    merits = evaluate(data.targets, np.column_stack([1 - score, score]), CLASSES, bootstrap=20)
    asked = asked_of(data)
    figures = {"performance": Figure(figsize=(6, 2)), "templates": Figure()}
    text = html.render(document(merits, asked, "<b>.ds", HEAD, figures, ["a note of <b>"]))
    assert f"{merits.auc.value:.3f} ± {merits.auc.error:.3f}" in text and "a note of &lt;b&gt;" in text
    assert f"<dd>{asked.expected.z:.2f}<small>" in text and f"{asked.limit.expected[2]:.2f}"[:3] in text
    assert text.count("<figure") == 2 and text.count("class=broad") == 1
    assert "<b>.ds" not in text and "&lt;i&gt;" in text and "folder" not in text and text.count("<script") == 1


def test_an_observable_alone(data: Dataset) -> None:
    text = html.render(document(None, asked_of(data), "a.ds", HEAD, {"templates": Figure()}, []))
    assert "Expected significance Z = " in text and "ROC" not in text and text.count("<figure") == 1


def test_in_a_browser(data: Dataset, chromium: Chromium, tmp_path: Path) -> None:
    score = 1 / (1 + np.exp(-data.samples[:, 0] + 0.7))
    merits = evaluate(data.targets, np.column_stack([1 - score, score]), CLASSES, bootstrap=20)
    figures = {"performance": performance(curves(data.targets, score, CLASSES, signal="w"), {}, "AUC")}
    (tmp_path / "r.html").write_text(html.render(document(merits, None, "a.ds", HEAD, figures, [])))
    is_well_made(chromium.see(tmp_path / "r.html"), 1)
