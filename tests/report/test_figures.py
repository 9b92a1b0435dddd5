"""Figures: what is drawn is what was given, with units, free legends, and no trace in matplotlib's state."""

import io
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy.stats import norm

from bumpfit import inference, workspace
from bumpfit.histograms import from_counts
from bumpfit.report import (
    Bins,
    ScanLine,
    ShapeRatio,
    background_shapes,
    data_and_background,
    mass_peak,
    png,
    probabilities,
    scan,
    score_bins,
    selection_significances,
    spectrum,
)
from bumpfit.report.distributions import shape_label
from bumpfit.report.style import event_scale, poisson_errors, style
from bumpfit.workspace import build

EDGES = np.linspace(2800.0, 3200.0, 21)
LABEL = "$m_{JJ}$ [GeV]"
FLAT = np.full(20, 100.0)
FALLING = 1e5 * np.exp(-np.arange(20) / 2.0)
PEAK = 200 * np.diff(norm.cdf(EDGES, 3000, 40))
FULL = np.append(FLAT[:-1], 200.0)  # highest where legends stand
SPECTRA = {
    "flat": FLAT,
    "falling": np.round(FALLING),
    "rising": np.round(FALLING[::-1]),
    "peak": np.round(FLAT / 20 + PEAK),
}


def drawn_points(axis: Axes) -> np.ndarray:
    """Positions (K, 2) of the black points of an axis, as mplhep draws them."""
    lines = [bars.lines[0] for bars in axis.containers if isinstance(bars, ErrorbarContainer)]
    assert lines
    return np.concatenate([np.column_stack(line.get_data()) for line in lines])


