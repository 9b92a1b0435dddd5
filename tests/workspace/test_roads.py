"""Every type of modifier with every setting keeps its likelihood, its parameters and its fit on every road."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.inference import fit
from bumpfit.workspace import build, combine, prune, read, rename, write
from bumpfit.workspace.model import Model

SIGNAL, BACKGROUND = [5.0, 9.0], [50.0, 40.0]

DATA: dict[str, Any] = {
    "normfactor": None,
    "lumi": None,
    "normsys": (0.9, 1.15),
    "histosys": ([46.0, 42.0], [53.0, 37.0]),
    "shapefactor": None,
    "shapesys": [4.0, 5.0],
    "staterror": [3.0, 2.5],
    "lnN": (0.8, 1.1),
    "gmN": 9,
    "normformula": "1 + 0.1 * tilt * exp(-gain)",
}
BINS = ("shapefactor", "shapesys", "staterror")
NOT_IN_HS3 = ("lnN", "gmN")
LUMI = {"inits": [1.0], "bounds": [[0.9, 1.1]], "auxdata": [1.0], "sigmas": [0.02]}

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fixed": {"fixed": True},
    "held elsewhere": {"fixed": True, "inits": [0.95]},
    "inits": {"inits": [0.95]},
    "bounds": {"bounds": [[0.4, 3.0]], "inits": [1.1]},
    "auxdata": {"auxdata": [1.05]},
    "sigmas": {"sigmas": [0.3]},
    "factors": {"factors": [80.0]},
    "one bin held": {"bounds": [[1.0, 1.0], [0.4, 3.0]], "inits": [1.0, 1.1]},
    "gaussian": {"constraint": "gaussian"},
    "poisson": {"constraint": "poisson"},
    "threshold": {"threshold": 0.061},
}
MEANS = {
    "auxdata": ("lumi", "normsys", "histosys", "shapesys", "staterror", "lnN", "gmN"),
    "sigmas": ("lumi", "normsys", "histosys", "staterror", "lnN"),
    "factors": ("shapesys", "gmN"),
    "one bin held": BINS,
    "gaussian": ("shapesys",),
    "poisson": ("staterror",),
    "threshold": ("staterror",),
}
CASES = [(kind, name) for kind in DATA for name in SETTINGS if kind in MEANS.get(name, DATA)]


def workspace(kind: str, setting: str) -> dict[str, Any]:
    """A signal and a background with one modifier of the type, named 'x'; a second channel shares it where it can."""
    name = "lumi" if kind == "lumi" else "x"
    modifier = build.modifier(kind, name, DATA[kind])
    channels = {
        "SR": [
            build.sample("signal", SIGNAL, build.modifier("normfactor", "mu")),
            build.sample("background", BACKGROUND, modifier, build.modifier("normsys", "other", (0.95, 1.04))),
        ],
        "CR": [build.sample("background", [2 * b for b in BACKGROUND])],
    }
    if kind not in ("shapesys", "staterror", "histosys"):
        channels["CR"][0]["modifiers"].append(modifier)
    chosen = dict(SETTINGS[setting])
    if kind in BINS:
        chosen = {k: v * 2 if isinstance(v, list) and len(v) == 1 else v for k, v in chosen.items()}
    target = {"normformula": "tilt"}.get(kind, name)
    settings: dict[str, Any] = {"lumi": LUMI} if kind == "lumi" else {}
    if kind == "normformula":
        settings = {"tilt": {"inits": [1.0], "bounds": [[0.0, 4.0]]}, "gain": LUMI}
    settings[target] = {**settings.get(target, {}), **chosen}
    if setting == "bounds" and kind == "lumi":
        settings["lumi"]["bounds"] = [[0.4, 3.0]]
    return build.workspace(channels, {"SR": [58, 52], "CR": [96, 85]}, "mu", settings)


def parameters(model: Model) -> list[tuple[Any, ...]]:
    """What a fit sees of each parameter; names apart."""
    rows = [(p.name.replace("_bin_", "["), p) for p in model.parameters]
    return [
        (
            p.fixed,
            p.constraint,
            *(v and pytest.approx(v, rel=1e-9) for v in (p.init, p.low, p.high, p.width, p.auxdata)),
        )
        for _, p in sorted(rows, key=lambda row: row[0])
    ]


def json_road(spec: dict[str, Any], folder: Path) -> Model:
    write(read(spec), folder / "again.json")
    return read(folder / "again.json")


def hs3_road(spec: dict[str, Any], folder: Path) -> Model:
    write(read(spec), folder / "hs3.json", format="hs3")
    return read(folder / "hs3.json")


def patch_road(spec: dict[str, Any], folder: Path) -> Model:
    bare = json.loads(json.dumps(spec))
    sample = bare["channels"][0]["samples"][1]
    modifiers = sample.pop("modifiers")
    sample["modifiers"] = []
    return read(bare, [{"op": "replace", "path": "/channels/0/samples/1/modifiers", "value": modifiers}])


def rename_road(spec: dict[str, Any], folder: Path) -> Model:
    there = rename(spec, channels={"SR": "a"}, parameters={"other": "zother"})
    return read(rename(there, channels={"a": "SR"}, parameters={"zother": "other"}))


def combine_road(spec: dict[str, Any], folder: Path) -> Model:
    one = build.sample("more", [7.0], build.modifier("normfactor", "mu"))
    both = combine([spec, build.workspace({"extra": [one]}, {"extra": [8.0]}, "mu")])
    return read(prune(both, ["extra"]))


ROADS: list[Callable[[dict[str, Any], Path], Model]] = [json_road, hs3_road, patch_road, rename_road, combine_road]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("kind", "setting"), CASES)
def test_a_road_keeps_the_likelihood(
    kind: str, setting: str, road: Callable[[dict[str, Any], Path], Model], tmp_path: Path
) -> None:
    spec = workspace(kind, setting)
    model = read(spec)
    if road is hs3_road and setting in ("auxdata", "factors") and kind in BINS:
        with pytest.raises(InputError, match="auxiliary value of 'x"):
            road(spec, tmp_path)
        assert not (tmp_path / "hs3.json").exists()
        return
    if road is hs3_road and kind in NOT_IN_HS3:
        with pytest.raises(InputError, match="HS3 has no modifier"):
            road(spec, tmp_path)
        assert not (tmp_path / "hs3.json").exists()
        return
    again = road(spec, tmp_path)
    assert parameters(again) == parameters(model)
    order = [again.index(name) for name in model.names]
    rng = np.random.default_rng(5)
    for _ in range(3):
        x = np.clip(model.inits + rng.normal(0, 0.2, model.inits.size), np.maximum(model.lower, 0.3), model.upper)
        y = np.empty_like(x)
        y[order] = x
        assert again.twice_nll(y) == pytest.approx(model.twice_nll(x), abs=1e-8)
    assert again.observed is not None and model.observed is not None
    assert again.observed.tolist() == model.observed.tolist()


@pytest.mark.parametrize("kind", DATA)
def test_a_road_keeps_the_fit(kind: str, tmp_path: Path) -> None:
    spec = workspace(kind, "inits")
    best = fit(read(spec))
    for road in ROADS:
        if road is hs3_road and kind in NOT_IN_HS3:
            continue
        again = fit(road(spec, tmp_path))
        assert again.valid and best.valid
        assert again.twice_nll == pytest.approx(best.twice_nll, abs=1e-7)
        assert again.values == pytest.approx(best.values, abs=1e-4)
        assert set(again.fixed) == set(best.fixed)


@pytest.mark.parametrize("setting", ["plain", "fixed", "sigmas", "poisson", "threshold"])
def test_renaming_channels_keeps_the_order_of_bins(setting: str) -> None:
    """The bins of one statistical error are counted over channels in the order of their names."""
    stat = build.modifier("staterror", "stat", [3.0, 2.0])
    samples = [build.sample("signal", SIGNAL, build.modifier("normfactor", "mu")), build.sample("b", BACKGROUND, stat)]
    more = [build.sample("b", [60.0, 70.0], build.modifier("staterror", "stat", [5.0, 6.0]))]
    settings = {"stat": {"inits": [0.9, 1.0, 1.1, 1.2], **SETTINGS[setting]}}
    if setting == "sigmas":
        settings["stat"]["sigmas"] = [0.1, 0.2, 0.3, 0.4]
    elif setting == "fixed":
        settings["stat"]["inits"] = [0.9, 1.0, 1.1, 1.2]
    spec = build.workspace({"A": samples, "B": more}, {"A": [58, 52], "B": [61, 66]}, "mu", settings)
    model, turned = read(spec), read(rename(spec, channels={"A": "Z"}))
    assert turned.twice_nll(turned.inits) == pytest.approx(model.twice_nll(model.inits), abs=1e-10)
    x = np.array([0.7, 0.95, 1.02, 1.04, 0.98])
    y = x[[0, 3, 4, 1, 2]] if model.names[0] == "mu" else x
    assert turned.twice_nll(y) == pytest.approx(model.twice_nll(x), abs=1e-10)
