"""From one format to another and back: -2 ln L at several points stays to 1e-9."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit.errors import InputError, InputWarning
from bumpfit.workspace import build, read, write
from bumpfit.workspace.edit import digest
from bumpfit.workspace.model import Model

pytest.importorskip("uproot")


def workspace(kind: str) -> dict[str, Any]:
    """Two channels with a modifier of one type, or of all types, beside the strength."""
    modifiers: dict[str, Any] = {
        "normsys": build.modifier("normsys", "xs", (0.83, 1.21)),
        "histosys": build.modifier("histosys", "jes", ([46.0, 29.0, 11.0], [53.0, 32.0, 14.0])),
        "shapesys": build.modifier("shapesys", "uncorrelated", [4.0, 0.0, 2.5]),
        "shapefactor": build.modifier("shapefactor", "free"),
        "staterror": build.modifier("staterror", "staterror_SR", [2.0, 1.5, 1.1]),
        "lumi": build.modifier("lumi", "lumi"),
        "normfactor": build.modifier("normfactor", "k_bkg"),
    }
    chosen = list(modifiers.values()) if kind == "all" else [modifiers[kind]]
    if kind == "all":
        chosen.remove(modifiers["shapefactor"])  # which would take over from all shapes
    signal = [build.modifier("normfactor", "mu"), *([modifiers["lumi"]] if kind in ("lumi", "all") else [])]
    channels = {
        "SR": [build.sample("signal", [4.0, 6.0, 5.0], *signal), build.sample("bkg", [50.0, 30.5, 12.25], *chosen)],
        "CR": [build.sample("bkg", [120.0], build.modifier("normsys", "xs", (0.9, 1.1)))],
    }
    parameters = [{"name": "mu", "inits": [0.7], "bounds": [[-1.5, 12.0]]}]
    if kind in ("lumi", "all"):
        parameters.append(
            {"name": "lumi", "auxdata": [1.0], "sigmas": [0.017], "inits": [1.0], "bounds": [[0.915, 1.085]]}
        )
    if kind == "all":
        parameters += [
            {"name": "xs", "fixed": True}, {"name": "jes", "inits": [0.25]},
            {"name": "uncorrelated", "constraint": "gaussian"}, {"name": "staterror_SR", "constraint": "poisson"},
        ]  # fmt: skip
    spec = build.workspace(channels, {"SR": [57, 33, 19], "CR": [117]}, "mu")
    spec["measurements"][0]["config"]["parameters"] = parameters
    return spec


KINDS = ("normsys", "histosys", "shapesys", "shapefactor", "staterror", "lumi", "normfactor", "all")


def points(model: Model, seed: int = 1) -> list[dict[str, float]]:
    """Parameters around the start, within the ranges."""
    rng, result = np.random.default_rng(seed), [dict(zip(model.names, model.inits, strict=True))]
    for _ in range(4):
        found = {}
        for p in model.parameters:
            width = p.width if p.constraint == "normal" and p.width else 0.2
            found[p.name] = float(
                np.clip(p.init + rng.normal() * width, max(p.low, p.init - 3), min(p.high, p.init + 3))
            )
        result.append(found)
    return result


def same(one: Model, other: Model, names: dict[str, str] | None = None) -> None:
    """Parameters with starts, holds and constraints, and -2 ln L, are equal."""
    renamed = [(names or {}).get(name, name) for name in one.names]
    assert sorted(renamed) == sorted(other.names)
    for name, new in zip(one.names, renamed, strict=True):
        a, b = one.parameters[one.index(name)], other.parameters[other.index(new)]
        assert (a.fixed, a.constraint) == (b.fixed, b.constraint) and a.init == pytest.approx(b.init, rel=1e-12), name
    for values in points(one):
        moved = {(names or {}).get(name, name): value for name, value in values.items()}
        assert one.twice_nll(values) == pytest.approx(other.twice_nll(moved), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_json_to_xml_and_back(tmp_path: Path, kind: str) -> None:
    direct = read(workspace(kind))
    write(direct, tmp_path / "top.xml", "xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["top.root", "top.xml", "top_CR.xml", "top_SR.xml"]
    found = read(tmp_path / "top.xml")
    same(direct, found)
    i = found.index("mu")
    assert (found.poi, found.parameters[i].low, found.parameters[i].high) == ("mu", -1.5, 12.0)
    write(found, tmp_path / "again.json")
    same(direct, read(tmp_path / "again.json"))


@pytest.mark.filterwarnings("ignore")
def test_pyhf_reads_what_is_written(tmp_path: Path) -> None:
    pyhf_readxml = pytest.importorskip("pyhf.readxml")
    import pyhf

    spec = workspace("all")
    for entry in spec["measurements"][0]["config"]["parameters"]:
        entry.pop("constraint", None)  # which pyhf does not have
    direct = read(spec)
    write(direct, tmp_path / "top.xml", "xml")
    pyhf_readxml.clear_filecache()
    theirs = pyhf.Workspace(pyhf_readxml.parse(tmp_path / "top.xml", tmp_path)).model()
    data = [*(x for c in theirs.config.channels for x in {"SR": [57, 33, 19], "CR": [117]}[c]), *theirs.config.auxdata]
    for values in points(direct):
        x = [values[name] for name in theirs.config.par_names]
        assert direct.twice_nll(values) == pytest.approx(-2 * float(theirs.logpdf(x, data)[0]), abs=1e-6)


def test_formulas_and_measurements_go_through_xml(tmp_path: Path) -> None:
    spec = workspace("all")
    spec["channels"][0]["samples"][0]["modifiers"].append(
        {"name": "eff", "type": "normformula", "data": {"formula": "sf * exp(0.1 * xs) * k_bkg"}}
    )
    config = spec["measurements"][0]["config"]
    config["parameters"].append({"name": "sf", "inits": [0.9], "bounds": [[0.5, 1.5]]})
    other = copy.deepcopy(spec["measurements"][0])
    other["name"] = "held"
    other["config"]["parameters"] += [{"name": "k_bkg", "fixed": True, "inits": [1.5]}]
    spec["measurements"].append(other)
    write(read(spec), tmp_path / "top.xml", "xml")
    for name in (spec["measurements"][0]["name"], "held"):
        same(read(spec, measurement=name), read(tmp_path / "top.xml", measurement=name))


def test_every_measurement_keeps_its_luminosity(tmp_path: Path) -> None:
    """The second one holds it beside its auxiliary value, where the first one has its own; both have XML's range."""
    spec = workspace("lumi")
    second = copy.deepcopy(spec["measurements"][0])
    second["name"], spec["measurements"] = "second", [*spec["measurements"], second]
    for measurement, a, s in zip(spec["measurements"], (1.0, 1.25), (0.25, 0.125), strict=True):
        lumi = {"name": "lumi", "auxdata": [a], "sigmas": [s], "inits": [1.0], "bounds": [[a - 5 * s, a + 5 * s]]}
        measurement["config"]["parameters"] = [measurement["config"]["parameters"][0], lumi]
    second["config"]["parameters"][1]["fixed"] = True
    direct = read(spec, measurement="second")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(direct, tmp_path / "top.xml", "xml")
    found = read(tmp_path / "top.xml", measurement="second")
    same(direct, found)


