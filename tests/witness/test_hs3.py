"""HS3: our documents in RooFit and RooFit's in ours give the same likelihood (runs where ROOT is installed)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import random_workspace

from bumpfit import shapes
from bumpfit.errors import InputError
from bumpfit.histograms import from_counts
from bumpfit.workspace import Model, build, read, write
from bumpfit.workspace.hs3_write import hs3_name


def points(model: Model, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(4):
        width = np.array([0.6 if p.low < 0 else 0.05 for p in model.parameters])
        x = np.clip(model.inits + width * rng.normal(size=model.inits.size), model.lower, model.upper)
        result.append(np.where([p.fixed for p in model.parameters], model.inits, x))
    return result


def test_round_trip(tmp_path: Path) -> None:
    for seed in range(40):
        model = read(random_workspace(seed))
        write(model, tmp_path / "hs3.json", format="hs3")
        again = read(tmp_path / "hs3.json")
        assert again.poi == model.poi
        assert sorted(again.names) == sorted(model.names)
        for p in model.parameters:
            q = again.parameters[again.index(p.name)]
            assert (q.init, q.low, q.high, q.fixed) == (p.init, p.low, p.high, p.fixed)
        for x in points(model, seed):
            values = dict(zip(model.names, map(float, x), strict=True))
            assert again.twice_nll(values) == pytest.approx(model.twice_nll(values), abs=1e-8)


def import_to_roofit(path: Path) -> tuple[Any, Any, Any]:
    ROOT = pytest.importorskip("ROOT")
    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    workspace = ROOT.RooWorkspace("w")
    tool = ROOT.RooJSONFactoryWSTool(workspace)
    tool.importJSON(str(path))
    config = next(o for o in workspace.allGenericObjects() if isinstance(o, ROOT.RooStats.ModelConfig))
    observables = ROOT.RooFit.GlobalObservables(config.GetGlobalObservables())
    nll = config.GetPdf().createNLL(next(iter(workspace.allData())), ROOT.RooFit.Offset("none"), observables)
    return workspace, tool, nll


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [0, 2, 5, 8, 13, 21])
def test_roofit_reads_ours(tmp_path: Path, seed: int) -> None:
    model = read(random_workspace(seed))
    path = tmp_path / "hs3.json"
    write(model, path, format="hs3")
    workspace, tool, nll = import_to_roofit(path)
    # RooFit cannot export a factor a bin without constraint; it exports relative errors at the current values
    free = any(name.startswith("free[") for name in model.names)
    exported = None if free else json.loads(str(tool.exportJSONtoString()))
    differences = []
    for x in points(model, seed):
        for name, value in zip(model.names, x, strict=True):
            workspace.var(hs3_name(name)).setVal(float(value))
        differences.append(nll.getVal() - model.twice_nll(x) / 2)
    np.testing.assert_allclose(differences, differences[0], atol=1e-6)
    if exported is None:
        return
    back = read(exported)
    for x in points(model, seed):
        values = dict(zip(model.names, map(float, x), strict=True))
        # RooFit rounds statistical errors to seven digits
        assert back.twice_nll(values) - model.twice_nll(values) == pytest.approx(
            back.twice_nll({}) - model.twice_nll({}), abs=1e-5
        )


@pytest.mark.filterwarnings("ignore")
def test_roofit_reads_a_dijet_spectrum(tmp_path: Path) -> None:
    edges = np.linspace(2500.0, 6500.0, 21)
    shape = shapes.dijet(3, reference=4000.0)
    values = shape.array([2.0, 9.0, 5.0])
    counts = np.round(shape.integrate(edges, values))
    spec = build.spectrum_of(from_counts(edges, counts), shape, values, np.exp(-0.5 * (np.arange(20) - 6.0) ** 2))
    model = read(spec)
    path = tmp_path / "hs3.json"
    write(model, path, format="hs3")
    again = read(path)
    workspace, _, nll = import_to_roofit(path)
    differences = []
    for x in (model.inits, model.inits + np.array([0.5, 0.004, -0.003, 0.002])):
        assert again.twice_nll(x) == pytest.approx(model.twice_nll(x), abs=1e-9)
        for name, value in zip(model.names, x, strict=True):
            workspace.var(hs3_name(name)).setVal(float(value))
        differences.append(nll.getVal() - model.twice_nll(x) / 2)
    assert differences[1] == pytest.approx(differences[0], abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_pyhs3_loads_ours(tmp_path: Path) -> None:
    pyhs3 = pytest.importorskip("pyhs3")
    path = tmp_path / "hs3.json"
    write(read(random_workspace(8)), path, format="hs3")
    loaded = pyhs3.Workspace.load(path)
    assert "likelihood" in [a.name for a in loaded.analyses]


def broken(change: str) -> dict[str, Any]:
    from bumpfit.workspace.hs3_write import to_hs3

    document = to_hs3(read(random_workspace(2)))
    first = next(d for d in document["distributions"] if d["type"] == "histfactory_dist")
    gauss = next(d for d in document["distributions"] if d["type"] == "gaussian_dist" and d["name"].startswith("sys"))
    if change == "type":
        first["type"] = "generic_dist"
    elif change == "no analysis":
        document["analyses"] = []
    elif change == "constraint type":
        gauss["type"] = "lognormal_dist"
    elif change == "no value":
        document["parameter_points"] = []
    elif change == "no samples":
        del first["samples"]
    elif change == "modifier":
        first["samples"][0]["modifiers"].append({"name": "x", "type": "bananafactor"})
    elif change == "no data":
        document["data"] = []
    return document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("type", "generic_dist"),
        ("no analysis", "no analyses"),
        ("constraint type", "lognormal_dist"),
        ("no value", "has no value"),
        ("no samples", "'samples' is missing"),
        ("modifier", "bananafactor"),
        ("no data", "binned"),
    ],
)
def test_what_cannot_be_read_is_said(change: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(broken(change))


def test_two_staterrors_in_a_channel_cannot_be_written(tmp_path: Path) -> None:
    spec = random_workspace(2)
    sample = spec["channels"][0]["samples"][-1]
    spec["channels"][0]["samples"][-1]["modifiers"] = [
        {"name": "another", "type": "staterror", "data": [1.0] * len(sample["data"])}
    ]
    with pytest.raises(InputError, match="staterrors another, stat_"):
        write(read(spec), tmp_path / "x.json", format="hs3")
    assert not (tmp_path / "x.json").exists()


@pytest.mark.filterwarnings("ignore")
def test_pyhs3_reads_ours(tmp_path: Path) -> None:
    """Its version 0.4.2 knows only standard Gaussian constraints, builds no staterror and reads shapesys otherwise."""
    pyhs3 = pytest.importorskip("pyhs3")
    import pytensor

    rng = np.random.default_rng(4)
    samples = [
        build.sample(
            "signal", [3.0, 6.0], build.modifier("normfactor", "mu"), build.modifier("normsys", "a", (0.9, 1.2))
        ),
        build.sample(
            "background",
            [50.0, 40.0],
            build.modifier("histosys", "b", ([45.0, 41.0], [56.0, 38.0])),
            build.modifier("normsys", "a", (0.95, 1.03)),
        ),
    ]
    model = read(build.workspace({"SR": samples}, {"SR": [55.0, 47.0]}, "mu"))
    write(model, tmp_path / "hs3.json", format="hs3")
    content = pyhs3.Workspace.load(tmp_path / "hs3.json")
    theirs = content.model(content.analyses[0], progress=False)
    inputs = [v for v in pytensor.graph.basic.graph_inputs([theirs.log_prob]) if v.name]
    free = [v for v in inputs if not isinstance(v, pytensor.graph.basic.Constant)]
    log_prob = pytensor.function(free, theirs.log_prob, on_unused_input="ignore")
    for _ in range(5):
        x = np.clip(model.inits + 0.1 * rng.normal(size=model.inits.size), model.lower, model.upper)
        values = {hs3_name(name): value for name, value in zip(model.names, x, strict=True)} | dict(theirs.data)
        found = log_prob(*[np.asarray(values[v.name], dtype=float) for v in free])
        assert -2 * float(found) == pytest.approx(model.twice_nll(x), abs=1e-9)
