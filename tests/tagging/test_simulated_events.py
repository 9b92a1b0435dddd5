"""What simulated events know about the background: against Cowan's formula, and exact probabilities without signal."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from bumpfit import inference, workspace
from bumpfit.histograms import from_counts
from bumpfit.scoring.significance import asimov
from bumpfit.tagging import Setup
from bumpfit.tagging.prospects import build
from bumpfit.tagging.templates import Templates

PLAIN = Setup(luminosity_error=0.0, background_error=0.0)
EDGES = np.array([0.0, 1.0])


def made(s: float, b: float, k: float, label: str = "qcd") -> Templates:
    """One bin: s signal events of many simulated ones, b background events of k simulated ones."""
    background = from_counts(EDGES, [b], [b * b / k])
    return Templates("x", EDGES, {label: background, "new": from_counts(EDGES, [s], [s * 1e-6])}, {})


@pytest.mark.parametrize(("s", "b", "k"), [(10, 10, 10), (20, 10, 10), (100, 100, 10), (10, 10, 100), (30, 30, 1000)])
def test_the_expected_significance_is_cowans(s: float, b: float, k: float) -> None:
    """Eq. 20 of Cowan et al. holds for a Poisson constraint up to the size of its tail: 12 % with ten events."""
    model = workspace.read(build(made(s, b, k), "new", PLAIN))
    z = inference.discovery(model, inference.asimov(model, 1.0, fitted=False)).z
    assert z == pytest.approx(on_off(s + b, k, k / b), rel=1e-5)
    assert z == pytest.approx(float(asimov(s, b, b / np.sqrt(k))), rel=0.02)


def on_off(n: float, m: float, tau: float) -> float:
    """Li and Ma, Astrophys. J. 272 (1983) 317, eq. 17."""
    if n <= m / tau:
        return 0.0
    b = (n + m) / (1 + tau)
    return float(np.sqrt(2 * (n * np.log(n / b) + (m * np.log(m / (tau * b)) if m > 0 else 0.0))))


def false_rate(b: float, k: int, z: float) -> float:
    """P(Z > z) without signal, data and simulation redrawn, by summing over all of them."""
    n, m = np.arange(int(b + 12 * np.sqrt(b) + 30)), np.arange(int(k + 8 * np.sqrt(k) + 20))
    beyond = np.array([[on_off(i, j, k / b) > z for j in m] for i in n])
    return float(poisson.pmf(n, b) @ beyond @ poisson.pmf(m, k))


@pytest.mark.parametrize(
    ("b", "k", "most"), [(10.0, 10, 1.15), (30.0, 10, 1.3), (10.0, 100, 1.02), (30.0, 100, 1.02), (100.0, 100, 1.02)]
)
def test_without_signal_three_sigma_is_nearly_nominal(b: float, k: int, most: float) -> None:
    """Signal and background under one Gaussian factor had 19 and 43 times the nominal rate at (10, 10) and (30, 10)."""
    assert 0.85 < false_rate(b, k, 3.0) / norm.sf(3.0) < most
    for n, m in ((int(b + 4 * np.sqrt(b)), k), (int(b + 5 * np.sqrt(b)), max(k // 2, 1)), (int(b), k)):
        spec = build(made(20.0, m * b / k, m), "new", PLAIN, np.array([float(n)]))
        assert inference.discovery(workspace.read(spec)).z == pytest.approx(on_off(n, m, k / b), abs=1e-4)


def test_classes_keep_their_own_simulated_events() -> None:
    """Two backgrounds: each has its own parameters; the signal has none."""
    first, second = made(10.0, 20.0, 25.0), made(10.0, 5.0, 400.0, "top")
    both = Templates("x", EDGES, {**second.histograms, **first.histograms}, {})
    spec = build(both, "new", PLAIN)
    kinds = {s["name"]: [m["type"] for m in s["modifiers"]] for s in spec["channels"][0]["samples"]}
    assert kinds == {"top": ["shapesys"], "new": ["normfactor"], "qcd": ["shapesys"]}
    z = inference.discovery(model := workspace.read(spec), inference.asimov(model, 1.0, fitted=False)).z
    assert z == pytest.approx(float(asimov(10, 25, np.hypot(20 / 5, 5 / 20))), rel=0.02)
