"""Steps of the quasi-Newton descent of eight toys: BFGS from the metric that all toys of a model share.

With the expected Hessian H = L L^T at the values thrown at, the likelihood of a toy in the coordinates y = L^T x is
nearly a unit parabola. BFGS steps from that metric (Nocedal, Mathematics of Computation 35 (1980) 773: the last pairs
of steps and changes of slope) need no second derivative of any toy.

The strength is the last parameter, so holding it (at its tested value, or at an end of its range) is to leave out the
last coordinate.
"""

from __future__ import annotations

from bumpfit.compiled import njit
from bumpfit.toys.general_likelihood import ACTIVE, GAIN, HIGH, LOW, MADE, MEMORY, SLOPE, TRIAL, F, T
from bumpfit.toys.lanes import fma, load, splat, spread, store, where_less

DECREASE = 1e-4  # of what the slope promises: the least that a step has to gain (Armijo)
NOISE = 1e-13  # relative rounding of -ln L
INSIDE = 0.9  # of the way to an end of a range that one step may take
ROUNDING = 1e-9  # of a step: closer than this to the end of its range the strength is there
SETTLED = 1e-4  # expected gain of the other parameters below which the strength may leave an end of its range
START = 1e300  # stands for -ln L before the first evaluation


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
