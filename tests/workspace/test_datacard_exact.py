"""Datacards that keep HistFactory's likelihood exactly, and one-bin channels in those that do not."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.workspace import Model, build, read, write
from bumpfit.workspace.datacard_exact import as_counts, plain

HELD = 2.0
"""-2 ln of the Poisson constraint of the bin without an error, which is held and left out, with one event of one."""

SETTINGS = {
    "lumi": {"auxdata": [1.0], "sigmas": [0.03], "inits": [1.0], "bounds": [[0.7, 1.3]]},
    "wide": {"sigmas": [1.5], "bounds": [[-4.0, 6.0]]},
    "off": {"fixed": True},
}


def spec(bins: int) -> dict[str, Any]:
    """Every type of modifier in a channel of some bins and one of a single bin."""
    m = build.modifier
    n = np.arange(bins)
    signal = build.sample(
        "sig", list(2.0 + n), m("normfactor", "mu"), m("lumi", "lumi"),
        m("histosys", "jes", (list(1.8 + n), list(2.5 + 1.1 * n))), m("normsys", "jes", (0.95, 1.2)),
    )  # fmt: skip
    background = build.sample(
        "bkg", list(20.0 + 3 * n), m("normsys", "xs", (0.7, 1.1)), m("normsys", "off", (0.9, 1.1)),
        m("histosys", "jes", (list(19.0 + 3 * n), list(21.5 + 3 * n))),  # one end is larger than the other
        m("histosys", "tilt", (list(20.0 + 2 * n), list(20.0 + 4 * n))), m("staterror", "st", list(1.0 + 0.1 * n)),
        m("normsys", "wide", (0.9, 1.1)),
    )  # fmt: skip
    other = build.sample(
        "other", [0.0] + [5.0] * (bins - 1),
        m("histosys", "fake", ([0.1] + [4.0] * (bins - 1), [0.4] + [5.5] * (bins - 1))),
        m("shapesys", "own", [0.0] + [1.0] * (bins - 1)), m("staterror", "st", [0.0] + [0.5] * (bins - 1)),
    )  # fmt: skip
    control = build.sample(
        "bkg", [40.0], m("normsys", "xs", (0.8, 1.3)), m("histosys", "jes", ([42.0], [43.0])),
        m("staterror", "sc", [4.0]), m("normfactor", "nb"), m("histosys", "nothing", ([40.0], [40.0])),
    )  # fmt: skip
    one = build.sample("one", [10.0], m("shapesys", "few", [3.0]), m("shapefactor", "free"))
    data = {"SR": list(25.0 + 3 * n), "CR": [52.0]}
    channels = {"SR": [signal, background, other], "CR": [control, one]}
    return build.workspace(channels, data, "mu", copy.deepcopy(SETTINGS))


def points(model: Model) -> list[dict[str, float]]:
    """The start, and places around it on both sides of a standard deviation."""
    rng, result = np.random.default_rng(3), [dict(zip(model.names, model.inits.tolist(), strict=True))]
    for _ in range(6):
        steps = rng.normal(size=model.inits.size) * np.where(model.inits == 0.0, 1.5, 0.1)
        moved = [0.0 if p.fixed else step for p, step in zip(model.parameters, steps, strict=True)]
        x = np.clip(model.inits + moved, model.lower, model.upper)
        result.append(dict(zip(model.names, x.tolist(), strict=True)))
    return result


CODES = [{"normsys": n, "histosys": h} for n, h in itertools.product(("code4", "code1"), ("code4p", "code0"))]


@pytest.mark.parametrize("codes", CODES)
def test_counting_channels_and_formulas_are_the_same_likelihood(tmp_path: Path, codes: dict[str, str]) -> None:
    model = read(spec(3), interpolation=codes)
    counts = as_counts(model)
    with pytest.warns(match="is called 'r'"):
        write(model, tmp_path / "exact.txt", "datacard-exact")
    card = read(tmp_path / "exact.txt")
    assert not (tmp_path / "exact.root").exists() and all(c.last - c.first == 1 for c in card.channels)
    assert {p.name for p in card.parameters if p.fixed} == {plain(p.name) for p in model.parameters if p.fixed}
    for values in points(model):
        named = {plain(name): value for name, value in values.items()}
        expected = model.twice_nll(values) - HELD
        assert counts.twice_nll(named) == pytest.approx(expected, abs=1e-9)
        named["r"] = named.pop("mu")
        assert card.twice_nll(named) == pytest.approx(expected, abs=1e-9)
    ranges = {plain(p.name): (p.low, p.high) for p in model.parameters if p.name != "mu"}
    assert {p.name: (p.low, p.high) for p in card.parameters if p.name != "r"} == ranges


def test_the_best_fit_is_the_same(tmp_path: Path) -> None:
    from bumpfit.inference import fit, goodness

    model = read(spec(2))
    with pytest.warns(match="is called 'r'"):
        write(model, tmp_path / "exact.txt", "datacard-exact")
    card = read(tmp_path / "exact.txt")
    hold = {"free_bin0": 1.0}
    before, after = fit(model, fixed={"free": None}), fit(card, fixed=hold, ranges={"r": (0.0, 10.0)})
    assert after.twice_nll == pytest.approx(before.twice_nll - HELD, abs=1e-6)
    assert after.values["r"] == pytest.approx(before.values["mu"], abs=1e-3)
    assert after.errors["r"] == pytest.approx(before.errors["mu"], rel=1e-3)
    assert goodness(card, fixed=hold).degrees_of_freedom == goodness(model, fixed={"free": None}).degrees_of_freedom


@pytest.mark.filterwarnings("ignore::bumpfit.errors.InputWarning")
def test_one_bin_has_its_shapes_and_errors_in_a_plain_card(tmp_path: Path) -> None:
    """Normalisations are lnN there, which agree with HistFactory at whole standard deviations."""
    model = read(spec(1), interpolation={"normsys": "code1"})
    write(model, tmp_path / "plain.txt", "datacard")
    assert " lnN " in " ".join((tmp_path / "plain.txt").read_text().split())
    card = read(tmp_path / "plain.txt")
    known = dict(zip(model.names, model.inits.tolist(), strict=True))
    constants = HELD + 2 * np.log(2 * np.pi) + 2 * np.log(1.5)
    for sign in (-2.0, -1.0, 0.0, 1.0, 2.0):
        values = known | dict.fromkeys(("jes", "fake", "xs"), sign)
        named = {plain(name): value for name, value in values.items()} | {"r": 1.0}
        there = {name: named[name] for name in card.names}
        # parameters that change nothing are left out with their constraints, and a width is the unit of its nuisance
        gone = [name for name in named if name not in card.names and name != "mu"]
        assert gone == ["nothing", "tilt"]
        assert card.twice_nll(there) == pytest.approx(model.twice_nll(values) - constants, abs=1e-9)


@pytest.mark.parametrize("name", ["jes up", "a,b", "2jes"])
def test_names_that_a_line_of_a_card_cannot_have(tmp_path: Path, name: str) -> None:
    signal = build.sample("s", [2.0], build.modifier("normfactor", "mu"))
    background = build.sample("b", [5.0], build.modifier("normsys", name, (0.9, 1.1)))
    model = read(build.workspace({"a": [signal, background]}, {"a": [5]}, "mu"))
    for form in ("datacard", "datacard-exact"):
        with pytest.raises(InputError, match=f"cannot have a parameter called '{name}'"):
            write(model, tmp_path / "out.txt", form)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:xs become lnN")
def test_a_narrow_range_is_told_or_kept(tmp_path: Path) -> None:
    signal = build.sample("s", [2.0], build.modifier("normfactor", "r"))
    background = build.sample("b", [5.0], build.modifier("normsys", "xs", (0.9, 1.1)))
    model = read(build.workspace({"a": [signal, background]}, {"a": [5]}, "r", {"xs": {"bounds": [[-1.0, 0.7]]}}))
    with pytest.warns(match="xs have ranges that a lnN or a shape cannot say"):
        write(model, tmp_path / "plain.txt", "datacard")
    write(model, tmp_path / "exact.txt", "datacard-exact")
    assert {(p.low, p.high) for p in read(tmp_path / "exact.txt").parameters if p.name == "xs"} == {(-1.0, 0.7)}


SETTINGS_OF_BINS = [
    {"fixed": True}, {"constraint": "poisson"}, {"auxdata": [1.1, 1.0]}, {"sigmas": [0.3, 0.3]}, {"threshold": 0.12},
]  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS_OF_BINS)
@pytest.mark.filterwarnings("ignore::bumpfit.errors.InputWarning")
def test_settings_of_bins_are_kept_or_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    """autoMCStats takes its widths from the errors of the templates and lets every factor float."""
    signal = build.sample("s", [1.0, 2.0], build.modifier("normfactor", "r"))
    background = build.sample("b", [10.0, 20.0], build.modifier("staterror", "bins", [1.5, 2.0]))
    model = read(build.workspace({"a": [signal, background]}, {"a": [14, 22]}, "r", {"bins": setting}))
    with pytest.raises(InputError, match=r"of channel 'a' \('bins'\) is held, measured or constrained"):
        write(model, tmp_path / "plain.txt", "datacard")
    assert not any(tmp_path.iterdir())
    write(model, tmp_path / "exact.txt", "datacard-exact")
    card = read(tmp_path / "exact.txt")
    held = {p.name: p.fixed for p in model.parameters}
    start = dict.fromkeys(model.names, 1.0)
    moved = start | {"r": 1.3} | {name: 1.05 for name in model.names if name != "r" and not held[name]}

    def named(values: dict[str, float]) -> dict[str, float]:
        return {plain(name): value for name, value in values.items()}

    rise = model.twice_nll(moved) - model.twice_nll(start)
    assert card.twice_nll(named(moved)) - card.twice_nll(named(start)) == pytest.approx(rise, abs=1e-9)
    assert {p.name for p in card.parameters if p.fixed} == {plain(n) for n, fixed in held.items() if fixed}


@pytest.mark.parametrize("name", ["xs", "lumi", "jes"])
@pytest.mark.filterwarnings("ignore::bumpfit.errors.InputWarning")
def test_a_parameter_stays_where_it_is_held(tmp_path: Path, name: str) -> None:
    """The count of a bin by hand, with one nuisance held beside the value that it was measured at."""
    lumi = {"auxdata": [1.0], "sigmas": [0.05], "inits": [1.03], "bounds": [[0.5, 1.5]], "fixed": True}
    setting = lumi if name == "lumi" else {"inits": [1.0], "fixed": True}
    changes = {
        "xs": build.modifier("normsys", "xs", (0.9, 1.15)),
        "lumi": build.modifier("lumi", "lumi"),
        "jes": build.modifier("histosys", "jes", ([18.0, 9.0], [23.0, 11.5])),
    }
    signal = build.sample("s", [2.0, 3.0], build.modifier("normfactor", "r"))
    background = build.sample("b", [20.0, 10.0], changes[name])
    model = read(build.workspace({"a": [signal, background]}, {"a": [25, 12]}, "r", {name: setting}))
    expected = {"xs": [23.0, 11.5], "lumi": [20.6, 10.3], "jes": [23.0, 11.5]}[name]
    write(model, tmp_path / "exact.txt", "datacard-exact")
    card = read(tmp_path / "exact.txt")
    (p,) = (p for p in card.parameters if p.name == name)
    assert (p.fixed, p.init) == (True, setting["inits"][0])
    assert card.expected(card.inits - (np.array(card.names) == "r")) == pytest.approx(expected)
    if name != "lumi":
        with pytest.raises(InputError, match=f"'{name}' is held at 1, but a line of a datacard"):
            write(model, tmp_path / "plain.txt", "datacard")


def test_a_strength_that_is_held_is_told(tmp_path: Path) -> None:
    signal = build.sample("s", [2.0], build.modifier("normfactor", "r"))
    setting = {"r": {"fixed": True, "inits": [0.5]}}
    model = read(build.workspace({"a": [signal, build.sample("b", [5.0])]}, {"a": [5]}, "r", setting))
    with pytest.warns(match=r"'r' is held at 0\.5, and free in the datacard"):
        write(model, tmp_path / "card.txt", "datacard")
