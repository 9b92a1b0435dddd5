"""One figure for every record: what `record.plot()` draws, on new axes or on given ones, with an experiment's label."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram
from bumpfit.inference.pulls import Pulls
from bumpfit.inference.surface import Surface
from bumpfit.report.beside import pulls_beside
from bumpfit.report.fitted import ranking, yields
from bumpfit.report.profiles import brazil, contours, expected_bands, plain_text, profile
from bumpfit.report.spectra import p_values
from bumpfit.report.style import (
    BLACK,
    BLUE,
    VERMILION,
    drawing_on,
    event_scale,
    headroom,
    observed,
    own_figure,
    panels,
    points,
    stairs,
    style,
    styled,
)
from bumpfit.report.toys import coverage_ladder, global_scan, law_at_zero, sensitivity_bands, tally, toy_distribution
from bumpfit.results import Contour, Fit, Impacts, Interval, Limit, MassScan, Scan, Yields
from bumpfit.toys.coverage import Coverage, Sensitivity
from bumpfit.toys.look_elsewhere import GlobalToys
from bumpfit.toys.tally import Tally
from bumpfit.toys.throw import ToySample

EXPERIMENTS = ("ALICE", "ATLAS", "CMS", "DUNE", "LHCb")
"""Experiments whose label mplhep knows."""


def plot(
    record: Any, ax: Axes | Sequence[Axes] | None = None, *, label: str | None = None, lumi: float | str | None = None,
    com: float | str | None = None, **options: Any,
) -> Figure:  # fmt: skip
    """The figure of a record.

    Args:
        record: a result of this package, a histogram or a cut flow.
        ax: axes to draw on, one a panel of the figure, in their owner's style; a new figure by default.
        label: an experiment and its status, as "CMS" or "ATLAS Internal".
        lumi: integrated luminosity in fb^-1, for the label.
        com: centre-of-mass energy in TeV, for the label.
        options: for the drawing function of this record.

    Raises:
        InputError: no figure of such a record, an unknown experiment, another number of axes than panels.

    Examples:
        >>> figure = bumpfit.report.plot(bumpfit.inference.scan(model, n_points=3))
        >>> figure.axes[0].get_xlabel()
        'mu'
    """
    experiment, status = experiment_of(label)
    draw = getattr(record, "_picture", None) or functools.partial(picture, record)  # of higher floors: their own
    if ax is None:
        figure: Figure = draw(**options)
        _head(figure.axes[0], experiment, status, lumi, com, room=0.3)
    else:
        with drawing_on(ax):
            figure = draw(**options)
        _head(ax if isinstance(ax, Axes) else ax[0], experiment, status, lumi, com)
    return figure


def experiment_of(label: str | None) -> tuple[str, str]:
    """Experiment and status of a label, both empty without one; raises InputError for an unknown experiment."""
    experiment, _, status = (label or "").partition(" ")
    if label is not None and experiment not in EXPERIMENTS:
        raise InputError(
            f"the label is '{label}'; expected {', '.join(EXPERIMENTS[:-1])} or {EXPERIMENTS[-1]}, "
            "and after it what you like, as in 'CMS Preliminary'"
        )
    return experiment, status


def headed(figure: Figure, label: str | None, lumi: float | None, com: float | None) -> None:
    """Put an experiment's label above a figure; arguments as for `plot`."""
    _head(figure.axes[0], *experiment_of(label), lumi, com, room=0.3)


def _head(
    axis: Axes, experiment: str, status: str, lumi: float | str | None, com: float | str | None, room: float = 0.0
) -> None:
    """The experiment's label above the first panel; `room` in inches is made for it."""
    if not (experiment or lumi or com):
        return
    import mplhep

    lumi, com = (f"{one:g}" if isinstance(one, float) else one for one in (lumi, com))
    figure = axis.get_figure()
    if room and isinstance(figure, Figure):
        height = figure.get_figheight()
        figure.set_figheight(height + room)
        for panel in figure.axes:
            box = panel.get_position()
            share = height / (height + room)
            panel.set_position((box.x0, box.y0 * share, box.width, box.height * share))
    with style():
        mplhep.label.exp_label(exp=experiment, text=status, data=True, lumi=lumi, com=com, ax=axis, loc=0, fontsize=13)


