"""`bumpfit workspace` and `bumpfit patchset`: pyhf's tools are the witness."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from command_line import Run, refused

from bumpfit.workspace import build, read
from bumpfit.workspace.survey import Thresholds, survey, without_small


def workspace() -> dict[str, Any]:
    """Two channels out of order with factors, shapes and a setting."""
    x = np.arange(8.0)
    falling = 100 * np.exp(-0.3 * x)
    jumps = np.where(x % 2 == 0, 1.1, 0.9)
    channels = {
        "SR": [
            build.sample("signal", np.full(8, 2.0), build.modifier("normfactor", "mu"),
                         build.modifier("normsys", "xs", (0.999, 1.001))),
            build.sample("bkg", falling, build.modifier("histosys", "JES", (falling * 0.9, falling * 1.1)),
                         build.modifier("histosys", "JER", (falling * jumps, falling * (2 - jumps))),
                         build.modifier("normsys", "big", (0.3, 1.9)), build.modifier("normsys", "side", (1.05, 1.1))),
        ],
        "CR": [build.sample("bkg", [50.0, 60.0], build.modifier("normsys", "big", (0.8, 1.2)),
                            build.modifier("staterror", "stat_CR", [3.0, 3.0]))],
    }  # fmt: skip
    return build.workspace(channels, {"SR": falling.round(), "CR": [52, 58]}, "mu", {"mu": {"bounds": [[0, 5]]}})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "w.json").write_text(json.dumps(workspace()))
    return tmp_path / "w.json"


def test_prune_is_pyhfs(bumpfit: Run, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    bumpfit("workspace", "prune", path, "-c", "CR", "-m", "JES", "-t", "normsys", "-o", out)
    theirs = pyhf.Workspace(workspace()).prune(channels=["CR"], modifiers=["JES"], modifier_types=["normsys"])
    assert json.loads(out.read_text()) == dict(theirs)
    assert read(out).names == ("JER", "mu")


def test_rename_and_sort_are_pyhfs(bumpfit: Run, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    bumpfit("workspace", "rename", path, "-c", "SR=top", "-s", "bkg=ttbar", "-m", "mu=strength", "--measurement",
            f"{workspace()['measurements'][0]['name']}=fit", "-o", out)  # fmt: skip
    theirs = pyhf.Workspace(workspace()).rename(
        channels={"SR": "top"}, samples={"bkg": "ttbar"}, modifiers={"mu": "strength"},
        measurements={workspace()["measurements"][0]["name"]: "fit"},
    )  # fmt: skip
    assert json.loads(out.read_text()) == dict(theirs)
    bumpfit("workspace", "sort", path, "-o", tmp_path / "sorted.json")
    assert json.loads((tmp_path / "sorted.json").read_text()) == dict(
        pyhf.Workspace.sorted(pyhf.Workspace(workspace()))
    )


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_digest_is_pyhfs(bumpfit: Run, path: Path, algorithm: str) -> None:
    found = bumpfit("workspace", "digest", path, "-a", algorithm, "--json").json
    assert found == {algorithm: pyhf.utils.digest(workspace(), algorithm=algorithm)}


def test_inspect_names_everything_and_flags_what_is_odd(bumpfit: Run, path: Path) -> None:
    found = bumpfit("workspace", "inspect", path, "--systematics", "--json").json
    theirs = pyhf.Workspace(workspace())
    assert sorted(c["name"] for c in found["channels"]) == theirs.channels
    assert found["samples"] == theirs.samples
    assert {(n, t) for n, types in found["modifiers"].items() for t in types} == set(theirs.modifiers)
    flags = {(s["parameter"], s["channel"]): s["flags"] for s in found["systematics"]}
    assert flags[("xs", "SR")] == ["tiny"]
    assert flags[("big", "SR")] == ["huge"]
    assert flags[("side", "SR")] == ["one-sided"]
    assert flags[("JER", "SR")] == ["noisy"]
    assert flags[("JES", "SR")] == flags[("big", "CR")] == []
    shown = bumpfit("workspace", "inspect", path, "--flagged", "--json").json["systematics"]
    assert all(s["flags"] for s in shown) and len(shown) == 4


def test_effects_are_those_of_the_model(path: Path) -> None:
    model = read(path)
    rates = {s.parameter: s for s in survey(workspace(), Thresholds()) if s.channel == "SR" and s.sample == "bkg"}
    for name in ("JES", "big", "side", "JER"):
        for value, said in ((1.0, rates[name].up), (-1.0, rates[name].down)):
            change = model.expected_by_sample({name: value})["SR"]["bkg"].sum()
            nominal = model.expected_by_sample({})["SR"]["bkg"].sum()
            assert said == pytest.approx(change / nominal - 1, abs=1e-12)


def test_effects_are_those_of_the_constraint() -> None:
    spec = workspace()
    spec["measurements"][0]["config"]["parameters"] += [
        {"name": "JES", "sigmas": [0.5]}, {"name": "big", "sigmas": [2.0], "auxdata": [0.3], "inits": [0.3]},
    ]  # fmt: skip
    model = read(spec)
    rates = {s.parameter: s for s in survey(spec) if s.channel == "SR" and s.sample == "bkg"}
    for name, centre, sigma in (("JES", 0.0, 0.5), ("big", 0.3, 2.0), ("side", 0.0, 1.0)):
        changed = [
            model.expected_by_sample({"big": 0.0, name: centre + k * sigma})["SR"]["bkg"].sum() for k in (-1, 0, 1)
        ]
        nominal = model.expected_by_sample({"big": 0.0})["SR"]["bkg"].sum()
        assert rates[name].up == pytest.approx((changed[2] - changed[1]) / nominal, abs=1e-12)
        assert rates[name].down == pytest.approx((changed[0] - changed[1]) / nominal, abs=1e-12)
    assert rates["JES"].up == pytest.approx(0.05)


def test_small_systematics_go(bumpfit: Run, path: Path, tmp_path: Path) -> None:
    left, gone = without_small(workspace(), 0.005)
    assert [(g.parameter, g.channel) for g in gone] == [("xs", "SR")]
    assert "xs" not in read(left).names
    done = bumpfit("workspace", "prune", path, "--below", "0.12", "-o", tmp_path / "out.json")
    assert "modifiers taken out" in done.err
    assert set(read(tmp_path / "out.json").names) == {"big", "mu", "stat_CR[0]", "stat_CR[1]"}


def test_differences_are_named_by_place(bumpfit: Run, path: Path, tmp_path: Path) -> None:
    changed = workspace()
    changed["channels"][0]["samples"][1]["data"][3] *= 1.5
    changed["channels"][1]["samples"][0]["modifiers"].pop()
    changed["channels"].reverse()
    (tmp_path / "other.json").write_text(json.dumps(changed))
    done = bumpfit("workspace", "diff", path, tmp_path / "other.json", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    places = [d["place"] for d in found["differences"]]
    assert not found["equal"]
    assert any("samples / bkg / data[3]" in place for place in places)
    assert any("stat_CR (staterror)" in place for place in places)
    assert len(places) == 2
    same = bumpfit("workspace", "diff", path, path)
    assert same.code == 0 and "the same" in same.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prune", "-c", "nobody"), "no channel 'nobody'"),
        (("prune", "-s", "bkg"), "nothing is left of channel 'CR'"),
        (("prune", "-t", "lumi"), "no modifier of type 'lumi'"),
        (("prune", "--measurement", "x"), "no measurement 'x'"),
        (("prune", "--below", "0"), "must be positive"),
        (("rename", "-m", "mu"), "expected OLD=NEW"),
        (("rename", "-s", "signal=bkg"), "there is in channel 'SR' a sample 'bkg' already"),
        (("digest", "-a", "rot13"), "unknown algorithm"),
    ],
)
def test_wrong_use_is_one_sentence(bumpfit: Run, path: Path, words: tuple[str, ...], message: str) -> None:
    assert message in refused(bumpfit("workspace", words[0], path, *words[1:]))


@pytest.fixture
def patchset(tmp_path: Path) -> Path:
    background = workspace()
    patches = [
        {"metadata": {"name": f"m{v}", "values": [v]},
         "patch": [{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": float(v)}]}
        for v in (100, 200)
    ]  # fmt: skip
    content = {
        "metadata": {"name": "set", "description": "test", "references": {"hepdata": "ins1234567"}, "labels": ["mass"],
                     "digests": {"sha256": pyhf.utils.digest(background)}},
        "patches": patches, "version": "1.0.0",
    }  # fmt: skip
    (tmp_path / "set.json").write_text(json.dumps(content))
    return tmp_path / "set.json"


def test_patchsets_are_pyhfs(bumpfit: Run, path: Path, patchset: Path, tmp_path: Path) -> None:
    theirs = pyhf.PatchSet(json.loads(patchset.read_text()))
    found = bumpfit("patchset", "inspect", patchset, "--json").json
    assert [(p["name"], tuple(p["values"])) for p in found["patches"]] == [(p.name, p.values) for p in theirs.patches]
    assert json.loads(bumpfit("patchset", "extract", patchset, "--name", "m200").out) == theirs["m200"].patch
    assert "digests of the patchset are those" in bumpfit("patchset", "verify", path, patchset).out
    bumpfit("patchset", "apply", path, patchset, "--name", "m200", "-o", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == dict(theirs.apply(workspace(), "m200"))
    changed = workspace()
    changed["channels"][0]["samples"][0]["data"][1] = 9.0
    (tmp_path / "changed.json").write_text(json.dumps(changed))
    assert "made for another workspace" in refused(bumpfit("patchset", "verify", tmp_path / "changed.json", patchset))
    assert "no patch 'm3'" in refused(bumpfit("patchset", "extract", patchset, "--name", "m3"))
    assert "not a patch" in refused(bumpfit("patchset", "inspect", path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["patches"][1]["metadata"].update(name="m100"), "two patches of one name, 'm100'"),
        (lambda s: s["patches"][1]["metadata"].update(values=[100]), "'m100' and 'm200' have the same values, [100]"),
        (lambda s: s["patches"][1]["metadata"].update(values=[100, 1]), "'m200' has 2 values for 1 labels, mass"),
        (lambda s: s["patches"][1]["metadata"].update(values=[{"a": 1}]), "must be a list of numbers and texts"),
        (lambda s: s.update(version="2.0.0"), "the patchset has the version '2.0.0'; known is 1.0.0"),
        (lambda s: s.update(patches=[]), "the patchset holds no patches"),
    ],
)
def test_patchsets_that_pyhf_refuses(
    change: Callable[[Any], None], message: str, bumpfit: Run, path: Path, patchset: Path, tmp_path: Path
) -> None:
    content = json.loads(patchset.read_text())
    change(content)
    with pytest.raises((pyhf.exceptions.InvalidPatchSet, pyhf.exceptions.InvalidSpecification,
                        pyhf.exceptions.SchemaNotFound)):  # fmt: skip
        pyhf.PatchSet(content)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(content))
    for words in (("inspect", wrong), ("verify", path, wrong), ("extract", wrong, "--name", "m100"),
                  ("apply", path, wrong, "--name", "m100")):  # fmt: skip
        assert message in refused(bumpfit("patchset", *words))


def test_digests_of_patchsets_are_pyhfs(bumpfit: Run, path: Path, patchset: Path, tmp_path: Path) -> None:
    """Both algorithms, alone and together, right and wrong: both tools verify and apply, or both refuse."""
    content = json.loads(patchset.read_text())
    right = {name: pyhf.utils.digest(workspace(), algorithm=name) for name in ("sha256", "md5")}
    wrong = {name: "0" * len(value) for name, value in right.items()}
    for digests in ({"md5": right["md5"]}, right, {"md5": wrong["md5"]}, {**right, "md5": wrong["md5"]}, wrong):
        content["metadata"]["digests"] = digests
        (tmp_path / "p.json").write_text(json.dumps(content))
        good = all(digests[name] == right[name] for name in digests)
        theirs = pyhf.PatchSet(content)
        words = ("patchset", "apply", path, tmp_path / "p.json", "--name", "m100")
        if good:
            theirs.verify(workspace())
            assert bumpfit("patchset", "verify", path, tmp_path / "p.json").code == 0
            assert json.loads(bumpfit(*words).out) == dict(theirs.apply(workspace(), "m100"))
            continue
        with pytest.raises(pyhf.exceptions.PatchSetVerificationError):
            theirs.verify(workspace())
        for one in (words, ("patchset", "verify", path, tmp_path / "p.json")):
            assert "made for another workspace" in refused(bumpfit(*one))


def test_shapes_are_smoothed_and_made_symmetric(bumpfit: Run, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = bumpfit("workspace", "smooth", path, "--noisy", "-o", out)
    assert "JER" in done.err and "1 systematics changed" in done.err and "JES" not in done.err
    assert survey(json.loads(out.read_text()))[0].parameter and not any(
        "noisy" in s.flags for s in survey(json.loads(out.read_text()))
    )
    done = bumpfit("workspace", "symmetrise", path, "--method", "maximum", "--one-sided")
    side = next(
        m for s in json.loads(done.out)["channels"][0]["samples"] for m in s["modifiers"] if m["name"] == "side"
    )
    assert side["data"] == {"hi": pytest.approx(1.1), "lo": pytest.approx(0.9)} and "side" in done.err
    assert "no systematic" in refused(bumpfit("workspace", "smooth", path, "-m", "nothing"))
