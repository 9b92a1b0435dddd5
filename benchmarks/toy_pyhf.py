"""pyhf on a spectrum: its portable workspace, and its best form, one vector modifier exp(directions z)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyhf
from pyhf.parameters import ParamViewer

Problem = tuple[np.ndarray, np.ndarray, np.ndarray]


def q0(folder: Path, problem: Problem, backend: str, optimizer: str, form: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from counts (n, B) to q0 (n,)."""
    pyhf.set_backend(backend, getattr(pyhf.optimize, f"{optimizer}_optimizer")())
    model = custom_model(problem) if form == "custom" else portable_model(folder / "workspace.json")
    return lambda counts: np.array([one(model, n)[0] for n in counts])


def portable_model(path: Path) -> pyhf.Model:
    return pyhf.Workspace(json.loads(path.read_text())).model()


def one(model: pyhf.Model, n: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """q0 of one toy, and the parameters of the fits without and with signal."""
    config = model.config
    value, (null, best) = pyhf.infer.test_statistics.q0(
        0.0, [*n.tolist(), *config.auxdata], model, config.suggested_init(), config.suggested_bounds(),
        config.suggested_fixed(), return_fitted_pars=True,
    )  # fmt: skip
    return float(value), np.asarray(null), np.asarray(best)


def prior_share(spec: dict[str, object], directions: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray]:
    """Width K of the constraints in a portable spectrum, and (n, 2): q0, and what the constraint terms add to it.

    A background parameter is alpha = offset + z / K with the constraint N(alpha; offset, 1), so that -2 ln L has
    the term |z|^2 / K^2, and q0 its difference between the fits without and with signal.
    """
    pyhf.set_backend("numpy", pyhf.optimize.scipy_optimizer(tolerance=1e-12))
    model = pyhf.Workspace(spec).model()
    first = spec["channels"][0]["samples"][0]["modifiers"][0]["data"]  # type: ignore[index]
    width = float(np.log(first["hi"]) / directions[0, 0])
    offset = np.asarray(model.config.auxdata)
    nuisances = [i for i in range(model.config.npars) if i != model.config.poi_index]
    rows = []
    for n in counts:
        value, null, best = one(model, n)
        pulls = [np.sum((found[nuisances] - offset) ** 2) for found in (null, best)]
        rows.append((value, pulls[0] - pulls[1] if value > 0 else 0.0))
    return width, np.array(rows)


def custom_model(problem: Problem) -> pyhf.Model:
    """A pyhf model whose background is one vector modifier, exp(directions z)."""
    rate, directions, signal = problem
    size = directions.shape[1]

    class Builder:
        is_shared = True

        def __init__(self, config):  # type: ignore[no-untyped-def]
            self.builder_data, self.required_parsets, self.config = {}, {}, config

        def append(self, key, channel, sample, thismod, defined_samp):  # type: ignore[no-untyped-def]
            self.builder_data.setdefault(key, {}).setdefault(sample, {}).setdefault("data", {"mask": []})
            self.builder_data[key][sample]["data"]["mask"] += [bool(thismod)] * len(rate)
            if thismod:
                self.required_parsets.setdefault(
                    thismod["name"],
                    [{"paramset_type": "unconstrained", "n_parameters": size, "is_scalar": False,
                      "inits": (1e-6,) * size, "bounds": ((-20.0, 20.0),) * size, "fixed": False}],
                )  # fmt: skip

        def finalize(self):  # type: ignore[no-untyped-def]
            return self.builder_data

    class Applier:
        name, op_code = "spectrum", "multiplication"

        def __init__(self, modifiers, pdfconfig, builder_data, batch_size=None):  # type: ignore[no-untyped-def]
            names = [m for m, _ in modifiers]
            self.viewer = ParamViewer((pdfconfig.npars,), pdfconfig.par_map, names)
            key = f"spectrum/{names[0]}"
            self.mask = np.array([[[builder_data[key][s]["data"]["mask"]] for s in pdfconfig.samples]])

        def apply(self, pars):  # type: ignore[no-untyped-def]
            tensorlib, _ = pyhf.get_backend()
            exponent = tensorlib.einsum("bk,k->b", tensorlib.astensor(directions), self.viewer.get(pars))
            factors = tensorlib.einsum("b,msab->msab", tensorlib.exp(exponent), tensorlib.ones(self.mask.shape))
            return tensorlib.where(
                tensorlib.astensor(self.mask, dtype="bool"), factors, tensorlib.ones(self.mask.shape)
            )

    spec = {"channels": [{"name": "spectrum", "samples": [
        {"name": "background", "data": rate.tolist(),
         "modifiers": [{"name": "z", "type": "spectrum", "data": None}]},
        {"name": "signal", "data": signal.tolist(),
         "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
    ]}]}  # fmt: skip
    modifiers = {**pyhf.modifiers.histfactory_set, "spectrum": (Builder, Applier)}
    return pyhf.Model(spec, poi_name="mu", validate=False, modifier_set=modifiers)