@functools.singledispatch
def picture(record: Any) -> Figure:
    """Draw a record; its type chooses the figure."""
    raise InputError(f"there is no figure of {type(record).__name__}; figures are in bumpfit.report")


picture.register(Scan, profile)
picture.register(Yields, yields)
picture.register(GlobalToys, global_scan)


@picture.register
def _(record: MassScan) -> Figure:
    return p_values(record) if record.limits is None else brazil(record)


@picture.register
def _(record: Surface) -> Figure:
    return contours([], record)


@picture.register
def _(record: Contour) -> Figure:
    return contours([record])


def _register_events() -> None:
    from bumpfit.events.cutflow import CutFlow
    from bumpfit.events.dataset import Dataset
    from bumpfit.report.cutflows import cut_flow
    from bumpfit.report.datasets import images, observables

    def dataset(record: Dataset, **options: Any) -> Figure:
        return observables(record, **options) if record.samples.ndim == 2 else images(record, **options)

    picture.register(CutFlow, lambda record: cut_flow([record]))
    picture.register(Dataset, dataset)


if find_spec("awkward") is not None:  # an optional package, without which there is neither
    _register_events()


@picture.register
def _(record: Pulls, top: int = 20) -> Figure:
    return pulls_beside(record, top)


@picture.register
def _(record: Impacts, top: int = 20) -> Figure:
    return ranking(record, top)


@picture.register
def _(record: Coverage, parameter: str = "strength") -> Figure:
    return coverage_ladder(record, parameter)


@picture.register
def _(record: Sensitivity, parameter: str = "strength") -> Figure:
    return sensitivity_bands(record, parameter)


@picture.register
def _(record: ToySample) -> Figure:
    if record.weights is not None:
        raise InputError("toys of importance sampling have weights; draw bumpfit.report.toys.tail_probability of them")
    value, toys = np.unique(record.statistic[record.valid], return_counts=True)
    if not value.size:
        raise BumpfitError("no toy could be fitted, so there is no distribution to draw")
    law = law_at_zero(record.name, record.thrown, record.tested)
    return toy_distribution(value, toys.astype(np.float64), record.observed, record.name, law)


@picture.register
def _(record: Tally) -> Figure:
    if record.weight is not None:
        raise InputError("toys of importance sampling have weights; draw bumpfit.report.toys.tail_probability of them")
    return tally(record)


@picture.register
@styled
def _(record: Fit, most: int = 30) -> Figure:
    """Correlation matrix of the free parameters; of many those that are correlated most, which its title says."""
    matrix = record.correlation
    if matrix is None:
        raise BumpfitError("the fit has no covariance, so there is no correlation matrix to draw")
    free = [i for i, name in enumerate(record.parameters) if record.errors[name] > 0]
    if not free:
        raise BumpfitError("no parameter of the fit has an error, so there is no correlation matrix to draw")
    strongest = sorted(free, key=lambda i: -float(np.sum(np.abs(matrix[i, free]))))[:most]
    chosen = sorted(strongest)
    size = len(chosen)
    names = [plain_text(record.parameters[i]) for i in chosen]
    longest = max(len(name) for name in names)
    cells, margin, bar = max(0.34 * size, 1.6), 0.3 + 0.075 * longest, 1.0
    title = "" if size == len(free) else f"{size} of {len(free)} parameters: those with the largest correlations"
    width, height = margin + cells + bar, margin + cells + (0.35 if title else 0.15)
    figure, (axis,) = panels(width=width, height=height)
    axis.set_title(title, fontsize="small", loc="left")
    shown = axis.imshow(matrix[np.ix_(chosen, chosen)], cmap="RdBu_r", vmin=-1, vmax=1)
    if size <= 12:
        for row in range(size):
            for column in range(size):
                value = matrix[chosen[row], chosen[column]]
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize="xx-small",
                          color="white" if abs(value) > 0.6 else BLACK)  # fmt: skip
    axis.set_xticks(range(size), names, rotation=90, fontsize="x-small")
    axis.set_yticks(range(size), names, fontsize="x-small")
    axis.tick_params(which="both", length=0)
    axis.minorticks_off()
    scale = figure.colorbar(shown, ax=axis, label="Correlation", fraction=0.05, pad=0.03)
    scale.ax.tick_params(labelsize="x-small")
    if own_figure():
        axis.set_position((margin / width, margin / height, cells / width, cells / height))
        scale.ax.set_position(((margin + cells + 0.1) / width, margin / height, 0.12 / width, cells / height))
    return figure


