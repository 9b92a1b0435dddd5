"""Fits of many toys of a general HistFactory model, eight at a time: a quasi-Newton descent in each SIMD lane.

What toys of one model share is their curvature: with the expected Hessian H = L L^T at the values thrown at, the
likelihood of a toy in the coordinates y = L^T x is nearly a unit parabola. BFGS steps from that metric (Nocedal,
Mathematics of Computation 35 (1980) 773: the last pairs of steps and changes of slope) need rates and slopes only,
both of one sweep over the yields, and no second derivative of any toy.

The strength is the last parameter, so holding it (at its tested value, or at an end of its range) is to leave out the
last coordinate. A lane that has converged takes the next fit; a lane's numbers do not depend on its neighbours. Fits
that leave the ranges of other parameters, meet a rate that cannot be, or need more than `PASSES` passes are left to the
careful minimiser.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bumpfit.compiled import njit
from bumpfit.toys.lanes import WIDTH, exp, fma, load, log, splat, spread, store, where_less
from bumpfit.toys.poisson import GOLDEN, alias_draw, normal, stream
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace.kernels import CODE4, CODE4P, LINEAR, NO_RATE, SMOOTH, ZERO_FACTOR, Compiled

MEMORY = 12  # pairs of steps and changes of slope that a lane remembers
PASSES = 60  # evaluations of a fit before it is left to the careful minimiser
DECREASE = 1e-4  # of what the slope promises: the least that a step has to gain (Armijo)
TOLERANCE = 1e-10  # expected gain of -ln L at which a fit has converged, in the metric of its last steps
NOISE = 1e-13  # relative rounding of -ln L
INSIDE = 0.9  # of the way to an end of a range that one step may take
ROUNDING = 1e-9  # of a step: closer than this to the end of its range the strength is there
SETTLED = 1e-4  # expected gain of the other parameters below which the strength may leave an end of its range
SAME_GAIN, SAME_DISTANCE = 0.05, 0.01  # below both a fit is in a minimum that is known already: gain, squared distance
START = 1e300  # stands for -ln L before the first evaluation

# kinds of starts of a toy's two fits
THROWN, MEASURED, MIRRORED = 0, 1, 2
"""The values thrown at; the toy's auxiliary measurements; from there on, the best fit at the tested strength with the
parameters of row kind - MIRRORED of `Shared.mirrored` reflected.
"""

# rows of the work space of eight toys that do not depend on the model
F, TRIAL, T, SLOPE, LOW, HIGH, ACTIVE, MADE, GAIN = range(9)


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


@njit(internal=True)
def accept(shared, w, at, slot):  # type: ignore[no-untyped-def]
    """Take the trial point where -ln L has fallen enough (row MADE is 1 there), with its pair of differences."""
    zero, one, size = splat(0.0), splat(1.0), shared.order.size
    f, trial, t = load(w, F), load(w, TRIAL), load(w, T)
    magnitude = where_less(f, zero, zero - f, f)
    magnitude = where_less(magnitude, splat(START), one + magnitude, one)
    promised = where_less(load(w, SLOPE), zero, load(w, SLOPE), zero)
    limit = f + splat(DECREASE) * t * promised + splat(NOISE) * magnitude
    made = where_less(trial, limit, one, zero)
    store(w, MADE, made)
    store(w, F, where_less(zero, made, trial, f))
    store(w, T, where_less(zero, made, t, splat(0.4) * t))
    product, square = zero, zero
    held = where_less(zero, load(w, ACTIVE), zero, one)  # 0 where the strength has not moved
    for i in range(size):
        step = t * load(w, at.d + i)
        change = load(w, at.fresh + i) - load(w, at.v + i)
        if i == size - 1:
            change = change * held
        # a point that was refused may have no slopes at all
        step = where_less(zero, made, step, zero)
        change = where_less(zero, made, change, zero)
        store(w, at.s + slot * size + i, step)
        store(w, at.change + slot * size + i, change)
        product = fma(step, change, product)
        square = fma(change, change, square)
        store(w, at.v + i, where_less(zero, made, load(w, at.fresh + i), load(w, at.v + i)))
    store(w, at.rho + slot, where_less(splat(1e-10) * square, product, one / product, zero))
    for j in range(size):
        p = shared.order[j]
        store(w, at.x + p, where_less(zero, made, load(w, at.trial + p), load(w, at.x + p)))


@njit(internal=True)
def _product(w, a, b, size):  # type: ignore[no-untyped-def]
    """Sum of the products of rows from a and b on, in two sums, which need not wait for each other."""
    total, other = splat(0.0), splat(0.0)
    for i in range(0, size - 1, 2):
        total = fma(load(w, a + i), load(w, b + i), total)
        other = fma(load(w, a + i + 1), load(w, b + i + 1), other)
    if size % 2 == 1:
        total = fma(load(w, a + size - 1), load(w, b + size - 1), total)
    return total + other


@njit(internal=True)
def direct(shared, w, at, slot):  # type: ignore[no-untyped-def]
    """Direction of the lanes that have moved, from the remembered pairs, and twice the gain that it promises."""
    zero, one, size = splat(0.0), splat(1.0), shared.order.size
    last, poi = size - 1, shared.order[size - 1]
    made = load(w, MADE)
    steep, mu = load(w, at.v + last), load(w, at.x + poi)
    # the strength goes to an end of its range where a unit parabola has its minimum beyond, and stays there until the
    # others have settled and it would lead inside
    inverse, low, high = spread(shared.lower, last * size + last), load(w, LOW), load(w, HIGH)
    moving = where_less(load(w, GAIN), splat(SETTLED), zero, one)
    there = mu - steep * inverse
    below = where_less(low, there, where_less(low, mu, zero, moving), one)
    above = where_less(there, high, where_less(mu, high, zero, moving), one)
    ending = where_less(zero, below + above, one, zero)
    rest = where_less(zero, below, (mu - low) / inverse, (mu - high) / inverse)
    for i in range(size):
        store(w, at.work + i, load(w, at.v + i))
    store(w, at.work + last, where_less(zero, ending, zero, steep))
    for back in range(MEMORY):
        j = (slot - back) % MEMORY
        total = _product(w, at.s + j * size, at.work, size) * load(w, at.rho + j)
        store(w, at.alpha + j, total)
        for i in range(size):
            store(w, at.work + i, load(w, at.work + i) - total * load(w, at.change + j * size + i))
    for ahead in range(MEMORY):
        j = (slot + 1 + ahead) % MEMORY
        total = _product(w, at.change + j * size, at.work, size)
        total = load(w, at.alpha + j) - total * load(w, at.rho + j)
        for i in range(size):
            store(w, at.work + i, fma(load(w, at.s + j * size + i), total, load(w, at.work + i)))
    gain = zero
    for i in range(last):
        gain = fma(load(w, at.work + i), load(w, at.v + i), gain)
    own = where_less(zero, ending, rest, load(w, at.work + last))
    gain = fma(own, steep, gain)
    # the step of the strength ends at its range
    there = mu - own * inverse
    there = where_less(there, low, low, there)
    there = where_less(high, there, high, there)
    own = (mu - there) / inverse
    store(w, at.work + last, own)
    slope = zero
    for i in range(size):
        slope = slope - load(w, at.work + i) * load(w, at.v + i)
    for i in range(size):
        down = where_less(zero, slope, load(w, at.v + i), load(w, at.work + i))
        down = zero - (own if i == last else down)
        store(w, at.d + i, where_less(zero, made, down, load(w, at.d + i)))
    active = where_less(zero, own * own, zero, one)
    store(w, SLOPE, _product(w, at.d, at.v, size))
    store(w, GAIN, where_less(zero, made, gain, load(w, GAIN)))
    store(w, ACTIVE, where_less(zero, made, active, load(w, ACTIVE)))


@njit(internal=True)
def aim(shared, w, at):  # type: ignore[no-untyped-def]
    """The step in x of each direction, its length, and the trial point."""
    zero, one, size = splat(0.0), splat(1.0), shared.order.size
    for j in range(size - 1, -1, -1):
        total, other = zero, zero
        for i in range(j + 1, size - 1, 2):
            total = fma(spread(shared.lower, i * size + j), load(w, at.dx + i), total)
            other = fma(spread(shared.lower, (i + 1) * size + j), load(w, at.dx + i + 1), other)
        if (size - 1 - j) % 2 == 1:
            total = fma(spread(shared.lower, (size - 1) * size + j), load(w, at.dx + size - 1), total)
        store(w, at.dx + j, (load(w, at.d + j) - (total + other)) * spread(shared.lower, j * size + j))
        store(w, at.grad + shared.order[j], load(w, at.dx + j))
    t = where_less(zero, load(w, MADE), one, load(w, T))
    for i in range(shared.bound.size):
        p = shared.bound[i]
        step, here = load(w, at.grad + p), load(w, at.x + p)
        room = where_less(step, zero, spread(shared.low, p) - here, spread(shared.high, p) - here)
        # a step of zero has no end; a room of zero none either, so that the fit is given up
        reach = where_less(zero, step * step, splat(INSIDE) * room / step, one)
        t = where_less(reach, t, reach, t)
    store(w, T, t)
    for j in range(size):
        p = shared.order[j]
        store(w, at.trial + p, fma(t, load(w, at.dx + j), load(w, at.x + p)))
    # rounding does not keep the strength from an end of its range
    step, there = load(w, at.dx + size - 1), load(w, at.trial + shared.poi)
    near = splat(ROUNDING) * where_less(step, zero, zero - step, step)
    there = where_less(load(w, LOW) + near, there, there, load(w, LOW))
    store(w, at.trial + shared.poi, where_less(there, load(w, HIGH) - near, there, load(w, HIGH)))


@njit(internal=True)
def begin(m, shared, w, at, lane, kind, free, mu, low, high, fixed_x):  # type: ignore[no-untyped-def]
    """Put a fit into a lane: of the start `kind` at strength mu, or (`free`) from where that fit has ended."""
    if not free:
        for p in range(m.n_parameters):
            value = shared.start[p]
            if kind >= MIRRORED:
                value = -fixed_x[p, lane] if shared.mirrored[kind - MIRRORED, p] else fixed_x[p, lane]
            w[at.x + p, lane] = value
        if kind == MEASURED:
            for i in range(m.normal_parameter.size):
                if shared.free[m.normal_parameter[i]]:
                    w[at.x + m.normal_parameter[i], lane] = w[at.aux + m.normal_aux[i], lane]
        for j in range(shared.order.size):
            p = shared.order[j]
            w[at.x + p, lane] = min(max(w[at.x + p, lane], shared.low[p]), shared.high[p])
        for p in range(m.n_parameters):
            w[at.trial + p, lane] = w[at.x + p, lane]
        low = high = mu
    start = min(max(mu if not free else w[at.x + shared.poi, lane], low), high)
    w[at.x + shared.poi, lane] = start
    for p in range(m.n_parameters):
        w[at.trial + p, lane] = w[at.x + p, lane]
    w[LOW, lane], w[HIGH, lane] = low, high
    w[F, lane], w[T, lane], w[SLOPE, lane], w[ACTIVE, lane] = START, 0.0, 0.0, 1.0
    w[GAIN, lane] = 0.0
    for i in range(shared.order.size):
        w[at.d + i, lane] = w[at.v + i, lane] = 0.0
    for j in range(MEMORY):
        w[at.rho + j, lane] = 0.0


@njit(internal=True)
def draw(m, tables, mean, seed, toy, main, aux):  # type: ignore[no-untyped-def]
    """Counts of the main measurement, shape (B,), and auxiliary measurements, shape (A,), of one toy.

    `tables` holds the bins, then the Poisson constraints.
    """
    independent, bins, n_normal, n_poisson = m.n_independent, main.size, mean.size, m.poisson_aux.size
    state = stream(seed, toy, bins + n_poisson + 2 * n_normal)
    for i in range(bins + n_poisson):
        state += GOLDEN
        count = alias_draw(state, tables.cells, tables.start[i], tables.bits[i], tables.low[i])
        if i < bins:
            main[i] = count
        else:
            aux[m.poisson_aux[i - bins]] = count
    for j in range(n_normal):
        state += GOLDEN + GOLDEN
        width = m.normal_sigma[j] if j < independent else 1.0
        aux[m.normal_aux[j]] = mean[j] + width * normal(state)
    for i in range(n_normal - independent - 1, -1, -1):  # correlated: rows of a lower triangle, so the last one first
        shift = 0.0
        for k in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            column = m.joint_column[k]
            shift += m.joint_lower[k] * (aux[m.normal_aux[column]] - mean[column])
        aux[m.normal_aux[independent + i]] = mean[independent + i] + shift


@njit()
def draw_toys(m, tables, mean, seed, toys, mains, auxs):  # type: ignore[no-untyped-def]
    """Fill rows of counts and auxiliary measurements with the listed toys."""
    for i in range(toys.size):
        draw(m, tables, mean, seed, toys[i], mains[i], auxs[i])


@njit()
def fit_toys(m, shared, at, w, mu, low, high, mains, auxs, out):  # type: ignore[no-untyped-def]
    """Fit toys, rows of mains and auxs; columns of `out`, shape (n, 4): minimum free, minimum fixed at mu, best
    strength in [low, high], fits that have not converged. Minima are of `evaluate`.
    """
    n_toys, kinds = mains.shape[0], shared.kinds.size
    toy, stage, passes = np.full(WIDTH, -1), np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.int64)
    fixed_x, free_x = np.zeros((m.n_parameters, WIDTH)), np.zeros((m.n_parameters, WIDTH))
    coming, running, slot = 0, 0, 0
    for lane in range(WIDTH):
        w[F, lane] = START
        if coming < n_toys:
            toy[lane] = coming
            _enter(m, w, at, lane, mains[coming], auxs[coming], out[coming])
            begin(m, shared, w, at, lane, shared.kinds[0], False, mu, low, high, fixed_x)
            coming += 1
            running += 1
    while running > 0:
        slot = (slot + 1) % MEMORY
        evaluate(m, shared, w, at)
        accept(shared, w, at, slot)
        direct(shared, w, at, slot)
        for lane in range(WIDTH):
            i = toy[lane]
            if i < 0:
                continue
            passes[lane] += 1
            made = w[MADE, lane] > 0.0
            converged = made and abs(w[GAIN, lane]) < 2.0 * TOLERANCE
            known = out[i, 1] if stage[lane] % 2 == 0 else out[i, 0]
            if made and abs(w[GAIN, lane]) < SAME_GAIN and abs(w[F, lane] - known) < SAME_GAIN:
                place = fixed_x if stage[lane] % 2 == 0 else free_x
                if _distance(shared, w, at, lane, place) < SAME_DISTANCE:
                    # a fit at the tested strength leads to the same free fit too
                    stage[lane] += 1 if stage[lane] % 2 == 0 else 0
                    converged = True
                    w[F, lane] = np.inf
            lost = passes[lane] >= PASSES or (not made and w[F, lane] == START)
            if not (converged or lost):
                continue
            free = stage[lane] % 2 == 1
            value = w[F, lane] if converged else np.inf
            if lost and not converged and stage[lane] < 2:
                out[i, 3] += 1.0
            if free and value < out[i, 0]:
                out[i, 0] = value
                out[i, 2] = w[at.x + shared.poi, lane]
                for p in range(m.n_parameters):
                    free_x[p, lane] = w[at.x + p, lane]
            if not free and value < out[i, 1]:
                out[i, 1] = value
                for p in range(m.n_parameters):
                    fixed_x[p, lane] = w[at.x + p, lane]
            stage[lane] += 1
            passes[lane] = 0
            if lost and not converged:
                _forget(w, at, lane)
                stage[lane] += stage[lane] % 2  # no free fit from there
            if stage[lane] >= 2 * kinds or out[i, 3] > 0.0:
                stage[lane] = 0
                if coming == n_toys:
                    toy[lane] = -1
                    running -= 1
                    continue
                toy[lane] = coming
                _enter(m, w, at, lane, mains[coming], auxs[coming], out[coming])
                coming += 1
            next_free = stage[lane] % 2 == 1
            begin(m, shared, w, at, lane, shared.kinds[stage[lane] // 2], next_free, mu, low, high, fixed_x)
        # lanes with a new fit try their start, with a step of zero
        aim(shared, w, at)


@njit(internal=True)
def _distance(shared, w, at, lane, place):  # type: ignore[no-untyped-def]
    """Squared distance from a point, in units of the expected errors of the single parameters."""
    total = 0.0
    for j in range(shared.order.size):
        p = shared.order[j]
        step = w[at.x + p, lane] - place[p, lane]
        total += shared.straight[j] * step * step
    return total


@njit(internal=True)
def _forget(w, at, lane):  # type: ignore[no-untyped-def]
    """Clear what a fit that was given up has left in a lane: it may not be a number."""
    for row in range(at.v, at.size):
        w[row, lane] = 0.0


@njit(internal=True)
def _enter(m, w, at, lane, main, aux, row):  # type: ignore[no-untyped-def]
    """Put the measurements of a toy into a lane."""
    for b in range(m.n_bins):
        w[at.main + b, lane] = main[b]
    for i in range(aux.size):
        w[at.aux + i, lane] = aux[i]
    row[0], row[1], row[2], row[3] = np.inf, np.inf, 0.0, 0.0
