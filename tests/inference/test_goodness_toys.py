"""Goodness of fit with toys by brute force: the same toys fitted by scipy with likelihoods written out here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import xlogy
from scipy.stats import multivariate_normal

from bumpfit import toys
from bumpfit.inference import goodness, prepare
from bumpfit.toys import Toys
from bumpfit.toys.law import _saturated
from bumpfit.workspace import build, read

Floats = NDArray[np.float64]
N = 40


def ratio(n: Floats, mean: Floats) -> float:
    """ln of the Poisson probability of n over that with n as the mean."""
    return float(np.sum(xlogy(n, mean) - mean - xlogy(n, n) + n))


@dataclasses.dataclass(frozen=True)
class Kind:
    """A model and its parts: of each channel samples (yields, factors, factors of bins, shapes low and high)."""

    samples: dict[str, list[tuple[list[float], list[str], list[str], dict[str, tuple[list[float], list[float]]]]]]
    data: dict[str, list[float]]
    alphas: tuple[str, ...] = ()
    covariance: Any = ()
    tau: Any = ()  # of bins "st"
    config: Any = dataclasses.field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        m, channels = build.modifier, {}
        for channel, samples in self.samples.items():
            channels[channel] = [
                build.sample(
                    f"s{k}", y, *(m("normfactor", f) for f in factors),
                    *(m("histosys", a, x) for a, x in shapes.items()),
                    *(m("staterror", b, list(np.array(y) / np.sqrt(self.tau))) if b == "st" else m("shapefactor", b)
                      for b in bins),
                )
                for k, (y, factors, bins, shapes) in enumerate(samples)
            ]  # fmt: skip
        settings = {"mu": {"bounds": [[-10.0, 20.0]]}, **self.config.get("settings", {})}
        found = build.workspace(channels, self.data, "mu", settings)
        if "correlations" in self.config:
            found["measurements"][0]["config"]["correlations"] = self.config["correlations"]
        return found

    def expected(self, at: dict[str, float]) -> Floats:
        """Polynomial interpolation of shapes within one standard deviation, lines outside (Conway, PHYSTAT 2011)."""
        rates = []
        for samples in self.samples.values():
            total = np.zeros(len(samples[0][0]))
            for y, factors, bins, shapes in samples:
                nominal = np.array(y)
                value = nominal.copy()
                for name, (low, high) in shapes.items():
                    a, up, down = at[name], np.array(high) - nominal, nominal - np.array(low)
                    inside = 0.5 * (up + down) + a * (up - down) / 16 * (15 + a * a * (3 * a * a - 10))
                    value += a * (inside if abs(a) < 1 else up if a > 0 else down)
                value *= np.prod([at[f] for f in factors]) if factors else 1.0
                for b in bins:
                    value *= np.array([at[f"{b}[{i}]"] for i in range(nominal.size)])
                total += value
            rates.append(total)
        return np.concatenate(rates)

    def twice_nll(self, at: dict[str, float], main: Floats, aux: Floats) -> float:
        rate = self.expected(at)
        if not (rate > 0).all():
            return 1e9
        total = ratio(main, rate)
        if self.alphas:
            pull = aux - np.array([at[a] for a in self.alphas])
            law = multivariate_normal(np.zeros(len(self.alphas)), self.covariance)
            total += law.logpdf(pull) - law.logpdf(0 * pull)
        if len(self.tau):
            gamma = np.array([at[f"st[{i}]"] for i in range(len(self.tau))])
            total += ratio(aux, self.tau * gamma)
        return float(-2 * total)


SHAPE = ([34.0, 22.0, 13.0], [47.0, 30.0, 14.0])
B, S = [40.0, 25.0, 12.0], [3.0, 6.0, 5.0]
OTHER = ([38.0, 27.0, 10.0], [41.0, 22.0, 15.0])
SIGNAL: Any = (S, ["mu"], [], {})
KINDS = {
    "histosys of two sides": Kind({"a": [SIGNAL, (B, [], [], {"h": SHAPE})]}, {"a": [52.0, 29.0, 21.0]}, ("h",), [[1]]),
    "staterror Poisson": Kind(
        {"a": [SIGNAL, (B, [], ["st"], {})]}, {"a": [47.0, 22.0, 25.0]}, tau=np.array([60.0, 30.0, 20.0]),
        config={"settings": {"st": {"constraint": "poisson"}}},
    ),
    "shapefactor": Kind(
        {"a": [SIGNAL, (B, [], ["f"], {})], "b": [([80.0, 50.0, 24.0], [], ["f"], {})], "c": [(B, ["k"], [], {})]},
        {"a": [47.0, 36.0, 25.0], "b": [88.0, 47.0, 26.0], "c": [36.0, 30.0, 14.0]},
    ),
    "correlated nuisances": Kind(
        {"a": [SIGNAL, (B, [], [], {"g": OTHER, "h": SHAPE})]}, {"a": [50.0, 32.0, 15.0]}, ("g", "h"),
        [[1.0, 0.6], [0.6, 1.0]],
        config={"correlations": [{"parameters": ["g", "h"], "matrix": [[1.0, 0.6], [0.6, 1.0]]}]},
    ),
    "two channels": Kind(
        {"a": [SIGNAL, (B, ["k"], [], {"h": SHAPE})],
         "b": [([90.0, 70.0], ["k"], [], {"h": ([84.0, 66.0], [99.0, 73.0])})]},
        {"a": [50.0, 32.0, 24.0], "b": [101.0, 60.0]}, ("h",), [[1.0]],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_toys_of_five_kinds_of_models_by_brute_force(name: str) -> None:
    kind = KINDS[name]
    model = read(kind.spec())
    likelihood = prepare(model)
    best = likelihood.solve()
    fast = _saturated(likelihood, best, Toys(N, seed=4))
    assert fast is not None
    source = toys.engine(model, statistic="tmu", mu=float(best.x[model.index("mu")]))
    data = np.vstack([np.concatenate(model.split())[None, :], source.data(np.arange(N), 4)])
    limits = [
        (None if b == -np.inf else b, None if t == np.inf else t) for b, t in zip(model.lower, model.upper, strict=True)
    ]

    def brute(row: Floats) -> float:
        main, aux = row[: kind.expected(dict(zip(model.names, best.x, strict=True))).size], row[-model.auxdata.size :]

        def value(x: Floats) -> float:
            return kind.twice_nll(dict(zip(model.names, x, strict=True)), main, aux)

        ends = [
            minimize(value, start, method="L-BFGS-B", bounds=limits, options={"ftol": 1e-13, "gtol": 1e-7}).fun
            for start in (best.x, model.inits, best.x + 0.2)
        ]
        return float(min(ends))

    values = np.array([brute(row) for row in data])
    np.testing.assert_allclose(fast, values[1:], atol=2e-4)
    found = goodness(model, law=Toys(N, seed=4))
    assert found.toys == N
    assert found.statistic == pytest.approx(values[0], abs=2e-4)
    assert found.p == pytest.approx((np.count_nonzero(values[1:] >= values[0]) + 1) / (N + 1), abs=1e-9)
