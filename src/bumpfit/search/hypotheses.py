"""The second source of evidence: decays of the packaged library at all masses, tried on the events one block at a time.

A hypothesis is a resonance mass, two daughter masses, two or three prongs, and a fraction f of the events. The density
of its features is a product of two jets, each with the density of (ln m / m_peak, tau21) that the library has at
x = 4 m / M, summed over which jet is which. One classifier, library decays at all masses against all events of the
window, gives the ratio r_h of this density to that of the events. It is never told which events are data, and is
cross-fitted over them: exchanging labels changes nothing that it does.

**Statistic.** In block k a data event adds w = ln(1 + sum_h pi_h f_h r_h) to the statistic of the window. The weights
pi_h are the posterior probabilities of the hypotheses given the labels of the blocks before, all alike at first:

    ln L_h = sum_data ln(1 + f r_h) - sum_all ln(1 + rho f r_h),    rho = data / (data + background),

the likelihood of the labels. The blocks are those of `bumpfit.scoring.forward`, the first one cut into more. Mixing
before a block and learning after it is Dawid's prequential principle once more (J. R. Stat. Soc. A 147 (1984) 278):
masses are found without a trials factor to be paid afterwards. The weights of a block do not know its labels, but those
of the blocks before, so the primary test takes their ranks inside the block: then the law of its sum of weights is the
same whatever the past was. All blocks are tested, the first one too.
"""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import gaussian_kde

from bumpfit.compiled import njit
from bumpfit.scoring import Classifier, Job, deal_folds, train_and_score
from bumpfit.search.surrogate import library

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

LOG_MASS = np.linspace(-3.0, 1.5, 91)
"""Bin edges of ln m / m_peak."""
TAU = np.linspace(0.0, 1.0, 26)
"""Bin edges of tau21."""
FLOOR = 1e-3
"""Share of a flat density in that of a jet: no event is impossible."""
PRONGS = (2, 3)
PIECE = 50_000
"""Events whose densities are in memory at one time: some hundred numbers each."""


@dataclasses.dataclass(frozen=True)
class LibrarySettings:
    """Which decays of the library are tried, and how.

    `use`: whether they are a part of the primary test; `step`: ratio of neighbouring daughter masses; `mass_step`: of
    neighbouring resonance masses; `fractions`: signal fractions of a window; `first_parts`: blocks that the first block
    is cut into; `cloud`: library decays that the classifier learns from; `folds`: of its cross-fit.
    """

    use: bool = True
    step: float = 1.12
    mass_step: float = 1.04
    fractions: tuple[float, ...] = (0.002, 0.005, 0.0125)
    first_parts: int = 3
    cloud: int = 20_000
    folds: int = 2


@functools.cache
def jet_densities() -> tuple[Array, Array]:
    """x of the library's grid, (X,), and the density of (ln m / m_peak, tau21) there, (2, X, 90, 25), by prongs."""
    table = library()
    grid = np.unique(table.x_B.to_numpy(np.float64).round(4))
    found = np.empty((len(PRONGS), len(grid), len(LOG_MASS) - 1, len(TAU) - 1))
    for p, prongs in enumerate(PRONGS):
        for i, x in enumerate(grid):
            parts = [table[(table[f"x_{jet}"].round(4) == np.float32(x)) & (table.prongs == prongs)] for jet in "BC"]
            mass = np.concatenate([t[f"m_{jet}"].to_numpy(np.float64) for t, jet in zip(parts, "BC", strict=True)])
            tau = np.concatenate([t[f"tau21_{jet}"].to_numpy(np.float64) for t, jet in zip(parts, "BC", strict=True)])
            log = np.clip(np.log(np.maximum(mass, 1e-6)), LOG_MASS[0], LOG_MASS[-1] - 1e-9)
            counts = np.histogram2d(log, np.clip(tau, 0, 1), [LOG_MASS, TAU])[0]
            smooth = gaussian_filter(counts, 1.0, mode="nearest")
            found[p, i] = (1 - FLOOR) * smooth / smooth.sum() + FLOOR / counts.size
    return grid, found


def daughter_masses(resonance: float, settings: LibrarySettings) -> Array:
    """Daughter masses that are tried for a resonance, over the grid of the library, shape (J,)."""
    grid = jet_densities()[0]
    low, high = np.log(grid[[0, -1]] * resonance / 4)
    return np.exp(np.linspace(low, high, int(np.ceil((high - low) / np.log(settings.step))) + 1))


