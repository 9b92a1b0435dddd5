"""Random HistFactory specifications with every modifier type, shared and unshared, for comparisons with pyhf."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_workspace(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    channels: list[dict[str, Any]] = []
    names = rng.permutation([f"ch{i}" for i in range(int(rng.integers(1, 4)))])
    shapefactor_bins = int(rng.integers(1, 4))
    settings: dict[str, dict[str, Any]] = {
        "mu": {"bounds": [[0.0, 20.0]], "inits": [1.0]},
        "lumi": {"auxdata": [1.0], "sigmas": [0.03], "inits": [1.0], "bounds": [[0.8, 1.2]]},
    }
    if rng.random() < 0.3:
        settings["sys0"] = {"inits": [0.3], "auxdata": [0.2], "bounds": [[-3.0, 4.0]]}
    if rng.random() < 0.2:
        settings["sys1"] = {"fixed": True}
    for c, name in enumerate(names):
        bins = int(rng.integers(1, 5)) if c else shapefactor_bins
        samples = []
        for s in range(int(rng.integers(1, 4))):
            signal = s == 0
            data = rng.uniform(1, 12, bins) if signal else rng.uniform(20, 150, bins)
            if not signal and rng.random() < 0.2:
                data[int(rng.integers(bins))] = 0.0
            modifiers: list[dict[str, Any]] = []
            if signal:
                modifiers.append({"name": "mu", "type": "normfactor", "data": None})
            elif rng.random() < 0.3:
                modifiers.append({"name": f"norm{s}", "type": "normfactor", "data": None})
            for k in range(3):
                if rng.random() < 0.5:
                    lo, hi = rng.uniform(0.7, 1.0), rng.uniform(0.95, 1.4)
                    modifiers.append({"name": f"sys{k}", "type": "normsys", "data": {"lo": lo, "hi": hi}})
                if rng.random() < 0.5:
                    up, down = rng.normal(0.08, 0.05, bins), rng.normal(0.08, 0.05, bins)
                    shapes = {"hi_data": (data * (1 + up)).tolist(), "lo_data": (data * (1 - down)).tolist()}
                    modifiers.append({"name": f"sys{k}", "type": "histosys", "data": shapes})
            if rng.random() < 0.4:
                modifiers.append({"name": "lumi", "type": "lumi", "data": None})
            if not signal and rng.random() < 0.3:
                error = (data * rng.uniform(0.05, 0.3, bins)).tolist()
                modifiers.append({"name": f"shape_{name}_{s}", "type": "shapesys", "data": error})
            elif rng.random() < 0.6:
                error = data * rng.uniform(0.02, 0.2, bins)
                if rng.random() < 0.2:
                    error[0] = 0.0
                modifiers.append({"name": f"stat_{name}", "type": "staterror", "data": error.tolist()})
            if s == 2 and bins <= shapefactor_bins and name == sorted(names)[0]:
                modifiers.append({"name": "free", "type": "shapefactor", "data": None})
            samples.append({"name": f"s{s}", "data": data.tolist(), "modifiers": modifiers})
        # a background that nothing switches off, so that every bin can hold data
        base = {"name": "base", "data": [30.0] * bins, "modifiers": []}
        channels.append({"name": str(name), "samples": [*samples, base]})
    observations = [
        {"name": c["name"], "data": [float(v) for v in rng.poisson(np.sum([s["data"] for s in c["samples"]], axis=0))]}
        for c in channels
    ]
    config = {"poi": "mu", "parameters": [{"name": n, **v} for n, v in settings.items()]}
    return {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": "meas", "config": config}],
        "version": "1.0.0",
    }
