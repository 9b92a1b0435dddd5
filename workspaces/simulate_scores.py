"""Simulate scored tables (index, score, m_JJ) as `bumpfit score` writes them: python simulate_scores.py FOLDER."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bumpfit.shapes import dijet

BACKGROUND = dijet(4, reference=3000.0)
SHAPE = (1.0, 9.0, 5.0, 0.1)  # p0 (density at the reference mass, a scale that drops out), p1, p2, p3
RESOLUTION = 0.03


def masses(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """n masses in GeV that follow the dijet function."""
    edges = np.linspace(low, high, 4001)
    cumulative = np.append(0.0, np.cumsum(BACKGROUND.integrate(edges, SHAPE)))
    return np.interp(rng.uniform(size=n) * cumulative[-1], cumulative, edges)


def table(seed: int, background: int, signal: int, mass: float, low: float, high: float) -> pd.DataFrame:
    """Shuffled events: background with low scores, a Gaussian peak with high ones."""
    rng = np.random.default_rng(seed)
    peak = rng.normal(mass, RESOLUTION * mass, size=4 * signal + 10)
    peak = peak[(peak > low) & (peak < high)][:signal]
    frame = pd.DataFrame(
        {
            "score": np.concatenate([rng.beta(1.0, 8.0, background), rng.beta(4.0, 2.0, peak.size)]),
            "m_JJ": np.concatenate([masses(rng, background, low, high), peak]),
        }
    )
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)


def main(folder: Path) -> None:
    """Write the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "full_range": table(1, 60_000, 25, 4200.0, 2000.0, 7000.0),
        "windowed": table(2, 30_000, 90, 3000.0, 2400.0, 3800.0),
        "windowed_background": table(3, 20_000, 0, 3000.0, 2400.0, 3800.0),
    }
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", float_format="%.6g")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
