"""Figures of data sets: the distributions of observables by class, images by class, and the points of one event."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset
from bumpfit.events.representations import Image
from bumpfit.report.profiles import plain_text
from bumpfit.report.style import grid, styled

IN_GEV = ("pt", "px", "py", "pz", "e", "m", "mass", "mt", "met", "ht", "invmass")
"""Observables of objects that Delphes (and our simulation) store or that are computed in GeV."""


def labelled(name: str) -> str:
    """The name of an observable with its unit, where an object's observable has one; columns of tables may have any."""
    objects, dot, last = name.rpartition(".")
    return f"{name} [GeV]" if dot and objects and last.lower().replace("_", "") in IN_GEV else name


@styled
def observables(dataset: Dataset, *, bins: int = 40) -> Figure:
    """Distributions of every feature, one step line a class, each normalised to 1; missing values are left out.

    Raises InputError for a data set of images.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset

        >>> values = np.random.default_rng(1).normal(80.0, 9.0, (20, 1)).astype(np.float32)
        >>> made = Dataset(values, np.arange(20) % 2, np.ones(20), ("fatjet0.mass",), ("background", "signal"))
        >>> bumpfit.report.observables(made, bins=5).axes[0].get_xlabel()
        'fatjet0.mass [GeV]'
    """
    if dataset.samples.ndim != 2:
        raise InputError("the data set holds images; draw it with images")
    figure, axes = grid(len(dataset.features))
    for place, (axis, name) in enumerate(zip(axes, dataset.features, strict=True)):
        values = dataset.samples[:, place].astype(np.float64)
        known = np.isfinite(values)
        if known.any():
            edges = np.histogram_bin_edges(values[known], bins)
            for number, label in enumerate(dataset.classes):
                mine = known & (dataset.targets == number)
                total = dataset.weights[mine].sum()
                if total > 0:
                    counts, _ = np.histogram(values[mine], edges, weights=dataset.weights[mine])
                    axis.stairs(counts / total, edges, label=plain_text(label), linewidth=1.6)
        axis.set_xlabel(plain_text(labelled(name)))
        axis.set_ylabel("Fraction of events")
        if place == 0 and axis.patches:
            axis.legend(fontsize="small")
    return figure


@styled
def images(dataset: Dataset, *, log: bool = True, event: int | None = None) -> Figure:
    """The mean image of every class, weighted, on a common colour scale, logarithmic by default; or that of one event.

    Args:
        event: number of the event in the data set, from 0; None draws the means.

    Raises InputError for a data set of observables, for an event that is not there, and when all weights are 0.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset

        >>> pictures = np.random.default_rng(1).poisson(2.0, (20, 9, 9)).astype(np.float32)
        >>> made = Dataset(pictures, np.arange(20) % 2, np.ones(20), (), ("background", "signal"))
        >>> [axis.get_title() for axis in bumpfit.report.images(made).axes[:2]]
        ['background', 'signal']
        >>> bumpfit.report.images(made, event=3).axes[0].get_title()
        'signal, event 3'
    """
    if dataset.samples.ndim != 3:
        raise InputError("the data set holds observables; draw it with observables")
    if event is None:
        there, means = _means(dataset)
    else:
        if isinstance(event, bool) or not isinstance(event, int) or not 0 <= event < len(dataset):
            raise InputError(f"the event is {event!r}; expected a number from 0 to {len(dataset) - 1}")
        there, means = [int(dataset.targets[event])], [dataset.samples[event]]
    largest = max(float(mean.max()) for mean in means) or 1.0
    positive = np.concatenate([mean[mean > 0] for mean in means])
    smallest = max(float(positive.min()), largest * 1e-5) if len(positive) else largest * 1e-5
    norm = LogNorm(smallest, largest) if log else Normalize(0.0, largest)
    described = dataset.provenance.get("representation", {})
    pixels = described.get("pixels")
    rows, columns = means[0].shape
    (bottom, top), (left, right) = pixels["range"] if pixels else ((0, rows), (0, columns))
    figure, axes = grid(len(there), columns=len(there), width=4.4, height=4.0)
    for panel, mean, number in zip(axes, means, there, strict=True):
        drawn = panel.imshow(
            np.ma.masked_less_equal(mean, 0) if log else mean,
            origin="lower",
            extent=(left, right, bottom, top),
            norm=norm,
            aspect="equal",
        )
        panel.set_title(plain_text(dataset.classes[number] + ("" if event is None else f", event {event}")))
        panel.set_xlabel(plain_text(described.get("width", "column").rsplit(".", 1)[-1]))
        panel.set_ylabel(plain_text(described.get("height", "row").rsplit(".", 1)[-1]))
    name, _, unit = labelled(described.get("channel") or "count").rsplit(".", 1)[-1].partition(" ")
    figure.colorbar(
        drawn, ax=list(axes), label=plain_text(f"{'Mean ' * (event is None)}{name} per pixel {unit}".strip())
    )
    return figure


