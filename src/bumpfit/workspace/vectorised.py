"""Rates and derivatives of one world in numpy: what `kernels` computes, without a compiler.

A fit of one data set takes milliseconds this way, while compiling takes half a minute and loading compiled code longer
than most fits. Called from Python, the kernels run these functions; called from compiled code (many toys) they are the
loops of `kernels`. Both are the same functions to rounding.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from bumpfit.poisson import deviance
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace import kernels
from bumpfit.workspace.arrays import CODE4, CODE4P, LINEAR, NO_RATE, SMOOTH, ZERO_FACTOR, Compiled

REMEMBERED = 16
"""Layouts of so many models are kept."""
POWERS = np.arange(7.0)
# factors of the coefficients of a polynomial and of its derivatives, and the powers that they go with
DERIVATIVES = np.stack([np.ones(7), POWERS, POWERS * (POWERS - 1)])


def _nonzero(x: Floats) -> Floats:
    return np.where(np.abs(x) > ZERO_FACTOR, x, ZERO_FACTOR)


def shift_weights(alpha: Floats, bent: Flags, out: Floats) -> None:
    """`kernels.shift_weights` of shifts at alpha (..., K), `bent` (K,) those of code 4p: `out` (..., K, 6)."""
    up = alpha >= 0.0
    out[..., 0] = np.where(up, alpha, 0.0)
    out[..., 1] = alpha - out[..., 0]
    out[..., 2] = up
    out[..., 3] = ~up
    out[..., 4:] = 0.0
    inside = bent & (np.abs(alpha) <= 1.0)
    if inside.any():
        a = alpha[inside]
        q = a * a
        even = 0.0625 * q * (15.0 + q * (3.0 * q - 10.0))
        slope = 0.0625 * a * (30.0 + q * (18.0 * q - 40.0))
        bend = 0.0625 * (30.0 + q * (90.0 * q - 120.0))
        out[inside] = np.stack([0.5 * a + even, 0.5 * a - even, 0.5 + slope, 0.5 - slope, bend, -bend], axis=1)


class Scales:
    """Scalar factors by their codes (L,) and coefficients (L, 8) as in `Compiled`."""

    def __init__(self, code: Integers, coefficients: Floats) -> None:
        self.coefficients = coefficients
        self.linear, self.curved, self.smooth = code == LINEAR, code == CODE4, np.flatnonzero(code == SMOOTH)
        self.place = np.cumsum(self.curved) - 1
        curved = np.column_stack([np.ones(self.curved.sum()), coefficients[self.curved, 2:8]])
        self.polynomial = curved[:, None, :] * DERIVATIVES  # (curved, 3, 7): of value, slope and bend by power

    def parts(self, theta: Floats, out: Floats) -> None:
        """`kernels.scale_parts` at theta (..., L): `out` (..., L, 4)."""
        value = np.where(self.linear, _nonzero(theta), 1.0)
        log = np.where(theta >= 0.0, self.coefficients[:, 1], -self.coefficients[:, 0])
        out[..., 0] = np.where(self.linear, 0.0, theta * log)
        out[..., 1] = value
        out[..., 2] = np.where(self.linear, 1.0 / value, log)
        out[..., 3] = np.where(self.linear, 0.0, log * log)
        inside = self.curved & (np.abs(theta) < 1.0)
        if inside.any():
            t = theta[inside]
            powers = np.ones((t.size, 7))
            np.cumprod(np.broadcast_to(t[:, None], (t.size, 6)), axis=1, out=powers[:, 1:])
            shifted = np.zeros((t.size, 3, 7))
            shifted[:, 0] = powers
            shifted[:, 1, 1:] = powers[:, :-1]
            shifted[:, 2, 2:] = powers[:, :-2]
            parts = (self.polynomial[self.place[np.nonzero(inside)[-1]]] * shifted).sum(axis=2)
            factor = _nonzero(parts[:, 0])
            out[inside] = np.stack([np.zeros(t.size), factor, parts[:, 1] / factor, parts[:, 2] / factor], axis=1)
        k = self.smooth
        if k.size:
            inverse, mean, half = self.coefficients[k, 2:5].T
            t = np.clip(theta[..., k] * inverse, -1.0, 1.0)
            q = t * t
            step = 0.125 * t * (15.0 + q * (3.0 * q - 10.0))
            rise = 1.875 * (1.0 - q) * (1.0 - q)
            slope = mean + half * (step + t * rise)
            bend = half * inverse * (2.0 * rise - 7.5 * q * (1.0 - q))
            log = theta[..., k] * (mean + half * step)
            out[..., k, :] = np.stack([log, np.ones(log.shape), slope, slope * slope + bend], axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where the items of a compiled model go: N yields, E entries, K shifts of S elements, L scalar factors."""

    yield_bin: Integers  # (N,)
    yield_entry: Integers  # (N,)
    element_shift: Integers  # (S,) shift of each element of its shapes
    element_yield: Integers  # (S,) yield that it changes
    shift_entry: Integers  # (K,)
    scale_entry: Integers  # (L,)
    scaled: Integers  # entries with scalar factors
    scale_first: Integers  # their first factors
    scales: Scales
    bent: Flags  # shifts of code 4p
    gamma_yield: Integers  # (G,) yields with a factor of their own, layer by layer
    gamma_parameter: Integers  # (G,)
    layers: tuple[slice, ...]  # of the arrays (G,); a layer changes a yield once
    pairs: tuple[Integers, Integers]  # elements of shapes and factors (G,) that change the same yield
    doubles: tuple[Integers, Integers]  # factors (G,) of different layers that change the same yield
    same: tuple[Integers, Integers]  # scalar factors of one entry with the same parameter
    blocks: tuple[tuple[slice, slice, slice, Integers], ...]  # bins, entries, yields and places of channels


