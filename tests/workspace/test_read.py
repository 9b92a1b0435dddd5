"""Reading: good forms, patches, and one clear sentence for every kind of bad workspace."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.workspace import read, rename, write
from bumpfit.workspace.patchsets import described


def small() -> dict[str, Any]:
    return {
        "channels": [
            {
                "name": "SR",
                "samples": [
                    {
                        "name": "signal",
                        "data": [5.0, 6.0],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                    {
                        "name": "bkg",
                        "data": [50.0, 60.0],
                        "modifiers": [
                            {"name": "scale", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
                            {
                                "name": "shape",
                                "type": "histosys",
                                "data": {"lo_data": [48.0, 62.0], "hi_data": [53.0, 57.0]},
                            },
                            {"name": "stat", "type": "staterror", "data": [3.0, 4.0]},
                        ],
                    },
                ],
            }
        ],
        "observations": [{"name": "SR", "data": [55.0, 63.0]}],
        "measurements": [{"name": "meas", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }


def samples(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["channels"][0]["samples"]


def modifiers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return samples(spec)[1]["modifiers"]


def settings(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec["measurements"][0]["config"]["parameters"]


def second_channel(spec: dict[str, Any]) -> None:
    other = copy.deepcopy(spec["channels"][0])
    other["name"] = "CR"
    spec["channels"].append(other)
    spec["observations"].append({"name": "CR", "data": [55.0, 63.0]})


BAD: list[tuple[str, Callable[[dict[str, Any]], Any], list[str]]] = [
    ("no channels", lambda w: w.pop("channels"), ["channels"]),
    ("text for a yield", lambda w: samples(w)[1]["data"].__setitem__(0, "many"), ["channels[0] 'SR'", "data[0]"]),
    ("NaN yield", lambda w: samples(w)[1]["data"].__setitem__(1, float("nan")), ["finite", "'bkg'", "data[1]"]),
    ("infinite yield", lambda w: samples(w)[1]["data"].__setitem__(1, float("inf")), ["finite", "'bkg'"]),
    ("negative yield", lambda w: samples(w)[1]["data"].__setitem__(1, -3.0), ["negative", "-3.0", "--allow-negative"]),
    ("integer beyond floating-point numbers", lambda w: samples(w)[1]["data"].__setitem__(1, 10**400), ["finite"]),
    ("channel observed twice", lambda w: w["observations"].append({"name": "SR", "data": [1.0, 2.0]}),
        ["observation of channel 'SR'", "twice"]),
    ("twice the same measurement", lambda w: w["measurements"].append(w["measurements"][0]), ["'meas'", "twice"]),
    ("parameter set twice", lambda w: settings(w).extend([{"name": "mu"}, {"name": "mu"}]), ["'mu'", "twice"]),
    ("bounds of three numbers", lambda w: settings(w).append({"name": "mu", "bounds": [[0.0, 1.0, 2.0]]}),
        ["pairs", "[0.0, 1.0, 2.0]", "bounds[0]"]),
    ("NaN in bounds", lambda w: settings(w).append({"name": "mu", "bounds": [[float("nan"), 2.0]]}), ["pairs", "nan"]),
    ("NaN start", lambda w: settings(w).append({"name": "mu", "inits": [float("nan")]}), ["finite", "inits[0]"]),
    ("negative data", lambda w: w["observations"][0]["data"].__setitem__(0, -1.0), ["negative", "observations[0]"]),
    ("unknown modifier", lambda w: modifiers(w)[0].update(type="logNormal"), ["logNormal", "modifiers[0]", "normsys"]),
    ("modifier without data", lambda w: modifiers(w)[0].pop("data"), ["modifiers[0] 'scale'", "'data'"]),
    ("absent parameter of interest", lambda w: w["measurements"][0]["config"].update(poi="nu"), ["'nu'", "mu"]),
    ("zero signal", lambda w: samples(w)[0].update(data=[0.0, 0.0]), ["no effect", "signal", "no events"]),
    ("data without expectation", lambda w: [s["data"].__setitem__(1, 0.0) for s in samples(w)]
        and modifiers(w)[1]["data"].update(lo_data=[48.0, 0.0], hi_data=[53.0, 0.0]), ["bin 1", "'SR'", "63"]),
    ("sample of another length", lambda w: samples(w)[0]["data"].append(1.0),
        ["mismatching binnings", "'bkg'", "2 bins"]),
    ("histosys of another length", lambda w: modifiers(w)[1]["data"]["hi_data"].pop(), ["mismatching", "hi_data"]),
    ("staterror of another length", lambda w: modifiers(w)[2]["data"].pop(), ["mismatching", "'stat'"]),
    ("data of another length", lambda w: w["observations"][0]["data"].append(1.0), ["mismatching", "observation", "3"]),
    ("missing observation", lambda w: w["observations"][0].update(name="other"), ["'SR'", "observation", "other"]),
    ("negative uncertainty", lambda w: modifiers(w)[2]["data"].__setitem__(0, -1.0), ["negative", "'stat'"]),
    ("normsys of zero", lambda w: modifiers(w)[0]["data"].update(lo=0.0), ["positive", "lo = 0"]),
    ("twice the same sample", lambda w: samples(w).append(copy.deepcopy(samples(w)[0])), ["'signal'", "twice"]),
    ("twice the same channel", lambda w: w["channels"].append(w["channels"][0]), ["channel 'SR'", "twice"]),
    ("contradicting repeat", lambda w: modifiers(w).append({"name": "scale", "type": "normsys",
        "data": {"lo": 0.8, "hi": 1.2}}), ["twice", "'scale'"]),
    ("equal repeat", lambda w: modifiers(w).append(copy.deepcopy(modifiers(w)[0])), ["twice", "'scale'"]),
    ("repeat without content", lambda w: samples(w)[0]["modifiers"].append({"name": "mu", "type": "normfactor",
        "data": None}), ["twice", "'mu'"]),
    ("unknown key of a setting", lambda w: settings(w).append({"name": "mu", "bound": [[0.0, 1.0]]}),
        ["'bound'", "bounds", "parameters[0] 'mu'"]),
    ("unknown key of a modifier", lambda w: modifiers(w)[0].update(smooth=True), ["'smooth'", "modifiers[0] 'scale'"]),
    ("names used for two things", lambda w: modifiers(w)[0].update(name="mu"), ["'mu'", "different names"]),
    ("luminosity without settings", lambda w: modifiers(w).append({"name": "lumi", "type": "lumi", "data": None}),
        ["lumi", "auxdata", "sigmas"]),
    ("wrong number of settings", lambda w: settings(w).append({"name": "stat", "inits": [1.0]}),
        ["1 inits", "expected 2"]),
    ("setting without meaning", lambda w: settings(w).append({"name": "mu", "sigmas": [1.0]}), ["'sigmas'", "'mu'"]),
    ("start outside the range", lambda w: settings(w).append({"name": "mu", "bounds": [[2.0, 3.0]]}),
        ["start", "[2.0, 3.0]"]),
    ("empty range", lambda w: settings(w).append({"name": "mu", "bounds": [[3.0, 2.0]]}), ["lower end"]),
    ("shared shapesys", lambda w: second_channel(w) or [c["samples"][1]["modifiers"].append(
        {"name": "unc", "type": "shapesys", "data": [1.0, k]}) for k, c in enumerate(w["channels"], 1)],
        ["'unc'", "cannot be shared", "bin 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_workspaces_are_named(break_it: Callable[[dict[str, Any]], Any], words: list[str]) -> None:
    spec = small()
    read(spec)
    break_it(spec)
    with pytest.raises(InputError) as caught:
        read(spec)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_files_that_are_not_workspaces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read(tmp_path / "absent.json")
    path = tmp_path / "bad.json"
    path.write_text('{"channels": [')
    with pytest.raises(InputError, match=r"not valid JSON.*line 1"):
        read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read(path)
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match="JSON object"):
        read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="levels deep"):
        read(path)
    path.write_text(json.dumps(small()).replace("50.0", "9" * 5000))
    with pytest.raises(InputError, match="digits"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "workspace.json"
    path.write_text(json.dumps(rename(small(), channels={"SR": "région"}), ensure_ascii=False), encoding=encoding)
    assert read(path).channels[0].name == "région"


def test_negative_yields_when_allowed() -> None:
    spec = small()
    samples(spec)[0]["data"][0] = -2.0
    assert read(spec, allow_negative=True).expected({"mu": 1.0})[0] == pytest.approx(48.0)


def test_input_is_not_changed() -> None:
    spec = small()
    before = copy.deepcopy(spec)
    read(spec, [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [1.0, 2.0]}])
    assert spec == before


def patchset() -> dict[str, Any]:
    patches = [
        {
            "metadata": {"name": f"mass_{m}", "values": [m]},
            "patch": [{"op": "replace", "path": "/channels/0/samples/0/data", "value": [float(m), 1.0]}],
        }
        for m in (100, 200)
    ]
    return {"metadata": {}, "patches": patches, "version": "1.0.0"}


def test_patches_and_patchsets(tmp_path: Path) -> None:
    path = tmp_path / "patchset.json"
    path.write_text(json.dumps(patchset()))
    for given_patch in (path, str(path), patchset()):
        model = read(small(), given_patch, patch_name="mass_200")
        assert model.expected_by_sample({})["SR"]["signal"].tolist() == [200.0, 1.0]
    assert read(small(), (path, "mass_100")).expected_by_sample({})["SR"]["signal"][0] == 100.0
    with pytest.raises(InputError, match="2 patches; name one of mass_100, mass_200"):
        read(small(), path)
    with pytest.raises(InputError, match="no patch 'mass_300'"):
        read(small(), path, patch_name="mass_300")
    with pytest.raises(InputError, match="does not fit"):
        read(small(), [{"op": "replace", "path": "/channels/7/name", "value": "x"}])
    with pytest.raises(InputError, match="does not fit"):
        read(small(), [{"nonsense": 1}])
    with pytest.raises(InputError, match="not a patch"):
        read(small(), {"patches": 3})
    with pytest.raises(InputError, match="no patches"):
        read(small(), {"patches": []})
    with pytest.raises(InputError, match="two patches of one name"):
        read(small(), {"patches": patchset()["patches"][:1] * 2}, patch_name="mass_100")
    with pytest.raises(InputError, match="does not fit"):
        read(small(), [{"op": "replace", "path": "", "value": 3}])


def test_patchset_of_another_workspace() -> None:
    patches = patchset()
    patches["metadata"]["digests"] = {"md5": pyhf.utils.digest(small(), "md5"), "sha256": pyhf.utils.digest(small())}
    expected = read(small(), patches, patch_name="mass_200").expected({})
    other = rename(small(), parameters={"mu": "strength"})
    with pytest.raises(InputError, match=r"made for another workspace: its (md5|sha256).*--patch-any"):
        read(other, patches, patch_name="mass_200")
    assert read(other, patches, patch_name="mass_200", any_workspace=True).expected({}).tolist() == expected.tolist()


def test_digests_that_cannot_be_checked_are_not_passed_over() -> None:
    patches, right = patchset(), pyhf.utils.digest(small())
    for digests in ({"sha256": f" {right.upper()}"}, {"SHA256": right}, {}):
        patches["metadata"]["digests"] = digests
        read(small(), patches, patch_name="mass_200")
    for digests, words in (({"SHA256": "0"}, "another workspace"), ({"crc": "0"}, "crc cannot be checked.*--patch-any"),
                           ([right], "texts by algorithm"), ({"sha256": 5}, "texts by algorithm")):  # fmt: skip
        patches["metadata"]["digests"] = digests
        with pytest.raises(InputError, match=words):
            read(small(), patches, patch_name="mass_200")
        read(small(), patches, patch_name="mass_200", any_workspace=True)
    patches["patches"][0]["metadata"]["values"] = 5
    with pytest.raises(InputError, match="values of patch 'mass_100' must be a list"):
        described(patches)


def test_measurements_and_interest() -> None:
    spec = small()
    spec["measurements"].append({"name": "other", "config": {"poi": "scale", "parameters": []}})
    assert read(spec).poi == "mu"
    assert read(spec, measurement="other").poi == "scale"
    assert read(spec, poi="shape").poi == "shape"
    assert read(spec, poi="").poi is None
    with pytest.raises(InputError, match="no measurement 'third'"):
        read(spec, measurement="third")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyhf's own use of jsonschema
def test_what_is_written_is_what_was_chosen(tmp_path: Path) -> None:
    spec = small()
    held = {"poi": "mu", "parameters": [{"name": "scale", "fixed": True, "inits": [0.5]}]}
    spec["measurements"].append({"name": "other", "config": held})
    model = read(spec, measurement="other", poi="shape")
    write(model, tmp_path / "other.json")
    again = read(tmp_path / "other.json")
    assert again.poi == "shape"
    assert again.parameters == model.parameters != read(spec).parameters
    assert pyhf.Workspace(json.loads((tmp_path / "other.json").read_text())).model().config.poi_name == "shape"


def test_range_without_width_holds_a_parameter() -> None:
    spec = small()
    settings(spec).append({"name": "scale", "bounds": [[0.0, 0.0]]})
    assert [p.name for p in read(spec).parameters if p.fixed] == ["scale"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyhf's own use of jsonschema
def test_interest_in_the_only_bin_of_a_modifier() -> None:
    """pyhf's tests/test_modifiers/issue1720_greedy_staterror.json has such a parameter of interest."""
    spec = small()
    del spec["channels"][0]["samples"][1]
    samples(spec)[0].update(data=[5.0], modifiers=[{"name": "NP", "type": "staterror", "data": [1.5]}])
    spec["observations"][0]["data"] = [4.0]
    spec["measurements"][0]["config"]["poi"] = "NP"
    assert read(spec).poi == "NP[0]"
    assert pyhf.Workspace(spec).model().config.poi_index == 0


