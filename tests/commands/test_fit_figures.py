"""Figures of `bumpfit fit`: channels, samples, blinded data, ratio, correlations."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run, refused
from matplotlib.figure import Figure

from bumpfit import inference
from bumpfit.report import fitted
from bumpfit.workspace import build, read


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    top = build.modifier("normsys", "top_rate", (0.8, 1.2))
    channels = {
        name: [
            build.sample("signal", [2.0, 6.0], build.modifier("normfactor", "mu")),
            build.sample("ttbar", [30.0, 10.0], top),
            build.sample("single_top", [3.0, 1.0], top),
            build.sample("wjets", [8.0, 5.0]),
        ]
        for name in ("SR", "CR")
    }
    spec = build.workspace(channels, {"SR": [45, 25], "CR": [40, 20]}, "mu", {"mu": {"bounds": [[-4, 10]]}})
    (tmp_path / "w.json").write_text(json.dumps(spec))
    return tmp_path / "w.json"


def points_of(axis: Any) -> np.ndarray:
    return np.concatenate(
        [np.column_stack(bars.lines[0].get_data()) for bars in axis.containers if hasattr(bars, "lines")]
    )


def test_blinded_channels_have_no_points(workspace: Path, monkeypatch: pytest.MonkeyPatch, bumpfit: Run) -> None:
    drawn = []
    real = fitted.yields
    monkeypatch.setattr(fitted, "yields", lambda *a, **k: drawn.append(real(*a, **k)) or drawn[-1])
    folder = workspace.parent
    line = (
        "fit",
        workspace,
        "--blind",
        "SR",
        "--figure",
        folder / "f.png",
        "--prefit-figure",
        folder / "p.pdf",
        "--correlation-figure",
        folder / "c.svg",
        "--ratio",
        "--label",
        "CMS",
        "--lumi",
        "138",
        "--energy",
        "13",
    )
    assert bumpfit(*line).code == 0
    assert (folder / "c.svg").exists() and (folder / "p.pdf").read_bytes().startswith(b"%PDF")
    for figure in drawn:
        points = points_of(figure.axes[0])
        seen = points[np.isfinite(points[:, 1])]
        np.testing.assert_allclose(seen[:, 1], [40, 20])
        assert (seen[:, 0] < 2).all()  # bins of CR, which comes first
    before = inference.prefit(read(workspace))
    ratio = points_of(drawn[0].axes[1])
    np.testing.assert_allclose(ratio[:2, 1], np.array([40, 20]) / np.array(before.channels[0].total))
    assert np.isnan(ratio[2:, 1]).all()


def test_blinded_bins_have_no_points(workspace: Path, monkeypatch: pytest.MonkeyPatch, bumpfit: Run) -> None:
    drawn = []
    real = fitted.yields
    monkeypatch.setattr(fitted, "yields", lambda *a, **k: drawn.append(real(*a, **k)) or drawn[-1])
    out = workspace.parent / "f.png"
    assert bumpfit("fit", workspace, "--blind", "SR:1", "--figure", out).code == 0
    points = points_of(drawn[0].axes[0])
    seen = points[np.isfinite(points[:, 1])]
    np.testing.assert_allclose(seen[:, 1], [40, 20, 45])  # bins of CR, then of SR
    whole = bumpfit("fit", workspace, "--blind", "SR:0-1", "--json").json
    assert whole["values"] == pytest.approx(
        bumpfit("fit", workspace, "--blind", "SR", "--json").json["values"], abs=1e-4
    )
    for wrong, words in (
        ("SR:2", "has no bin 2; its 2 bins are counted from 0"),
        ("SR:1-0", "ends before it begins"),
        ("XR:0", "no channel XR"),
        ("XR", "there is no such channel; the model has CR, SR"),
        ("3300-3700", "a window of the mass of a scored table is --blind-mass LOW:HIGH"),
    ):
        assert words in refused(bumpfit("fit", workspace, "--blind", wrong))


def colours(figure: Figure) -> dict[str, tuple[float, ...]]:
    """Colours of the samples of a figure by name."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    there = zip(handles, labels, strict=True)
    return {label: tuple(h.get_facecolor()) for h, label in there if label not in ("Data", "Uncertainty")}


def test_a_sample_has_one_colour_in_all_figures_of_a_fit() -> None:
    """Also where it is the largest in one channel and the smallest, or absent, in another."""
    yields = {"SR": {"a": 30.0, "b": 2.0, "c": 9.0}, "CR": {"a": 1.0, "b": 50.0}}
    channels = {name: [build.sample(one, [n]) for one, n in parts.items()] for name, parts in yields.items()}
    channels["SR"].append(build.sample("s", [1.0], build.modifier("normfactor", "mu")))
    found = inference.prefit(read(build.workspace(channels, {"SR": [40], "CR": [50]}, "mu")))
    every = colours(fitted.yields(found, ["s"]))
    for channel in found.channels:
        alone = colours(fitted.yields(dataclasses.replace(found, channels=(channel,)), ["s"], whole=found))
        assert alone.items() <= every.items() and set(alone) - {"Signal"} == set(yields[channel.name])


