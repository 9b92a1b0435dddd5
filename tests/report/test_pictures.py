"""Every record has a short line, a table and a figure; figures draw on given axes and carry an experiment's label."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from bumpfit import histograms, inference, toys, workspace
from bumpfit.display import Shown
from bumpfit.errors import BumpfitError, InputError
from bumpfit.events.cutflow import cutflow
from bumpfit.report.style import png
from bumpfit.workspace import Model


@pytest.fixture(scope="module")
def model() -> Model:
    channels = [
        {
            "name": name,
            "samples": [
                {"name": "s", "data": s, "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
                {"name": "b", "data": b, "modifiers": [
                    {"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
                    {"name": "<b>shape</b>", "type": "histosys", "data": {
                        "hi_data": [1.05 * v for v in b], "lo_data": [0.93 * v for v in b]}},
                ]},
            ],
        }
        for name, s, b in (("SR", [5.0, 9.0], [50.0, 30.0]), ("CR", [0.1, 0.1], [200.0, 150.0]))
    ]  # fmt: skip
    return workspace.read(
        {
            "channels": channels,
            "observations": [{"name": "SR", "data": [58, 41]}, {"name": "CR", "data": [205, 148]}],
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
            "version": "1.0.0",
        }
    )


@pytest.fixture(scope="module")
def records(model: Model) -> dict[str, Shown]:
    table = {"m": np.random.default_rng(1).exponential(100.0, 500)}
    return {
        "model": model,
        "fit": inference.fit(model),
        "discovery": inference.discovery(model),
        "interval": inference.interval(model, "mu"),
        "limit": inference.limit(model),
        "cls": inference.cls(model, 1.0),
        "scan": inference.scan(model, "mu", n_points=11),
        "contour": inference.contour(model, "mu", "norm", n_points=12),
        "impacts": inference.impacts(model),
        "goodness": inference.goodness(model),
        "yields": inference.postfit(model),
        "toys": toys.throw(model, 200, seed=1),
        "coverage": toys.coverage(model, (1.0,), 20, seed=1),
        "histogram": histograms.fill(table["m"], np.linspace(0.0, 500.0, 26)),
        "weighted": histograms.fill(table["m"], np.linspace(0.0, 500.0, 26), weights=np.full(500, 0.5)),
        "cutflow": cutflow(table, ["m > 100", "m < 200"]),
    }


WITHOUT = {"model", "discovery", "cls", "goodness"}
"""Records of a few numbers, of which nothing is drawn."""


def test_a_record_takes_a_line(records: dict[str, Shown]) -> None:
    for name, record in records.items():
        line = repr(record)
        assert len(line) < 700 and "\n" not in line, (name, line)
        assert line.startswith(type(record).__name__)


def test_a_notebook_shows_a_table(records: dict[str, Shown]) -> None:
    for name, record in records.items():
        page = record._repr_html_()
        assert page.count("<tr>") == page.count("</tr>") and "<table>" in page, name
        assert "<b>shape</b>" not in page  # names are text
    assert "&lt;b&gt;shape&lt;/b&gt;" in records["fit"]._repr_html_()
    assert "0.5" in records["weighted"]._repr_html_()


def test_a_long_table_is_cut() -> None:
    page = histograms.from_counts(np.arange(101.0), np.arange(100.0))._repr_html_()
    assert "... 80 more" in page and page.count("<tr>") < 40


def test_every_record_draws(records: dict[str, Shown]) -> None:
    for name, record in records.items():
        if name in WITHOUT:
            with pytest.raises(InputError, match="there is no figure of"):
                record.plot()
            continue
        figure = record.plot()
        assert png(figure).startswith(b"\x89PNG"), name
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_questions_at_many_masses(model: Model) -> None:
    models = {100.0: model, 200.0: model}
    figure = inference.discoveries(models).plot(label="CMS")
    p = inference.discovery(model).p
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [p, p])
    assert figure.axes[0].get_ylabel() == "Local p-value"
    assert inference.limits(models).plot().axes[0].get_ylabel() != "Local p-value"


def test_given_axes_keep_their_style(records: dict[str, Shown]) -> None:
    for name in ("fit", "scan", "contour", "limit", "interval", "impacts", "histogram", "coverage"):
        figure = Figure()
        axis = figure.subplots()
        assert records[name].plot(ax=axis) is figure, name
        assert axis.has_data()
    two = Figure().subplots(2, 1)
    records["yields"].plot(ax=two)
    assert all(panel.has_data() for panel in two)
    with pytest.raises(InputError, match="this figure has 2 panels, got 1 axes"):
        records["yields"].plot(ax=two[0])
    with pytest.raises(InputError, match="this figure has 1 panel, got 2 axes"):
        records["scan"].plot(ax=two)


def test_labels_of_experiments(records: dict[str, Shown]) -> None:
    figure = records["scan"].plot(label="CMS Preliminary", lumi=138, com=13)
    png(figure)
    texts = " ".join(str(text.get_text()) for text in figure.axes[0].texts)
    assert "CMS" in texts and "Preliminary" in texts and "138" in texts
    with pytest.raises(InputError, match=r"the label is 'UA9'; expected ALICE, ATLAS, CMS, DUNE or LHCb"):
        records["scan"].plot(label="UA9")


def test_what_cannot_be_drawn(model: Model) -> None:
    singular: Any = inference.fit(model, fixed=dict.fromkeys(model.names, 0.0))
    with pytest.raises(BumpfitError, match=r"no parameter of the fit has an error|no covariance"):
        singular.plot()
    importance = toys.tail(model, 200, seed=1)
    drawn = getattr(importance, "plot", None)
    assert drawn is not None
    with pytest.raises(InputError, match="importance sampling"):
        drawn()


def test_without_optional_packages_fits_are_drawn() -> None:
    code = """
import sys
sys.modules["awkward"] = sys.modules["uproot"] = None
import bumpfit
from bumpfit.pages import likelihood_report
from bumpfit.results import Scan
from bumpfit.report import pictures
assert pictures.picture.dispatch(Scan) is not pictures.picture.dispatch(object)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
