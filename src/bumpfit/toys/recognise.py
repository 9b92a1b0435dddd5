"""Find out whether a HistFactory model is a log-linear one, whose toys are fitted much faster.

It is when every bin's background is one sample scaled by `normsys` modifiers in their exponential range and nothing
else (the construction of `bumpfit.workspace.build.spectrum`), or constant; and when the parameter of interest scales
signals without uncertainties. The two likelihoods are then the same function, constraint terms included; a toy whose
parameters leave the range in which this holds is fitted as a general model.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bumpfit.toys.loglinear import LogLinear
from bumpfit.workspace import Model
from bumpfit.workspace.arrays import CODE1, CODE4, LINEAR

Floats = NDArray[np.float64]


def as_log_linear(model: Model, poi: str, values: Floats) -> tuple[LogLinear, NDArray[np.int64]] | None:
    """The model around `values`, shape (P,), and which parameters its z are (z = parameters - values).

    None when the model is not log-linear. `observed` is the model's data if it has any.
    """
    c, strength = model.compiled, model.index(poi)
    if not model.plain or c.shift_parameter.size or c.gamma_parameter.size or c.poisson_parameter.size:
        return None
    rate, signal = np.zeros(c.n_bins), np.zeros(c.n_bins)
    slopes = np.zeros((c.n_bins, c.n_parameters))
    scaled = np.zeros(c.n_bins, dtype=bool)
    for e in range(c.entry_bin.size):
        bins = slice(c.entry_bin[e], c.entry_bin[e] + c.entry_size[e])
        yields = c.nominal[c.entry_start[e] : c.entry_start[e] + c.entry_size[e]]
        rows = range(c.scale_pointer[e], c.scale_pointer[e + 1])
        if any(c.scale_parameter[row] == strength for row in rows):
            if len(rows) != 1 or c.scale_code[rows[0]] != LINEAR:
                return None
            signal[bins] += yields
            continue
        exponent = 0.0
        for row in rows:
            p = c.scale_parameter[row]
            if c.scale_code[row] not in (CODE1, CODE4) or (c.scale_code[row] == CODE4 and not model.lower[p] >= 1):
                return None
            if c.scale_code[row] == CODE1 and not math.isclose(*c.scale_coefficients[row, :2] * (-1, 1), rel_tol=1e-12):
                return None
            log_high = c.scale_coefficients[row, 1]
            slopes[bins, p] += log_high
            exponent += log_high * values[p]
        if (rows and (c.entry_size[e] != 1 or rate[bins].any())) or scaled[bins].any():
            return None
        scaled[bins] = bool(rows)
        rate[bins] += yields * math.exp(exponent)
    free = np.flatnonzero([not p.fixed and i != strength for i, p in enumerate(model.parameters)])
    width = dict(zip(c.normal_parameter.tolist(), c.normal_sigma.tolist(), strict=True))
    # a signal that is negative in some bin (event weights) is left to the general engine
    if not ((rate > 0).all() and signal.any() and (signal >= 0).all()) or any(int(p) not in width for p in free):
        return None
    place = dict(zip(c.normal_parameter.tolist(), c.normal_aux.tolist(), strict=True))
    sigma = np.array([width[int(p)] for p in free])
    aux = np.array([model.auxdata[place[int(p)]] for p in free])
    limits = np.column_stack([model.lower[free] - values[free], model.upper[free] - values[free]])
    found = LogLinear(
        rate=rate,
        basis=slopes[:, free],
        signal=signal,
        bounds=(float(model.lower[strength]), float(model.upper[strength])),
        pull=np.diag(1 / sigma),
        observed=model.observed,
        observed_pull=(aux - values[free]) / sigma,
        limits=limits / sigma[:, None],
    )
    return found, free.astype(np.int64)
