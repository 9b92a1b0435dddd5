"""Parameters that are split over channels or samples."""

import copy
from typing import Any

import pytest

from bumpfit.errors import InputError
from bumpfit.workspace import build, read
from bumpfit.workspace.decorrelate import decorrelate


def workspace(**config: Any) -> dict[str, Any]:
    channels = {
        name: [
            build.sample("signal", [4.0, 6.0], build.modifier("normfactor", "mu"),
                         {"name": "eff", "type": "normformula", "data": {"formula": "sf * sf"}},
                         {"name": "left", "type": "normformula", "data": {"formula": "2 - eff"}}),
            build.sample("bkg", [50.0, 30.0], build.modifier("normsys", "xs", (0.9, 1.1)),
                         build.modifier("histosys", "jes", ([46.0, 29.0], [53.0, 32.0])),
                         build.modifier("staterror", f"stat_{name}", [1.0, 1.0])),
            build.sample("top", [5.0, 3.0], build.modifier("normsys", "xs", (0.7, 1.4))),
        ]
        for name in ("SR", "CR", "VR")
    }  # fmt: skip
    spec = build.workspace(channels, {name: [57.0, 33.0] for name in channels}, "mu")
    spec["measurements"][0]["config"]["parameters"] = [
        {"name": "sf", "inits": [1.0], "bounds": [[0.5, 1.5]], "sigmas": [0.1]},
        {"name": "mu", "inits": [1.0], "bounds": [[0.0, 7.0]]},
    ]
    spec["measurements"][0]["config"] |= config
    return spec


X = {"mu": 1.3, "xs": 0.4, "jes": -0.7, "sf": 1.1}


@pytest.mark.parametrize(
    ("parameter", "by"),
    [("mu", "channel"), ("xs", "channel"), ("xs", "sample"), ("sf", "channel"), ("jes", "channel")],
)
def test_equal_copies_are_the_parameter(parameter: str, by: Any) -> None:
    whole, split = read(workspace()), read(decorrelate(workspace(), parameter, by))
    copies = [name for name in split.names if name.startswith(f"{parameter}_")]
    assert len(copies) == (2 if by == "sample" else 3) and parameter not in split.names
    values = {name: value for name, value in X.items() if name != parameter}
    there = split.expected({**values, **dict.fromkeys(copies, X[parameter])})
    assert there == pytest.approx(whole.expected(X), rel=1e-12)
    one = split.expected({**values, **dict.fromkeys(copies, X[parameter]), copies[0]: 0.9 * X[parameter]})
    assert (one != there).any() and (by == "sample" or (one == there).any())


def test_settings_groups_and_interest_follow() -> None:
    split = decorrelate(workspace(groups={"theory": ["xs"]}), "mu", groups={"regions": ["[SV]R"]})
    config = split["measurements"][0]["config"]
    assert config["poi"] == "mu_regions"
    assert [e["name"] for e in config["parameters"]] == ["sf", "mu_regions", "mu_CR"]
    assert read(split).parameters[read(split).index("mu_CR")].high == 7.0
    theory = decorrelate(workspace(groups={"theory": ["xs"]}), "xs", "sample")["measurements"][0]["config"]["groups"]
    assert theory == {"theory": ["xs_bkg", "xs_top"]}


def test_partly_correlated_copies() -> None:
    """Of n equal values x whose constraints have the correlation r the pulls are n x^2 / (1 + (n - 1) r)."""
    spec, at = workspace(), {"mu": 1.2}
    whole = read(spec)
    pulls = []
    for correlation in (0.0, 0.5, 0.999):
        split = read(decorrelate(spec, "xs", correlation=correlation))
        far, near = (split.twice_nll({**at, **dict.fromkeys(("xs_SR", "xs_CR", "xs_VR"), x)}) for x in (0.5, 0.0))
        rates = whole.twice_nll({"mu": 1.2, "xs": 0.5}) - whole.twice_nll({"mu": 1.2, "xs": 0.0})
        pulls.append(far - near - rates + 0.25)
    assert pulls == pytest.approx([0.75 / (1 + 2 * r) for r in (0.0, 0.5, 0.999)], rel=1e-6)


def test_what_cannot_be_split_is_refused() -> None:
    spec = workspace()
    kept = copy.deepcopy(spec)
    for parameter, options, message in (
        ("nothing", {}, "no modifier has the parameter 'nothing'"),
        ("stat_SR", {}, "a parameter for each bin"),
        ("jes", {"by": "sample"}, "only sample 'bkg' has 'jes'"),
        ("mu", {"groups": {"G": ["XR"]}}, "has no channel with 'mu'"),
        ("mu", {"groups": {"G": ["SR"], "H": ["*"]}}, "in the groups 'G' and 'H'"),
        ("mu", {"groups": {"CR": ["SR", "VR"]}}, "has the name of a channel outside it"),
    ):
        with pytest.raises(InputError, match=message):
            decorrelate(spec, parameter, **options)  # type: ignore[arg-type]
    assert spec == kept
    correlated = workspace(correlations=[{"parameters": ["xs", "jes"], "matrix": [[1, 0.2], [0.2, 1]]}])
    with pytest.raises(InputError, match="is correlated with others"):
        decorrelate(correlated, "xs")
    spec["channels"][0]["samples"][0]["modifiers"].append(build.modifier("normfactor", "mu_CR"))
    with pytest.raises(InputError, match="has a 'mu_CR' already"):
        decorrelate(spec, "mu")