def resonance_masses(low: float, high: float, settings: LibrarySettings) -> Array:
    """Resonance masses that are tried between two masses, shape (K,)."""
    number = max(1, round(np.log(high / low) / np.log(settings.mass_step)))
    edges = np.linspace(np.log(low), np.log(high), number + 1)
    return np.exp(0.5 * (edges[1:] + edges[:-1]))


def _jet(mass: Array, tau: Array, masses: Array, resonance: float) -> NDArray[np.float32]:
    """Density of one jet under every daughter mass, shape (N, J, 2), in ln m and tau21 (common factors left out)."""
    grid, table = jet_densities()
    x = np.clip(4 * masses / resonance, grid[0], grid[-1])
    position = np.interp(x, grid, np.arange(len(grid)))
    below = np.minimum(position.astype(int), len(grid) - 2)
    share = position - below
    at_tau = np.clip(np.searchsorted(TAU, tau, side="right") - 1, 0, len(TAU) - 2)
    log = np.log(np.maximum(mass, 1e-3))
    found = np.empty((len(mass), len(masses), len(PRONGS)), np.float32)
    for j, m in enumerate(masses):
        at = np.clip(np.searchsorted(LOG_MASS, log - np.log(m), side="right") - 1, 0, len(LOG_MASS) - 2)
        for p in range(len(PRONGS)):
            low, high = table[p, below[j]], table[p, below[j] + 1]
            found[:, j, p] = (1 - share[j]) * low[at, at_tau] + share[j] * high[at, at_tau]
    return found


