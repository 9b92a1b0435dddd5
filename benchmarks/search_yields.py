"""Yield and limit where nothing is claimed: `python benchmarks/search_yields.py POOL [--signal TABLE] ...`.

Without a claim `n_signal` is a fit of templates of a generic signal (all masses of the library alike). What does it say
of signals that are not generic? One classifier is trained as in a search; tables are then drawn from the scores of
background events of POOL and of signal events: of decays of the library at masses of their own, and of those of TABLE,
if it is given. Printed for each kind and number of signal events: how often the 68.27 % interval and the 95 % limit
hold it, the mean fitted number, and the mean significance of the fit.

`--modelling` asks another thing: how right is the library's model of the signal of TABLE? All its events, or as many as
`--sizes` says, are put into one table and fitted at their own masses, without the modelling error; printed is the yield
over their number.

POOL and TABLE are search tables (CSV or Parquet) of background and of signal events alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from bumpfit.events.tables import Events, read
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import jet_features
from bumpfit.search.surrogate import Masses, Surrogate, generic, signal_like, varied
from bumpfit.search.template import fit_candidate, fit_generic
from bumpfit.search.template_scores import CrossFit, TemplateScores, candidate_scores, template_scores
from bumpfit.simulate.response import peak

RATIOS = {
    "0.03 + 0.14": (0.03, 0.14), "0.08 + 0.08": (0.08, 0.08), "0.07 + 0.25": (0.07, 0.25), "0.15 + 0.15": (0.15, 0.15),
}  # fmt: skip
"""Masses of the daughters over that of the resonance."""


def drawn(cloud: Surrogate, n: int, prongs: int, rng: np.random.Generator) -> Surrogate:
    """n events of one number of prongs."""
    weights = np.where(cloud.prongs == prongs, cloud.weights, 0.0)
    rows = rng.choice(len(weights), size=n, p=weights / weights.sum())
    return Surrogate(cloud.features[rows], cloud.mass[rows], np.full(n, 1 / n), cloud.prongs[rows])


def modelling(pool: Events, signal: Events, a: argparse.Namespace, config: SearchConfig) -> None:
    """Print the yield of the fit at the true masses over the number of signal events in the table."""
    light = signal.column("m_J1")
    masses = Masses(peak(signal.mass), peak(light), peak(light + signal.column("delta_m_J")))
    mass = np.r_[pool.mass[: a.data], signal.mass]
    cloud = signal_like(masses).inside(float(mass.min()), float(np.nextafter(mass.max(), np.inf)))
    background = jet_features(pool)
    scores = candidate_scores(
        np.concatenate([background[: a.data], jet_features(signal)]), background[a.data :], cloud,
        CrossFit(config.template_trees, config.templates.folds, seed=3),
        varied(cloud, config.templates.tau_scale, config.templates.tau_spread),
    )  # fmt: skip
    found = fit_candidate(scores, cloud, dataclasses.replace(config.templates, template_error=0.0))
    value, n, three = found.n_signal, len(light), found.three_prong_fraction
    errors = f"+{(found.high - value) / n:.3f} -{(value - found.low) / n:.3f}"
    print(f"| {a.signal.stem} | {n} | {value / n:.3f} {errors} | {three:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--signal", type=Path)
    parser.add_argument("--data", type=int, default=20_000)
    parser.add_argument("--background", type=int, default=12_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 50, 100, 200])
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--modelling", action="store_true")
    a = parser.parse_args()
    rng, config = np.random.default_rng(1), SearchConfig()
    pool = read(a.pool)
    pool = pool.take(rng.permutation(len(pool))[: a.data + a.background])
    if a.modelling:
        signal = read(a.signal)
        signal = signal.take(rng.permutation(len(signal))[: max(a.sizes)])
        modelling(pool, signal, a, config)
        return
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
        features[: a.data], features[a.data :], cloud, CrossFit(config.template_trees, config.templates.folds),
        [(0.0, kind) for kind in kinds.values()],
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
