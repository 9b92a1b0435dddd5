"""Many parameters over few bins: the same minimum as the exact Newton steps, with few of them."""

import numpy as np
import pytest

from bumpfit.inference import fit, low_rank, newton
from bumpfit.workspace import build, read
from bumpfit.workspace.model import Model


def wide(parameters: int, bins: int, seed: int, largest: float = 0.05, *, free: bool = True) -> Model:
    """Two backgrounds with many small uncertainties, a free one of them, and a signal."""
    rng = np.random.default_rng(seed)
    yields = [rng.uniform(20, 80, bins) for _ in range(2)]
    sizes = rng.uniform(0.0001, largest, (parameters, 2, 2))
    samples = [build.sample("signal", rng.uniform(0, 10, bins), build.modifier("normfactor", "mu"))]
    for i, content in enumerate(yields):
        scales = [build.modifier("normsys", f"k{j}", (1 - s[i, 0], 1 + s[i, 1])) for j, s in enumerate(sizes)]
        samples.append(
            build.sample(f"b{i}", content, *scales, *[build.modifier("normfactor", "free")] * (free and i == 0))
        )
    counts = rng.poisson(sum(yields) * (1 + 0.1 * rng.normal()))
    return read(
        build.workspace({"SR": samples}, {"SR": counts}, "mu", {"mu": {"bounds": [[-5.0, 5.0]], "inits": [1.0]}})
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_minimum_is_that_of_the_exact_steps(seed: int) -> None:
    model = wide(low_rank.MANY, 10, seed)
    main, aux = model.split()
    free = np.ones(model.inits.size, dtype=bool)
    settings = (model.inits, free, model.lower, model.upper, main, aux, model.compiled, 1e-8, 200)
    x, value, edm, iterations, _, status = low_rank.minimise(*settings)
    y, best, *_ = newton.minimise(*settings)
    assert status == newton.CONVERGED and edm < 1e-8 and iterations < 20
    assert value == pytest.approx(best, abs=1e-8)
    assert x == pytest.approx(y, abs=1e-4)
    assert np.abs(model.gradient(x)).max() < 1e-3


def test_a_saddle_is_left_to_the_exact_steps() -> None:
    """One-sided shapes are flat at their start: the Fisher information does not see that -ln L falls from there."""
    model = wide(low_rank.MANY, 10, 3, 0.0002, free=False)
    spec = model.spec
    background = spec["channels"][0]["samples"][1]
    lower = [0.5 * v for v in background["data"]]
    background["modifiers"].append({"name": "side", "type": "histosys", "data": {"lo_data": lower, "hi_data": lower}})
    spec["observations"][0]["data"] = [0.7 * v for v in spec["observations"][0]["data"]]
    found = fit(read(spec))
    assert found.valid
    assert abs(found.values["side"]) > 0.1


def test_steps_and_changes_of_slope_that_were_seen_hold_in_the_next_step() -> None:
    """The secant equation of BFGS, whatever matrix it begins with; other parameters begin anew."""
    rng = np.random.default_rng(3)
    n = 6
    root = rng.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    solve = low_rank._inverse(rng.uniform(1, 3, n), rng.normal(size=(n, 2)))
    seen, active = low_rank._Seen(), np.ones(n + 1, dtype=bool)
    active[2] = False
    for _ in range(3):
        step = rng.normal(size=n + 1)
        change = np.zeros(n + 1)
        change[active] = hessian @ step[active]
        seen.add(step, change, active)
        assert seen.step(change[active], solve) == pytest.approx(step[active], abs=1e-10)
    assert len(seen.pairs) == 3
    seen.add(step, change, np.ones(n + 1, dtype=bool))
    assert len(seen.pairs) == 1