def test_statistical_errors_have_the_name_of_their_channel(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(workspace("staterror")).replace("staterror_SR", "mc_stat"))
    with pytest.warns(InputWarning, match="'mc_stat' of channel 'SR' are called 'staterror_SR'"):
        write(read(spec), tmp_path / "top.xml", "xml")
    same(read(spec), read(tmp_path / "top.xml"), {f"mc_stat[{i}]": f"staterror_SR[{i}]" for i in range(3)})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "xs", "sigmas": [0.5]}, "auxiliary value or width of 'xs'"),
        ({"name": "uncorrelated", "inits": [1.0, 1.0, 1.1]}, "start or hold of the bins of 'uncorrelated'"),
    ],
)
def test_what_xml_cannot_hold_is_refused(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    spec = workspace("all")
    config = spec["measurements"][0]["config"]
    config["parameters"] = [e for e in config["parameters"] if e["name"] != entry["name"]] + [entry]
    with pytest.raises(InputError, match=message):
        write(read(spec), tmp_path / "top.xml", "xml")
    assert not any(tmp_path.iterdir())


def test_other_types_and_names_are_refused(tmp_path: Path) -> None:
    spec = workspace("all")
    spec["channels"][1]["samples"][0]["modifiers"].append(build.modifier("lnN", "theory", (0.9, 1.2)))
    with pytest.raises(InputError, match="HistFactory XML has no lnN, as 'theory' of sample 'bkg' of channel 'CR' is"):
        write(read(spec), tmp_path / "top.xml", "xml")
    correlated = workspace("all")
    correlated["measurements"][0]["config"]["correlations"] = [
        {"parameters": ["xs", "jes"], "matrix": [[1, 0.2], [0.2, 1]]}
    ]
    with pytest.raises(InputError, match="no correlated constraints"):
        write(read(correlated), tmp_path / "top.xml", "xml")
    with pytest.raises(InputError, match="must be a word that does not begin with"):
        write(read(json.loads(json.dumps(workspace("all")).replace('"jes"', '"jes up"'))), tmp_path / "top.xml", "xml")
    assert not any(tmp_path.iterdir())


CARD = ("normsys", "histosys", "staterror", "lumi", "normfactor")


@pytest.mark.parametrize("kind", CARD)
@pytest.mark.filterwarnings("ignore::bumpfit.errors.InputWarning")
def test_card_to_json_to_card(tmp_path: Path, kind: str) -> None:
    """What a card became keeps its likelihood through HistFactory JSON, and through another card."""
    write(read(workspace(kind)), tmp_path / "first.txt", "datacard")
    card = read(tmp_path / "first.txt")
    write(card, tmp_path / "middle.json")
    through = read(tmp_path / "middle.json")
    same(card, through)
    write(through, tmp_path / "second.txt", "datacard")
    same(card, read(tmp_path / "second.txt"))


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\ud800", "a\uffff"])
def test_names_that_xml_cannot_spell(tmp_path: Path, name: str) -> None:
    spec = workspace("normsys")
    spec["channels"][0]["samples"][0]["name"] = name
    with pytest.raises(InputError, match="XML has no place for a character of"):
        write(read(spec), tmp_path / "top.xml", "xml")
    assert not list(tmp_path.iterdir())


def test_half_a_character_has_no_digest() -> None:
    with pytest.raises(InputError, match=r"holds \\ud800, half a character"):
        digest({"name": "a\ud800"})
