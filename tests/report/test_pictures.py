"""Every record has a short line, a table and a figure; figures draw on given axes and carry an experiment's label."""

import dataclasses
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
from bumpfit.report.distributions import data_and_background
from bumpfit.report.fitted import ranking
from bumpfit.report.profiles import compatibility
from bumpfit.report.spectra import spectrum
from bumpfit.report.style import png
from bumpfit.workspace import Model, build


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


def test_a_correlation_matrix_of_many_parameters_says_how_many_there_are(model: Model) -> None:
    found = inference.fit(model)
    assert found.plot().axes[0].get_title(loc="left") == ""
    assert found.plot(most=2).axes[0].get_title(loc="left") == "2 of 3 parameters: those with the largest correlations"


def counted(**data: int) -> Model:
    signal, background = build.sample("s", [5.0], build.modifier("normfactor", "mu")), build.sample("b", [9.0])
    samples = {channel: [signal, background] for channel in data}
    return workspace.read(build.workspace(samples, {channel: [n] for channel, n in data.items()}, "mu"))


def test_a_channel_at_an_end_of_the_range_does_not_stretch_the_axis() -> None:
    """One channel of many has its best value at 10, the end: an arrow at the edge, which the others determine."""
    wall = inference.compatibility(counted(**{f"C{i}": 12 + i % 3 for i in range(12)}, wall=75))
    axis = compatibility(wall).axes[0]
    ends = [value for row in wall.channels if row.name != "wall" for value in (row.low, row.high) if value is not None]
    assert wall.channels[-1].strength == 10.0 and axis.get_xlim()[1] < 1.2 * max(ends) < 5.0
    assert [text.get_text() for text in axis.texts] == ["best at 10, the end of the range"]
    (arrow,) = [line for line in axis.lines if line.get_marker() == ">"]
    assert axis.get_xlim()[0] < arrow.get_xdata()[0] < axis.get_xlim()[1]
    low = compatibility(inference.compatibility(counted(A=12, B=19, C=4))).axes[0]
    (arrow,) = [line for line in low.lines if line.get_marker() == "<"]
    assert arrow.get_xdata()[0] == pytest.approx(0.0, abs=0.05)
    everywhere = compatibility(inference.compatibility(counted(A=3, B=4))).axes[0]
    assert len([line for line in everywhere.lines if line.get_marker() == "<"]) == 2


def test_the_legend_of_a_ranking_with_groups_is_inside_its_frame(model: Model) -> None:
    found = inference.impacts(model)
    long = tuple(dataclasses.replace(row, parameter="FT_EFF_extrapolation_from_charm") for row in found.impacts)
    figure = ranking(dataclasses.replace(found, impacts=long), 20, {"statistical": 0.2})
    figure.canvas.draw()
    axis, shifts = figure.axes
    legend, frame = shifts.get_legend().get_window_extent(), axis.get_window_extent()
    assert frame.x0 <= legend.x0 and legend.x1 <= frame.x1
    assert legend.y0 >= axis.transData.transform((0.0, len(long) + 0.36))[1]  # above the bar of the group


def test_blinded_bins_of_a_spectrum_are_shaded_and_have_no_points() -> None:
    edges, counts = np.linspace(100.0, 200.0, 6), np.array([40.0, np.nan, np.nan, 12.0, 8.0])
    data = histograms.from_counts(edges, counts)
    table = histograms.from_counts(edges, np.array([80.0, 50.0, 40.0, 30.0, 20.0]))
    for figure in (spectrum(data, table.counts / 2, None, "m"), data_and_background(data, table, 0.5, "m")):
        handles, labels = figure.axes[0].get_legend_handles_labels()
        (shade,) = [handle for handle, label in zip(handles, labels, strict=True) if label == "Blinded"]
        assert (shade.get_x(), shade.get_width()) == (120.0, 40.0)