def test_samples_are_stacked_as_one_and_channels_drawn_alone(workspace: Path) -> None:
    found = inference.prefit(read(workspace))
    figure = fitted.yields(found, ["signal"], stacks={"top": ["*top", "ttbar"]})
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert set(names) == {"Signal", "top", "wjets", "Uncertainty", "Data"}
    joined = fitted.yields(found, ["signal"], stacks={"all": ["signal", "wjets"]})
    names = [text.get_text() for text in joined.axes[0].get_legend().get_texts()]
    assert set(names) == {"all", "ttbar", "single_top", "Uncertainty", "Data"}  # a name that was given is kept
    one = fitted.yields(type(found)(found.stage, found.channels[:1]), ["signal"])
    assert one.axes[1].get_xlabel() == "Bin of CR"
    summary = fitted.in_one_bin(found)
    assert summary.channels[0].data == (60.0,)
    assert summary.channels[0].total == pytest.approx((65.0,))
    assert summary.channels[0].total_errors == pytest.approx((0.2 * 44,), rel=1e-2)  # one parameter for both samples


def test_bars_of_sparse_bins_are_within_the_ratio(workspace: Path) -> None:
    spec = json.loads(workspace.read_text())
    for observation in spec["observations"]:
        observation["data"] = [3, 1]
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            sample["data"] = [0.4, 0.3]
    axis = fitted.yields(inference.prefit(read(spec)), ["signal"], ratio=True).axes[1]
    low, high = axis.get_ylim()
    expected = np.array([1.6, 1.2])
    upper = np.array([5.918, 3.300]) / expected  # Garwood's central intervals of 3 and 1
    assert low == 0.0 and high > upper.max()


def test_asimov_data_are_called_so(workspace: Path, monkeypatch: pytest.MonkeyPatch, bumpfit: Run) -> None:
    names: list[str] = []
    real = fitted.yields
    monkeypatch.setattr(fitted, "yields", lambda *a, **k: names.append(k["data"]) or real(*a, **k))
    assert bumpfit("fit", workspace, "--asimov", "0", "--figure", workspace.parent / "f.png", "--summary").code == 0
    assert names == ["Asimov data"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ratio"], "is how a figure looks"),
        (["--figure", "f.png", "--draw", "XR"], "names a channel 'XR'"),
        (["--figure", "f.png", "--stack", "top"], "cannot read --stack top"),
        (["--figure", "f.png", "--stack", "t=ttbar,tops*"], "names samples 'tops*'; the workspace has si"),
        (["--correlation-figure", "c.gif"], "cannot draw to"),
        (["--figure", "f.png", "--label", "UA1"], "the label is 'UA1'"),
        (["--label", "CMS"], "--label stands on a figure; give --figure too"),
        (["--report", "r.html", "--lumi", "3"], "--lumi stands on a figure"),
        (["--figure", "f.png", "--lumi", "nan"], "--lumi nan is no number above 0"),
        (["--figure", "f.png", "--energy", "-3"], "--energy -3.0 is no number above 0"),
        (["--figure", "f.png", "--prefit-figure", "f.png"], "the name of two outputs"),
    ],
)
def test_wrong_use_is_one_sentence(
    bumpfit: Run, workspace: Path, options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.parent)

    def fit(*_: Any, **__: Any) -> None:
        raise AssertionError("names are looked at before the fit")

    monkeypatch.setattr(inference, "fit", fit)
    assert sentence in refused(bumpfit("fit", workspace, *options))
    assert not list(workspace.parent.glob("f.*"))


def test_lines_between_channels_end_below_the_legend_and_bins_are_whole(workspace: Path) -> None:
    figure = fitted.yields(inference.prefit(read(workspace)), ["signal"])
    main, lower = figure.axes
    figure.canvas.draw()
    line = next(one for one in main.lines if one.get_linestyle() == "--")
    assert line.get_window_extent().y1 < main.get_legend().get_window_extent().y0
    assert all(float(tick).is_integer() for tick in lower.get_xticks())


def test_groups_stand_above_the_ranking(workspace: Path, monkeypatch: pytest.MonkeyPatch, bumpfit: Run) -> None:
    drawn = []
    real = fitted.ranking
    monkeypatch.setattr(fitted, "ranking", lambda *a: drawn.append(real(*a)) or drawn[-1])
    figure = workspace.parent / "r.png"
    parts = bumpfit("impacts", workspace, "--breakdown", "--figure", figure, "--json").json["breakdown"]
    assert bumpfit("impacts", workspace, "--figure", figure).code == 0
    axis, shifts = drawn[0].axes
    sizes = {part["group"]: part["freezing"] for part in parts["parts"]} | {
        "statistical": parts["statistical_freezing"]
    }
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names[: len(sizes)] == list(sizes) and "part of a group" in shifts.get_legend_handles_labels()[1]
    bars = next(one for one in shifts.containers if one.get_label() == "part of a group")
    np.testing.assert_allclose([bar.get_width() / 2 for bar in bars], list(sizes.values()))
    assert [text.get_text() for text in drawn[1].axes[0].get_yticklabels()] == names[len(sizes) :]


def test_tables_in_latex(workspace: Path, bumpfit: Run) -> None:
    there = workspace.parent / "fit.tex"
    done = bumpfit("fit", workspace, "--yields", "-o", there)
    assert done.code == 0 and f"written to {there}" in done.out
    assert there.read_text().count(r"\begin{tabular}") == 4  # parameters, the answer, yields before and after
    assert bumpfit("impacts", workspace, "-o", there).code == 0
    assert "% Impacts on mu = " in there.read_text()
