"""Derivatives by matrix products are those of the kernels."""

import numpy as np
import pytest

from bumpfit.workspace import build, large, read
from bumpfit.workspace.model import Model


def busy(seed: int, bins: int = 4) -> Model:
    """Several samples with every type of modifier, two of them on the same bins, and one parameter in two ways."""
    rng = np.random.default_rng(seed)
    samples = [build.sample("signal", rng.uniform(0, 5, bins), build.modifier("normfactor", "mu"))]
    for name in "ab":
        yields = rng.uniform(20, 60, bins)
        up, down = yields * rng.uniform(1, 1.3, bins), yields * rng.uniform(0.7, 1.1, bins)
        samples.append(
            build.sample(
                name,
                yields,
                build.modifier("normsys", "both", (0.8, 1.3)),
                build.modifier("histosys", "both", (down, up)),
                build.modifier("histosys", f"shape_{name}", (yields - 2, yields + 1)),
                build.modifier("normsys", "scale", (0.9, 1.2)),
                build.modifier("staterror", "stat", 0.1 * yields),
                build.modifier("shapesys", f"free_{name}", 0.2 * yields),
            )
        )
    return read(build.workspace({"SR": samples}, {"SR": rng.poisson(90, bins)}, "mu"))


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_are_those_of_the_kernels(seed: int) -> None:
    model = busy(seed)
    rng = np.random.default_rng(seed)
    main, aux = model.split()
    assert not large.is_large(model.compiled)
    for _ in range(3):
        x = np.clip(model.inits + rng.normal(0, 0.4, model.inits.size), np.maximum(model.lower, -3), model.upper)
        expected = model._derivatives(x, main, aux)
        for mine, theirs in zip(large.hessian(x, main, aux, model.compiled), expected, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-10, abs=1e-10 * np.abs(theirs).max())


def test_formulas_and_correlations_are_left_to_the_kernels() -> None:
    spec = build.workspace(
        {"SR": [build.sample("s", [5.0] * 2, *(build.modifier("normsys", f"k{i}", (0.9, 1.1)) for i in range(500)),
                             build.modifier("normfactor", "mu"))]},
        {"SR": [5.0, 6.0]}, "mu",
    )  # fmt: skip
    assert large.is_large(read(spec).compiled)
    spec["measurements"][0]["config"]["correlations"] = [{"parameters": ["k0", "k1"], "matrix": [[1, 0.5], [0.5, 1]]}]
    assert not large.is_large(read(spec).compiled)
