"""HS3 documents as others write them: what is constant, statistical errors of channels, unknown keys, names."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bumpfit.errors import InputError, InputWarning
from bumpfit.inference import fit
from bumpfit.workspace import build, read, write
from bumpfit.workspace.hs3_write import to_hs3


def free_factors(**setting: Any) -> dict[str, Any]:
    factor = build.modifier("shapefactor", "sf")
    channels = {
        "SR": [
            build.sample("sig", [5.0, 10.0], build.modifier("normfactor", "mu")),
            build.sample("bkg", [50.0, 40.0], factor),
        ],
        "CR": [build.sample("bkg", [100.0, 80.0], factor)],
    }
    settings = {"sf": {"inits": [0.9, 1.1], **setting}} if setting else {}
    return build.workspace(channels, {"SR": [58, 55], "CR": [95, 85]}, "mu", settings)


def test_constant_parameters_of_bins_stay_constant(tmp_path: Path) -> None:
    """pyhf's fit of the same: mu 1.4276, -2 ln L 25.625051."""
    write(read(free_factors(fixed=True)), tmp_path / "hs3.json", format="hs3")
    found = fit(read(tmp_path / "hs3.json"))
    assert found.values["mu"] == pytest.approx(1.4276, abs=1e-4)
    assert found.twice_nll == pytest.approx(25.625051, abs=1e-5)
    assert set(found.fixed) == {"sf[0]", "sf[1]"}


def test_one_constant_bin_of_a_group_is_held_at_its_value() -> None:
    document = to_hs3(read(free_factors(inits=[1.0, 1.0])))
    point = next(p for p in document["parameter_points"][0]["parameters"] if p["name"] == "sf_bin_0")
    point.update(value=0.95, const=True)
    model = read(document)
    assert [(p.name, p.init, p.fixed) for p in model.parameters if p.name.startswith("sf")] == [
        ("sf[0]", 0.95, True), ("sf[1]", 1.0, False),
    ]  # fmt: skip
    assert fit(model).values["sf[0]"] == 0.95


def channel(block: dict[str, Any] | None, modifier: dict[str, Any], errors: list[float] | None) -> dict[str, Any]:
    """One channel as RooFit writes it, with statistical errors of 6 % and 6.25 % of the background."""
    axes = [{"name": "x", "min": 0, "max": 2, "nbins": 2}]
    data: dict[str, Any] = {"contents": [50.0, 40.0]}
    if errors:
        data["errors"] = errors
    distribution: dict[str, Any] = {
        "name": "SR",
        "type": "histfactory_dist",
        "axes": axes,
        "samples": [
            {
                "name": "sig",
                "data": {"contents": [5.0, 10.0], "errors": [0.0, 0.0]},
                "modifiers": [{"name": "mu", "parameter": "mu", "type": "normfactor"}],
            },
            {"name": "bkg", "data": data, "modifiers": [{"name": "st", "type": "staterror", **modifier}]},
        ],
    }
    if block is not None:
        distribution["staterror"] = block
    return {
        "metadata": {"hs3_version": "0.2"},
        "distributions": [distribution],
        "data": [{"name": "obs", "type": "binned", "axes": axes, "contents": [58, 52]}],
        "likelihoods": [{"name": "lh", "distributions": ["SR"], "data": ["obs"]}],
        "analyses": [{"name": "an", "likelihood": "lh", "parameters_of_interest": ["mu"], "domains": ["d"]}],
        "domains": [{"name": "d", "type": "product_domain", "axes": [{"name": "mu", "min": 0, "max": 10}]}],
        "parameter_points": [{"name": "default_values", "parameters": [{"name": "mu", "value": 1.0}]}],
    }


@pytest.mark.parametrize(
    ("block", "modifier", "free", "constraint"),
    [
        ({"relThreshold": 0.5, "constraint_type": "Gauss"}, {"constraint": "Gauss"}, 0, "normal"),
        ({"relThreshold": 0.061, "constraint_type": "Poisson"}, {}, 1, "poisson"),
        ({"constraint": "Poisson"}, {}, 2, "poisson"),
        (None, {"constraint": "Poisson"}, 2, "poisson"),
        (None, {"constraint_type": "Gauss"}, 2, "normal"),
        (None, {}, 2, "normal"),
    ],
)
def test_statistical_errors_of_a_channel(
    block: dict[str, Any] | None, modifier: dict[str, Any], free: int, constraint: str
) -> None:
    model = read(channel(block, modifier, [3.0, 2.5]))
    bins = [p for p in model.parameters if p.name != "mu"]
    assert sum(not p.fixed for p in bins) == free
    assert {p.constraint for p in bins} == {constraint}
    if free == 2 and constraint == "poisson":
        assert [p.width for p in bins] == pytest.approx([(50 / 3) ** 2, 16.0**2])