def cloud(masses: Array, resonance: float, n: int, rng: np.random.Generator) -> Array:
    """Features (n, 4) of decays to two of these daughter masses, every pair alike."""
    table = library()
    grid = jet_densities()[0]
    pairs = np.array([(j, k) for j in range(len(masses)) for k in range(j, len(masses))])
    chosen = masses[pairs[rng.integers(len(pairs), size=n)]]
    prongs = rng.integers(len(PRONGS), size=n)
    mass, tau = np.empty((n, 2)), np.empty((n, 2))
    nearest = np.abs(np.log(4 * chosen / resonance)[:, :, None] - np.log(grid)).argmin(axis=2)
    x_of = table.x_B.to_numpy(np.float64).round(4), table.x_C.to_numpy(np.float64).round(4)
    for p, number in enumerate(PRONGS):
        of_kind = table.prongs.to_numpy() == number
        for i, x in enumerate(grid):
            rows = [np.flatnonzero(of_kind & (np.abs(column - x) < 1e-6)) for column in x_of]
            ratio = np.concatenate(
                [table[f"m_{jet}"].to_numpy(np.float64)[r] for jet, r in zip("BC", rows, strict=True)]
            )
            shape = np.concatenate(
                [table[f"tau21_{jet}"].to_numpy(np.float64)[r] for jet, r in zip("BC", rows, strict=True)]
            )
            for jet in range(2):
                mine = np.flatnonzero((prongs == p) & (nearest[:, jet] == i))
                drawn = rng.integers(len(ratio), size=len(mine))
                mass[mine, jet], tau[mine, jet] = ratio[drawn] * chosen[mine, jet], shape[drawn]
    light = mass.argmin(axis=1)
    row = np.arange(n)
    return np.column_stack(
        [mass[row, light], mass[row, 1 - light] - mass[row, light], tau[row, light], tau[row, 1 - light]]
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Tried:
    """The library's part of a window: events of the tables (background rows follow the data rows) and their weights.

    `rows` (n,), `weights` (n,); `scores` (n,): the same quantity with the posterior of the other folds; `masses`:
    resonance, lighter and heavier daughter of the hypothesis that is the most probable in the end, with its
    probability `share`.
    """

    rows: Ints
    weights: Array
    scores: Array
    masses: tuple[float, float, float]
    share: float


@dataclasses.dataclass(frozen=True, eq=False)
class LibraryPart:
    """What the library says of the events of all windows; background rows follow the data rows.

    `block` (N + M,): number of the tested block of each event, the first block cut into parts; `windows`: the events of
    each window with their weights.
    """

    block: Ints
    windows: tuple[Tried, ...]


def generic_ratio(
    features: Array,
    masses: Array,
    resonance: float,
    approach: Classifier,
    settings: LibrarySettings,
    *,
    seed: int,
    executor: Executor | None = None,
) -> Array:
    """ln of the density of library decays at all masses over that of the events, shape (N,), cross-fitted."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 301]))
    made = cloud(masses, resonance, settings.cloud, rng)
    fold = deal_folds(len(features), settings.folds, rng)
    jobs = (
        Job(
            int(np.random.SeedSequence([seed, 302, k]).generate_state(1)[0]),
            made, features[fold != k], (features[fold == k],),
        )
        for k in range(settings.folds)
    )  # fmt: skip
    found = np.empty(len(features))
    for k, (of_fold,) in enumerate(train_and_score(approach, jobs, executor)):
        found[fold == k] = of_fold
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class WindowEvents:
    """Events of a window: features (n, 4) as in the library, m_JJ in GeV, and of each event the label, the block, the
    fold of the scores, and the row in the tables.
    """

    features: Array
    mass: Array
    is_data: NDArray[np.bool_]
    block: Ints
    fold: Ints
    rows: Ints


@dataclasses.dataclass(frozen=True, eq=False)
class _Hypotheses:
    """All decays that are tried on the events of a window; `ratio` (n,) is their `generic_ratio`."""

    events: WindowEvents
    ratio: Array
    masses: Array  # (J,) of daughters
    centre: float
    position: _Position
    fractions: Array  # (F,)
    possible: NDArray[np.bool_]  # (2, J, J, K, F)

    def posterior(self, log_l: Array) -> Array:
        """Probabilities of the hypotheses, all alike at first."""
        found = np.where(self.possible, np.exp(log_l - log_l[self.possible].max()), 0.0)
        return np.asarray(found / found.sum())

    def tried(self, at: Ints, rho: float, posterior: Array) -> tuple[Array, Array]:
        """ln(1 + sum pi f r) of the events `at`, and ln L_h of their labels."""
        mixed, log_l = np.zeros(len(at)), np.zeros(self.possible.shape)
        for start in range(0, len(at), PIECE):
            rows = at[start : start + PIECE]
            x, labels = self.events.features[rows], self.events.is_data[rows]
            light, heavy = x[:, 0], x[:, 0] + x[:, 1]
            first, second = (_jet(m, x[:, 2 + i], self.masses, self.centre) for i, m in enumerate((light, heavy)))
            density = np.exp(np.clip(self.ratio[rows], -30, 30)) / _mean_density(first, second)
            position = self.position(self.events.mass[rows])
            _try(
                first, second, density, position, labels, rho, self.fractions, posterior, log_l,
                mixed[start : start + PIECE],
            )  # fmt: skip
        return np.log1p(mixed), log_l


def try_library(events: WindowEvents, span: tuple[float, float], ratio: Array, settings: LibrarySettings) -> Tried:
    """Weights of all events of a window, block after block.

    Args:
        span: resonance masses that are tried lie between these, GeV.
        ratio: `generic_ratio` of the events.
    """
    block, fold = events.block, events.fold
    resonances, centre = resonance_masses(*span, settings), float(np.sqrt(span[0] * span[1]))
    masses = daughter_masses(centre, settings)
    shape = (len(PRONGS), len(masses), len(masses), len(resonances), len(settings.fractions))
    possible = np.triu(np.ones((len(masses), len(masses)), bool))[None, :, :, None, None] & np.ones(shape, bool)
    position = _Position.of(events.mass, resonances)
    all_of = _Hypotheses(events, ratio, masses, centre, position, np.array(settings.fractions), possible)
    weights, scores, rho = np.empty(len(block)), np.empty(len(block)), float(events.is_data.mean())
    log_l = np.zeros(shape)
    by_fold = np.zeros((int(fold.max()) + 1, *shape))
    for number in np.unique(block):
        posterior = all_of.posterior(log_l)
        for k in range(len(by_fold)):
            at = np.flatnonzero((block == number) & (fold == k))
            weights[at], labels = all_of.tried(at, rho, posterior)
            by_fold[k] += labels
        log_l = by_fold.sum(axis=0)
    for k, mine in enumerate(by_fold):
        at = np.flatnonzero(fold == k)
        scores[at] = all_of.tried(at, rho, all_of.posterior(log_l - mine))[0]
    marginal = all_of.posterior(log_l).sum(axis=(0, 4))
    j, k, m = (int(i) for i in np.unravel_index(int(marginal.argmax()), marginal.shape))
    best = (float(resonances[m]), float(masses[j]), float(masses[k]))
    return Tried(events.rows, weights, scores, best, float(marginal.max()))


@dataclasses.dataclass(frozen=True, eq=False)
class _Position:
    """Density of m_JJ under every resonance mass (K,) over that of the events of a window."""

    edges: Array  # of the response ln m_JJ / m
    density: Array  # of the response
    grid: Array  # of ln m_JJ
    events: Array  # their density on the grid
    inside: Array  # (K,) ln of the masses
    seen: Array  # (K,) the part of such a resonance that is inside of the table

    @classmethod
    def of(cls, mass: Array, resonances: Array) -> _Position:
        response = library().resonance.to_numpy(np.float64)
        edges = np.linspace(-0.6, 0.4, 51)
        counts = np.histogram(np.clip(np.log(np.maximum(response, 1e-3)), edges[0], edges[-1] - 1e-9), edges)[0]
        smooth = gaussian_filter(counts.astype(float), 0.7, mode="nearest")
        density = ((1 - FLOOR) * smooth / smooth.sum() + FLOOR / len(smooth)) / np.diff(edges)
        log = np.log(mass)
        sample = log[:: max(1, len(log) // 5000)]
        grid = np.linspace(log.min(), log.max() + 1e-9, 60)
        # mirrored at both ends, or a table that is cut in mass would seem to fade there
        mirrored = np.concatenate([sample, 2 * grid[0] - sample, 2 * grid[-1] - sample])
        events = 3 * gaussian_kde(mirrored, bw_method=0.5 * len(sample) ** -0.2 / 3)(grid)
        inside = np.log(resonances)
        seen = np.array([np.interp(grid - m, 0.5 * (edges[1:] + edges[:-1]), density).sum() for m in inside])
        return cls(edges, density, grid, events, inside, seen * (grid[1] - grid[0]))

    def __call__(self, mass: Array) -> Array:
        """Of events with these masses (N,), shape (N, K)."""
        log = np.log(mass)
        of_events = np.interp(log, self.grid, self.events)
        at = np.searchsorted(self.edges, log[:, None] - self.inside, side="right") - 1
        found = self.density[np.clip(at, 0, len(self.density) - 1)]
        return np.asarray(found / np.maximum(self.seen, 0.05) / of_events[:, None])


def _mean_density(first: NDArray[np.float32], second: NDArray[np.float32]) -> Array:
    """Density of the features averaged over all pairs and prongs, shape (N,)."""
    total = np.einsum("ijp,ip->i", first, second.sum(axis=1)) + np.einsum("ijp,ijp->i", first, second)
    pairs = first.shape[1] * (first.shape[1] + 1) / 2
    return np.asarray(total / (pairs * first.shape[2]), dtype=np.float64)


@njit()  # pragma: no cover
def _try(  # type: ignore[no-untyped-def]
    first, second, density, position, is_data, rho, fractions, prior, log_l, mixed
):
    """Fill `mixed` (n,), sum_h pi_h f r_h, and add the labels of the n events to `log_l`."""
    _, masses, kinds = first.shape
    for i in range(len(mixed)):
        y = 1.0 if is_data[i] else 0.0
        least = 1e-4 / (fractions.max() * position[i].max())  # below, not even all events together would tell
        for p in range(kinds):
            for j in range(masses):
                for k in range(j, masses):
                    r = density[i] * (first[i, j, p] * second[i, k, p] + first[i, k, p] * second[i, j, p])
                    if r < least:
                        continue
                    for m in range(position.shape[1]):
                        at = r * position[i, m]
                        for f in range(fractions.size):
                            z = at * fractions[f]
                            mixed[i] += prior[p, j, k, m, f] * z
                            if z > 0.01:
                                log_l[p, j, k, m, f] += y * np.log1p(z) - np.log1p(rho * z)
                            else:
                                log_l[p, j, k, m, f] += (y - rho) * z
