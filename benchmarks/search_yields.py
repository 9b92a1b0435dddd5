"""Yield and limit where nothing is claimed: `python benchmarks/search_yields.py POOL [--signal TABLE] ...`.

Without a claim `n_signal` is a fit of templates of a generic signal (all masses of the library alike). What does it say
of signals that are not generic? One classifier is trained as in a search; tables are then drawn from the scores of
background events of POOL and of signal events: of decays of the library at masses of their own, and of those of TABLE,
if it is given. Printed for each kind and number of signal events: how often the 68.27 % interval and the 95 % limit
hold it, the mean fitted number, and the mean significance of the fit.

POOL and TABLE are search tables (CSV or Parquet) of background and of signal events alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bumpfit.events.tables import read
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import jet_features
from bumpfit.search.surrogate import Masses, Surrogate, generic, signal_like
from bumpfit.search.template import TemplateScores, fit_generic, template_scores

RATIOS = {
    "0.03 + 0.14": (0.03, 0.14), "0.08 + 0.08": (0.08, 0.08), "0.07 + 0.25": (0.07, 0.25), "0.15 + 0.15": (0.15, 0.15),
}  # fmt: skip
"""Masses of the daughters over that of the resonance."""


def drawn(cloud: Surrogate, n: int, prongs: int, rng: np.random.Generator) -> Surrogate:
    """n events of one number of prongs."""
    weights = np.where(cloud.prongs == prongs, cloud.weights, 0.0)
    rows = rng.choice(len(weights), size=n, p=weights / weights.sum())
    return Surrogate(cloud.features[rows], cloud.mass[rows], np.full(n, 1 / n), cloud.prongs[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--signal", type=Path)
    parser.add_argument("--data", type=int, default=20_000)
    parser.add_argument("--background", type=int, default=12_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 50, 100, 200])
    parser.add_argument("--draws", type=int, default=60)
    a = parser.parse_args()
    rng, config = np.random.default_rng(1), SearchConfig()
    pool = read(a.pool)
    pool = pool.take(rng.permutation(len(pool))[: a.data + a.background])
    centre, low, high = float(np.median(pool.mass)), float(pool.mass.min()), float(pool.mass.max())
    cloud = generic(np.full(config.templates.generic_events, centre), rng).inside(low, high)
    k = len(cloud.mass)
    kinds = {
        f"{name}, {prongs} prongs": drawn(
            signal_like(Masses(centre, light * centre, heavy * centre)).inside(low, high), k, prongs, rng
        )
        for name, (light, heavy) in RATIOS.items()
        for prongs in (2, 3)
    }
    if a.signal is not None:
        events = read(a.signal)
        rows = rng.integers(len(events), size=k)
        kinds[a.signal.stem] = Surrogate(
            jet_features(events)[rows], events.mass[rows], np.full(k, 1 / k), np.full(k, 2)
        )  # fmt: skip
    features = jet_features(pool)
    scores = template_scores(
        features[: a.data], features[a.data :], cloud, config.template_trees, folds=config.templates.folds,
        variants=[(0.0, kind) for kind in kinds.values()],
    )  # fmt: skip
    background = np.concatenate([scores.data, scores.background])
    print("| signal | events | mean fit | mean Z | 68.27 % interval holds | 95 % limit holds |")
    print("| --- | --- | --- | --- | --- | --- |")
    totals = []
    for name, (_, of_signal) in zip(kinds, scores.varied, strict=True):
        for n in a.sizes:
            fits = []
            for _ in range(a.draws):
                data = np.concatenate([rng.choice(background, a.data), rng.choice(of_signal, n)])
                toy = TemplateScores(data, rng.choice(background, a.background), scores.signal)
                fits.append(fit_generic(toy, cloud, config.templates))
            inside = np.mean([f.low <= n <= f.high for f in fits])
            limit = np.mean([n <= f.upper_95 for f in fits])
            mean, z = np.mean([f.n_signal for f in fits]), np.mean([f.z for f in fits])
            totals.append((inside, limit))
            print(f"| {name} | {n} | {mean:.0f} | {z:.1f} | {inside:.0%} | {limit:.0%} |", flush=True)
    print("mean of the interval: {:.1%}, of the limit: {:.1%}".format(*np.mean(totals, axis=0)))


if __name__ == "__main__":
    main()