@styled
def point_cloud(image: Image, events: Any, *, event: int = 0) -> Figure:
    """The points of one event, which pixels would sum: their channel in colour, in the frame of the pixels if any.

    Args:
        image: how points are found, moved and turned (`Image.points`).
        events: an open file, or one of its chunks.
        event: number of the event, from 0.

    Raises InputError for an event that is not there, and for unknown names.

    Examples:
        >>> import awkward as ak
        >>> from bumpfit.events.representations import Image
        >>> inside = ak.zip({"pt": [[[5.0, 2.0]]], "eta": [[[0.1, -0.3]]], "phi": [[[0.4, 0.2]]]})
        >>> jets = {"pt": [[7.0]], "eta": [[0.0]], "phi": [[0.3]], "constituents": inside}
        >>> event = bumpfit.events.open({"fatjet": ak.zip(jets, depth_limit=2)})
        >>> shape = Image(*(f"fatjet0.constituents.{name}" for name in ("phi", "eta", "pt")))
        >>> bumpfit.report.point_cloud(shape, event).axes[0].get_title()
        'event 0: 2 points'
    """
    clouds = image.points(events)
    if isinstance(event, bool) or not isinstance(event, int) or not 0 <= event < len(clouds):
        raise InputError(f"the event is {event!r}; expected a number from 0 to {len(clouds) - 1}")
    cloud = {name: np.asarray(clouds[event][name], dtype=np.float64) for name in ("width", "height", "channel")}
    order = np.argsort(cloud["channel"])  # large ones on top
    figure, (axis,) = grid(1, columns=1, width=4.8, height=4.0)
    positive = cloud["channel"][cloud["channel"] > 0]
    drawn = axis.scatter(
        cloud["width"][order], cloud["height"][order], c=cloud["channel"][order], s=14,
        norm=LogNorm(positive.min(), positive.max()) if len(positive) == len(order) > 0 else Normalize(),
    )  # fmt: skip
    if image.pixels is not None:
        (bottom, top), (left, right) = image.pixels.range
        axis.set(xlim=(left, right), ylim=(bottom, top))
    axis.set_aspect("equal", adjustable="datalim" if image.pixels is None else "box")
    axis.set_title(f"event {event}: {len(order)} points")
    axis.set_xlabel(plain_text(image.width.rsplit(".", 1)[-1]))
    axis.set_ylabel(plain_text(image.height.rsplit(".", 1)[-1]))
    if image.channel is not None and len(order):
        figure.colorbar(drawn, ax=axis, label=plain_text(labelled(image.channel).rsplit(".", 1)[-1]))
    return figure


def _means(dataset: Dataset) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Numbers of the classes that have weight, and their weighted mean images."""
    classes = range(len(dataset.classes))
    there = [number for number in classes if dataset.weights[dataset.targets == number].sum() > 0]
    if not there:
        raise InputError("all weights are 0; there is no mean image to draw")
    rows_of = [dataset.targets == number for number in there]
    return there, [np.average(dataset.samples[mine], axis=0, weights=dataset.weights[mine]) for mine in rows_of]


__all__ = ["images", "labelled", "observables", "point_cloud"]
