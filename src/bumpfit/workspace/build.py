"""Write HistFactory JSON for searches: spectra over a log-linear background, and counts against a background table.

What these functions return is a plain dict: pyhf, cabinetry and `bumpfit.workspace.read` load and fit it with
default settings. Counts and yields are numbers or histograms (`bumpfit.histograms.as_histogram` says which).

HistFactory has no parametric functions. A background whose log is linear in its parameters, b_i = b0_i exp(sum_k
Z_ik z_k), is nevertheless exact in it: one sample a bin, with one `normsys` for each z_k whose hi = exp(K Z_ik) and
lo = 1 / hi. Two things have to be right. (1) The default interpolation (code 4) is a pure exponential only for alpha
>= 1, so every alpha is offset: it runs over [1, 2 offset - 1] around alpha = offset, where the sample is b0_i. (2) A
`normsys` carries a Gaussian of width 1, so alpha moves by 1 when z moves by K: the constraint is a prior of width K
standard deviations of the background fit, which lowers
-2 ln L by (z / K)^2 only. Z is whitened (unit Fisher information at b0), so z counts standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bumpfit.errors import InputError
from bumpfit.poisson import whiten
from bumpfit.types import Floats
from bumpfit.workspace.effects import EFFECTS
from bumpfit.workspace.effects_bins import SHAPEFACTOR, SHAPESYS, STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMSYS

if TYPE_CHECKING:
    from bumpfit.histograms import HistogramLike
    from bumpfit.shapes import LogLinear
    from bumpfit.shapes.shape import Values

Spec = dict[str, Any]

PRIOR_WIDTH = 200.0
"""Width of the prior on each background direction, in standard deviations of the background fit."""

OFFSET = 1.25
"""Centre of the background parameters; the range [1, 1.5] then is 50 standard deviations on each side."""

LARGEST_EXPONENT = 300.0
"""Largest exponent in a background sample, half of what a floating-point number holds; narrows the prior if needed."""


def modifier(kind: str, name: str, data: Any = None) -> Spec:
    """One modifier of a sample; what data it takes, its record in `effects.EFFECTS` says.

    Raises InputError for an unknown type.
    """
    if kind not in EFFECTS:
        raise InputError(f"unknown modifier type {kind!r}; known types are {', '.join(EFFECTS)}")
    return EFFECTS[kind].modifier(name, data)


def sample(name: str, yields: ArrayLike, *modifiers: Spec) -> Spec:
    """One sample: its yields a bin and what changes them."""
    return {"name": name, "data": _list(yields), "modifiers": list(modifiers)}


def workspace(
    channels: Mapping[str, Sequence[Spec]],
    observed: Mapping[str, ArrayLike],
    poi: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    measurement: str = "measurement",
) -> Spec:
    """Channels (their samples) and data as a workspace; `settings` gives start, range or auxiliary data of
    parameters.

    Examples:
        >>> signal = build.sample("signal", [5.0], build.modifier("normfactor", "mu"))
        >>> spec = build.workspace({"SR": [signal, build.sample("background", [50.0])]}, {"SR": [58]}, "mu")
        >>> spec["observations"]
        [{'name': 'SR', 'data': [58.0]}]
    """
    if set(channels) != set(observed):
        wrong = sorted(set(channels) ^ set(observed))
        raise InputError(f"samples and data disagree on the channels {', '.join(wrong)}")
    return {
        "channels": [{"name": name, "samples": list(samples)} for name, samples in channels.items()],
        "observations": [{"name": name, "data": _list(_counted(observed[name]))} for name in channels],
        "measurements": [
            {
                "name": measurement,
                "config": {"poi": poi, "parameters": [{"name": n, **s} for n, s in (settings or {}).items()]},
            }
        ],
        "version": "1.0.0",
    }


def spectrum(
    counts: ArrayLike,
    background: ArrayLike,
    basis: ArrayLike,
    signal: ArrayLike,
    *,
    channel: str = "spectrum",
    poi: str = "mu",
    poi_range: tuple[float, float] | None = None,
    signal_modifiers: Sequence[Spec] = (),
    prior_width: float = PRIOR_WIDTH,
) -> Spec:
    """A peak over a log-linear background.

    `counts` (B,): data. `background` (B,): contents b0 at a fit of the background alone, or (B, S) with bins wide
    enough to need S parts each. `basis` (B, P) or (B, S, P): derivatives of ln b in the background's parameters
    there (any basis: `LogLinear.log_linear_basis`). `signal` (B,): signal events a bin at strength 1. `poi_range`:
    by default from 0 to where the signal alone makes up all data, at least 10. `signal_modifiers`: systematic
    uncertainties of the signal. The background parameters are named CHANNEL_z0, CHANNEL_z1, ... Raises InputError on
    shapes that do not match and contents that are not positive.
    """
    data, template = _counted(counts), _contents(signal)
    parts, derivatives = _parts(background, basis, data.size)
    if template.shape != data.shape:
        raise InputError(f"mismatching binnings: {data.size} counts but a signal of shape {template.shape}")
    if not (np.isfinite(template).all() and (template >= 0).all() and template.sum() > 0):
        raise InputError("the signal must have finite, non-negative yields, some of them positive")
    if not prior_width > 1:
        raise InputError(f"the prior of the background must be wider than one standard deviation, got {prior_width}")
    content = parts.sum(axis=1)
    average = (parts[..., None] * derivatives).sum(axis=1) / content[:, None]
    whitened = derivatives @ whiten((average * content[:, None]).T @ average)
    top = 2 * OFFSET - 1
    width = min(prior_width, LARGEST_EXPONENT / (top * float(np.abs(whitened).sum(axis=-1).max())))
    names = [f"{channel}_z{k}" for k in range(whitened.shape[-1])]
    samples = []
    for i in range(data.size):
        for s in range(parts.shape[1]):
            yields = np.zeros(data.size)
            yields[i] = parts[i, s] * math.exp(-width * OFFSET * whitened[i, s].sum())
            label = f"background_{i:03d}" + (f"_{s}" if parts.shape[1] > 1 else "")
            effects = [
                NORMSYS.modifier(name, (math.exp(-width * z), math.exp(width * z)))
                for name, z in zip(names, whitened[i, s], strict=True)
            ]
            samples.append(sample(label, yields, *effects))
    samples.append(sample("signal", template, NORMFACTOR.modifier(poi), *signal_modifiers))
    settings: dict[str, Mapping[str, Any]] = {poi: _strength(poi_range, data, template)}
    for name in names:
        settings[name] = {"inits": [OFFSET], "bounds": [[1.0, top]], "auxdata": [OFFSET]}
    return workspace({channel: samples}, {channel: data}, poi, settings)


def spectrum_with_table(
    counts: ArrayLike,
    table: ArrayLike,
    background: ArrayLike,
    basis: ArrayLike,
    signal: ArrayLike,
    *,
    channel: str = "spectrum",
    poi: str = "mu",
) -> Spec:
    """A peak in data over a log-linear background that a background table has too.

    `counts`, `table` (B,): data and background table. `background` (2, B): contents of both at a fit of the background
    alone. `basis` (2, B, P): derivatives of ln b in the parameters, which both share. `signal` (B,): signal events a
    bin at strength 1, in the data only. Channels CHANNEL and CHANNEL_background. Raises InputError as `spectrum` does.
    """
    data, control, template = _counted(counts), _counted(table), _contents(signal)
    size = data.size
    if control.shape != data.shape or template.shape != data.shape or np.shape(background) != (2, size):
        raise InputError(
            f"mismatching binnings: counts {data.shape}, table {control.shape}, signal {template.shape}, background "
            f"{np.shape(background)}"
        )
    both = spectrum(
        np.concatenate([data, control]), np.ravel(np.asarray(background, dtype=np.float64)),
        np.asarray(basis, dtype=np.float64).reshape(2 * size, -1), np.concatenate([template, np.zeros(size)]),
        channel=channel, poi=poi, poi_range=(0.0, max(10.0, float(data.sum() / template.sum()))),
    )  # fmt: skip
    parts: dict[str, list[Spec]] = {channel: [], f"{channel}_background": []}
    for made in both["channels"][0]["samples"]:
        for name, half in zip(parts, (made["data"][:size], made["data"][size:]), strict=True):
            if any(half):
                parts[name].append({**made, "data": half})
    parameters = both["measurements"][0]["config"]["parameters"]
    settings = {p["name"]: {key: value for key, value in p.items() if key != "name"} for p in parameters}
    return workspace(parts, {channel: data, f"{channel}_background": control}, poi, settings)


def _parts(background: ArrayLike, basis: ArrayLike, size: int) -> tuple[Floats, Floats]:
    """Background (B, S) and basis (B, S, P), checked."""
    parts, derivatives = np.asarray(background, dtype=np.float64), np.asarray(basis, dtype=np.float64)
    if parts.ndim == 1:
        parts = parts[:, None]
    if derivatives.ndim == 2:
        derivatives = derivatives[:, None, :]
    if parts.ndim != 2 or parts.shape[0] != size or derivatives.shape[:2] != parts.shape or derivatives.ndim != 3:
        raise InputError(
            f"mismatching binnings: {size} counts, a background of shape {np.shape(background)} and a basis of shape "
            f"{np.shape(basis)}"
        )
    if not (np.isfinite(parts).all() and (parts > 0).all() and np.isfinite(derivatives).all()):
        raise InputError("the background must be positive and finite in every bin; fit it first, or merge bins")
    return parts, derivatives


def _strength(wanted: tuple[float, float] | None, counts: Floats, signal: Floats) -> Spec:
    """Start and range of the signal strength."""
    low, high = (0.0, max(10.0, float(counts.sum() / signal.sum()))) if wanted is None else wanted
    return {"inits": [min(max(1.0, low), high)], "bounds": [[float(low), float(high)]]}


def spectrum_of(
    histogram: HistogramLike,
    shape: LogLinear,
    values: Values,
    signal: ArrayLike,
    *,
    subdivisions: int = 1,
    **options: Any,
) -> Spec:
    """`spectrum` of a histogram, the background `shape` at its fitted `values`, and signal events a bin at strength 1.

    Blinded bins are left out. `subdivisions`: parts a bin; more than 1 when the function is far from exponential
    inside a bin. Raises InputError as `spectrum` does.
    """
    if subdivisions < 1:
        raise InputError(f"a bin needs at least one part, got subdivisions = {subdivisions}")
    from bumpfit.histograms import as_histogram  # here, because who only reads workspaces needs no histograms

    histogram = as_histogram(histogram)
    fine = np.interp(
        np.arange(histogram.counts.size * subdivisions + 1) / subdivisions,
        np.arange(histogram.counts.size + 1),
        histogram.edges,
    )
    size = (histogram.counts.size, subdivisions)
    seen = ~histogram.blinded
    template = _contents(signal)
    if template.shape != seen.shape:
        raise InputError(f"mismatching binnings: the histogram has {seen.size} bins, the signal shape {template.shape}")
    return spectrum(
        histogram.counts[seen],
        shape.integrate(fine, values).reshape(size)[seen],
        shape.log_linear_basis(fine, values).reshape(*size, -1)[seen],
        template[seen],
        **options,
    )


def selection(
    counts: ArrayLike,
    background: ArrayLike,
    tau: float,
    signal: ArrayLike,
    *,
    channel: str = "selection",
    poi: str = "mu",
    poi_range: tuple[float, float] | None = None,
    constraint: str = "control",
    background_modifiers: Sequence[Spec] = (),
    signal_modifiers: Sequence[Spec] = (),
) -> Spec:
    """Data against a background table: n_i ~ Poisson(mu s_i + b_i), m_i ~ Poisson(tau b_i).

    `counts` (B,): selected data. `background` (B,): selected events m of the background table. `tau`: events of the
    table per background event expected in the data. `signal` (B,): events at strength 1. `constraint`:
    "control"    a second channel CHANNEL_background holds m, a shapefactor is b: exact, also where m = 0;
    "shapesys"   one channel, the Poisson constraint m on each bin: the same likelihood, needs m > 0;
    "staterror"  one channel, a Gaussian constraint of width sqrt(m) / m: the usual approximation, needs m > 0.
    Raises InputError on shapes that do not match, tau that is not positive, and m = 0 where it is not allowed.
    """
    data, table, template = _counted(counts), _counted(background), _contents(signal)
    if data.ndim != 1 or table.shape != data.shape or template.shape != data.shape:
        raise InputError(
            f"mismatching binnings: counts {data.shape}, background {table.shape}, signal {template.shape}"
        )
    if not (math.isfinite(tau) and tau > 0):
        raise InputError(
            f"tau, the size of the background table relative to the data's background, must be positive, got {tau}"
        )
    settings: dict[str, Mapping[str, Any]] = {poi: _strength(poi_range, data, template)}
    name = f"{channel}_background"
    peak = sample("signal", template, NORMFACTOR.modifier(poi), *signal_modifiers)
    if constraint == "control":
        # nominal b from both counts, so that it is positive and factors stay of order one
        nominal = (data + table + 1) / (1 + tau)
        top = 10 * max(1.0, float((np.maximum(data, table / tau) / nominal).max()))
        settings[name] = {"bounds": [[0.0, top]] * data.size, "inits": [1.0] * data.size}
        free = SHAPEFACTOR.modifier(name)
        return workspace(
            {
                channel: [sample("background", nominal, free, *background_modifiers), peak],
                name: [sample("background", tau * nominal, free)],
            },
            {channel: data, name: table},
            poi,
            settings,
        )
    if constraint not in (SHAPESYS.kind, STATERROR.kind):
        raise InputError(f"constraint must be 'control', '{SHAPESYS.kind}' or '{STATERROR.kind}', got {constraint!r}")
    if (table <= 0).any():
        raise InputError(
            f"bin {int(np.argmin(table))} of the background table is empty, which a {constraint} cannot describe; "
            'use constraint="control" or merge bins'
        )
    error = modifier(constraint, name, np.sqrt(table) / tau)
    return workspace(
        {channel: [sample("background", table / tau, error, *background_modifiers), peak]},
        {channel: data},
        poi,
        settings,
    )


def _foreign(values: ArrayLike) -> bool:
    """Whether these are no plain numbers but perhaps a histogram."""
    return not isinstance(values, np.ndarray | list | float | int) and not np.isscalar(values)


def _contents(values: ArrayLike) -> Floats:
    """Yields from numbers or from a histogram, weighted or not."""
    if _foreign(values):
        from bumpfit.histograms import as_histogram, is_histogram  # here, because most yields are numbers

        if is_histogram(values):
            return as_histogram(values).counts
    return np.asarray(values, dtype=np.float64)


def _counted(values: ArrayLike) -> Floats:
    """Event counts from numbers or from a histogram, which must not be weighted."""
    if _foreign(values):
        from bumpfit.histograms import is_histogram, observed_counts  # here, because most counts are numbers

        if is_histogram(values):
            return observed_counts(values)
    return np.asarray(values, dtype=np.float64)


def _list(values: ArrayLike) -> list[float]:
    return [float(v) for v in np.atleast_1d(_contents(values))]
