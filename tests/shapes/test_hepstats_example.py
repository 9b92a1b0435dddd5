"""The discovery example of hepstats, unbinned: its significance is 3.17195."""

import numpy as np
import pytest

from bumpfit import inference, shapes


def test_discovery_of_the_example() -> None:
    generator = np.random.RandomState(0)
    masses = np.concatenate([generator.exponential(0.5, 300), generator.normal(1.2, 0.1, 25)])
    both = shapes.add(shapes.exponential(2, sqrt_s=3.5, reference=1.0), shapes.gaussian())
    found = inference.discovery(
        shapes.unbinned_likelihood(
            both, masses, 0.1, 3.0, fixed={"mass": 1.2, "sigma": 0.1}, limits={"n_signal": (0, None)}
        )
    )
    assert found.z == pytest.approx(3.17195, abs=1e-5)