def _ragged(first: Integers, size: Integers) -> Integers:
    """first[0] .. first[0] + size[0], then the same for all others."""
    ends = np.cumsum(size)
    return np.arange(ends[-1] if ends.size else 0) + np.repeat(first - ends + size, size)


def _layout(m: Compiled) -> Layout:
    entries = np.arange(m.entry_bin.size)
    yield_entry = np.repeat(entries, m.entry_size)
    shift_entry = np.repeat(entries, np.diff(m.shift_pointer))
    scale_entry = np.repeat(entries, np.diff(m.scale_pointer))
    gamma_entry = np.repeat(entries, np.diff(m.gamma_pointer))
    element_shift = np.repeat(np.arange(shift_entry.size), m.entry_size[shift_entry])
    element_yield = _ragged(m.entry_start[shift_entry], m.entry_size[shift_entry])
    # elements of the shapes in the order of their places
    order = _ragged(m.shift_start, m.entry_size[shift_entry])
    if not np.array_equal(order, np.arange(order.size)):
        inverse = np.argsort(order, kind="stable")
        element_shift, element_yield = element_shift[inverse], element_yield[inverse]
    depth = np.arange(gamma_entry.size) - m.gamma_pointer[gamma_entry]
    gamma_yield, gamma_parameter, layers = [], [], []
    begin = 0
    for layer in range(int(depth.max(initial=-1)) + 1):
        items = np.flatnonzero(depth == layer)
        size = m.entry_size[gamma_entry[items]]
        gamma_yield.append(_ragged(m.entry_start[gamma_entry[items]], size))
        gamma_parameter.append(_ragged(m.gamma_parameter[items], size))
        layers.append(slice(begin, begin + int(size.sum())))
        begin += int(size.sum())
    none = np.zeros(0, np.int64)
    at, parameter = np.concatenate([none, *gamma_yield]), np.concatenate([none, *gamma_parameter])
    factor_at = np.full((len(layers), m.nominal.size), -1)
    for i, part in enumerate(layers):
        factor_at[i, at[part]] = np.arange(part.start, part.stop)
    shaped = [(s, f[element_yield[s]]) for f in factor_at for s in [np.flatnonzero(f[element_yield] >= 0)]]
    twice = [
        (a[both], b[both])
        for j, b in enumerate(factor_at) for a in factor_at[:j] for both in [(a >= 0) & (b >= 0)]
    ]  # fmt: skip
    scaled = np.flatnonzero(np.diff(m.scale_pointer))
    return Layout(
        yield_bin=_ragged(m.entry_bin, m.entry_size),
        yield_entry=yield_entry,
        element_shift=element_shift,
        element_yield=element_yield,
        shift_entry=shift_entry,
        scale_entry=scale_entry,
        scaled=scaled,
        scale_first=m.scale_pointer[scaled],
        scales=Scales(m.scale_code, m.scale_coefficients),
        bent=m.shift_code == CODE4P,
        gamma_yield=at,
        gamma_parameter=parameter,
        layers=tuple(layers),
        pairs=_joined(shaped),
        doubles=_joined(twice),
        same=_same_parameter(m),
        blocks=_blocks(m),
    )


