"""From a table of scored events to a workspace: cut, histogram, background, signal.

Two likelihoods: a Gaussian peak over a dijet function in the m_JJ spectrum of the selected events, and the count of
selected events against those of a background table that was scored alike.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit import toys
from bumpfit.errors import BumpfitError, InputError, InputWarning
from bumpfit.histograms import Histogram, check_edges, fill, mass_edges
from bumpfit.results import Fit, Record
from bumpfit.search.mass_range import SpectrumSettings, fitted_around, smooth_range
from bumpfit.search.scored import Scored
from bumpfit.search.spectrum import error_inflation
from bumpfit.shapes import SQRT_S, LogLinear, dijet, gaussian, order_by_f_test
from bumpfit.shapes import fit as fit_shape
from bumpfit.workspace.build import selection, spectrum_of

Array = NDArray[np.float64]

KEEP = 0.03
"""Fraction of the events with the highest scores that is kept when no cut is given ..."""
LEAST = 500
"""... or more, so that so many events are kept (all of a smaller table)."""


HIDDEN = 1e-6
"""Share of the signal that must be seen beside a blinded window."""

TIED = 0.05
"""Events more than asked for, as a share, that equal scores may keep without a word."""


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """How scored events become a workspace; masses in GeV.

    `cut`: lowest score that is kept, or `keep`: fraction of events that the cut keeps (of the background table where
    there is one); neither: `KEEP` and `LEAST`. `below`: scores from here on are left out. `low`, `high`: range of the
    spectrum, by default where the half of the events with the lowest scores is smooth. `bins`: number of equal bins; by
    default bins as wide as the `resolution`. `parameters`: of the dijet function, by default chosen by the F-test.
    `mass`, `width`: of the Gaussian signal; by default the mass of the largest q0 and `resolution` times the mass.
    `signal`: signal events at strength 1; `strength`: range of the strength. `channel`: name of the channel.
    `blind_mass`: window of the mass whose events nothing looks at but the default range, which takes those with low
    scores: all bins that overlap it are left out.
    """

    cut: float | None = None
    keep: float | None = None
    below: float | None = None
    low: float | None = None
    high: float | None = None
    bins: int | None = None
    parameters: int | None = None
    mass: float | None = None
    width: float | None = None
    signal: float = 1.0
    strength: tuple[float, float] | None = None
    channel: str | None = None
    resolution: float = 0.03
    sqrt_s: float = SQRT_S
    blind_mass: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        rules = [
            (self.cut is None or self.keep is None, "give either a cut or the fraction to keep, not both"),
            (self.cut is None or math.isfinite(self.cut), f"the cut is {self.cut}; expected a number"),
            (self.keep is None or 0 < self.keep <= 1, f"the fraction to keep is {self.keep}; expected 0 to 1"),
            (self.bins is None or self.bins >= 1, f"the number of bins is {self.bins}; expected at least 1"),
            (self.low is None or self.low > 0, f"the range begins at {self.low} GeV; expected a mass above 0"),
            (self.low is None or self.high is None or self.low < self.high, "the range needs low < high"),
            (self.width is None or self.width > 0, f"the width is {self.width} GeV; expected a positive one"),
            (math.isfinite(self.signal) and self.signal > 0, f"the signal is {self.signal} events; expected above 0"),
            (0 < self.resolution < 1, f"the resolution is {self.resolution}; expected a fraction between 0 and 1"),
        ]
        for good, message in rules:
            if not good:
                raise InputError(message)


@dataclasses.dataclass(frozen=True, eq=False)
class Built(Record):
    """A workspace and how it came about.

    `kind` is "spectrum" or "selection"; `n_total` events of the table in the range, `n_selected` of them kept at scores
    from `cut` on. `background_selected` and `tau`: of the background table. The rest concerns spectra: `edges` (B + 1,)
    and `counts` (B,), fitted background `fitted` and `signal` at strength 1 (B,), `mass` and `width` in GeV, and the
    scan of q0 over `masses` when the mass was searched for. `inflation`: error of the strength with a free over that
    with a known background (far above 1: the range has no sidebands). `blinded`: from where to where bins are left out
    (their `counts` are NaN, and they are not in the workspace); numbers of events are those outside.
    """

    kind: str
    workspace: dict[str, Any] = dataclasses.field(repr=False)
    n_total: int
    n_selected: int
    cut: float
    background_selected: int | None = None
    tau: float | None = None
    edges: Array | None = None
    counts: Array | None = None
    fitted: Array | None = None
    signal: Array | None = None
    n_parameters: int | None = None
    goodness_p: float | None = None
    mass: float | None = None
    width: float | None = None
    inflation: float | None = None
    masses: Array | None = None
    q0: Array | None = None
    blinded: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the workspace, which is a file of its own."""
        return {key: value for key, value in super().to_dict().items() if key != "workspace"}


