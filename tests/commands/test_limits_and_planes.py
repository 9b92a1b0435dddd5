"""Limits of several analyses, CLs of toys beside the formulae, and the likelihood of two parameters on a grid."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit import inference
from bumpfit.report import profiles
from bumpfit.report.analyses import limits_over_mass, limits_side_by_side
from bumpfit.workspace import build, read

Places = dict[str, Path]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = {}
    for name, poi, signal, seen in (("a", "mu", 5.0, 12), ("b", "mu", 9.0, 8), ("other", "nu", 5.0, 9)):
        samples = [
            build.sample("signal", [signal], build.modifier("normfactor", poi)),
            build.sample("background", [10.0], build.modifier("normsys", "rate", (0.9, 1.1))),
        ]
        spec = build.workspace({"SR": samples}, {"SR": [seen]}, poi, {poi: {"bounds": [[-4, 10]]}})
        found[name] = tmp_path / f"{name}.json"
        found[name].write_text(json.dumps(spec))
    return found


def test_analyses_have_the_limits_of_each(bumpfit: Run, places: Places) -> None:
    figure = places["a"].parent / "l.png"
    found = bumpfit("limit", places["a"], places["b"], "--names", "A,B", "--json", "--figure", figure).json["analyses"]
    for row, name in zip(found, "ab", strict=True):
        alone = inference.limit(read(places[name]))
        assert row["name"] == name.upper()
        assert row["observed"] == alone.observed and tuple(row["expected"]) == alone.expected
    assert figure.exists()
    over = bumpfit("limit", places["a"], places["b"], places["b"], places["a"], "--names", "A,A,B,B",
                   "--masses", "2000,1000,1000,2000", "--json").json["analyses"]  # fmt: skip
    assert [row["masses"] for row in over] == [[1000, 2000], [1000, 2000]]
    assert over[0]["limits"][1]["observed"] == over[1]["limits"][1]["observed"] == found[0]["observed"]
    assert over[0]["limits"][0]["observed"] == found[1]["observed"]
    assert "Upper limits on mu" in bumpfit("limit", places["a"], places["b"], "--names", "A,B").out


def test_figures_show_what_was_found(places: Places) -> None:
    a, b = (inference.limit(read(places[name])) for name in "ab")
    axis = limits_side_by_side({"A": a, "B": b}).axes[0]
    observed = next(line for line in axis.lines if line.get_label() == "Observed")
    np.testing.assert_allclose(observed.get_xdata(), [a.observed, b.observed])
    assert [text.get_text() for text in axis.get_yticklabels()] == ["A", "B"]
    negative = dataclasses.replace(b, observed=-2.0, expected=(-4.0, -3.0, -2.5, -2.0, -1.0))
    axis = limits_side_by_side({"A": negative, "B": negative}).axes[0]
    assert axis.get_xlim()[0] < -4.0 and axis.get_xlim()[1] > 0.0
    nothing = dataclasses.replace(b, observed=None, expected=(None,) * 5)
    assert limits_side_by_side({"A": nothing, "B": nothing}).axes[0].get_xlim()[0] == 0.0
    scans = {name: inference.limits({1.0: read(places[name]), 2.0: read(places[name])}) for name in "ab"}
    lines = {line.get_label(): line for line in limits_over_mass(scans).axes[0].lines}
    np.testing.assert_allclose(lines["b"].get_ydata(), [b.observed] * 2)


def test_bands_of_data_with_a_signal_are_named(bumpfit: Run, places: Places) -> None:
    a, b, said = places["a"], places["b"], "expected: data with mu = 1"
    expected = inference.limit(read(a), bands_at=1.0)
    found = bumpfit("limit", a, "--bands-at", "1", "--json").json
    assert (tuple(found["expected"]), found["bands_at"]) == (expected.expected, 1.0)
    for line in (["limit", a], ["limit", a, "--test", "1"], ["limit", a, b, "--names", "A,B"],
                 ["limit", a, b, "--masses", "1000,2000"]):  # fmt: skip
        assert said in " ".join(bumpfit(*line, "--bands-at", "1").out.split())
        assert said not in " ".join(bumpfit(*line).out.split())
    scan = inference.limits({1.0: read(a), 2.0: read(b)}, bands_at=1.0)
    tests = [inference.cls(read(a), mu, bands_at=1.0) for mu in (0.5, 1.0)]
    for figure in (profiles.brazil(scan), limits_over_mass({"A": scan}), profiles.cls_curve(tests, 0.95)):
        assert figure.axes[0].get_legend().get_title().get_text().lower() == said
    words = [one.get_text() for one in limits_side_by_side({"A": expected}).axes[0].texts]
    assert "Expected: data with mu = 1" in words


def test_toys_and_formulae_in_one_figure(bumpfit: Run, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    real = profiles.cls_curve
    monkeypatch.setattr(profiles, "cls_curve", lambda *a: drawn.append(real(*a)) or drawn[-1])
    figure = places["a"].parent / "c.png"
    asked = bumpfit("limit", places["a"], "--toys", "300", "--seed", "1", "--figure", figure)
    assert "the figure has CLs of 300 toys more at each of 20 strengths" in " ".join(asked.out.split())
    axis = drawn[0].axes[0]
    curve = next(line for line in axis.lines if line.get_label() == "Observed, asymptotic")
    mu, found = curve.get_xdata()[7], curve.get_ydata()[7]
    assert found == pytest.approx(inference.cls(read(places["a"]), float(mu)).observed)
    words = {text.get_text() for text in axis.get_legend().get_texts()}
    assert {"Observed, toys", "Expected, toys", "Expected, asymptotic"} < words


def test_grid_is_the_profile(bumpfit: Run, places: Places) -> None:
    figure = places["a"].parent / "g.png"
    line = ("contour", places["a"], "mu", "rate", "--points", "4", "--level", "0.6827", "--grid", "3")
    found = bumpfit(*line, "--x-span", "0:2", "--y-span", "-1:1", "--json", "--figure", figure).json["grid"]
    model = read(places["a"])
    best = inference.fit(model).twice_nll
    for j, y in enumerate((-1.0, 0.0, 1.0)):
        for i, x in enumerate((0.0, 1.0, 2.0)):
            assert found["delta_twice_nll"][j][i] == pytest.approx(
                model.twice_nll({"mu": x, "rate": y}) - best, abs=1e-6
            )
    assert figure.exists()
    free = inference.surface(model, "mu", "rate", n_points=3)
    assert free.delta_twice_nll[1][1] == pytest.approx(0.0, abs=1e-6)
    assert free.x[2] - free.x[0] == pytest.approx(6 * inference.fit(model).errors["mu"], rel=1e-3)


def test_a_grid_beyond_the_range_tells_its_own_best_fit(bumpfit: Run, places: Places) -> None:
    line = ("contour", places["b"], "mu", "rate", "--points", "4", "--level", "0.6827", "--grid", "3", "--range")
    told = "the grid rises from its own best fit, mu = -0.22222, rate = "  # (8 - 10) / 9
    assert told in bumpfit(*line, "mu=0:10", "--x-span", "-1:1").out
    assert "its own best fit" not in bumpfit(*line, "mu=-1:10", "--x-span", "-1:1").out


def test_legend_of_a_grid_is_within_its_axes(places: Places) -> None:
    model = read(places["b"])
    lines = [inference.contour(model, "mu", "rate", level, n_points=4) for level in (0.6827, 0.9545)]
    lines = [dataclasses.replace(line, closed=False) for line in lines]
    axis = profiles.contours(lines, inference.surface(model, "mu", "rate", n_points=2)).axes[0]
    axis.figure.canvas.draw()
    assert axis.get_legend().get_window_extent().x0 > axis.get_window_extent().x0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("limit a b --names A", "2 workspaces need as many --names"),
        ("limit a b --names A,A", "has a name twice"),
        ("limit a other --names A,B", "different parameters (A: mu, B: nu)"),
        ("limit a b --names A,B --masses 1", "2 workspaces need as many --masses"),
        ("limit a b --names A,B --test 1", "take one workspace"),
        ("limit a --names A --test 1", "without --masses and --names"),
        ("limit a --names A --asimov 0", "without --masses and --names"),
        ("contour a mu rate --x-span 0:1", "give --grid N too"),
        ("contour a mu rate --grid 3 --y-span 0:inf", "cannot take --y-span 0:inf; expected LOW:HIGH with LOW below"),
        ("contour a mu rate --grid 3 --y-span 0:1:2", "cannot read --y-span 0:1:2; expected LOW:HIGH"),
        ("contour a mu rate --grid 3 --x-span 1:0", "cannot take --x-span 1:0"),
    ],
)
def test_wrong_use_is_one_sentence(bumpfit: Run, places: Places, line: str, sentence: str) -> None:
    assert sentence in refused(bumpfit(*[places.get(word, word) for word in line.split()]))