def _joined(pairs: list[tuple[Integers, Integers]]) -> tuple[Integers, Integers]:
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *(a for a, _ in pairs)]), np.concatenate([none, *(b for _, b in pairs)])


def _same_parameter(m: Compiled) -> tuple[Integers, Integers]:
    """Pairs of scalar factors of one entry that belong to the same parameter."""
    seen: dict[tuple[int, int], list[int]] = {}
    first, second = [], []
    for e in range(m.entry_bin.size):
        for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
            for j in seen.setdefault((e, int(m.scale_parameter[k])), []):
                first.append(j)
                second.append(k)
            seen[e, int(m.scale_parameter[k])].append(k)
    return np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)


def _blocks(m: Compiled) -> tuple[tuple[slice, slice, slice, Integers], ...]:
    """Runs of entries whose bins overlap (channels): bins, entries, yields, and places of these in a matrix of both."""
    result = []
    first = 0
    n = m.entry_bin.size
    ends = m.entry_bin + m.entry_size
    while first < n:
        last, low, high = first + 1, int(m.entry_bin[first]), int(ends[first])
        while last < n and m.entry_bin[last] < high and ends[last] > low:
            low, high = min(low, int(m.entry_bin[last])), max(high, int(ends[last]))
            last += 1
        size = m.entry_size[first:last]
        start = int(m.entry_start[first])
        row = np.repeat(np.arange(last - first), size) * (high - low)
        place = row + _ragged(m.entry_bin[first:last] - low, size)
        result.append((slice(low, high), slice(first, last), slice(start, start + int(size.sum())), place))
        first = last
    return tuple(result)


_known: dict[int, tuple[Compiled, Layout]] = {}


def layout_of(m: Compiled) -> Layout:
    """The layout of a model, kept for the last ones; the model is kept with it, so its identity stays its own."""
    found = _known.get(id(m))
    if found is None:
        while len(_known) >= REMEMBERED:
            _known.pop(next(iter(_known)), None)
        found = _known[id(m)] = (m, _layout(m))
    return found[1]


def rates(x: Floats, m: Compiled, rate: Floats, shifted: Floats, factor: Floats, shift: Floats, scale: Floats) -> None:
    """`kernels.rates`: expected counts at x, and what their derivatives need."""
    layout = layout_of(m)
    with np.errstate(all="ignore"):
        shifted[:] = m.nominal
        if shift.size:
            shift_weights(x[m.shift_parameter], layout.bent, shift)
            owner = layout.element_shift
            change = shift[owner, 0] * m.shift_up + shift[owner, 1] * m.shift_down
            shifted += np.bincount(layout.element_yield, weights=change, minlength=shifted.size)
        if scale.size:
            layout.scales.parts(kernels.inputs(x, m)[m.scale_parameter], scale)
            exponent = np.bincount(layout.scale_entry, weights=scale[:, 0], minlength=m.entry_bin.size)
            common = np.exp(exponent)
            common[layout.scaled] *= np.multiply.reduceat(scale[:, 1], layout.scale_first)
            factor[:] = common[layout.yield_entry]
        else:
            factor[:] = 1.0
        for layer in layout.layers:
            factor[layout.gamma_yield[layer]] *= _nonzero(x[layout.gamma_parameter[layer]])
        rate[:] = np.bincount(layout.yield_bin, weights=shifted * factor, minlength=m.n_bins)
    rate[np.abs(rate) < NO_RATE] = 0.0


def objective(x: Floats, main: Floats, aux: Floats, m: Compiled, rate: Floats) -> float:
    """`kernels.objective`: -ln L relative to the saturated model."""
    difference = x[m.normal_parameter] - aux[m.normal_aux]
    pull = difference[: m.n_independent] / m.normal_sigma[: m.n_independent]
    value = 0.5 * float(deviance(main, rate).sum() + pull @ pull)
    if m.joint_pointer.size > 1:
        joint = np.add.reduceat(m.joint_weight * difference[m.joint_column], m.joint_pointer[:-1])
        value += 0.5 * float(joint @ joint)
    if m.poisson_parameter.size:
        value += 0.5 * float(deviance(aux[m.poisson_aux], m.poisson_factor * x[m.poisson_parameter]).sum())
    return value if value == value else np.inf


