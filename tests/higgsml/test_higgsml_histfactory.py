"""A binned method as a HistFactory workspace."""

import json
from pathlib import Path

import numpy as np
import pytest

from bumpfit import workspace as workspaces
from bumpfit.errors import InputError
from bumpfit.higgsml.grid import grid_model
from bumpfit.higgsml.histfactory import difference, workspace
from bumpfit.higgsml.likelihood import Model, response_model


def model(simulated: float = 0.0) -> Model:
    rng = np.random.default_rng(1)
    yields = np.array([[4, 9000, 300, 30], [9, 800, 80, 10], [14, 90, 20, 3], [12, 15, 3, 1]], dtype=float)
    response = rng.normal(0, 0.01, (4, 4, 9)) * np.array([1, 1, 0.1, 0.1, 0.1, 0.0005, 0.1, 0.01, 0.01])
    return response_model(yields, response, simulated=np.full(4, simulated))


def test_the_workspace_is_exact_at_the_templates() -> None:
    exact = model()
    written = workspaces.read(workspace(exact))
    for mu, at in ((1.0, {}), (0.3, {"tes": 1.0}), (2.0, {"jes": -1.0}), (1.0, {"soft_met": 1.0}),
                   (1.0, {"ttbar_scale": 1.0}), (1.5, {"diboson_scale": -1.0}), (1.0, {"bkg_scale": 1.0})):  # fmt: skip
        theta = [at.get(name, 0.0) for name in exact.nuisances]
        np.testing.assert_allclose(written.expected({"mu": mu, **at}), exact.expected(mu, theta)[0][0], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pyhf_reads_it(tmp_path: Path) -> None:
    pyhf = pytest.importorskip("pyhf")
    exact = model(simulated=50.0)
    path = tmp_path / "w.json"
    path.write_text(json.dumps(workspace(exact, [9300.0, 900.0, 130.0, 30.0])))
    theirs = pyhf.Workspace(json.loads(path.read_text())).model()
    parameters = theirs.config.suggested_init()
    parameters[theirs.config.par_slice("tes")] = [0.7]
    got = theirs.expected_data(parameters, include_auxdata=False)
    np.testing.assert_allclose(got, workspaces.read(path).expected({"mu": 1.0, "tes": 0.7}), rtol=1e-9)
    errors = [parameter for parameter in theirs.config.par_order if parameter == "simulation"]
    assert errors and theirs.constraint_model.constraints_gaussian is not None


def test_the_difference_is_measured() -> None:
    found = difference(model(), 40)
    assert found.failed <= 2 and abs(found.shift) < 0.3 and found.error_ratio == pytest.approx(1.0, abs=0.15)
    assert max(found.expected["tes"].values()) < max(found.expected["soft_met"].values())
    assert found.expected["soft_met"]["1"] < 1e-9 < found.expected["soft_met"]["1.61"]
    grid = grid_model([0.99, 1.01], [0.99, 1.01], np.ones((2, 2, 2, 3)))
    with pytest.raises(InputError, match="log-quadratic"):
        workspace(grid)
