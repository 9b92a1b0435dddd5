"""One world runs in numpy, many toys in loops that numba compiles: both are the same functions."""

from typing import Any

import numpy as np
import pytest
from random_models import random_workspace

from bumpfit.workspace import Model, kernels, read
from bumpfit.workspace.model import scratch

PLACES = 4
"""Parameter values at which each model is compared."""


def crowded(seed: int) -> dict[str, Any]:
    """A random workspace in which a sample also has both kinds of factors a bin, on top of each other."""
    spec = random_workspace(seed)
    for channel in spec["channels"]:
        sample = channel["samples"][-2]
        kinds = {m["type"] for m in sample["modifiers"]}
        size = len(sample["data"])
        if "shapesys" not in kinds:
            error = [0.1 * v + 0.1 for v in sample["data"]]
            sample["modifiers"].append({"name": f"more_{channel['name']}", "type": "shapesys", "data": error})
        if "staterror" not in kinds:
            error = [0.05 * v for v in sample["data"]]
            sample["modifiers"].append({"name": f"stat_{channel['name']}", "type": "staterror", "data": error})
        assert size == len(channel["samples"][0]["data"])
    return spec


def parts(model: Model, x: np.ndarray, main: np.ndarray, aux: np.ndarray, *, loops: bool) -> list[np.ndarray]:
    """Rates, -ln L, and derivatives, from the loops as they stand or as Python calls them."""
    rates, objective, derivatives = (
        kernel.py_func if loops else kernel for kernel in (kernels.rates, kernels.objective, kernels.derivatives)
    )
    c = model.compiled
    rate, state = np.empty(c.n_bins), scratch(c)
    rates(x, c, rate, *state)
    jac, hess = np.empty((c.n_parameters, c.n_bins)), np.empty((c.n_parameters, c.n_parameters))
    grad, diagonal = np.empty(c.n_parameters), np.empty(c.n_parameters)
    value = np.array(objective(x, main, aux, c, rate))
    if np.isfinite(value):
        derivatives(x, main, aux, c, rate, *state, jac, grad, hess, diagonal)
    else:
        jac, grad, hess, diagonal = (np.zeros_like(a) for a in (jac, grad, hess, diagonal))
    return [rate, value, *state, jac, grad, hess, diagonal]


@pytest.mark.parametrize("codes", [("code1", "code0"), ("code4", "code4p")])
@pytest.mark.parametrize("seed", range(12))
def test_both_forms_are_the_same_function(seed: int, codes: tuple[str, str]) -> None:
    model = read(crowded(seed), interpolation={"normsys": codes[0], "histosys": codes[1]})
    rng = np.random.default_rng(seed)
    main, aux = model.split()
    for place in range(PLACES):
        x = model.inits + rng.normal(0, 0.8, model.inits.size) * (place > 0)
        x[rng.random(x.size) < 0.1] = 0.0
        x[[p.constraint == "poisson" for p in model.parameters]] = rng.uniform(0.2, 2)
        counts = rng.poisson(main) * 1.0 if place else main * 0.0
        with np.errstate(all="ignore"):
            mine, loops = (parts(model, x, counts, aux, loops=how) for how in (False, True))
        for a, b in zip(mine, loops, strict=True):
            scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * min(scale, 1e6))