def of_rates(
    x: Floats, main: Floats, m: Compiled, rate: Floats, shifted: Floats, factor: Floats, shift: Floats,
    scale: Floats, jac: Floats, grad: Floats, hess: Floats, diagonal: Floats,
) -> None:  # fmt: skip
    """`kernels.of_rates`: derivatives of the Poisson terms in the parameters and quantities of the modifiers.

    With A (E, P) the logarithmic slopes of the scalar factors and G (P, E) the weighted slopes of the other modifiers,
    the curvature of the rates is G A + (G A)^T + A^T W A but for modifiers that meet themselves.
    """
    layout = layout_of(m)
    with np.errstate(all="ignore"):
        weight = np.where(main > 0.0, 1.0 - main / rate, 1.0)
        _curvature(x, m, layout, weight, shifted, factor, shift, scale, jac, hess)
        np.matmul(jac, weight, out=grad)
        np.matmul(jac * jac, np.where(rate > 0.0, np.maximum(1.0, main / rate) / rate, 0.0), out=diagonal)
        hess += (jac * np.where(main > 0.0, main / (rate * rate), 0.0)) @ jac.T


def of_constraints(x: Floats, aux: Floats, m: Compiled, grad: Floats, hess: Floats, diagonal: Floats) -> None:
    """`kernels.of_constraints`: add the derivatives of the constraint terms."""
    straight = hess.reshape(-1)[:: hess.shape[0] + 1]
    slope, information = constraint_terms(x, aux, m)
    grad += slope
    diagonal += information
    p, sigma = m.normal_parameter[: m.n_independent], m.normal_sigma[: m.n_independent]
    np.add.at(straight, p, 1.0 / (sigma * sigma))
    for p, weight, _ in _joint(m):
        np.add.at(hess, (p[:, None], p), np.outer(weight, weight))
    if m.poisson_parameter.size:
        p, n = m.poisson_parameter, aux[m.poisson_aux]
        with np.errstate(all="ignore"):
            np.add.at(straight, p, np.where(n > 0.0, n / (x[p] * x[p]), 0.0))


def constraint_terms(x: Floats, aux: Floats, m: Compiled) -> tuple[Floats, Floats]:
    """Slopes of the constraint terms of -ln L, and the Fisher information of each parameter in them, both (P,)."""
    slope, information = np.zeros(m.n_parameters), np.zeros(m.n_parameters)
    difference = x[m.normal_parameter] - aux[m.normal_aux]
    p, sigma = m.normal_parameter[: m.n_independent], m.normal_sigma[: m.n_independent]
    strength = 1.0 / (sigma * sigma)
    np.add.at(slope, p, strength * difference[: m.n_independent])
    np.add.at(information, p, strength)
    for p, weight, columns in _joint(m):
        np.add.at(slope, p, weight * (weight @ difference[columns]))
        np.add.at(information, p, weight * weight)
    if m.poisson_parameter.size:
        p, n = m.poisson_parameter, aux[m.poisson_aux]
        with np.errstate(all="ignore"):
            np.add.at(slope, p, m.poisson_factor - np.where(n > 0.0, n / x[p], 0.0))
        np.add.at(information, p, m.poisson_factor / np.maximum(x[p], ZERO_FACTOR))
    return slope, information


def _joint(m: Compiled) -> Iterator[tuple[Integers, Floats, Integers]]:
    """Parameters, weights and columns of each correlated constraint."""
    for first, end in itertools.pairwise(m.joint_pointer):
        columns = m.joint_column[first:end]
        yield m.normal_parameter[columns], m.joint_weight[first:end], columns


def rate_slopes(x: Floats, m: Compiled, shifted: Floats, factor: Floats, shift: Floats, scale: Floats) -> Floats:
    """Slopes of the rates in the parameters and quantities of the modifiers, (P, B), from what `rates` has left."""
    jac = np.empty((m.input_first.size, m.n_bins))
    with np.errstate(all="ignore"):
        _slopes(x, m, shifted * factor, factor, shift, scale, jac)
    return jac


