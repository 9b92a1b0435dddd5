"""Exact second derivatives of shapes against differences of the exact slopes."""

import numpy as np
import pytest

from bumpfit import histograms, shapes
from bumpfit.shapes.shape import Shape

EDGES = np.linspace(3000.0, 5000.0, 21)
TEMPLATE = histograms.from_counts(EDGES, np.arange(20.0) + 1)
PEAK = [250.0, 3900.0, 120.0]
CASES = [
    (shapes.dijet(4, reference=3500.0), [50.0, 8.0, 5.0, 0.3]),
    (shapes.exponential(3, reference=3500.0), [50.0, 8.0, 5.0]),
    (shapes.gaussian(), PEAK),
    (shapes.double_crystal_ball(), [*PEAK, 1.2, 4.0, 1.8, 6.0]),
    (shapes.tie(shapes.gaussian(), sigma=(10.0, 0.01, 3e-6)), PEAK[:2]),
    (shapes.add(shapes.dijet(3, reference=3500.0), shapes.gaussian()), [50.0, 8.0, 5.0, *PEAK]),
    (shapes.bernstein(4, 3000.0, 5000.0), [4.0, 3.0, 1.0, 0.4]),
    (shapes.template(TEMPLATE), [300.0]),
    (shapes.modified_exponential(3, reference=3500.0), [50.0, -20.0, 1.3]),
]


def differenced(shape: Shape, slope, values: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Second derivatives by plain central differences along the axes of the shape."""

    def along(change: np.ndarray) -> np.ndarray:
        point = shape.moved(values, change)
        return (slope(point) * shape.units(point)) @ directions

    return np.array([(along(1e-3 * d) - along(-1e-3 * d)) / 2e-3 for d in directions.T])


@pytest.mark.parametrize(("shape", "values"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_second_derivatives(shape: Shape, values: list[float]) -> None:
    point, rng = np.array(values), np.random.default_rng(1)
    scale = np.where(shape.positive, 0.01, 0.01 * np.maximum(np.abs(point), 1e-3))
    directions = scale[:, None] * rng.normal(size=(point.size, point.size + 1))
    weights = rng.normal(size=20)
    found = shape.curvature(EDGES, values, weights, directions)
    wanted = differenced(shape, lambda p: weights @ shape.gradient(EDGES, p), point, directions)
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max() + 1e-9)
    x = rng.uniform(3000, 5000, 20)
    found = shape.density_curvature(x, values, weights, directions)
    wanted = differenced(shape, lambda p: weights @ shape.density_gradient(x, p), point, directions)
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max() + 1e-9)