def test_values_and_data_are_checked() -> None:
    model = read(small())
    assert model.array({"stat": [1.1, 0.9]})[model.index("stat[1]")] == 0.9
    with pytest.raises(InputError, match="no parameter 'stst'"):
        model.twice_nll({"stst": 1.0})
    with pytest.raises(InputError, match="must be finite"):
        model.twice_nll({"mu": float("nan")})
    with pytest.raises(InputError, match="5 parameter values"):
        model.twice_nll([1.0])
    with pytest.raises(InputError, match="expected 2 counts"):
        model.twice_nll(model.inits, [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="mismatching binnings"):
        model.twice_nll(model.inits, {"SR": [1.0]})
    with pytest.raises(InputError, match="disagree on the channels"):
        model.twice_nll(model.inits, {"CR": [1.0]})
    assert model.twice_nll(model.inits, {"SR": [55.0, 63.0]}) == model.twice_nll(model.inits)


def test_model_form_has_no_data() -> None:
    spec = {"channels": small()["channels"]}
    model = read(spec)
    assert model.observed is None
    with pytest.raises(InputError, match="no observed data"):
        model.split()
    with pytest.raises(InputError, match="no observed data"):
        write(model, "never.json")


def test_write_and_read_back(tmp_path: Path) -> None:
    model = read(small())
    for form in ("histfactory", "hs3"):
        write(model, tmp_path / f"{form}.json", format=form)  # type: ignore[arg-type]
        again = read(tmp_path / f"{form}.json")
        for mu in (0.0, 2.0):
            values = {"mu": mu, "scale": 0.5, "shape": -1.2, "stat[1]": 1.05}
            assert again.twice_nll(values) == pytest.approx(model.twice_nll(values), abs=1e-9)
    with pytest.raises(InputError, match="unknown format"):
        write(model, tmp_path / "x", format="yaml")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="interpolation"):
        write(read(small(), interpolation={"normsys": "code1"}), tmp_path / "x")
    with pytest.raises(InputError, match="unknown interpolation 'code9'"):
        read(small(), interpolation={"normsys": "code9"})
    assert not (tmp_path / "x").exists()


