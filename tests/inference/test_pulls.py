"""Pulls of several fits side by side."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bumpfit import inference, workspace
from bumpfit.cli import application
from bumpfit.errors import InputError
from bumpfit.workspace import build


def made(observed: tuple[float, float] = (60.0, 45.0), *, extra: bool = False) -> dict:
    """Two bins: a signal, and a background with a normalisation of 10 % and a factor a bin."""
    effects = [build.modifier("normsys", "norm", (0.9, 1.1)), build.modifier("shapesys", "bins", (5.0, 4.0))]
    if extra:
        effects.append(build.modifier("normsys", "other", (0.95, 1.05)))
    samples = [
        build.sample("signal", np.array([5.0, 10.0]), build.modifier("normfactor", "mu", None)),
        build.sample("background", np.array([50.0, 30.0]), *effects),
    ]
    return build.workspace({"region": samples}, {"region": np.array(observed)}, "mu")


def test_pulls_and_constraints_by_hand() -> None:
    """(value - centre) / width and error / width: 0 and 1 for the normalisation, 1 and (sigma / b) for the bins."""
    model = workspace.read(made())
    best = inference.fit(model)
    found = inference.pulls({"all": (model, best)})
    rows = {row.parameter: row for row in found.rows}
    assert rows["norm"].pulls == (best.values["norm"],) and rows["norm"].constraints == (best.errors["norm"],)
    assert rows["bins[0]"].pulls[0] == pytest.approx((best.values["bins[0]"] - 1.0) / 0.1)
    assert rows["bins[1]"].constraints[0] == pytest.approx(best.errors["bins[1]"] / (4.0 / 30.0))
    assert set(rows) == {"norm", "bins[0]", "bins[1]"}  # mu has no constraint


def test_the_pulls_are_those_of_the_impacts() -> None:
    model = workspace.read(made())
    known = {row.parameter: (row.pull, row.constraint) for row in inference.impacts(model).impacts}
    found = inference.pulls({"all": (model, inference.fit(model))})
    for row in found.rows:
        assert (row.pulls[0], row.constraints[0]) == pytest.approx(known[row.parameter], abs=1e-6)


def test_several_fits_and_what_some_do_not_have() -> None:
    one, two = workspace.read(made()), workspace.read(made((80.0, 60.0), extra=True))
    fits = {"a": (one, inference.fit(one)), "b": (two, inference.fit(two, fixed={"norm": 0.0}))}
    found = inference.pulls(fits)
    rows = {row.parameter: row for row in found.rows}
    assert rows["other"].pulls[0] is None and rows["other"].pulls[1] is not None and rows["other"].spread == 0
    assert rows["norm"].pulls[1] is None and rows["norm"].constraints[1] is None  # held
    spreads = [row.spread for row in found.rows]
    assert spreads == sorted(spreads, reverse=True) and spreads[0] > 0
    header, table = found._table()
    assert header[:3] == ("parameter", "pull (a)", "constraint (a)") and len(table) == len(found.rows)


def test_fits_without_an_answer() -> None:
    model = workspace.read(made())
    best = inference.fit(model)
    with pytest.raises(InputError, match="no fit to compare"):
        inference.pulls({})
    with pytest.raises(InputError, match="'a' is not converged"):
        inference.pulls({"a": (model, dataclasses.replace(best, valid=False, status="not converged"))})
    held = dict.fromkeys(("norm", "bins[0]", "bins[1]"), 0.0) | {"bins[0]": 1.0, "bins[1]": 1.0}
    with pytest.raises(InputError, match="no free parameter"):
        inference.pulls({"a": (model, inference.fit(model, fixed=held))})


def test_the_command(tmp_path: Path) -> None:
    """All roads agree: --json, Python; one workspace is fitted with its strength free and at 0."""
    for name, content in (("one", made()), ("two", made((80.0, 60.0), extra=True))):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    run, app = CliRunner().invoke, application()
    out = json.loads(run(app, ["pulls", str(tmp_path / "one.json"), "--json"]).stdout)
    model = workspace.read(made())
    fits = {"free": (model, inference.fit(model)), "mu = 0": (model, inference.fit(model, fixed={"mu": 0.0}))}
    assert out["fits"] == ["free", "mu = 0"]
    assert out["rows"] == inference.pulls(fits).to_dict()["rows"]
    both = [str(tmp_path / "one.json"), str(tmp_path / "two.json")]
    shown = run(app, ["pulls", *both, "--names", "2022,all", "--figure", str(tmp_path / "f.png")])
    assert shown.exit_code == 0 and "2022" in shown.stdout and "other" in shown.stdout
    assert (tmp_path / "f.png").stat().st_size > 5000
    for words in (["--names", "a,a"], ["--names", "a"]):
        assert isinstance(run(app, ["pulls", *both, *words]).exception, InputError)
