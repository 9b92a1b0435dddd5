# mypy: disable-error-code="untyped-decorator"
"""Poisson counts from counter-based random bits: toy t, bin b always gets the same count, wherever and whenever it is
made.

A bin with a known rate is drawn by Walker's alias method (Vose's construction) from a table with a power of two of
columns: the upper bits of one 64-bit random number choose the column, the lower bits decide between the column and its
alias. A cell holds the threshold in its upper 44 bits and the alias in its lower 20, so a draw reads one word and makes
no rejection.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numpy.typing import NDArray

from bumpfit.compiled import njit, record
from bumpfit.errors import InputError
from bumpfit.mixing import GOLDEN, mix
from bumpfit.toys.lanes import BITS, DOUBLES, WIDTH, constant, intrinsic, lanes_type, whole

Floats = NDArray[np.float64]

ALIAS_BITS = 20
ALIAS_MASK = np.uint64((1 << ALIAS_BITS) - 1)
TAIL = 1e-18
"""Counts less likely than this are left out of a table: a direct calibration of a 7 sigma tail (1e-12) does not see
it.
"""
LARGEST_RATE = 2.0e9
"""Above this rate the table would need more than 2^20 columns."""
TO_UNIT = 1.0 / 9007199254740992.0  # 2^-53


@record
class AliasTables(NamedTuple):
    """One alias table a bin, in one array of cells.

    Bin b owns 2^bits[b] cells from start[b] on; column i stands for the count low[b] + i.
    """

    cells: NDArray[np.uint64]
    start: NDArray[np.int64]
    bits: NDArray[np.uint64]
    low: Floats


def alias_tables(rate: Floats) -> AliasTables:
    """Tables for Poisson counts with the given expectations, shape (B,).

    Raises InputError for rates that are negative, not finite, or above 2e9.
    """
    rate = np.asarray(rate, dtype=np.float64)
    bad = np.flatnonzero(~((rate >= 0) & (rate <= LARGEST_RATE)))
    if bad.size:
        raise InputError(
            f"bin {bad[0]} expects {rate[bad[0]]:g} events; toys need expectations between 0 and {LARGEST_RATE:g}: "
            "check the yields and the signal strength that the toys are thrown at"
        )
    cells, bits, low = [], [], []
    for mean in rate:
        first, probability = _support(mean)
        width = math.ceil(math.log2(probability.size))
        cells.append(_vose(probability / probability.sum(), width))
        bits.append(width)
        low.append(first)
    sizes = np.array([c.size for c in cells], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return AliasTables(np.concatenate(cells), start, np.array(bits, dtype=np.uint64), np.array(low, dtype=np.float64))


def _support(mean: float) -> tuple[int, Floats]:
    """First count and the probabilities of all counts that are more likely than `TAIL`."""
    reach = 9.0 * math.sqrt(mean) + 40.0  # beyond 1e-18 on both sides for any mean (Chernoff bound)
    first = max(0, math.floor(mean - reach))
    if mean == 0:
        return 0, np.ones(1)
    # ratios from the most probable count on: at large means logarithms would cancel
    mode = max(first, math.floor(mean))
    above = np.cumprod(mean / np.arange(mode + 1.0, math.ceil(mean + reach) + 1.0))
    below = np.cumprod(np.arange(mode, first, -1.0) / mean)[::-1]
    probability = np.concatenate([below, [1.0], above])
    probability /= probability.sum()
    inside = np.flatnonzero(probability > TAIL)
    return first + int(inside[0]), probability[inside[0] : inside[-1] + 1]


def _vose(probability: Floats, width: int) -> NDArray[np.uint64]:
    """Cells of one table: threshold of the column's own count (upper bits) and its alias (lower bits)."""
    columns = 1 << width
    height = np.zeros(columns)
    height[: probability.size] = probability * columns
    threshold = np.ones(columns)
    alias = np.arange(columns)
    _fill(height, threshold, alias)
    steps = np.minimum(np.round(threshold * 2.0 ** (64 - ALIAS_BITS)), 2.0 ** (64 - ALIAS_BITS) - 1)
    return np.asarray((steps.astype(np.uint64) << np.uint64(ALIAS_BITS)) | alias.astype(np.uint64))


