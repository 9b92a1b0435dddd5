"""-ln L of eight toys of a general HistFactory model at a time and its slopes, in one sweep over the yields."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bumpfit.compiled import njit, record
from bumpfit.toys.lanes import exp, fma, load, log, splat, spread, store, where_less
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace.arrays import CODE4, CODE4P, LINEAR, NO_RATE, SMOOTH, ZERO_FACTOR, Compiled

MEMORY = 12  # pairs of steps and changes of slope that a lane remembers

# rows of the work space of eight toys that do not depend on the model
F, TRIAL, T, SLOPE, LOW, HIGH, ACTIVE, MADE, GAIN = range(9)


@record
class Shared(NamedTuple):
    """What the toys of a model share; K free parameters, the strength last."""

    order: Integers  # (K,) the free parameters
    lower: Floats  # (K, K) factor L of the expected Hessian, with the inverse of its diagonal on the diagonal
    straight: Floats  # (K,) diagonal of the expected Hessian
    bound: Integers  # parameters with a range that can be left, without the strength
    low: Floats  # (P,)
    high: Floats  # (P,)
    reference: Floats  # (B,) rates around which -ln L is computed
    reference_poisson: Floats  # the same for Poisson constraints
    weights: Integers  # (Q,) parameters of the additive shifts, each with one code
    code: Integers  # (Q,)
    weight_of: Integers  # item of `weights` of each shift
    start: Floats  # (P,)
    free: Flags  # (P,)
    mirrored: Flags  # (S, P) sets of parameters that are reflected
    kinds: Integers  # starts in their order
    poi: int


@record
class Places(NamedTuple):
    """First rows of the quantities of eight toys."""

    x: int  # P
    trial: int  # P
    grad: int  # P
    main: int  # B
    aux: int  # A
    rate: int  # B, then the weights of the bins
    weight: int  # B
    product: int  # N: yields
    factor: int  # N
    shift: int  # 4 a parameter of shifts
    slope: int  # L
    v: int  # K: slope in y
    fresh: int  # K: that of the trial
    d: int  # K: direction
    dx: int  # K: the same in x
    work: int  # K
    s: int  # MEMORY K
    change: int  # MEMORY K
    rho: int  # MEMORY
    alpha: int  # MEMORY
    size: int


def places_of(m: Compiled, shared: Shared) -> Places:
    """Layout of the work space."""
    p, k, n = m.n_parameters, shared.order.size, m.nominal.size
    n_aux = m.normal_aux.size + m.poisson_aux.size
    sizes = (
        p, p, p, m.n_bins, n_aux, m.n_bins, m.n_bins, n, n, 4 * shared.weights.size, m.scale_parameter.size,
        k, k, k, k, k, MEMORY * k, MEMORY * k, MEMORY, MEMORY,
    )  # fmt: skip
    return Places(*np.cumsum([GAIN + 1, *sizes]).tolist())


@njit(internal=True)
def shift_weights(shared, w, at):  # type: ignore[no-untyped-def]
    """Weights of `up` and `down` of each parameter of additive shifts, and their slopes (`kernels.shift_weights`)."""
    zero, one, half = splat(0.0), splat(1.0), splat(0.5)
    for i in range(shared.weights.size):
        a = load(w, at.trial + shared.weights[i])
        up = where_less(a, zero, zero, a)
        rises = where_less(a, zero, zero, one)
        down, falls = a - up, one - rises
        if shared.code[i] == CODE4P:
            q = a * a
            even = splat(0.0625) * q * fma(q, fma(splat(3.0), q, splat(-10.0)), splat(15.0))
            slope = splat(0.0625) * a * fma(q, fma(splat(18.0), q, splat(-40.0)), splat(30.0))
            up = where_less(q, one, fma(half, a, even), up)
            down = where_less(q, one, half * a - even, down)
            rises = where_less(q, one, half + slope, rises)
            falls = where_less(q, one, half - slope, falls)
        row = at.shift + 4 * i
        store(w, row, up)
        store(w, row + 1, down)
        store(w, row + 2, rises)
        store(w, row + 3, falls)


@njit(internal=True)
def common_factor(m, e, w, at):  # type: ignore[no-untyped-def]
    """The product of the scalar factors of an entry; their logarithmic slopes go to `slope` (`kernels.scale_parts`)."""
    zero, one, exponent, product = splat(0.0), splat(1.0), splat(0.0), splat(1.0)
    curved = False
    for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
        theta, row = load(w, at.trial + m.scale_parameter[k]), 8 * k
        if m.scale_code[k] == LINEAR:
            tiny = splat(ZERO_FACTOR)
            safe = where_less(theta * theta, tiny * tiny, tiny, theta)
            product = product * safe
            store(w, at.slope + k, one / safe)
            continue
        c = m.scale_coefficients
        slope = where_less(theta, zero, zero - spread(c, row), spread(c, row + 1))
        if m.scale_code[k] == CODE4:
            value, rise = spread(c, row + 7), splat(0.0)
            for i in range(6, 1, -1):
                rise = fma(rise, theta, value)
                value = fma(value, theta, spread(c, row + i))
            rise = fma(rise, theta, value)
            value = fma(value, theta, one)
            q = theta * theta
            exponent = exponent + where_less(q, one, zero, theta * slope)
            product = product * where_less(q, one, value, one)
            slope = where_less(q, one, rise / value, slope)
        elif m.scale_code[k] == SMOOTH:
            t = theta * spread(c, row + 2)
            q = t * t
            step = splat(0.125) * t * fma(q, fma(splat(3.0), q, splat(-10.0)), splat(15.0))
            rise = splat(1.875) * (one - q) * (one - q)
            exponent = fma(
                theta, where_less(q, one, fma(spread(c, row + 4), step, spread(c, row + 3)), slope), exponent
            )
            slope = where_less(q, one, fma(spread(c, row + 4), fma(t, rise, step), spread(c, row + 3)), slope)
        else:
            exponent = fma(theta, slope, exponent)
        store(w, at.slope + k, slope)
        curved = True
    if curved:
        product = product * exp(exponent)
    return product


@njit(internal=True)
def expected(m, shared, w, at):  # type: ignore[no-untyped-def]
    """Rates at the trial point, and the yields and factors of all entries."""
    shift_weights(shared, w, at)
    for b in range(m.n_bins):
        store(w, at.rate + b, splat(0.0))
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        for b in range(size):
            store(w, at.product + start + b, spread(m.nominal, start + b))
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            row, o = at.shift + 4 * shared.weight_of[k], m.shift_start[k]
            up, down = load(w, row), load(w, row + 1)
            for b in range(size):
                value = fma(up, spread(m.shift_up, o + b), load(w, at.product + start + b))
                store(w, at.product + start + b, fma(down, spread(m.shift_down, o + b), value))
        common = common_factor(m, e, w, at)
        for b in range(size):
            factor = common
            for k in range(m.gamma_pointer[e], m.gamma_pointer[e + 1]):
                factor = factor * load(w, at.trial + m.gamma_parameter[k] + b)
            value = factor * load(w, at.product + start + b)
            store(w, at.factor + start + b, factor)
            store(w, at.product + start + b, value)
            store(w, at.rate + first + b, load(w, at.rate + first + b) + value)
    for b in range(m.n_bins):  # what factors of zero have left (`kernels.rates`)
        rate = load(w, at.rate + b)
        store(w, at.rate + b, where_less(rate * rate, splat(NO_RATE * NO_RATE), splat(0.0), rate))


@njit(internal=True)
def deviation(n, rate, reference):  # type: ignore[no-untyped-def]
    """rate - reference - n ln(rate / reference), infinite or not a number where the rate is impossible."""
    zero = splat(0.0)
    r = splat(reference)
    tilt = where_less(zero, n, n * log(rate / r), zero)
    impossible = where_less(rate, zero, splat(np.inf), zero)
    return (rate - r) - tilt + impossible


@njit(internal=True)
def evaluate(m, shared, w, at):  # type: ignore[no-untyped-def]
    """-ln L at the trial point (row TRIAL, up to a constant of the toy) and its slopes (rows `grad`)."""
    zero, one, value = splat(0.0), splat(1.0), splat(0.0)
    expected(m, shared, w, at)
    for b in range(m.n_bins):
        n, rate = load(w, at.main + b), load(w, at.rate + b)
        value = value + deviation(n, rate, shared.reference[b])
        store(w, at.weight + b, one - where_less(zero, n, n / rate, zero))
    for p in range(m.n_parameters):
        store(w, at.grad + p, zero)
    for e in range(m.entry_bin.size):
        first, size, start = m.entry_bin[e], m.entry_size[e], m.entry_start[e]
        total = zero
        for b in range(size):
            total = fma(load(w, at.weight + first + b), load(w, at.product + start + b), total)
        for k in range(m.scale_pointer[e], m.scale_pointer[e + 1]):
            row = at.grad + m.scale_parameter[k]
            store(w, row, fma(total, load(w, at.slope + k), load(w, row)))
        for k in range(m.gamma_pointer[e], m.gamma_pointer[e + 1]):
            for b in range(size):
                row = m.gamma_parameter[k] + b
                weighted = load(w, at.weight + first + b) * load(w, at.product + start + b)
                store(w, at.grad + row, load(w, at.grad + row) + weighted / load(w, at.trial + row))
        if m.shift_pointer[e] < m.shift_pointer[e + 1]:
            for b in range(size):
                store(w, at.factor + start + b, load(w, at.weight + first + b) * load(w, at.factor + start + b))
        for k in range(m.shift_pointer[e], m.shift_pointer[e + 1]):
            o, up, down = m.shift_start[k], zero, zero
            for b in range(size):
                factor = load(w, at.factor + start + b)
                up = fma(factor, spread(m.shift_up, o + b), up)
                down = fma(factor, spread(m.shift_down, o + b), down)
            row, rises = at.grad + m.shift_parameter[k], at.shift + 4 * shared.weight_of[k] + 2
            store(w, row, fma(up, load(w, rises), fma(down, load(w, rises + 1), load(w, row))))
    for i in range(m.n_independent):
        p, width = m.normal_parameter[i], splat(1.0 / m.normal_sigma[i])
        pull = (load(w, at.trial + p) - load(w, at.aux + m.normal_aux[i])) * width
        value = fma(splat(0.5) * pull, pull, value)
        store(w, at.grad + p, fma(pull, width, load(w, at.grad + p)))
    for i in range(m.joint_pointer.size - 1):
        pull = zero
        for j in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            c = m.joint_column[j]
            difference = load(w, at.trial + m.normal_parameter[c]) - load(w, at.aux + m.normal_aux[c])
            pull = fma(splat(m.joint_weight[j]), difference, pull)
        value = fma(splat(0.5) * pull, pull, value)
        for j in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            row = at.grad + m.normal_parameter[m.joint_column[j]]
            store(w, row, fma(splat(m.joint_weight[j]), pull, load(w, row)))
    for i in range(m.poisson_parameter.size):
        p, factor = m.poisson_parameter[i], m.poisson_factor[i]
        n, theta = load(w, at.aux + m.poisson_aux[i]), load(w, at.trial + p)
        value = value + deviation(n, splat(factor) * theta, shared.reference_poisson[i])
        store(w, at.grad + p, load(w, at.grad + p) + (splat(factor) - where_less(zero, n, n / theta, zero)))
    store(w, TRIAL, value)
    for j in range(shared.order.size):  # slopes in y: L fresh = grad
        total, other, row = zero, zero, j * shared.order.size
        for i in range(0, j - 1, 2):  # two sums, which need not wait for each other
            total = fma(spread(shared.lower, row + i), load(w, at.fresh + i), total)
            other = fma(spread(shared.lower, row + i + 1), load(w, at.fresh + i + 1), other)
        if j % 2 == 1:
            total = fma(spread(shared.lower, row + j - 1), load(w, at.fresh + j - 1), total)
        total = load(w, at.grad + shared.order[j]) - (total + other)
        store(w, at.fresh + j, total * spread(shared.lower, row + j))