def threshold(scores: Array, settings: BuildSettings) -> float:
    """Lowest score that is kept of these, shape (N,); equal scores are kept together."""
    if settings.cut is not None:
        return settings.cut
    keep = max(KEEP, LEAST / scores.size) if settings.keep is None else settings.keep
    number = min(scores.size, max(1, round(keep * scores.size)))
    cut = float(np.partition(scores, scores.size - number)[scores.size - number])
    kept = int((scores >= cut).sum())
    if kept - number > max(TIED * number, 1):
        warnings.warn(
            f"the cut keeps {kept} events ({kept / scores.size:.3g}), not {number} ({keep:.3g}): many events share the "
            f"score {cut:g}, and equal scores are kept together",
            InputWarning,
            stacklevel=2,
        )
    return cut


def _selected(scored: Scored, cut: float, settings: BuildSettings) -> NDArray[np.bool_]:
    rows = scored.score >= cut
    if settings.below is not None:
        rows &= scored.score < settings.below
    if not rows.any():
        raise InputError(
            f"no event of {scored.label} has a score from {cut:g} on"
            + (f" and below {settings.below:g}" if settings.below is not None else "")
            + f"; scores are {scored.score.min():g} to {scored.score.max():g}"
        )
    return np.asarray(rows)


def spectrum_workspace(scored: Scored, settings: BuildSettings = BuildSettings()) -> Built:
    """A Gaussian peak over a dijet function in the mass spectrum of the selected events.

    Raises InputError when the selection leaves too few events for a fit or the mass lies outside the range,
    BumpfitError when the background cannot be fitted.
    """
    scored = scored.inside(settings.low, settings.high)
    low, high = _range(scored, settings)
    if settings.bins is None:
        edges = mass_edges(low, high, resolution=settings.resolution, minimum_bins=12)
    else:
        edges = check_edges(np.linspace(low, high, settings.bins + 1))
    blinded = _blinded(edges, settings)
    scored = _seen(scored.inside(low, high), blinded)
    cut = threshold(scored.score, settings)
    rows = _selected(scored, cut, settings)
    histogram = fill(scored.masses[rows], edges, name="m_JJ")
    if blinded is not None:
        histogram = histogram.blind(*blinded)
    seen = ~histogram.blinded
    shape, background, goodness = _background(histogram, settings)
    mass, masses, q0 = settings.mass, None, None
    if mass is None:
        masses = _masses(edges, settings.resolution)
        if blinded is not None:
            masses = masses[(masses < blinded[0]) | (masses > blinded[1])]
        if not masses.size:
            raise InputError("every mass of the scan is blinded; give a mass, or a smaller window")
        scanned = fitted_around(histogram, shape, background, np.array([peak(edges, m, settings) for m in masses]))
        q0 = toys.engine(scanned).fit_data(histogram.counts[None, seen]).statistic[0]
        if not np.isfinite(q0).any():
            raise BumpfitError("no signal of the mass scan could be fitted; give a mass, or select more events")
        mass = float(masses[np.nanargmax(q0)])
    elif not edges[0] < mass < edges[-1]:
        raise InputError(
            f"the signal mass {mass:g} GeV lies outside the spectrum, {edges[0]:.6g} to {edges[-1]:.6g} GeV"
        )
    signal = peak(edges, mass, settings)
    if not signal[seen].sum() > HIDDEN * signal.sum():
        raise InputError(f"the signal at {mass:g} GeV is hidden whole by the blinded window; take a smaller one")
    model = fitted_around(histogram, shape, background, signal[None])
    spec = spectrum_of(
        histogram, shape, background.values, signal,
        channel=settings.channel or "spectrum", poi_range=settings.strength,
    )  # fmt: skip
    return Built(
        kind="spectrum",
        workspace=spec,
        n_total=scored.score.size,
        n_selected=int(rows.sum()),
        cut=cut,
        edges=edges,
        counts=histogram.counts,
        fitted=model.rate if blinded is None else shape.integrate(edges, background.values),
        signal=signal,
        n_parameters=len(shape.parameters),
        goodness_p=goodness,
        mass=mass,
        width=settings.resolution * mass if settings.width is None else settings.width,
        inflation=error_inflation(model.rate, model.basis, signal[seen]),
        masses=masses,
        q0=q0,
        blinded=blinded,
    )