def _slopes(
    x: Floats, m: Compiled, yields: Floats, factor: Floats, shift: Floats, scale: Floats, jac: Floats
) -> tuple[Floats, Floats, Floats]:
    """Fill `jac`; returns slopes of the logarithms of entries (E, P), of elements (S,) and single factors (G,)."""
    at, size = layout_of(m), m.input_first.size
    slopes = np.zeros((m.entry_bin.size, size))
    np.add.at(slopes.reshape(-1), at.scale_entry * size + m.scale_parameter, scale[:, 2])
    jac[:] = 0.0
    for bins, entries, part, place in at.blocks:
        matrix = np.zeros((entries.stop - entries.start, bins.stop - bins.start))
        matrix.reshape(-1)[place] = yields[part]
        jac[:, bins] += slopes[entries].T @ matrix
    k = at.element_shift
    element = factor[at.element_yield] * (shift[k, 2] * m.shift_up + shift[k, 3] * m.shift_down)
    np.add.at(jac.reshape(-1), m.shift_parameter[k] * m.n_bins + at.yield_bin[at.element_yield], element)
    single = yields[at.gamma_yield] / _nonzero(x[at.gamma_parameter])
    np.add.at(jac.reshape(-1), at.gamma_parameter * m.n_bins + at.yield_bin[at.gamma_yield], single)
    return slopes, element, single


def _curvature(
    x: Floats, m: Compiled, layout: Layout, weight: Floats, shifted: Floats, factor: Floats, shift: Floats,
    scale: Floats, jac: Floats, hess: Floats,
) -> None:  # fmt: skip
    """Fill `jac`, and `hess` with the curvature of the rates."""
    size, n_entries = m.input_first.size, m.entry_bin.size
    yields = shifted * factor
    weighted = weight[layout.yield_bin] * yields
    slopes, element, single = _slopes(x, m, yields, factor, shift, scale, jac)
    gamma = _nonzero(x[layout.gamma_parameter])
    other = np.zeros((size, n_entries))
    straight = np.zeros(size)
    k, heavy = layout.element_shift, weight[layout.yield_bin[layout.element_yield]]
    element_slope = heavy * element
    if shift.size:
        bend = factor[layout.element_yield] * (shift[k, 4] * m.shift_up + shift[k, 5] * m.shift_down)
        total = np.bincount(k, weights=element_slope, minlength=layout.shift_entry.size)
        np.add.at(other.reshape(-1), m.shift_parameter * n_entries + layout.shift_entry, total)
        straight += np.bincount(m.shift_parameter[k], weights=heavy * bend, minlength=size)
    at = layout.gamma_yield
    gamma_slope = weight[layout.yield_bin[at]] * single
    np.add.at(other.reshape(-1), layout.gamma_parameter * n_entries + layout.yield_entry[at], gamma_slope)
    np.matmul(other, slopes, out=hess)
    mixed = layout.pairs[0]
    if mixed.size:
        s, g = layout.pairs
        p = m.shift_parameter[layout.element_shift[s]]
        np.add.at(hess.reshape(-1), p * size + layout.gamma_parameter[g], element_slope[s] / gamma[g])
    if layout.doubles[0].size:
        a, b = layout.doubles
        p, q = layout.gamma_parameter[a], layout.gamma_parameter[b]
        np.add.at(hess.reshape(-1), p * size + q, gamma_slope[a] / gamma[b])
    hess += hess.T.copy()
    if scale.size:
        total = np.bincount(layout.yield_entry, weights=weighted, minlength=n_entries)
        both = (slopes.T * total) @ slopes
        np.fill_diagonal(both, 0.0)  # a factor meets itself with its own curvature
        hess += both
        straight += np.bincount(m.scale_parameter, weights=total[layout.scale_entry] * scale[:, 3], minlength=size)
        j, k = layout.same
        if j.size:
            np.add.at(straight, m.scale_parameter[k], 2 * total[layout.scale_entry[k]] * scale[j, 2] * scale[k, 2])
    hess.reshape(-1)[:: size + 1] += straight


kernels.rates.from_python(rates)
kernels.objective.from_python(objective)
kernels.of_rates.from_python(of_rates)
kernels.of_constraints.from_python(of_constraints)