@picture.register
@styled
def _(record: Limit) -> Figure:
    """The limit with its expected band, and observed CLs of the strengths that were tested on the way."""
    figure, (axis,) = panels()
    expected = np.array(record.expected, dtype=float)
    line = 1 - record.level
    expected_bands(axis.axvspan, expected)
    axis.axvline(expected[2], color=BLACK, linestyle="--", label="Expected")
    if record.observed is not None:
        axis.axvline(record.observed, color=BLACK, label="Observed")
    axis.axhline(line, color=VERMILION, linewidth=1.2)
    if record.scan_mu and record.scan_cls:
        order = np.argsort(record.scan_mu)
        mu, cls = np.array(record.scan_mu)[order], np.array(record.scan_cls)[order]
        axis.plot(mu, cls, color=BLUE, marker="o", markersize=3, linestyle="none", label="CLs, tested")
    reach = [value for value in (*expected, record.observed or np.nan) if np.isfinite(value)]
    axis.set_xlim(0.0, 1.6 * max(reach, default=1.0))
    axis.set_yscale("log")
    axis.set_ylim(1e-3, 1.0)
    axis.set_xlabel(plain_text(record.parameter))
    axis.set_ylabel("CLs")
    axis.legend(loc="upper right", fontsize="small")
    return figure


@picture.register
@styled
def _(record: Interval) -> Figure:
    """The best value and the interval; an end that is open has an arrow."""
    figure, (axis,) = panels(height=1.5)
    known = [abs(end - record.best) for end in (record.low, record.high) if end is not None]
    reach = max(known, default=0.0) or 1.0
    low, high = (reach if end is None else abs(end - record.best) for end in (record.low, record.high))
    look: dict[str, Any] = {"fmt": "o", "color": BLACK, "capsize": 4.0}
    axis.errorbar([record.best], [0.0], xerr=[[low], [0.0]], xuplims=record.low is None, **look,
                  label=f"{record.level:.2%}, {record.method}")  # fmt: skip
    axis.errorbar([record.best], [0.0], xerr=[[0.0], [high]], xlolims=record.high is None, **look)
    axis.margins(x=0.2)
    axis.set_ylim(-1.0, 1.6)
    axis.set_yticks([])
    axis.set_xlabel(plain_text(record.parameter))
    axis.legend(loc="upper right", fontsize="small")
    return figure


@picture.register
@styled
def _(record: Histogram, axis_label: str | None = None) -> Figure:
    """Counts with their errors: Poisson intervals, and of weighted events the root of the variance."""
    figure, (axis,) = panels()
    edges, counts = record.edges, record.counts
    event_scale(axis, counts)
    if record.weighted:
        stairs(axis, counts, edges, color=BLUE)
        points(axis, counts, np.sqrt(record.variances), edges)
    else:
        observed(axis, counts, edges)
    headroom(axis, 0.1)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel(plain_text(axis_label or record.name))
    axis.set_ylabel("Events / bin")
    return figure


__all__ = ["EXPERIMENTS", "picture", "plot"]
