"""What names the bins of a parameter by number keeps its meaning when channels come, go and change their names."""

from typing import Any

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.workspace import build, combine, prune, read, rename
from bumpfit.workspace.combine import configs_of
from bumpfit.workspace.edit import take_out
from bumpfit.workspace.groups import groups_of

ERRORS = {"A": [2.0, 3.0], "B": [4.0, 5.0], "C": [6.0, 7.0]}
YIELD = 100.0


def workspace(*channels: str, poi: str = "mu") -> dict[str, Any]:
    """One statistical error over all channels; each bin has an error of its own, by which it is known again."""
    samples = {
        name: [
            build.sample("signal", [5.0, 9.0], build.modifier("normfactor", "mu")),
            build.sample("b", [YIELD, YIELD], build.modifier("staterror", "stat", ERRORS[name])),
        ]
        for name in channels
    }
    return build.workspace(samples, {name: [101, 97] for name in channels}, poi)


def named() -> dict[str, Any]:
    """Groups, a correlation and a formula that name bins: B's first and second, and A's second."""
    spec = workspace("A", "B")
    config = configs_of(spec)[0]
    config["groups"] = {"late": ["stat[2]"], "early": ["stat[1]", "mu"], "all": ["stat"], "like": ["st*"]}
    config["correlations"] = [{"parameters": ["stat[1]", "stat[2]", "stat[3]"], "matrix": matrix()}]
    spec["channels"][1]["samples"][0]["modifiers"].append(build.modifier("normformula", "follows", "2 - stat[3]"))
    return spec


def matrix() -> list[list[float]]:
    return [[1.0, 0.1, 0.2], [0.1, 1.0, 0.3], [0.2, 0.3, 1.0]]


def errors(spec: dict[str, Any], names: list[str]) -> list[float]:
    """The statistical errors of bins that are named."""
    widths = {p.name: p.width for p in read(spec, poi="").parameters}
    return [round(YIELD * float(widths[name] or 0.0), 6) for name in names]


def test_new_names_of_channels() -> None:
    spec = rename(named(), channels={"A": "Z"})
    assert groups_of(spec) == {"late": ("stat[0]",), "early": ("stat[3]", "mu"), "all": ("stat",), "like": ("st*",)}
    (entry,) = configs_of(spec)[0]["correlations"]
    assert errors(spec, entry["parameters"]) == [3.0, 4.0, 5.0]
    x = np.random.default_rng(1).uniform(0.9, 1.1, 5)
    before, after = read(named()), read(spec)
    y = dict(zip(before.names, x, strict=True))
    turned = {"stat[0]": y["stat[2]"], "stat[1]": y["stat[3]"], "stat[2]": y["stat[0]"], "stat[3]": y["stat[1]"]}
    assert after.twice_nll({**turned, "mu": y["mu"]}) == pytest.approx(before.twice_nll(y), abs=1e-9)


@pytest.mark.parametrize("way", ["prune", "samples"])
def test_bins_that_go(way: str) -> None:
    spec = named()
    if way == "prune":
        spec = prune(spec, ["A"])
    else:  # only the sample with the error leaves channel A, which stays
        spec["channels"][0]["samples"][1]["name"] = "other"
        spec = take_out(spec, samples=["other"])
    assert groups_of(spec) == {"late": ("stat[0]",), "early": ("mu",), "all": ("stat",), "like": ("st*",)}
    (entry,) = configs_of(spec)[0]["correlations"]
    assert errors(spec, entry["parameters"]) == [4.0, 5.0]
    assert entry["matrix"] == [[1.0, 0.3], [0.3, 1.0]]
    (formula,) = (m for c in spec["channels"] for s in c["samples"] for m in s["modifiers"] if m["name"] == "follows")
    assert "stat[1]" in formula["data"]["formula"]


def test_groups_and_names_without_anything_left() -> None:
    spec = named()
    spec["channels"][1]["samples"][0]["modifiers"].pop()
    assert groups_of(prune(spec, ["B"])) == {"early": ("stat[1]", "mu"), "all": ("stat",), "like": ("st*",)}
    formula = named()
    modifiers = formula["channels"][1]["samples"][0]["modifiers"]
    formula["channels"][0]["samples"][0]["modifiers"].append(modifiers.pop())
    with pytest.raises(InputError, match=r"'stat\[3\]' goes with its channel, but a formula"):
        prune(formula, ["B"])


def test_a_combination_counts_on() -> None:
    late, early = rename(named(), channels={"A": "M"}), workspace("C")
    both = combine([late, rename(early, channels={"C": "0"})])
    assert groups_of(both) == {
        "late": ("stat[2]",), "early": ("stat[5]", "mu"), "all": ("stat",), "like": ("st*",)
    }  # fmt: skip
    (entry,) = configs_of(both)[0]["correlations"]
    assert errors(both, entry["parameters"]) == [3.0, 4.0, 5.0]
    assert errors(both, ["stat[0]", "stat[1]"]) == ERRORS["C"]
    again = prune(both, ["0"])
    x = np.linspace(0.9, 1.1, 5)
    assert read(again).twice_nll(x) == pytest.approx(read(late).twice_nll(x), abs=1e-9)


@pytest.mark.parametrize("kind", ["normsys", "histosys", "normfactor"])
def test_parameters_that_only_a_formula_still_names_keep_range_and_constraint(kind: str) -> None:
    spec = workspace("A", "B")
    shapes = {"hi_data": [110.0, 90.0], "lo_data": [90.0, 105.0]}
    data = {"normsys": {"hi": 1.1, "lo": 0.9}, "histosys": shapes, "normfactor": None}[kind]
    background = spec["channels"][0]["samples"][1]["modifiers"]
    background.append({"name": "t", "type": kind, "data": data})
    spec["channels"][1]["samples"][1]["modifiers"].append(build.modifier("normformula", "f", "1 + 0.1 * t"))
    assert spec["channels"][0]["name"] == "A"
    before = {p.name: p for p in read(spec).parameters}["t"]
    left = prune(spec, ["A"])
    assert {p.name: p for p in read(left).parameters}["t"] == before
    assert before.constraint == ("none" if kind == "normfactor" else "normal")


def test_parameters_of_bins_do_not_outlive_their_modifiers() -> None:
    spec = workspace("A", "B")
    spec["channels"][0]["samples"][1]["modifiers"].append(build.modifier("shapesys", "s", [9.0, 8.0]))
    spec["channels"][1]["samples"][1]["modifiers"].append(build.modifier("normformula", "f", "s[1]"))
    with pytest.raises(InputError, match="the modifiers of 's' go, but a formula names it"):
        prune(spec, ["A"])


def test_settings_of_bins_are_those_of_their_own_workspaces() -> None:
    one, other = workspace("B"), workspace("C", "A")
    configs_of(one)[0]["parameters"].append({"name": "stat", "sigmas": [0.5, 0.6], "inits": [1.1, 1.2]})
    configs_of(other)[0]["parameters"].append({"name": "stat", "bounds": [[0.1, 2.0]] * 3 + [[0.2, 3.0]]})
    known = {p.width: (p.init, p.low, p.high) for spec in (one, other) for p in read(spec).parameters if p.width}
    both = {p.width: (p.init, p.low, p.high) for p in read(combine([one, other])).parameters if p.width}
    assert len(known) == 6
    assert both == known
