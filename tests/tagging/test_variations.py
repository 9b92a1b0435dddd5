"""Systematic variations: varied templates by hand, and what pyhf makes of the workspace at +1, -1 and in the fit."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyhf
import pytest

from bumpfit.errors import InputError
from bumpfit.events import dataset as sets
from bumpfit.events.dataset import Dataset
from bumpfit.tagging import Setup, Variation, Varied, prospects, scaled

pytest.importorskip("awkward")

EDGES = (0.0, 40.0, 80.0, 120.0, 1000.0)
SETUP = Setup(luminosity=1.0, cross_sections={"qcd": 2.0, "w": 0.05}, edges=EDGES)
CUT = "mass > 30"


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    n = 4000
    return {"qcd": {"mass": rng.exponential(60, n)}, "w": {"mass": rng.normal(80, 12, n)}}


def built(tables: dict[str, dict[str, np.ndarray]], factor: float = 1.0) -> Dataset:
    moved = {name: {"mass": columns["mass"] * factor} for name, columns in tables.items()}
    return sets.build(moved, ["mass"], cuts=[CUT]).split(0.5, 0.5, seed=3)


def mass(data: Dataset) -> Varied:
    return Varied(data, data.samples[:, 0])


def expected(spec: object, **parameters: float) -> np.ndarray:
    """Expected main counts of pyhf with one parameter moved."""
    model = pyhf.Workspace(spec).model()
    values = np.array(model.config.suggested_init())
    for name, value in parameters.items():
        values[model.config.par_slice(name)] = value
    return np.asarray(model.expected_data(values, include_auxdata=False), dtype=float)


def by_hand(tables: dict[str, dict[str, np.ndarray]], factor: float) -> np.ndarray:
    """Cross-section x luminosity x the fraction of all generated events in each bin."""
    total = np.zeros(4)
    for name, sigma in SETUP.cross_sections.items():
        x = tables[name]["mass"] * factor
        total += sigma * 1000 * np.histogram(x[x > 30], EDGES)[0] / len(x)
    return total


def test_pyhf_gives_the_varied_templates(tables: dict[str, dict[str, np.ndarray]]) -> None:
    """At +1 and -1 pyhf expects what the varied events say, efficiency of the cut and shape together."""
    data, up, down = (built(tables, factor) for factor in (1.0, 1.1, 0.9))
    found = prospects(
        data, data.samples[:, 0], SETUP, name="mass", part=None, variations={"jes": Variation(mass(up), mass(down))}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for alpha, factor in ((0.0, 1.0), (1.0, 1.1), (-1.0, 0.9)):
            np.testing.assert_allclose(expected(found.workspace, jes=alpha), by_hand(tables, factor), rtol=2e-6)
    kinds = {(m["type"], m["name"]) for s in found.workspace["channels"][0]["samples"] for m in s["modifiers"]}
    assert {("normsys", "jes"), ("histosys", "jes")} <= kinds
    assert found.to_dict()["variations"]["jes"]["w"]["up"] == pytest.approx(
        50 * np.histogram(tables["w"]["mass"] * 1.1, EDGES)[0] / 4000 * [0, 1, 1, 1]
        + [50 * np.mean((tables["w"]["mass"] * 1.1 > 30) & (tables["w"]["mass"] * 1.1 < 40)), 0, 0, 0]
    )


def test_significance_with_a_variation_like_signal_agrees_with_pyhf(tables: dict[str, dict[str, np.ndarray]]) -> None:
    """Background that may be 20 % larger under the peak: what pyhf expects, and less than without."""
    data = built(tables)
    under = (data.targets == 0) & (np.abs(data.samples[:, 0] - 80) < 25)
    setup = replace(SETUP, edges=(0.0, 55.0, 105.0, 1000.0), luminosity=3.0)
    shifted = Variation(mass(replace(data, weights=np.where(under, 1.2, 1.0))))
    found = prospects(data, data.samples[:, 0], setup, name="mass", part=None, variations={"model": shifted})
    free = prospects(data, data.samples[:, 0], setup, name="mass", part=None)
    assert found.expected.z < 0.8 * free.expected.z and found.limit.expected[2] > 1.2 * free.limit.expected[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pyhf.Workspace(found.workspace).model()
        toy = model.expected_data(model.config.suggested_init())
        p = pyhf.infer.hypotest(0.0, toy, model, test_stat="q0")
        cls = pyhf.infer.hypotest(
            found.limit.expected[2], list(found.data) + list(model.config.auxdata), model, return_expected_set=True
        )[1][2]
    assert found.expected.p == pytest.approx(float(p), rel=2e-3)
    assert float(cls) == pytest.approx(0.05, rel=0.01)


def test_shape_alone_one_side_and_one_class(tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    up = sets.build({"qcd": {"mass": tables["qcd"]["mass"] * 1.1}}, ["mass"], cuts=[CUT])
    found = prospects(
        data, data.samples[:, 0], replace(SETUP, variation_norms=False), name="mass", part=None,
        variations={"jes": Variation(mass(up))},
    )  # fmt: skip
    assert list(found.variations["jes"]) == ["qcd"]
    n, high, low = (np.array(v) for v in (found.yields["qcd"], *found.variations["jes"]["qcd"].to_dict().values()))
    assert high.sum() == pytest.approx(n.sum()) and low.sum() == pytest.approx(n.sum())
    np.testing.assert_allclose(low, 2 * n - high)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shift = expected(found.workspace, jes=1.0) - expected(found.workspace, jes=0.0)
    np.testing.assert_allclose(shift, high - n, atol=1e-6)
    names = [m["type"] for m in found.workspace["channels"][0]["samples"][0]["modifiers"] if m["name"] == "jes"]
    assert names == ["histosys"]


def test_mirrored_total(tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    found = prospects(
        data, data.samples[:, 0], replace(SETUP, edges=(0.0, 400.0)), name="mass", part=None,
        variations={"jes": Variation(mass(built(tables, 1.1)))},
    )  # fmt: skip
    n, (high, low) = found.yields["qcd"][0], (v[0] for v in found.variations["jes"]["qcd"].to_dict().values())
    x = tables["qcd"]["mass"]
    assert high / n == pytest.approx(np.sum(x * 1.1 > 30) / np.sum(x > 30)) and low / n == pytest.approx(n / high)
    kinds = [m["type"] for m in found.workspace["channels"][0]["samples"][0]["modifiers"] if m["name"] == "jes"]
    assert kinds == ["normsys"]  # one bin has no shape


def test_weights_that_are_expected_events_are_taken_as_they_are(tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    heavier = replace(data, weights=data.weights * 1.2)
    setup = Setup(edges=EDGES)
    found = prospects(data, data.samples[:, 0], setup, name="mass", part=None,
                      variations={"scale": Variation(mass(heavier))})  # fmt: skip
    np.testing.assert_allclose(found.variations["scale"]["w"].up, 1.2 * np.array(found.yields["w"]))
    unknown = replace(heavier, provenance={})
    found = prospects(data, data.samples[:, 0], SETUP, name="mass", part=None,
                      variations={"scale": Variation(mass(unknown))})  # fmt: skip
    np.testing.assert_allclose(found.variations["scale"]["w"].up, found.yields["w"])
    assert any("its shape alone is varied" in note for note in found.notes)


def test_scaled_feature(tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    np.testing.assert_allclose(scaled(data, "mass", 1.03).samples[:, 0], data.samples[:, 0] * np.float32(1.03))
    with pytest.raises(InputError, match="has no 'pt'; its features are mass"):
        scaled(data, "pt", 1.0)


def test_no_training_event_is_in_a_varied_template(tables: dict[str, dict[str, np.ndarray]], tmp_path: Path) -> None:
    files = {}
    for name, columns in tables.items():
        files[name] = str(tmp_path / f"{name}.parquet")
        pd.DataFrame(columns).to_parquet(files[name])
    data = sets.build(files, ["mass"], cuts=[CUT]).split(0.5, 0.5, seed=3)
    looser = sets.build(files, ["mass"], cuts=["mass > 20"])
    ask = {"name": "score", "part": "test"}
    for bad in (looser, looser.split(0.5, 0.5, seed=3)):
        with pytest.raises(InputError, match="are training events of the data set"):
            prospects(data, data.samples[:, 0], SETUP, variations={"cut": Variation(mass(bad))}, **ask)  # type: ignore[arg-type]
    good = prospects(
        data,
        data.samples[:, 0],
        SETUP,
        variations={"cut": Variation(mass(looser.split_as(data)))},
        **ask,  # type: ignore[arg-type]
    )
    assert good.notes == () and json.dumps(good.to_dict())
    moved = built(tables, 1.1)  # other files: it cannot be known whether these are the same events
    told = prospects(data, data.samples[:, 0], SETUP, variations={"jes": Variation(mass(moved))}, **ask)  # type: ignore[arg-type]
    assert any("--split-as" in note for note in told.notes)


@pytest.mark.parametrize("name", ["mu", "lumi", "xsec_qcd", "stat_mass", " "])
def test_names_of_parameters_are_taken(name: str, tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    with pytest.raises(InputError, match="cannot be called"):
        prospects(data, data.samples[:, 0], SETUP, name="mass", variations={name: Variation(mass(data))})


def test_refusals(tables: dict[str, dict[str, np.ndarray]]) -> None:
    data = built(tables)
    one = sets.build({"qcd": tables["qcd"]}, ["mass"])
    strange = sets.build({"top": tables["qcd"]}, ["mass"])
    for variation, message in (
        (Variation(mass(data), mass(one)), "has the classes qcd, w upwards and qcd downwards"),
        (Variation(mass(strange)), "has the class 'top'; the data set has qcd, w"),
        (Variation(Varied(one, [1.0])), "values of shape"),
        (Variation(Varied(one, np.full(len(one), np.nan))), "leaves no events of 'qcd'"),
    ):
        with pytest.raises(InputError, match=message):
            prospects(data, data.samples[:, 0], SETUP, name="mass", part=None, variations={"v": variation})