def legend_is_free(figure: Figure) -> bool:
    """No data point lies below a legend."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for axis in figure.axes:
        legend = axis.get_legend()
        if legend is None:
            continue
        axis.get_xlim(), axis.get_ylim()  # scales what is still to be scaled
        box = legend.get_window_extent(renderer)
        assert box.width > 50
        points = axis.transData.transform(drawn_points(axis))
        inside = (points > [box.x0, box.y0]).all(axis=1) & (points < [box.x1, box.y1]).all(axis=1)
        if inside.any():
            return False
    return True


def figures(name: str) -> dict[str, Figure]:
    counts = SPECTRA[name]
    histogram = from_counts(EDGES, counts)
    bins = Bins(EDGES, counts, counts * 0.9, counts * 0.8, 0.2 * counts)
    return {
        "inputs": data_and_background(histogram, from_counts(EDGES, counts / 2), 2.0, LABEL, signal=PEAK),
        "data alone": data_and_background(histogram, None, 1.0, LABEL),
        "spectrum": spectrum(histogram, counts + 0.5, PEAK, LABEL, note="1.00% of background"),
        "counts alone": spectrum(histogram, None, None, LABEL, note="1.00% of background"),
        "peak": mass_peak(bins, LABEL, "3000 ± 33 GeV"),
        "score": score_bins(bins, "score", "Signal"),
    }


@pytest.mark.parametrize("name", SPECTRA)
def test_legends_do_not_cover_data(name: str) -> None:
    for which, figure in figures(name).items():
        assert legend_is_free(figure), which


def test_points_are_the_counts() -> None:
    for which, figure in figures("falling").items():
        np.testing.assert_allclose(
            sorted(drawn_points(figure.axes[0])[:, 1]), sorted(SPECTRA["falling"]), err_msg=which
        )


def test_ratio_panel_shows_data_over_scaled_background() -> None:
    figure = data_and_background(from_counts(EDGES, FLAT), from_counts(EDGES, np.full(20, 40.0)), 2.0, LABEL)
    np.testing.assert_allclose(drawn_points(figure.axes[1])[:, 1], 1.25)
    assert figure.axes[1].get_ylim()[0] < 1 < 1.25 < figure.axes[1].get_ylim()[1]
    assert figure.axes[1].get_xlabel() == LABEL


def test_pulls_are_against_the_background_fit() -> None:
    figure = spectrum(from_counts(EDGES, FLAT), np.full(20, 81.0), None, LABEL)
    heights = {round(y, 6) for patch in figure.axes[1].patches for y in patch.get_path().vertices[:, 1]}
    assert round((100 - 81) / 9, 6) in heights


def test_empty_bins_and_no_events_are_drawn() -> None:
    nothing = from_counts(EDGES, np.zeros(20))
    for figure in (
        data_and_background(nothing, nothing, 1.0, LABEL),
        spectrum(nothing, None, None, LABEL),
        spectrum(nothing, np.zeros(20), None, LABEL),
        mass_peak(Bins(EDGES, *np.zeros((4, 20))), LABEL, ""),
        score_bins(Bins(EDGES, *np.zeros((4, 20))), "score", "Signal"),
    ):
        assert png(figure).startswith(b"\x89PNG")


def test_scan_has_sigma_lines_at_their_p_values() -> None:
    masses = np.linspace(2000, 5000, 10)
    figure = scan([ScanLine("all", masses, norm.sf(np.linspace(0, 4.5, 10)))], LABEL)
    axis = figure.axes[0]
    heights = [line.get_ydata()[0] for line in axis.get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(heights, norm.sf([1, 2, 3, 4, 5]))
    assert axis.get_ylim()[0] < norm.sf(4.5)
    assert "3$\\sigma$" in [text.get_text() for text in axis.texts]


def test_scan_with_values_below_floating_point() -> None:
    assert png(scan([ScanLine("all", np.array([1.0, 2.0]), np.array([0.0, 0.5]))], LABEL)).startswith(b"\x89PNG")


def test_selections_of_one_and_of_many_windows() -> None:
    efficiencies = np.array([0.001, 0.01, 0.1])
    one = selection_significances(efficiencies, np.array([[1.0, 5.0, np.nan]]), ["3.00 TeV"], 3.0, (0, 1)).axes[0]
    np.testing.assert_allclose(one.get_lines()[0].get_ydata(), [1.0, 5.0])
    z = np.array([[1.0, 5.0, np.nan], [-0.04, -2.0, 0.3]])
    many = selection_significances(efficiencies, z, ["2.00 TeV", "2.20 TeV"], 3.0, (0, 1)).axes[0]
    assert sorted(text.get_text() for text in many.texts) == sorted(["1.0", "5.0", "0.0", "−2.0", "0.3"])
    assert [label.get_text() for label in many.get_yticklabels()] == ["2.00 TeV", "2.20 TeV"]


def test_shapes_have_a_panel_each() -> None:
    rows = [
        ShapeRatio(shape_label(e, 3.2, 4, p), np.array([1000.0, 2800, 2900, 3000, 9000]), np.ones(4), np.full(4, 0.1))
        for e, p in ((0.1, 0.4), (0.01, 2e-9))
    ]
    figure = background_shapes(rows, LABEL)
    assert len(figure.axes) == 2
    assert figure.axes[0].get_xlim() == (2500.0, 3300.0)  # outermost bins are drawn three neighbours wide at most
    assert "2.0 \\times 10^{-9}" in figure.axes[1].texts[0].get_text()
    assert png(figure).startswith(b"\x89PNG")


def test_scores_before_and_after() -> None:
    before, after = (from_counts(np.linspace(0, 1, 21), counts) for counts in (FALLING, FLAT))
    axis = probabilities([("scores.csv", before), ("scores_updated.csv", after)], "Score").axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["scores.csv", "scores_updated.csv"]


def test_joined_bins_keep_every_event() -> None:
    bins = Bins(EDGES, FALLING, FLAT, PEAK, np.arange(20.0))
    joined = bins.rebinned(6)
    assert joined.data.size <= 6
    assert joined.edges[0] == EDGES[0]
    assert joined.edges[-1] == EDGES[-1]
    for name in ("data", "table", "background", "signal"):
        assert getattr(joined, name).sum() == pytest.approx(getattr(bins, name).sum())
    assert bins.rebinned(20).data.size == 20


def test_poisson_errors_are_the_published_intervals() -> None:
    """68.27 % central intervals as CMS and the PDG tabulate them: 0 to 1.84 for 0, 0.173 to 3.30 for 1, 2.09 to 5.92
    for 4 - minus and plus 1.91 and 3.16."""
    low, high = poisson_errors(np.array([0.0, 1.0, 4.0]))
    np.testing.assert_allclose(low, [0.0, 0.827, 1.914], atol=5e-3)
    np.testing.assert_allclose(high, [1.841, 2.300, 3.163], atol=5e-3)


def test_event_scale_by_range() -> None:
    for counts, expected in (
        (FLAT, "linear"),
        (FALLING, "log"),
        (np.zeros(3), "linear"),
        (np.array([np.nan]), "linear"),
    ):
        axis = Figure().subplots()
        event_scale(axis, counts)
        assert axis.get_yscale() == expected


def test_matplotlib_stays_as_it_was() -> None:
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["xtick.direction"] == "in"
    png(figures("flat")["inputs"])
    assert dict(mpl.rcParams) == before


def test_users_settings_do_not_reach_the_report() -> None:
    clean = png(figures("flat")["peak"])
    with mpl.rc_context({"font.size": 40, "axes.facecolor": "red", "figure.dpi": 30}):
        assert png(figures("flat")["peak"]) == clean


def test_no_display_and_no_open_figures() -> None:
    """In a fresh process with an interactive backend that cannot start, figures are drawn and none stays open."""
    code = (
        "import numpy as np, sys\n"
        "from bumpfit.histograms import from_counts\n"
        "from bumpfit.report import png, spectrum\n"
        "png(spectrum(from_counts(np.arange(4.0), np.ones(3)), None, None, 'm [GeV]'))\n"
        "import matplotlib.pyplot as plt\n"
        "assert plt.get_fignums() == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"MPLBACKEND": "TkAgg", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_figure_that_is_saved_later_keeps_the_fonts_of_its_style(caplog: pytest.LogCaptureFixture) -> None:
    samples = [
        build.sample("s", [5.0, 9.0], build.modifier("normfactor", "mu")),
        build.sample("b", [50.0, 60.0], {"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}),
    ]
    model = workspace.read(build.workspace({"c": samples}, {"c": [58, 66]}, "mu"))
    axes = inference.impacts(model).plot()
    axes.figure.savefig(io.BytesIO())
    assert not caplog.records


def test_intervals_are_shaded_and_channels_of_few_events_are_seen() -> None:
    from bumpfit.report.fitted import yields
    from bumpfit.report.profiles import profile

    def channel(s: float, b: float) -> list[dict[str, object]]:
        signal = build.sample("signal", [s], build.modifier("normfactor", "mu"))
        return [signal, build.sample("bkg", [b], build.modifier("normsys", "xs", (0.9, 1.1)))]

    spec = build.workspace({"CR": channel(1.0, 150.0), "SR": channel(5.0, 6.0)}, {"CR": [148], "SR": [9]}, "mu")
    model = workspace.read(spec)
    found = inference.interval(model)
    (axis,) = profile(inference.scan(model, n_points=5), [found]).axes
    assert axis.get_legend_handles_labels()[1] == ["68.27%"]
    shaded = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (shaded.x0, shaded.x1) == (pytest.approx(found.low), pytest.approx(found.high))
    assert yields(inference.postfit(model)).axes[0].get_yscale() == "log"