def test_channel_and_modifier_that_contradict_are_told() -> None:
    with pytest.warns(InputWarning, match="channel says poisson, which holds as in RooFit"):
        model = read(channel({"relThreshold": 0.0, "constraint_type": "Poisson"}, {"constraint": "Gauss"}, [3.0, 2.5]))
    assert {p.constraint for p in model.parameters if p.name != "mu"} == {"poisson"}


def test_errors_above_the_content_are_told() -> None:
    with pytest.warns(InputWarning, match="relative error above 1"):
        read(channel(None, {"constraint": "Gauss"}, [60.0, 2.5]))
    with pytest.warns(InputWarning, match="no errors; they are read as zero"):
        read(channel(None, {"constraint": "Gauss"}, None))
    shape = build.modifier("shapesys", "u", [5.0, 4.0])
    samples = [
        build.sample("s", [5.0, 9.0], build.modifier("normfactor", "mu")),
        build.sample("b", [50.0, 40.0], shape),
    ]
    document = to_hs3(read(build.workspace({"SR": samples}, {"SR": [55, 50]}, "mu")))
    values = document["distributions"][0]["samples"][0]["modifiers"][0]["data"]["vals"]
    assert values == pytest.approx([0.1, 0.1])
    values[:] = [5.0, 4.0]
    with pytest.warns(InputWarning, match="relative uncertainty of 5"):
        read(document)


@pytest.mark.parametrize("where", ["channel", "block", "sample", "data", "modifier", "modifier data", "constraint"])
def test_unknown_keys_are_refused(where: str) -> None:
    samples = [
        build.sample("s", [5.0, 9.0], build.modifier("normfactor", "mu"), build.modifier("normsys", "k", (0.9, 1.1))),
        build.sample("b", [50.0, 40.0], build.modifier("staterror", "st", [3.0, 2.0])),
    ]
    document = to_hs3(read(build.workspace({"SR": samples}, {"SR": [55, 50]}, "mu")))
    first = document["distributions"][0]
    sample = first["samples"][1]
    scale = next(m for m in sample["modifiers"] if m["type"] == "normsys")
    place = {
        "channel": first, "block": first["staterror"], "sample": sample, "data": sample["data"], "modifier": scale,
        "modifier data": scale["data"], "constraint": document["distributions"][1],
    }[where]  # fmt: skip
    read(copy.deepcopy(document))
    place["smoothing"] = 0.1
    with pytest.raises(InputError, match="unknown key 'smoothing' in"):
        read(document)


def test_names_that_had_to_be_changed_are_told_and_come_back(tmp_path: Path) -> None:
    name = "σ(pp→X) [fb]"
    samples = [
        build.sample("a signal", [5.0, 9.0], build.modifier("normfactor", name)),
        build.sample(
            "b",
            [50.0, 40.0],
            build.modifier("shapesys", "bin-wise", [3.0, 2.0]),
            build.modifier("normsys", "scale [GeV]", (0.9, 1.1)),
        ),
    ]
    model = read(build.workspace({"SR 1/µ": samples}, {"SR 1/µ": [55, 50]}, name))
    with pytest.warns(InputWarning, match=r"names were changed.*'σ\(pp→X\) \[fb\]' is"):
        write(model, tmp_path / "hs3.json", format="hs3")
    document = json.loads((tmp_path / "hs3.json").read_text())
    assert name in document["misc"]["bumpfit"]["names"].values()
    again = read(tmp_path / "hs3.json")
    assert set(again.names) == set(model.names)
    assert again.poi == name and again.channels[0].name == "SR 1/µ"
    assert [d["x"] for d in document["distributions"] if d["type"] == "gaussian_dist"] == ["scale__GeV_"]
    values = {name: 0.3, "bin-wise[1]": 1.1, "scale [GeV]": 0.7}
    assert again.twice_nll(values) == pytest.approx(model.twice_nll(values), abs=1e-10)


def test_functions_that_name_each_other_in_a_loop() -> None:
    formula = build.modifier("normformula", "f", "1 + 0.1 * mu")
    samples = [
        build.sample("s", [5.0, 9.0], build.modifier("normfactor", "mu")),
        build.sample("b", [50.0, 40.0], formula),
    ]
    document = to_hs3(read(build.workspace({"SR": samples}, {"SR": [55, 50]}, "mu")))
    assert read(copy.deepcopy(document)).expected({"mu": 2.0}) == pytest.approx([70.0, 66.0])
    document["functions"][0]["expression"] = "1 + 2 * f"
    with pytest.raises(InputError, match="loop"):
        read(document)
