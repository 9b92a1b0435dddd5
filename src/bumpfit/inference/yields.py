"""Yields before and after the fit: by channel, sample and bin, with uncertainties from the parameters' covariance."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from bumpfit.inference.fit import covariance_at
from bumpfit.inference.histfactory import FitOptions, Settings, prepare
from bumpfit.inference.impacts import prefit_width
from bumpfit.inference.profile import require_valid
from bumpfit.results import ChannelYields, SampleYields, Yields
from bumpfit.types import Floats
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

STEP = 1e-4
"""Step of the numerical derivatives in units of each parameter's uncertainty; the error is of order STEP squared."""


def prefit(model: Model, data: Data = None) -> Yields:
    """Yields at the suggested start with the uncertainties of the constraints (none for free factors).

    Examples:
        >>> found = bumpfit.inference.prefit(model)
        >>> [(sample.name, sample.sum) for sample in found.channels[0].samples]
        [('background', 80.0), ('signal', 14.0)]
    """
    widths = np.array([0.0 if p.fixed else prefit_width(p) or 0.0 for p in model.parameters])
    counts = model.split(data)[0] if data is not None or model.observed is not None else None
    return _yields(model, model.inits, widths, np.eye(widths.size), counts, "pre-fit")


def postfit(
    model: Model, data: Data = None, *, options: FitOptions = FitOptions(), **settings: Unpack[Settings]
) -> Yields:
    """Yields at the best fit with the covariance of all free parameters.

    Directions that the data do not determine carry no uncertainty. Raises BumpfitError when the fit does not converge.

    Examples:
        >>> channel = bumpfit.inference.postfit(model).channels[0]
        >>> print(f"{channel.name}: {sum(channel.total):.1f} of {sum(channel.data):g}")
        SR: 98.2 of 99
    """
    problem = prepare(model, data, options=options, **settings)
    best = require_valid(problem.solve(), "the fit")
    covariance, errors, _ = covariance_at(problem, best)
    widths = np.nan_to_num(errors)
    correlation = np.eye(widths.size)
    if covariance is not None:
        inverse = np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)
        correlation = covariance * inverse * inverse[:, None]
    return _yields(model, best.x, widths, correlation, problem.main, "post-fit")


def _yields(model: Model, x: Floats, widths: Floats, correlation: Floats, counts: Floats | None, label: str) -> Yields:
    central = model.expected_by_sample(x)
    moving = np.flatnonzero(widths > 0)
    correlation = correlation[np.ix_(moving, moving)]
    slopes = []
    for i in moving:
        step = np.zeros_like(x)
        step[i] = STEP * widths[i]
        above, below = model.expected_by_sample(x + step), model.expected_by_sample(x - step)
        slopes.append({c: {s: (above[c][s] - below[c][s]) / (2 * STEP) for s in central[c]} for c in central})

    channels = []
    for channel in model.channels:
        size = channel.last - channel.first
        # changes for one standard deviation of each parameter: (samples, parameters, bins)
        changes = np.zeros((len(channel.samples), moving.size, size))
        for k, slope in enumerate(slopes):
            changes[:, k] = [slope[channel.name][name] for name in channel.samples]
        samples = []
        for name, change in zip(channel.samples, changes, strict=True):
            yields = central[channel.name][name]
            errors, whole = _errors(change, correlation)
            samples.append(
                SampleYields(name, tuple(map(float, yields)), tuple(map(float, errors)), float(yields.sum()), whole)
            )
        total = np.sum([central[channel.name][name] for name in channel.samples], axis=0)
        errors, whole = _errors(changes.sum(axis=0), correlation)
        channels.append(
            ChannelYields(
                name=channel.name,
                samples=tuple(samples),
                total=tuple(map(float, total)),
                total_errors=tuple(map(float, errors)),
                sum=float(total.sum()),
                sum_error=whole,
                data=None if counts is None else tuple(map(float, counts[channel.first : channel.last])),
            )
        )
    return Yields(label, tuple(channels))


def _errors(change: Floats, correlation: Floats) -> tuple[Floats, float]:
    """Uncertainties of the bins, shape (B,), and of their sum, from changes (P, B) for one standard deviation each."""
    with np.errstate(over="ignore"):  # beyond floating-point numbers the uncertainty is infinite
        bins = np.einsum("ib,ij,jb->b", change, correlation, change)
        whole = change.sum(axis=1)
        square = whole @ correlation @ whole
    return np.sqrt(np.maximum(bins, 0.0)), float(np.sqrt(max(square, 0.0)))
