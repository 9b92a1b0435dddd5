"""Make and fit a run of toys of a log-linear model: eight at a time, and a queue a signal for the fits that are needed.

For q0 half of the toys need no fit of the signal at all (their best strength is negative); the others are collected
until eight are together, so that every lane of every pass does needed work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit, record
from bumpfit.mixing import GOLDEN
from bumpfit.toys.lanes import WIDTH, load, splat, store
from bumpfit.toys.loglinear_kernel import (
    DOWN,
    MU,
    OPEN,
    Arrays,
    F,
    Rows,
    fit_background,
    fit_signal,
    open_outside,
    signal_score,
    signal_start,
)
from bumpfit.toys.poisson import AliasTables, alias_draw, alias_draws, normal, stream
from bumpfit.toys.statistic import Plan

Floats = NDArray[np.float64]

CLOSED, UNSETTLED, OUTSIDE = 0, 1, 2  # state of a toy: fitted, a fit has not converged, a parameter has left its range
DISAGREEMENT = 1e-6
"""A free minimum this far above the fixed one is no minimum: such a toy is fitted again with care."""


@record
class Results(NamedTuple):
    """What comes back of each of n toys for M signals. f is in a normalisation of the toy that its fits share."""

    free: Floats  # (n, M) minimum of f with mu free
    fixed: Floats  # (n, M) minimum of f at the strength under test
    best: Floats  # (n, M) best strength
    open: NDArray[np.uint8]  # (n,) CLOSED, UNSETTLED or OUTSIDE
    forms: Floats  # (n, F) linear forms of the counts and pulls


@record
class Queue(NamedTuple):
    """Toys that wait for a fit with one of J jobs: 2 m or m for the free fit of signal m, 2 m + 1 for its fit at
    plan.mu.
    """

    parts: Floats  # (J * rows, 8): rows MU to the end of n of the work space
    toys: NDArray[np.int64]  # (J, 8)
    used: NDArray[np.int64]  # (J,)


@njit(internal=True)
def put_toys(pulls_basis, means, tables, counts, pulls, seed, first, here, x, at, forms, sums, row, states):  # type: ignore[no-untyped-def]
    """Fill n and t of eight lanes with toys first .. first + here (given or made); unused lanes repeat the last.

    Writes the linear forms of counts and pulls to sums from `row` on; `means` of the pulls that are made. `states`:
    room for eight states.
    """
    n_pulls, size = pulls_basis.shape
    given, bins = counts.shape[0] > 0, forms.shape[1] - n_pulls
    for lane in range(WIDTH):
        states[lane] = stream(seed, first + min(lane, here - 1), bins + 2 * n_pulls)
    for k in range(size):
        store(x, at.t + k, splat(0.0))
    if given:
        for lane in range(WIDTH):
            for b in range(bins):
                x[at.n + b, lane] = counts[first + min(lane, here - 1), b]
    else:
        step = np.uint64(0)
        for b in range(bins):
            step += GOLDEN
            drawn = alias_draws(states, step, tables.cells, tables.start[b], tables.bits[b], tables.low[b])
            store(x, at.n + b, drawn)
    for j in range(forms.shape[0]):
        for lane in range(here):
            value = 0.0
            for b in range(bins):
                value += forms[j, b] * x[at.n + b, lane]
            sums[row + lane, j] = value
    for lane in range(WIDTH if n_pulls else 0):
        state = states[lane] + np.uint64(bins) * GOLDEN
        for j in range(n_pulls):
            state += GOLDEN + GOLDEN
            pull = pulls[first + min(lane, here - 1), j] if given else means[j] + normal(state)
            for k in range(size):
                x[at.t + k, lane] += pulls_basis[j, k] * pull
            if lane < here:
                for i in range(forms.shape[0]):
                    sums[row + lane, i] += forms[i, bins + j] * pull


@njit(internal=True)
def run_queue(arrays, plan, kind, m, q, queue, y, at, results):  # type: ignore[no-untyped-def]
    """Fit the toys of one queue (kind 0: mu free, 1: mu fixed), write their results, and leave the queue empty."""
    rows = at.e - MU
    for row in range(rows):
        store(y, MU + row, load(queue.parts, q * rows + row))
    for lane in range(WIDTH):
        y[OPEN, lane] = 1.0 if lane < queue.used[q] else 0.0
    low, high = (plan.low, plan.high) if kind == 0 else (plan.mu, plan.mu)
    fit_signal(
        arrays.rate, arrays.basis, arrays.design, arrays.prior, arrays.pull.shape[0] > 0, arrays.signals[m],
        arrays.first[m], arrays.last[m], arrays.curvature[1 + m], arrays.tolerance, low, high, y, at,
    )  # fmt: skip
    open_outside(arrays.pull, arrays.limits, y, at)
    for lane in range(queue.used[q]):
        toy = queue.toys[q, lane]
        if y[OPEN, lane] != 0.0:
            results.open[toy] = 1
        elif kind == 0:
            results.free[toy, m] = y[F, lane]
            results.best[toy, m] = y[MU, lane]
        else:
            results.fixed[toy, m] = y[F, lane]
    queue.used[q] = 0


@njit()
def draw_toys(tables, means, seed, toys, counts, pulls):  # type: ignore[no-untyped-def]
    """Counts, shape (n, B), and pulls of unit width, shape (n, J), of the listed toys."""
    bins, n_pulls = counts.shape[1], means.size
    for i in range(toys.size):
        state = stream(seed, toys[i], bins + 2 * n_pulls)
        for b in range(bins):
            state += GOLDEN
            counts[i, b] = alias_draw(state, tables.cells, tables.start[b], tables.bits[b], tables.low[b])
        for j in range(n_pulls):
            state += GOLDEN + GOLDEN
            pulls[i, j] = means[j] + normal(state)


@njit()
def run_toys(arrays, plan, tables, means, counts, pulls, seed, first, forms, x, y, at, queue, results):  # type: ignore[no-untyped-def]
    """Fit toys first .. first + n, where n is the length of the results.

    counts, pulls: given toys, shapes (n, B) and (n, J), taken from row 0 on; with no rows of counts the toys are made
    from the tables, the means of the pulls and the seed. forms: linear forms of counts and pulls, shape (F, B + J).
    """
    n_toys, n_signals = results.free.shape
    size = arrays.basis.shape[1]
    kinds = 2 if plan.conditional else 1
    states = np.zeros(WIDTH, np.uint64)
    offset = 0 if counts.shape[0] > 0 else first
    for begin in range(0, n_toys, WIDTH):
        here = min(WIDTH, n_toys - begin)
        put_toys(
            arrays.pull,
            means,
            tables,
            counts,
            pulls,
            seed,
            offset + begin,
            here,
            x,
            at,
            forms,
            results.forms,
            begin,
            states,
        )
        fit_background(
            arrays.rate, arrays.basis, arrays.design, arrays.prior, arrays.pull.shape[0] > 0, arrays.third,
            arrays.fourth, arrays.curvature[0], arrays.tolerance, x, at,
        )  # fmt: skip
        open_outside(arrays.pull, arrays.limits, x, at)
        for lane in range(here):
            results.open[begin + lane] = x[OPEN, lane] != 0.0
            for m in range(n_signals):
                results.free[begin + lane, m] = x[F, lane]
                results.fixed[begin + lane, m] = x[F, lane]
                results.best[begin + lane, m] = 0.0
        for m in range(n_signals):
            signal_score(arrays.basis, arrays.signals[m], arrays.first[m], arrays.last[m], x, at)
            for kind in range(kinds):
                low, high = (plan.low, plan.high) if kind == 0 else (plan.mu, plan.mu)
                signal_start(arrays.bend[m], low, high, x, at)
                q = kinds * m + kind
                for lane in range(here):
                    skip = kind == 0 and plan.positive and not x[DOWN, lane] > 0.0
                    if skip or x[OPEN, lane] != 0.0:
                        continue
                    slot, base = queue.used[q], q * (at.e - MU)
                    for row in range(at.e - MU):
                        queue.parts[base + row, slot] = x[MU + row, lane]
                    for k in range(size):
                        queue.parts[base + at.z - MU + k, slot] += x[at.step + k, lane]
                    queue.toys[q, slot] = begin + lane
                    queue.used[q] = slot + 1
                    if queue.used[q] == WIDTH:
                        run_queue(arrays, plan, kind, m, q, queue, y, at, results)
    for q in range(kinds * n_signals):
        if queue.used[q] > 0:
            run_queue(arrays, plan, q % kinds, q // kinds, q, queue, y, at, results)


def call(
    arrays: Arrays,
    plan: Plan,
    at: Rows,
    tables: AliasTables,
    means: Floats,
    n: int,
    *,
    seed: int,
    first: int,
    forms: Floats,
    counts: Floats | None = None,
    pulls: Floats | None = None,
) -> Results:
    """`run_toys` with its work space: n toys from index `first` on, or the given ones."""
    signals, bins = arrays.signals.shape[0], arrays.bins
    jobs = (2 if plan.conditional else 1) * signals
    results = Results(
        np.empty((n, signals)),
        np.empty((n, signals)),
        np.empty((n, signals)),
        np.empty(n, np.uint8),
        np.empty((n, len(forms))),
    )
    queue = Queue(np.zeros((jobs * (at.e - MU), WIDTH)), np.zeros((jobs, WIDTH), np.int64), np.zeros(jobs, np.int64))
    x, y = np.zeros((at.size, WIDTH)), np.zeros((at.size, WIDTH))
    if counts is None:
        counts, pulls = np.empty((0, bins)), np.empty((0, arrays.pull.shape[0]))
    run_toys(arrays, plan, tables, means, counts, pulls, seed, first, forms, x, y, at, queue, results)
    return results
