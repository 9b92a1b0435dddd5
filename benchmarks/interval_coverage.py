"""Coverage of profile-likelihood intervals: signal strength of a workspace, mass and yield of a peak in a spectrum.

    python benchmarks/interval_coverage.py [-n 1000] [--out docs/figures/coverage.png] [--json FILE]

Toys are thrown at known parameters (those of the workspace by pyhf, auxiliary data included), every toy is fitted as
data are, and the intervals at 68.27 and 95 % that `inference.interval` gives are asked whether they hold the truth.
Seeded; about 25 minutes on one core for 1000 toys at each strength. `pytest -s tests/statistics/test_coverage.py` runs
a reduced form of the same functions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyhf
from scipy.stats import beta, chi2

from bumpfit import histograms, inference, shapes, workspace
from bumpfit.errors import BumpfitError

LEVELS = (0.6827, 0.95)
WORKSPACE = Path(__file__).parents[1] / "workspaces" / "multi_channel.json"
STRENGTHS = (0.0, 1.0, 2.0)

EDGES = np.linspace(2900.0, 7300.0, 41)
BACKGROUND, VALUES = shapes.dijet(3), [1.0, 11.0, 1.0]
EVENTS = 60_000.0
MASS = 4200.0
PEAK = shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))
YIELDS = (400.0, 800.0, 1600.0)
"""About 4, 9 and 17 times the error of the yield."""
LIMITS = {"mass": (3300.0, 5500.0), "n_signal": (0.0, 10_000.0)}
"""Where the peak is looked for, and that it is an excess."""


@dataclasses.dataclass(frozen=True)
class Toy:
    """Best value and error of a toy, and whether its intervals at `LEVELS` hold the truth."""

    value: float
    error: float
    inside: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """Toys of one parameter at one truth and level whose interval holds the truth, and those without an interval."""

    parameter: str
    truth: float
    signal: str
    level: float
    inside: int
    toys: int
    failed: int
    pull_mean: float
    pull_width: float

    @property
    def coverage(self) -> float:
        """Fraction of the toys whose interval holds the truth; a toy without interval does not hold it."""
        return self.inside / self.toys

    @property
    def band(self) -> tuple[float, float]:
        """Clopper-Pearson interval at 95 % of the coverage."""
        low = beta.ppf(0.025, self.inside, self.toys - self.inside + 1) if self.inside else 0.0
        high = beta.ppf(0.975, self.inside + 1, self.toys - self.inside) if self.inside < self.toys else 1.0
        return float(low), float(high)


def strength(n: int, seed: int = 1, strengths: tuple[float, ...] = STRENGTHS) -> list[Row]:
    """Strength in the workspace with three channels and 18 nuisance parameters."""
    model = workspace.read(WORKSPACE)
    reference = pyhf.Workspace(json.loads(WORKSPACE.read_text())).model()
    rows = []
    for k, mu in enumerate(strengths):
        values = np.array(reference.config.suggested_init())
        values[reference.config.poi_index] = mu
        np.random.seed(seed + k)  # noqa: NPY002  pyhf draws from numpy's global generator
        toys = np.asarray(reference.make_pdf(pyhf.tensorlib.astensor(values)).sample((n,)))
        found: list[Toy | None] = [_strength_toy(model, data, mu) for data in toys]
        rows += _rows("strength", mu, f"mu = {mu:g}", found)
    return rows


def _strength_toy(model: workspace.Model, data: np.ndarray, mu: float) -> Toy:
    free = {"mu": (-10.0, 20.0)}
    best = inference.fit(model, data, ranges=free)
    ends = [inference.interval(model, "mu", level, data, ranges=free) for level in LEVELS]
    inside = tuple(end.low <= mu <= end.high for end in ends)  # type: ignore[operator]
    return Toy(best.values["mu"], best.errors["mu"], inside)


def peak(n: int, seed: int = 2, yields: tuple[float, ...] = YIELDS, checked: int = 20) -> list[Row]:
    """Yield and mass of a peak, both free, over a dijet function with three free parameters, 40 bins.

    An interval holds the truth when the profile likelihood there is below its threshold, which needs one fit; for the
    first `checked` toys of each yield `inference.interval` must say the same.
    """
    shape = shapes.add(BACKGROUND, PEAK)
    content = BACKGROUND.integrate(EDGES, VALUES)
    thresholds = [float(chi2.ppf(level, 1)) for level in LEVELS]
    rows = []
    for k, number in enumerate(yields):
        mean = EVENTS * content / content.sum() + PEAK.integrate(EDGES, [number, MASS])
        counts = np.random.default_rng(seed + k).poisson(mean, (n, mean.size))
        truth = {"n_signal": number, "mass": MASS}
        found: dict[str, list[Toy | None]] = {name: [] for name in truth}
        for i, row in enumerate(counts):
            data = histograms.from_counts(EDGES, row)
            best = shapes.fit(shape, data, limits=LIMITS)
            for name, value in truth.items():
                held = shapes.fit(shape, data, fixed={name: value}, start=best.values, limits=LIMITS)
                if not (best.valid and held.valid):
                    found[name].append(None)
                    continue
                inside = tuple(held.twice_nll - best.twice_nll <= threshold for threshold in thresholds)
                if i < checked and inside != tuple(_holds(shape, data, name, level, value) for level in LEVELS):
                    raise SystemExit(f"toy {i} with {number:g} events: interval and profile of {name} disagree")
                found[name].append(Toy(best.values[name], best.errors[name], inside))
        rows += _rows("yield", number, f"{number:g} events", found["n_signal"])
        rows += _rows("mass", MASS, f"{number:g} events", found["mass"])
    return rows


def _holds(shape: shapes.Shape, data: histograms.Histogram, name: str, level: float, value: float) -> bool:
    """Whether the interval holds the value; one that the data leave without ends is the whole range."""
    try:
        found = inference.interval(shapes.likelihood(shape, data, limits=LIMITS), name, level)
    except BumpfitError as error:
        if "do not constrain" not in str(error):
            raise
        return True
    return found.low <= value <= found.high  # type: ignore[operator]


def _rows(parameter: str, truth: float, signal: str, found: list[Toy | None]) -> list[Row]:
    good = [toy for toy in found if toy is not None]
    pulls = np.array([(toy.value - truth) / toy.error for toy in good if toy.error > 0])
    return [
        Row(
            parameter,
            truth,
            signal,
            level,
            sum(toy.inside[i] for toy in good),
            len(found),
            len(found) - len(good),
            float(np.mean(pulls)),
            float(np.std(pulls)),
        )
        for i, level in enumerate(LEVELS)
    ]


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| parameter | signal | level | coverage | 95 % band of it | pulls: mean, width | without interval |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row.band
        lines.append(
            f"| {row.parameter} | {row.signal} | {row.level:.2%} | {row.coverage:.1%} | {low:.1%} to {high:.1%} | "
            f"{row.pull_mean:+.2f}, {row.pull_width:.2f} | {row.failed} |"
        )
    return "\n".join(lines)


def draw(rows: list[Row], path: Path) -> None:
    """Coverage of every row with its band, beside the nominal levels."""
    import matplotlib.pyplot as plt  # only for the figure

    labels = list(dict.fromkeys((row.parameter, row.signal) for row in rows))
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for level, colour in zip(LEVELS, ("tab:blue", "tab:orange"), strict=True):
        chosen = [row for row in rows if row.level == level]
        x = np.array([labels.index((row.parameter, row.signal)) for row in chosen])
        y = np.array([row.coverage for row in chosen])
        bands = np.array([row.band for row in chosen]).T
        axis.axhline(level, color=colour, linestyle="--", linewidth=1)
        axis.errorbar(x, y, yerr=np.abs(bands - y), fmt="o", color=colour, capsize=3, label=f"{level:.2%} intervals")
    axis.set_xticks(range(len(labels)), [f"{name}\n{signal}" for name, signal in labels], fontsize="small")
    axis.set_ylim(0.55, 1.0)
    axis.set_ylabel("Coverage")
    axis.set_title(f"{rows[0].toys} toys each; bars: 95 % Clopper-Pearson", fontsize="medium")
    axis.legend(loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run both studies, print the table, write figure and rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="toys at each strength")
    parser.add_argument("--out", type=Path, help="figure")
    parser.add_argument("--json", type=Path, help="the rows")
    arguments = parser.parse_args()
    rows = sorted(
        strength(arguments.n) + peak(arguments.n), key=lambda row: ("strength", "yield", "mass").index(row.parameter)
    )
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")
    if arguments.out:
        draw(rows, arguments.out)


if __name__ == "__main__":
    main()