@given(st.recursive(st.none() | st.floats() | st.text(max_size=4), lambda x: st.lists(x, max_size=3) | st.dictionaries(
    st.sampled_from(["channels", "name", "samples", "data", "modifiers", "observations", "measurements", "version",
                     "distributions", "analyses", "likelihoods", "type"]), x, max_size=4), max_leaves=12))  # fmt: skip
def test_rubbish_never_escapes(document: Any) -> None:
    with pytest.raises(InputError):
        read(document if isinstance(document, dict) else {"channels": document})


@given(st.data())
def test_damaged_workspaces_never_escape(data: st.DataObject) -> None:
    """One value somewhere replaced by rubbish: read works, or says why not."""
    spec = small()
    node: Any = spec
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.integers(0, 5)) == 0:
            break
        node = node[key]
    node[key] = data.draw(
        st.sampled_from([None, -1.0, 0.0, 1e308, float("nan"), "mu", [], {}, [1.0], [[]], True, "lumi"])
    )
    try:
        model = read(spec)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(model.inits).all()


def test_rename_keeps_the_likelihood() -> None:
    spec = rename(small(), channels={"SR": "signal region"}, parameters={"mu": "strength"})
    assert read(spec).poi == "strength"
    assert read(spec).twice_nll({"strength": 0.7}) == read(small()).twice_nll({"mu": 0.7})
    with pytest.raises(InputError, match="cannot rename nu"):
        rename(small(), parameters={"nu": "x"})


@pytest.mark.parametrize("width", [1e308, 1e-200])
def test_errors_whose_square_is_no_number_are_refused(width: float) -> None:
    parameter = {"name": "lumi", "auxdata": [1.0], "sigmas": [width], "inits": [1.0], "bounds": [[0.5, 1.5]]}
    samples = [
        {"name": "s", "data": [5.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [50.0], "modifiers": [{"name": "lumi", "type": "lumi", "data": None}]},
    ]
    content = {
        "channels": [{"name": "c", "samples": samples}],
        "observations": [{"name": "c", "data": [52.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [parameter]}}],
        "version": "1.0.0",
    }
    with pytest.raises(InputError, match=r"lumi.*out of the range of floating-point numbers"):
        read(content)
