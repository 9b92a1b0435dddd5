"""The examples of hepstats, unbinned: significance 3.17195, interval of the mass, upper limit of the yield."""

from typing import Any

import numpy as np
import pytest

from bumpfit import inference, shapes


def example(peak: int, fixed: dict[str, float], **settings: Any) -> shapes.SpectrumLikelihood:
    generator = np.random.RandomState(0)
    masses = np.concatenate([generator.exponential(0.5, 300), generator.normal(1.2, 0.1, peak)])
    both = shapes.add(shapes.exponential(2, sqrt_s=3.5, reference=1.0), shapes.gaussian())
    return shapes.unbinned_likelihood(both, masses, 0.1, 3.0, fixed=fixed, **settings)


def test_discovery_of_the_example() -> None:
    found = inference.discovery(example(25, {"mass": 1.2, "sigma": 0.1}, limits={"n_signal": (0, None)}))
    assert found.z == pytest.approx(3.17195, abs=1e-5)


def test_interval_of_the_example() -> None:
    limits = {"n_signal": (-20, 400), "mass": (0.5, 2.0), "sigma": (0.02, 0.2)}
    found = inference.interval(example(80, {}, limits=limits), "mass", level=0.68)
    assert (found.low, found.high) == pytest.approx((1.1810371, 1.2156702), abs=2e-6)


def test_limit_of_the_example() -> None:
    """hepstats documents 15.7258 observed, on a grid of steps of 1.3. Its expected 11.93 is that grid's and of its 100
    bins; a direct minimisation of -ln L of expected events in 3000 bins, written for this, gives 11.4791."""
    likelihood = example(10, {"mass": 1.2, "sigma": 0.1}, limits={"n_signal": (-20, 400)})
    found = inference.limit(likelihood, parameter="n_signal", statistic="q")
    assert found.observed == pytest.approx(15.7258, rel=1e-4)
    assert found.expected[2] == pytest.approx(11.4791, rel=1e-4)
