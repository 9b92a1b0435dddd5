"""Signal-like events at any masses, from a packaged library of simulated decays A -> B C.

The library holds, for a grid of x = 4 m / M (the opening angle of a decay grows as m / pT, pT ~ M / 2) and for two- and
three-prong decays, what a detector makes of such events: dijet mass over M, jet masses over m_B and m_C, and both
N-subjettiness ratios, tails included (lost prongs, radiation). Ratios depend on x and hardly on M itself, so scaling
them gives signal-like events at masses that were never simulated. Positions are relative to the detector-level peak.
`docs/methods/surrogate.md` says how the library was made and how well it does on other simulations and real data.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEATURES = ("m_J1", "delta_m_J", "tau_2_over_tau_1_J1", "tau_2_over_tau_1_J2")

DECISIVE = 9.0
"""Difference in -2 ln L (modelling inside) from which one kind of decay is said to be preferred: of 110 tables with 200
or 450 signal events none prefers the wrong one at all (docs/methods/surrogate.md)."""


def decided(preference: float | None) -> int | None:
    """Prongs of a decay with this -2 ln L of three prongs less that of two; None where neither is decisive."""
    if preference is None or abs(preference) < DECISIVE:
        return None
    return 2 if preference > 0 else 3


@dataclasses.dataclass(frozen=True)
class Masses:
    """Detector-level peak masses in GeV: the resonance and its daughters, the lighter first."""

    resonance: float
    light: float
    heavy: float


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """Signal-like events: features (K, 4) named `FEATURES`, dijet mass (K,), weights (K,) that sum to 1, prongs (K,).

    `extrapolated` says that a mass ratio lies outside the library, whose nearest point was taken. `kinds` (K,): number
    of the library's point (daughters' masses and prongs) that an event of many kinds is from; empty where they are one.
    """

    features: Array
    mass: Array
    weights: Array
    prongs: NDArray[np.int64]
    extrapolated: bool = False
    kinds: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    def of_kind(self, prongs: int) -> Surrogate:
        """The same events, of which those with another number of prongs have weight zero."""
        weights = np.where(self.prongs == prongs, self.weights, 0.0)
        return dataclasses.replace(self, weights=weights / weights.sum())

    def inside(self, low: float, high: float) -> Surrogate:
        """Events with low <= mass < high, weights summing to 1 again."""
        keep = (self.mass >= low) & (self.mass < high)
        return dataclasses.replace(
            self,
            features=self.features[keep],
            mass=self.mass[keep],
            weights=self.weights[keep] / self.weights[keep].sum(),
            prongs=self.prongs[keep],
            kinds=self.kinds[keep] if len(self.kinds) else self.kinds,
        )

    def fraction_inside(self, low: float, high: float) -> float:
        """Weight of the events with low <= mass < high."""
        return float(self.weights[(self.mass >= low) & (self.mass < high)].sum())


@functools.cache
def library() -> pd.DataFrame:
    """The packaged responses (read once): x_B >= x_C, prongs, resonance, m_B, m_C, tau21_B, tau21_C."""
    with (files("bumpfit") / "data" / "jet_response.parquet").open("rb") as stream:
        return pd.read_parquet(stream)


def resonance_shape(mass: float, edges: Array, smearing: float = 0.0) -> Array:
    """Dijet masses of all decays of the library together, by bin, for a resonance that peaks at `mass`, (B,).

    Same units as the edges; `smearing`: an additional relative resolution.
    """
    response = library().resonance.to_numpy(np.float64)
    noise = np.random.default_rng(0).standard_normal(len(response))
    return np.histogram(response * mass * (1 + smearing * noise), edges)[0].astype(np.float64)


def signal_like(masses: Masses) -> Surrogate:
    """Events of a resonance with these masses, interpolated bilinearly between the grid points of the library."""
    table = library()
    grid = np.unique(table.x_B.to_numpy(np.float64).round(4))
    x_heavy, x_light = (4 * m / masses.resonance for m in (masses.heavy, masses.light))
    clipped = np.clip([x_heavy, x_light], grid[0], grid[-1])
    w_heavy, w_light = (_linear(grid, x) for x in clipped)
    x_b, x_c = (np.searchsorted(grid, table[c].to_numpy(np.float64).round(4)) for c in ("x_B", "x_C"))
    counts = np.bincount(x_b * len(grid) + x_c, minlength=len(grid) ** 2)[x_b * len(grid) + x_c]
    straight = w_heavy[x_b] * w_light[x_c]
    swapped = np.where(x_b != x_c, w_heavy[x_c] * w_light[x_b], 0.0)
    parts = []
    for weight, heavy, light in ((straight, "B", "C"), (swapped, "C", "B")):
        use = weight > 0
        t = table[use]
        m_h, m_l = t[f"m_{heavy}"].to_numpy() * masses.heavy, t[f"m_{light}"].to_numpy() * masses.light
        tau_h, tau_l = t[f"tau21_{heavy}"].to_numpy(), t[f"tau21_{light}"].to_numpy()
        first = m_l <= m_h  # J1 is the lighter jet, whichever parent it came from
        features = np.column_stack(
            [
                np.minimum(m_l, m_h),
                np.abs(m_h - m_l),
                np.where(first, tau_l, tau_h),
                np.where(first, tau_h, tau_l),
            ]
        )
        parts.append((features, t.resonance.to_numpy() * masses.resonance, (weight / counts)[use], t.prongs.to_numpy()))
    features, mass, weights, prongs = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Surrogate(
        features.astype(np.float64),
        mass.astype(np.float64),
        weights / weights.sum(),
        prongs.astype(np.int64),
        extrapolated=bool(np.any(np.abs(clipped - [x_heavy, x_light]) > 0.02)),
    )


def varied(events: Surrogate, scale: float, spread: float) -> tuple[tuple[float, Surrogate], ...]:
    """The same events with other N-subjettiness ratios, and a penalty in -2 ln L for each: the modelling of prongs.

    Ratios are multiplied by 1 + k `scale` (k = 0, -+1), and spread about the median of their kind by the powers
    (1 - `spread`)^k (k = 0, -+1, -+2), k standard deviations of the modelling; each costs k^2.
    """
    found = []
    for shifted, spreads in itertools.product((0, -1, 1), (0, -1, 1, -2, 2)):
        times, power = 1 + shifted * scale, (1 - spread) ** spreads
        features = events.features.copy()
        for column, prongs in itertools.product((2, 3), (2, 3)):
            rows = events.prongs == prongs
            tau = features[rows, column]
            if len(tau):
                centre = max(_weighted_median(tau, events.weights[rows]), 1e-3)
                features[rows, column] = times * centre * (np.maximum(tau, 0.0) / centre) ** power
        found.append((float(shifted**2 + spreads**2), dataclasses.replace(events, features=features)))
    return tuple(found)


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order[int(np.searchsorted(share, 0.5 * share[-1]))]])


def generic(resonances: Array, rng: np.random.Generator) -> Surrogate:
    """Events of resonances with these masses (K,), whose daughters have any masses of the library, all equally likely.

    K events of the library are drawn, one for each resonance mass.
    """
    table = library().iloc[rng.integers(len(library()), size=len(resonances))]
    resonance = np.asarray(resonances, dtype=np.float64)
    heavy = table.m_B.to_numpy(np.float64) * table.x_B.to_numpy(np.float64) * resonance / 4
    light = table.m_C.to_numpy(np.float64) * table.x_C.to_numpy(np.float64) * resonance / 4
    first = light <= heavy
    tau_h, tau_l = table.tau21_B.to_numpy(np.float64), table.tau21_C.to_numpy(np.float64)
    features = np.column_stack(
        [
            np.minimum(light, heavy),
            np.abs(heavy - light),
            np.where(first, tau_l, tau_h),
            np.where(first, tau_h, tau_l),
        ]
    )
    n = len(table)
    mass = table.resonance.to_numpy(np.float64) * resonance
    points = np.column_stack([table.x_B.round(4), table.x_C.round(4), table.prongs])
    kinds = np.unique(points, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return Surrogate(features, mass, np.full(n, 1 / n), table.prongs.to_numpy(np.int64), kinds=kinds)


def _linear(grid: Array, x: float) -> Array:
    """Weights of the grid points in the linear interpolation at x, shape of the grid."""
    weights = np.array([np.interp(x, grid, unit) for unit in np.eye(len(grid))])
    return np.where(weights > 1e-9, weights, 0.0)