def selection_workspace(scored: Scored, background: Scored, settings: BuildSettings = BuildSettings()) -> Built:
    """Selected events against those of a background table of which tau events stand for one of the data.

    tau is the ratio of the numbers of events in the range before the cut: signal is taken to be rare there. One bin, or
    with `bins` that many in mass, with a Gaussian signal at `mass`. Raises InputError for empty selections.
    """
    scored, background = (table.inside(settings.low, settings.high) for table in (scored, background))
    edges = None if settings.bins is None else _selection_bins(scored, settings)
    blinded = settings.blind_mass if edges is None else _blinded(edges, settings)
    scored, background = _seen(scored, blinded), _seen(background, blinded)
    cut = threshold(background.score, settings)
    rows, rows_b = _selected(scored, cut, settings), background.score >= cut
    if settings.below is not None:
        rows_b &= background.score < settings.below
    tau = background.score.size / scored.score.size
    counts, table = np.array([float(rows.sum())]), np.array([float(rows_b.sum())])
    signal, mass, seen = np.array([settings.signal]), None, np.array([True])
    if edges is not None:
        mass = settings.mass
        if mass is None:
            raise InputError("a selection in bins of the mass needs the mass of the signal (--mass)")
        found = fill(scored.masses[rows], edges)
        found = found if blinded is None else found.blind(*blinded)
        counts, seen = found.counts, ~found.blinded
        table = fill(background.masses[rows_b], edges).counts
        signal = peak(edges, mass, settings)
    spec = selection(
        counts[seen],
        table[seen],
        tau,
        signal[seen],
        channel=settings.channel or "selection",
        poi_range=settings.strength,
    )
    return Built(
        kind="selection",
        workspace=spec,
        n_total=scored.score.size,
        n_selected=int(rows.sum()),
        cut=cut,
        background_selected=int(rows_b.sum()),
        tau=tau,
        edges=edges,
        counts=counts,
        fitted=table / tau,
        signal=signal,
        mass=mass,
        width=None if mass is None else settings.resolution * mass if settings.width is None else settings.width,
        blinded=blinded,
    )


def peak(edges: Array, mass: float, settings: BuildSettings) -> Array:
    """Signal events a bin at strength 1, shape (B,)."""
    width = settings.resolution * mass if settings.width is None else settings.width
    return gaussian().integrate(edges, [settings.signal, mass, width])


def _range(scored: Scored, settings: BuildSettings) -> tuple[float, float]:
    if settings.low is not None and settings.high is not None:
        return settings.low, settings.high
    # signal has the high scores: the other half shows where background is smooth
    quiet = scored.masses[scored.score <= np.median(scored.score)]
    low, high = smooth_range(quiet, SpectrumSettings(resolution=settings.resolution))
    return (low if settings.low is None else settings.low), (high if settings.high is None else settings.high)


def _blinded(edges: Array, settings: BuildSettings) -> tuple[float, float] | None:
    """From where to where bins are hidden; raises InputError for a window without bins, or with all of them."""
    if settings.blind_mass is None:
        return None
    low, high = settings.blind_mass
    hidden = np.flatnonzero((edges[:-1] < high) & (edges[1:] > low))
    if not 0 < hidden.size < edges.size - 1:
        raise InputError(
            f"the blinded window, {low:g} to {high:g} GeV, hides {'no bin' if not hidden.size else 'every bin'} of the "
            f"spectrum, which is from {edges[0]:.6g} to {edges[-1]:.6g} GeV"
        )
    return float(edges[hidden[0]]), float(edges[hidden[-1] + 1])


def _seen(scored: Scored, blinded: tuple[float, float] | None) -> Scored:
    return scored if blinded is None else scored.outside(*blinded)


def _selection_bins(scored: Scored, settings: BuildSettings) -> Array:
    assert settings.bins is not None
    low = float(scored.masses.min()) if settings.low is None else settings.low
    high = float(np.nextafter(scored.masses.max(), math.inf)) if settings.high is None else settings.high
    return check_edges(np.linspace(low, high, settings.bins + 1))


def _background(histogram: Histogram, settings: BuildSettings) -> tuple[LogLinear, Fit, float | None]:
    """The dijet function, its fit without signal and the chi2 probability of that (None when one was not judged)."""
    # a reference mass inside the spectrum keeps the prefactor finite
    middle = float(np.sqrt(histogram.edges[0] * histogram.edges[-1]))

    def family(n: int) -> LogLinear:
        return dijet(n, sqrt_s=settings.sqrt_s, reference=middle)

    if settings.parameters is not None:
        shape = family(settings.parameters)
        result = fit_shape(shape, histogram)
        if not result.valid:
            raise BumpfitError(
                f"the fit of {shape.name} to {histogram.total:g} selected events failed: {result.status}"
            )
        return shape, result, None
    try:
        order = order_by_f_test(histogram, family)
    except InputError as error:
        raise InputError(
            f"{histogram.total:g} selected events cannot choose a background function ({error}); "
            "select more, or give the number of parameters"
        ) from error
    assert isinstance(order.shape, LogLinear)
    return order.shape, order.fit, order.trials[[t.n_parameters for t in order.trials].index(order.n_parameters)].p_chi2


def _masses(edges: Array, resolution: float) -> Array:
    """Masses of a scan, one a resolution, from one above the low edge to one below the high edge, shape (K,)."""
    low, high = math.log(edges[0]) + resolution, math.log(edges[-1]) - resolution
    if low >= high:
        return np.array([math.sqrt(edges[0] * edges[-1])])
    return np.exp(np.linspace(low, high, max(2, round((high - low) / math.log1p(resolution)) + 1)))
