"""-ln L along single parameters: only the yields that a parameter moves are computed anew, at all places at once."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np

from bumpfit.poisson import deviance
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace import Model, kernels
from bumpfit.workspace.model import scratch
from bumpfit.workspace.vectorised import Scales, layout_of, shift_weights

REMEMBERED = 1024
"""What so many parameters of a model move is kept, as long as the model is."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Moved:
    """What one parameter moves: Y yields of E entries in B bins, by K shifts of S elements and L scalar factors."""

    yields: Integers  # (Y,) in the model's nominal yields
    bins: Integers  # (B,) in the model
    in_bin: Integers  # (Y,) of those bins
    bent: Flags  # (K,)
    element_shift: Integers  # (S,)
    element_yield: Integers  # (S,) of those yields
    up: Floats  # (S,)
    down: Floats  # (S,)
    scales: Scales
    scale_entry: Integers  # (L,)
    entry: Integers  # (Y,)
    entries: int


_KNOWN: weakref.WeakKeyDictionary[Model, dict[int, _Moved]] = weakref.WeakKeyDictionary()


def _moved(model: Model, p: int) -> _Moved:
    known = _KNOWN.setdefault(model, {})
    if p not in known:
        if len(known) >= REMEMBERED:
            del known[next(iter(known))]
        known[p] = _found(model, p)
    return known[p]


def _found(model: Model, p: int) -> _Moved:
    c, at = model.compiled, layout_of(model.compiled)
    shifts, scales = np.flatnonzero(c.shift_parameter == p), np.flatnonzero(c.scale_parameter == p)
    entries = np.unique(np.concatenate([at.shift_entry[shifts], at.scale_entry[scales]]))
    yields = np.flatnonzero(np.isin(at.yield_entry, entries))
    elements = np.flatnonzero(c.shift_parameter[at.element_shift] == p)
    bins, in_bin = np.unique(at.yield_bin[yields], return_inverse=True)
    return _Moved(
        yields=yields,
        bins=bins,
        in_bin=in_bin,
        bent=at.bent[shifts],
        element_shift=np.searchsorted(shifts, at.element_shift[elements]),
        element_yield=np.searchsorted(yields, at.element_yield[elements]),
        up=c.shift_up[elements],
        down=c.shift_down[elements],
        scales=Scales(c.scale_code[scales], c.scale_coefficients[scales]),
        scale_entry=np.searchsorted(entries, at.scale_entry[scales]),
        entry=np.searchsorted(entries, at.yield_entry[yields]),
        entries=entries.size,
    )


class Lines:
    """-ln L along parameters with an independent constraint that shift and scale yields, from one evaluation at x (P,).

    `takes` are those parameters; none where yields are formulas of parameters.
    """

    def __init__(self, model: Model, main: Floats, aux: Floats, x: Floats) -> None:
        c = model.compiled
        self.model, self.main, self.x, self.rate = model, main, x, np.empty(c.n_bins)
        self.shifted, self.factor, shift, scale = scratch(c)
        kernels.rates(x, c, self.rate, self.shifted, self.factor, shift, scale)
        self.state = self.shifted, self.factor, shift, scale
        alone = slice(0, c.n_independent)
        centres = zip(aux[c.normal_aux[alone]], c.normal_sigma[alone], strict=True)
        self.constraint = dict(zip(c.normal_parameter[alone].tolist(), centres, strict=True))
        moving = {*c.shift_parameter.tolist(), *c.scale_parameter.tolist()}
        formulas = c.program_first.size > 0
        self.takes = (
            frozenset()
            if formulas
            else frozenset(moving & set(self.constraint) - set(layout_of(c).gamma_parameter.tolist()))
        )

    def heights(self, p: int, places: Floats) -> Floats:
        """-ln L with parameter p at the places, shape (T,), up to a constant; infinite where it is impossible."""
        bins, rate = self.rates(p, places)
        with np.errstate(all="ignore"):
            value = 0.5 * deviance(self.main[bins], rate).sum(axis=1) + self.penalty(p, places)
        return np.where(np.isnan(value), np.inf, value)

    def penalty(self, p: int, places: Floats) -> Floats:
        """What the constraint of parameter p adds to -ln L at the places."""
        centre, sigma = self.constraint[p]
        return np.asarray(0.5 * ((places - centre) / sigma) ** 2)

    def rates(self, p: int, places: Floats) -> tuple[Integers, Floats]:
        """The bins that parameter p moves, (B,), and their rates with it at the places, (T, B)."""
        m = _moved(self.model, p)
        theta = np.append(self.x[p], places)[:, None]  # the first is where the yields are known
        weights = np.empty((theta.size, m.bent.size, 6))
        scale = np.empty((theta.size, m.scale_entry.size, 4))
        with np.errstate(all="ignore"):
            shift_weights(np.broadcast_to(theta, weights.shape[:2]), m.bent, weights)
            m.scales.parts(np.broadcast_to(theta, scale.shape[:2]), scale)
            change = weights[1:, :, :2] - weights[0, :, :2]
            yields = np.repeat(self.shifted[None, m.yields], places.size, axis=0)
            moved = change[:, m.element_shift, 0] * m.up + change[:, m.element_shift, 1] * m.down
            np.add.at(yields.T, m.element_yield, moved.T)
            ratio = np.ones((places.size, m.entries))
            growth = np.exp(scale[1:, :, 0] - scale[0, :, 0]) * (scale[1:, :, 1] / scale[0, :, 1])
            np.multiply.at(ratio.T, m.scale_entry, growth.T)
            yields = (yields * ratio[:, m.entry] - self.shifted[m.yields]) * self.factor[m.yields]
            rate = np.repeat(self.rate[None, m.bins], places.size, axis=0)
            np.add.at(rate.T, m.in_bin, yields.T)
        return m.bins, rate
