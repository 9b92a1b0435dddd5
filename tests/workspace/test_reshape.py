"""Systematic templates of a workspace smoothed and made symmetric."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.workspace import build, read
from bumpfit.workspace.reshape import Choice, smooth, symmetrise
from bumpfit.workspace.smoothing import lowess, smooth_353qh_twice, smooth_variations

X = np.arange(12.0)
NOMINAL = 200 * np.exp(-0.2 * X)
NOISE = np.random.default_rng(3).normal(0.0, 0.04, (2, 12))


def workspace() -> dict[str, Any]:
    slope = 0.02 * (X - 5)
    up, down = NOMINAL * (1 + slope + NOISE[0]), NOMINAL * (1 - slope + NOISE[1])
    background = build.sample(
        "bkg", NOMINAL, build.modifier("histosys", "JES", (down, up)), build.modifier("normsys", "xs", (0.95, 1.2)),
        build.modifier("histosys", "flat", (0.9 * NOMINAL, 1.1 * NOMINAL)),
        build.modifier("staterror", "stat", 0.05 * NOMINAL),
    )  # fmt: skip
    signal = build.sample("signal", np.full(12, 3.0), build.modifier("normfactor", "mu"))
    few = build.sample("bkg", [30.0, 20.0], build.modifier("histosys", "JES", ([28.0, 19.0], [33.0, 24.0])))
    return build.workspace({"SR": [signal, background], "CR": [few]}, {"SR": NOMINAL.round(), "CR": [29, 22]}, "mu")


def shapes(spec: dict[str, Any], name: str, channel: str = "SR") -> np.ndarray:
    """Yields up and down, shape (2, B)."""
    samples = next(c for c in spec["channels"] if c["name"] == channel)["samples"]
    data = next(m for s in samples for m in s["modifiers"] if m["name"] == name)["data"]
    return np.array([data["hi_data"], data["lo_data"]])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 50)), min_size=3, max_size=15), st.floats(0.2, 1.0),
    st.floats(-2, 2), st.floats(-2, 2),
)  # fmt: skip
def test_lowess_is_a_weighted_fit_in_each_bin(
    rows: list[tuple[float, float]], span: float, level: float, tilt: float
) -> None:
    """numpy's fit of a straight line is the witness; a straight line stays."""
    values, weights = (np.array(column) for column in zip(*rows, strict=True))
    size, x = len(rows), np.arange(len(rows), dtype=float)
    near = min(size, max(3, int(span * size + 1e-9)))
    for i, found in enumerate(lowess(values, weights, span)):
        distance = np.abs(x - i)
        h = np.sort(distance)[near - 1] + 0.5
        w = weights * np.where(distance < h, 1 - (distance / h) ** 3, 0) ** 3
        assert found == pytest.approx(np.polyval(np.polyfit(x - i, values, 1, w=np.sqrt(w)), 0.0), abs=1e-6)
    assert lowess(level + tilt * x, weights, span) == pytest.approx(level + tilt * x, abs=1e-9)


@pytest.mark.parametrize("method", ["353qh", "lowess", "trexfitter"])
def test_smoothing_brings_shapes_nearer_to_the_truth(method: Any) -> None:
    spec = workspace()
    before = copy.deepcopy(spec)
    result, changed = smooth(spec, method)
    assert spec == before
    truth = NOMINAL * (1 + 0.02 * (X - 5))
    old, new = shapes(spec, "JES")[0], shapes(result, "JES")[0]
    assert new.sum() == pytest.approx(old.sum())
    assert np.abs(new / truth - 1).std() < np.abs(old / truth - 1).std()
    assert shapes(result, "flat") == pytest.approx(shapes(spec, "flat"), rel=1e-6)
    row = next(row for row in changed if (row.parameter, row.channel) == ("JES", "SR"))
    assert row.most == pytest.approx(
        max(np.abs((n - o) / NOMINAL).max() for n, o in zip(shapes(result, "JES"), shapes(spec, "JES"), strict=True))
    )
    assert shapes(result, "JES", "CR") == pytest.approx(shapes(spec, "JES", "CR"))  # two bins have nothing to smooth
    assert read(result).names == read(spec).names


def test_the_ratio_is_smoothed_as_elsewhere() -> None:
    spec = workspace()
    up, _ = shapes(spec, "JES")
    expected = smooth_353qh_twice(up / NOMINAL) * NOMINAL
    assert shapes(smooth(spec)[0], "JES")[0] == pytest.approx(expected * up.sum() / expected.sum())
    joined = smooth_variations(NOMINAL, 0.05 * NOMINAL, up, 4)
    assert shapes(smooth(spec, "trexfitter")[0], "JES")[0] == pytest.approx(joined)


def test_what_is_chosen_changes_alone() -> None:
    spec = workspace()
    _, changed = smooth(spec, "lowess", Choice(modifiers=["J*"], channels=["S?"]))
    assert {(row.parameter, row.channel) for row in changed} == {("JES", "SR")}
    jumps = NOMINAL * np.where(X % 2, 0.9, 1.1)
    spec["channels"][0]["samples"][1]["modifiers"].append(build.modifier("histosys", "jumps", (jumps[::-1], jumps)))
    assert {row.parameter for row in smooth(spec, choice=Choice(flag="noisy"))[1]} == {"jumps"}
    assert smooth(spec, choice=Choice(flag="noisy", modifiers=["JES"])) == (spec, [])
    with pytest.raises(InputError, match="no systematic of this kind"):
        smooth(spec, choice=Choice(modifiers=["xs"]))


@pytest.mark.parametrize("method", ["twosided", "onesided", "absmean", "maximum"])
def test_both_ends_are_mirror_images(method: Any) -> None:
    spec = workspace()
    result, changed = symmetrise(spec, method)
    up, down = shapes(result, "JES")
    assert up + down == pytest.approx(2 * NOMINAL)
    old_up, old_down = (part - NOMINAL for part in shapes(spec, "JES"))
    wider = old_up if np.abs(old_up).sum() >= np.abs(old_down).sum() else -old_down
    expected = {
        "twosided": (old_up - old_down) / 2, "onesided": wider, "absmean": (np.abs(old_up) + np.abs(old_down)) / 2,
        "maximum": np.where(np.abs(old_up) >= np.abs(old_down), old_up, old_down),
    }[method]  # fmt: skip
    assert up - NOMINAL == pytest.approx(expected)
    factors = next(m for s in result["channels"][0]["samples"] for m in s["modifiers"] if m["name"] == "xs")["data"]
    assert factors["hi"] + factors["lo"] == pytest.approx(2.0)
    assert factors["hi"] == pytest.approx(1.125 if method in ("twosided", "absmean") else 1.2)
    assert {row.parameter for row in changed} == {"JES", "xs"}  # what was symmetric is not told


def test_wrong_settings_are_refused() -> None:
    spec = workspace()
    for call, message in (
        (lambda: smooth(spec, "mean"), "the smoothing is 'mean'"),  # type: ignore[arg-type]
        (lambda: smooth(spec, span=0.0), "a span above 0"),
        (lambda: symmetrise(spec, "both"), "the symmetrising is 'both'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=message):
            call()
    spec["channels"][0]["samples"][1]["modifiers"][-1] = build.modifier("normsys", "xs2", (0.5, 2.5))
    with pytest.raises(InputError, match="made symmetric, 0 would not be positive"):
        symmetrise(spec, "onesided")
    with pytest.raises(InputError, match="states no statistical errors"):
        smooth(spec, "trexfitter")
