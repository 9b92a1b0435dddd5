"""Figures of a tagging study: what is drawn is what was given, and legends stay off the data."""

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from bumpfit.errors import BumpfitError
from bumpfit.events.cutflow import CutFlow, Step
from bumpfit.report.classifiers import performance, templates
from bumpfit.report.cutflows import cut_flow
from bumpfit.report.style import png
from bumpfit.scoring import curves as scored
from bumpfit.scoring.curves import Curves
from bumpfit.scoring.metrics import Merit


def flow(name: str, events: tuple[int, ...], alone: tuple[float | None, ...], cuts: tuple[str, ...]) -> CutFlow:
    steps = tuple(
        Step(cut, cut, n, float(n), n**0.5, None, None, 0, 0.0, share)
        for cut, n, share in zip(cuts, events[1:], alone, strict=True)
    )
    return CutFlow(name, events[0], float(events[0]), events[0] ** 0.5, steps, "one")


CUTS = ("jet.size > 1 and fatjet.size > 0 and not electron.size > 0 and muon.size == 0", "x$^2 < 3")


def lengths(figure: Figure, panel: int) -> list[list[float]]:
    bars = [each for each in figure.axes[panel].containers if isinstance(each, BarContainer)]
    return [[float(bar.get_width()) for bar in each] for each in bars]


def test_cut_flow() -> None:
    flows = [flow("qcd", (9000, 500, 20), (0.1, 0.04), CUTS), flow("a_b", (4000, 3000, 0), (0.5, None), CUTS)]
    figure = cut_flow(flows)
    assert lengths(figure, 0) == [[9000, 500, 20], [4000, 3000, 0]]
    kept = lengths(figure, 1)
    assert kept[0] == [0.1, 0.04] and kept[1][0] == 0.5 and np.isnan(kept[1][1])
    assert figure.axes[0].get_xscale() == "log" and figure.axes[0].get_xlim()[0] < 20
    assert len(png(figure)) > 10_000
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for label in figure.axes[0].get_yticklabels():
        assert label.get_window_extent(renderer).x0 > 0, label.get_text()
    legend = figure.legends[0].get_window_extent(renderer)
    assert legend.y0 > figure.axes[0].get_window_extent(renderer).y1
    few = cut_flow([flow("qcd", (40, 30, 20), (1.0, 1.0), CUTS)])
    assert few.axes[0].get_xscale() == "linear"
    nothing = cut_flow([flow("qcd", (0, 0, 0), (None, None), CUTS)])
    assert png(nothing)
    with pytest.raises(BumpfitError, match="cut differently"):
        cut_flow([flows[0], flow("s", (1, 1), (1.0,), CUTS[:1])])


def curves(classes: tuple[str, ...]) -> Curves:
    edges = np.linspace(0, 1, 11)
    threshold = np.linspace(1, 0, 101)
    return Curves(
        name=classes[-1],
        edges=edges,
        distributions={c: np.roll(np.arange(10) / 45, k) for k, c in enumerate(classes)},
        threshold=threshold,
        signal=1 - threshold,
        backgrounds={c: (1 - threshold) ** (2 + k) for k, c in enumerate(classes[:-1])},
        significance=np.where(threshold > 0.9, np.nan, threshold * (1 - threshold)),
        asimov=np.where(threshold > 0.9, np.nan, threshold),
        background_error=0.1,
    )


def test_performance() -> None:
    found = curves(("qcd", "t$op", "w"))
    best = Merit(0.25, None, 0.5, 0.5, 0.25, 10.0)
    figure = performance(found, {"significance": best}, "AUC 0.9 ± 0.1")
    score, significance, roc = figure.axes
    drawn = [line.get_xydata() for line in roc.lines]
    np.testing.assert_allclose(drawn[0], np.column_stack([found.signal[1:], 1 / found.backgrounds["qcd"][1:]]))
    marks = [line.get_xydata().tolist() for line in significance.lines if line.get_marker() == "o"]
    assert marks == [[[0.5, 0.25]]]
    assert roc.get_legend().get_title().get_text() == "AUC 0.9 ± 0.1"
    assert score.get_xlim() == significance.get_xlim() == (0.0, 1.0)
    assert len(png(figure)) > 10_000
    low, high = roc.get_ylim()
    assert low < 1 and high > 1e4


@pytest.mark.parametrize("edges", [(0.0, 1.0, 2.0, 4.0), (0.0, 0.9, 0.999, 1.0)])
def test_templates(edges: tuple[float, ...]) -> None:
    yields = {"qcd": (100.0, 10.0, 1.0), "w": (1.0, 5.0, 2.0), "top": (3.0, 3.0, 3.0)}
    errors = {"qcd": (3.0, 1.0, 0.6), "w": (0.4, 0.4, 0.8), "top": (0.0, 0.0, 0.0)}
    total = np.array([104.0, 18.0, 6.0])
    figure = templates(edges, yields, errors, "w", "score", data=(90, 20, 0), variations={"j_es": (total * 1.1, total)})
    main, ratio = figure.axes
    heights = {round(float(y), 6) for patch in main.patches for y in patch.get_path().vertices[:, 1]}
    assert {104.0, 18.0, 6.0, 103.0, 13.0, 4.0, 3.0} <= heights  # all; without the signal; top alone
    band = {round(float(y), 4) for patch in main.patches for y in patch.get_path().vertices[:, 1]}
    assert round(104 + float(np.hypot(3, 0.4)), 4) in band
    ratios = {round(float(y), 6) for patch in ratio.patches for y in patch.get_path().vertices[:, 1]}
    assert 1.1 in ratios
    shown = [label.get_text() for label in ratio.get_xticklabels()]
    if edges[1] == 0.9:
        assert shown == ["0.9", "0.999"] and main.get_xlim() == (0.0, 3.0)
    else:
        assert main.get_xlim() == (0.0, 4.0)
    assert len(png(figure)) > 10_000
    alone = templates(edges, yields, errors, "w", "mass")
    assert len(alone.axes) == 1 and alone.axes[0].get_xlabel() == "mass"


def test_steps_between_thresholds_and_data_beyond_the_axis() -> None:
    """A cut has two scores: its figure has steps, none of them sloped; far data are marked at the edge of the ratio."""
    y, score = np.repeat([0, 1], 100), np.r_[np.zeros(90), np.ones(10), np.zeros(20), np.ones(80)]
    figure = performance(scored.curves(y, score, ("b", "s"), min_background=1), {}, "AUC")
    lines = [line for axes in figure.axes[1:] for line in axes.lines if line.get_label() != "no separation"]
    assert len(lines) == 3 and all(line.get_drawstyle() == "steps-pre" for line in lines)
    roc = lines[-1]
    np.testing.assert_allclose(roc.get_xydata(), [[0, 10], [0.8, 10], [1, 1]])
    ratio = templates(
        (0, 1, 2), {"b": (10, 10), "s": (1, 1)}, {"b": (1, 1), "s": (0, 0)}, "s", "x", data=(500, 0)
    ).axes[1]
    marks = {line.get_marker(): line.get_xdata().tolist() for line in ratio.lines if line.get_marker() in "^v"}
    assert marks == {"^": [0.5], "v": []}
