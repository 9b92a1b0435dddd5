"""Answers for published signal points beside MINUIT on pyhf's likelihood: worst deviation a region.

    python benchmarks/published_points.py FOLDER --points 10 --seed 20240611

FOLDER holds `RegionA/BkgOnly.json`, `RegionA/patch.*.json`, ... (ATLAS sbottom, HEPData ins1748602). Needs jax, which
compiles pyhf's likelihood and gives MINUIT its gradient; starts and ranges are pyhf's.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import jsonpatch
import numpy as np
import pyhf
from iminuit import Minuit
from scipy.stats import norm

from bumpfit import inference, workspace

TOLERANCE = 1e-4  # of MINUIT; its goal is an estimated distance of 2e-7 in -2 ln L


class Reference:
    """Fits of pyhf's likelihood by MINUIT."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import jax

        pyhf.set_backend("jax")
        source = pyhf.Workspace(spec)
        self.model = source.model()
        self.data = np.asarray(source.data(self.model), dtype=float)

        def twice_nll(x: Any, data: Any) -> Any:
            return -2 * self.model.logpdf(x, data)[0]

        self.value, self.slope = jax.jit(twice_nll), jax.jit(jax.grad(twice_nll))

    def fit(self, mu: float | None, data: np.ndarray) -> tuple[float, np.ndarray]:
        """-2 ln L and parameters, with the strength held at `mu` (None: free)."""
        config, place = self.model.config, self.model.config.poi_index
        start, limits = list(config.suggested_init()), list(config.suggested_bounds())
        fixed = list(config.suggested_fixed())
        if mu is not None:
            start[place], limits[place], fixed[place] = mu, (None, None), True
        minuit = Minuit(lambda x: float(self.value(x, data)), start, grad=lambda x: np.asarray(self.slope(x, data)))
        minuit.errordef, minuit.limits, minuit.fixed, minuit.tol = 1.0, limits, fixed, TOLERANCE
        for _ in range(5):
            minuit.migrad(ncall=100_000)
            if minuit.valid:
                break
        return float(minuit.fval), np.array(minuit.values)

    def answers(self, mu: float) -> dict[str, Any]:
        """Fit, q0, q-tilde and CLs (observed, five expected) of a strength."""
        place = self.model.config.poi_index
        free, best = self.fit(None, self.data)
        null, x0 = self.fit(0.0, self.data)
        asimov = np.asarray(self.model.expected_data(x0))
        q = 0.0 if best[place] > mu else max(0.0, self.fit(mu, self.data)[0] - free)
        root = np.sqrt(max(0.0, self.fit(mu, asimov)[0] - self.fit(None, asimov)[0]))
        at = (q - root**2) / (2 * root) if q > root**2 else np.sqrt(q) - root
        points = (at, 2.0, 1.0, 0.0, -1.0, -2.0)
        return {"fit": free, "q0": max(0.0, null - free), "q": q,
                "cls": [float(np.exp(norm.logsf(v + root) - norm.logsf(v))) for v in points]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20240611)
    given = parser.parse_args()
    random.seed(given.seed)
    print("| region | point | Δ(-2 ln L) of the fit | Δq0 | Δq(1) | ΔCLs(1), relative | bumpfit, s | reference, s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for region in sorted(given.folder.glob("Region*")):
        patches = sorted(region.glob("patch.*.json"))
        for patch in random.sample(patches, min(given.points, len(patches))):
            spec = jsonpatch.apply_patch(
                json.loads((region / "BkgOnly.json").read_text()), json.loads(patch.read_text())
            )
            begin = time.perf_counter()
            model = workspace.read(spec)
            found, tested = inference.discovery(model), inference.cls(model, 1.0)
            assert found.free_fit is not None
            middle = time.perf_counter()
            other = Reference(spec).answers(1.0)
            end = time.perf_counter()
            ours = np.array([tested.observed, *tested.expected])
            relative = np.max(np.abs(ours / np.array(other["cls"]) - 1))
            assert tested.statistic is not None
            print(
                f"| {region.name[-1]} | {patch.name[14:-5]} | {found.free_fit.twice_nll - other['fit']:+.1e} | "
                f"{found.q0 - other['q0']:+.1e} | {tested.statistic - other['q']:+.1e} | {relative:.1e} | "
                f"{middle - begin:.2f} | {end - middle:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