@njit()
def _fill(height, threshold, alias):  # type: ignore[no-untyped-def]
    """Vose's pairing: every column below average height is topped up by one that is above."""
    n = height.size
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        if height[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        low = small[n_small]
        high = large[n_large - 1]
        threshold[low] = height[low]
        alias[low] = high
        height[high] -= 1.0 - height[low]
        if height[high] < 1.0:
            n_large -= 1
            small[n_small] = high
            n_small += 1
    # what is left has height 1 up to rounding; a column without probability of its own must not come up
    for i in range(n_small):
        if height[small[i]] < 0.5:
            threshold[small[i]] = 0.0
            alias[small[i]] = 0


@njit(inline=True)
def stream(seed, toy, draws):  # type: ignore[no-untyped-def]
    """State before the first draw of a toy that makes `draws` draws: a counter, scrambled together with the seed."""
    return mix(np.uint64(seed) * GOLDEN + np.uint64(0xD1B54A32D192ED03)) + np.uint64(toy) * np.uint64(draws) * GOLDEN


@njit(inline=True)
def uniform(state):  # type: ignore[no-untyped-def]
    """Uniform number in (0, 1) from a state."""
    return (np.float64(mix(state) >> np.uint64(11)) + 0.5) * TO_UNIT


@njit(inline=True)
def normal(state):  # type: ignore[no-untyped-def]
    """Standard normal number (Box and Muller) from a state and the one before it."""
    radius = math.sqrt(-2.0 * math.log(uniform(state - GOLDEN)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@njit(inline=True)
def alias_draw(state, cells, start, bits, low):  # type: ignore[no-untyped-def]
    """Count of one bin from a state and the bin's table."""
    u = mix(state)
    column = (u >> np.uint64(1)) >> (np.uint64(63) - bits)  # in two shifts: a shift by 64 is undefined
    cell = cells[start + np.int64(column)]
    rest = u << bits
    chosen = column if (rest | ALIAS_MASK) < (cell | ALIAS_MASK) else (cell & ALIAS_MASK)
    return low + np.float64(chosen)


def _emit_mix(builder: Any, x: Any) -> Any:
    """`mix` in all lanes."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = builder.mul(builder.xor(x, builder.lshr(x, whole(shift))), whole(factor))
    return builder.xor(x, builder.lshr(x, whole(31)))


def _emit_spread(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(BITS, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(BITS, ir.Undefined), zeros)


@intrinsic
def alias_draws(typingctx: Any, states: Any, step: Any, cells: Any, start: Any, bits: Any, low: Any) -> Any:
    """`alias_draw` for the eight toys whose states, shape (8,), are `step` ahead of where they are given."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        states, step, cells, start, bits, low = args
        base = builder.bitcast(context.make_array(sig.args[0])(context, builder, states).data, BITS.as_pointer())
        state = builder.add(builder.load(base, align=8), _emit_spread(builder, step))
        u = _emit_mix(builder, state)
        shift = builder.sub(whole(63), _emit_spread(builder, bits))
        column = builder.lshr(builder.lshr(u, whole(1)), shift)
        data = context.make_array(sig.args[2])(context, builder, cells).data
        table = builder.gep(data, [start])
        cell = ir.Constant(BITS, ir.Undefined)
        for lane in range(WIDTH):
            place = ir.Constant(ir.IntType(32), lane)
            value = builder.load(builder.gep(table, [builder.extract_element(column, place)]))
            cell = builder.insert_element(cell, value, place)
        mask = whole(int(ALIAS_MASK))
        rest = builder.or_(builder.shl(u, _emit_spread(builder, bits)), mask)
        own = builder.icmp_unsigned("<", rest, builder.or_(cell, mask))
        chosen = builder.select(own, column, builder.and_(cell, mask))
        # a whole number below 2^52 placed in the last bits of 2^52 is that number beyond 2^52
        number = builder.bitcast(builder.or_(chosen, whole(0x4330000000000000)), DOUBLES)
        first = builder.insert_element(ir.Constant(DOUBLES, ir.Undefined), low, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        lows = builder.shuffle_vector(first, ir.Constant(DOUBLES, ir.Undefined), zeros)
        return builder.fadd(builder.fsub(number, constant(2.0**52)), lows)

    return lanes_type(states, types.uint64, cells, types.intp, types.uint64, types.float64), codegen
