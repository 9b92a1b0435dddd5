"""Systematic templates of a workspace smoothed, or made symmetric, with what changed.

A template that was varied with few simulated events carries their fluctuations into the fit, which then constrains
parameters that the data say nothing about. Smoothing works on the ratio of the varied to the nominal yields, bin by
bin of a channel in its order, and keeps the varied sum:

- "353qh": running medians and means (`smoothing.smooth_353qh_twice`; ROOT, cabinetry);
- "trexfitter": bins joined until their statistical error is small, then 353QH (`smoothing.smooth_variations`), with the
  sample's errors from its staterror or shapesys;
- "lowess": a straight line fitted to the bins around each (Cleveland, J. Am. Stat. Assoc. 74 (1979) 829), which count
  by distance and by their nominal events.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, get_args

import numpy as np

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.words import Smoothing, Symmetry
from bumpfit.workspace.effects_bins import SHAPESYS, STATERROR
from bumpfit.workspace.effects_scale import NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS, KEYS
from bumpfit.workspace.smoothing import lowess, smooth_353qh_twice, smooth_variations
from bumpfit.workspace.survey import survey
from bumpfit.workspace.variations import SYMMETRISED

FACTORS = ("lo", "hi")

ROUNDING = 1e-12
"""Relative change of a bin that is none."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which systematics: patterns of names, all where there are none; `flag`: only those that `survey` flags so."""

    channels: Collection[str] = ()
    samples: Collection[str] = ()
    modifiers: Collection[str] = ()
    flag: str | None = None


@dataclasses.dataclass(frozen=True)
class Changed(Record):
    """A systematic that changed: the largest relative effect of a bin at plus and minus one standard deviation, before
    and after, and `most`, by how much the yield of a bin moved, relative to the nominal one.
    """

    parameter: str
    channel: str
    sample: str
    up: float
    down: float
    new_up: float
    new_down: float
    most: float


def smooth(
    spec: Mapping[str, Any],
    method: Smoothing = "353qh",
    choice: Choice = Choice(),
    *,
    span: float = 0.5,
    slopes: int = 4,
) -> tuple[dict[str, Any], list[Changed]]:
    """The workspace with the chosen shapes smoothed, and what changed.

    span     "lowess": part of the bins that each line is fitted to, at least three
    slopes   "trexfitter": how often a ratio may change its slope (MAXVARIATION; `Smoothing: 40` is 4)

    Bins where nothing is expected keep their varied yields. Raises InputError for wrong settings, names without a
    shape, and "trexfitter" for samples without errors.
    """
    if method not in get_args(Smoothing):
        raise InputError(f"the smoothing is '{method}'; expected {', '.join(get_args(Smoothing))}")
    if not (0 < span <= 1 and slopes >= 0):
        raise InputError(f"smoothing needs a span above 0 and at most 1 and slopes of 0 or more, got {span}, {slopes}")

    def new(sample: Mapping[str, Any], nominal: Floats, up: Floats, down: Floats) -> tuple[Floats, Floats]:
        seen = nominal > 0
        if seen.sum() < 3:
            return up, down
        errors = _errors(sample) if method == "trexfitter" else nominal
        return (
            _smoothed(method, nominal, errors, up, seen, span, slopes),
            _smoothed(method, nominal, errors, down, seen, span, slopes),
        )

    return _each(spec, choice, new, factors=False)


def symmetrise(
    spec: Mapping[str, Any], method: Symmetry = "twosided", choice: Choice = Choice()
) -> tuple[dict[str, Any], list[Changed]]:
    """The workspace with the chosen shapes and factors symmetric around the nominal yields, and what changed.

    "twosided": half the difference of both; "onesided": the larger one and its mirror image; "absmean": the mean of
    both sizes; "maximum": in each bin the larger one. Raises InputError for an unknown method, names without a
    systematic, and factors whose mirror image is not positive.
    """
    if method not in get_args(Symmetry):
        raise InputError(f"the symmetrising is '{method}'; expected {', '.join(get_args(Symmetry))}")

    def new(sample: Mapping[str, Any], nominal: Floats, up: Floats, down: Floats) -> tuple[Floats, Floats]:
        return SYMMETRISED[method.upper()](nominal, up, down)

    return _each(spec, choice, new, factors=True)


Change = Callable[[Mapping[str, Any], Floats, Floats, Floats], tuple[Floats, Floats]]


def _each(
    spec: Mapping[str, Any], choice: Choice, new: Change, *, factors: bool
) -> tuple[dict[str, Any], list[Changed]]:
    """Put new yields, or factors, in place of the chosen ones."""
    result = copy.deepcopy(dict(spec))
    chosen = list(_chosen(result, choice, factors))
    if not chosen:
        raise InputError("no systematic of this kind and these names is in the workspace; see workspace inspect")
    flagged = None
    if choice.flag is not None:
        flagged = {(s.channel, s.sample, s.parameter, s.type) for s in survey(spec) if choice.flag in s.flags}
    changed = []
    for channel, sample, modifier in chosen:
        if flagged is not None and (channel, sample["name"], modifier["name"], modifier["type"]) not in flagged:
            continue
        shape = modifier["type"] == HISTOSYS.kind
        nominal = np.asarray(sample["data"] if shape else [1.0], dtype=np.float64)
        low, high = KEYS if shape else FACTORS
        down, up = (np.atleast_1d(np.asarray(modifier["data"][key], dtype=np.float64)) for key in (low, high))
        new_up, new_down = new(sample, nominal, up, down)
        if not shape and min(new_up[0], new_down[0]) <= 0:
            raise InputError(
                f"the factors of '{modifier['name']}' of sample '{sample['name']}' in channel '{channel}' are "
                f"{down[0]:g} and {up[0]:g}; made symmetric, {min(new_up[0], new_down[0]):g} would not be positive"
            )
        for key, values in ((low, new_down), (high, new_up)):
            modifier["data"][key] = values.tolist() if shape else float(values[0])
        row = _row(modifier["name"], channel, sample["name"], nominal, (up, down), (new_up, new_down))
        if row.most > ROUNDING:
            changed.append(row)
    return result, changed


def _chosen(
    spec: Mapping[str, Any], choice: Choice, factors: bool
) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Any]]]:
    """Channel, sample and modifier of what was chosen by name."""
    kinds = (HISTOSYS.kind, NORMSYS.kind) if factors else (HISTOSYS.kind,)
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                key = (channel["name"], sample["name"], modifier["name"])
                asked = (choice.channels, choice.samples, choice.modifiers)
                fits = all(_fits(name, patterns) for name, patterns in zip(key, asked, strict=True))
                if modifier["type"] in kinds and fits:
                    yield channel["name"], sample, modifier


def _fits(name: str, patterns: Collection[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _row(
    name: str, channel: str, sample: str, nominal: Floats, old: tuple[Floats, Floats], new: tuple[Floats, Floats]
) -> Changed:
    seen = nominal > 0

    def largest(change: Floats) -> float:
        ratio = change[seen] / nominal[seen]
        return float(ratio[np.argmax(np.abs(ratio))]) if seen.any() else 0.0

    moved = max(abs(largest(after - before)) for before, after in zip(old, new, strict=True))
    up, down, new_up, new_down = (largest(v - nominal) for v in (*old, *new))
    return Changed(name, channel, sample, up, down, new_up, new_down, moved)


def _smoothed(
    method: str, nominal: Floats, errors: Floats, varied: Floats, seen: Any, span: float, slopes: int
) -> Floats:
    """A varied template with a smooth ratio to the nominal one; its sum stays."""
    if method == "trexfitter":
        return smooth_variations(nominal, errors, varied, slopes)
    ratio = varied[seen] / nominal[seen]
    fitted = smooth_353qh_twice(ratio) if method == "353qh" else lowess(ratio, nominal[seen], span)
    result = varied.copy()
    result[seen] = np.maximum(fitted, 0.0) * nominal[seen] if (ratio >= 0).all() else fitted * nominal[seen]
    before, after = float(varied[seen].sum()), float(result[seen].sum())
    if before > 0 and after > 0:
        result[seen] *= before / after
    return result


def _errors(sample: Mapping[str, Any]) -> Floats:
    """Statistical errors of the bins of a sample; raises InputError where it states none."""
    for kind in (STATERROR.kind, SHAPESYS.kind):
        for modifier in sample["modifiers"]:
            if modifier["type"] == kind:
                return np.asarray(modifier["data"], dtype=np.float64)
    raise InputError(
        f"sample '{sample['name']}' states no statistical errors ({STATERROR.kind}), by which TRExFitter joins bins; "
        "take another smoothing (353qh, lowess)"
    )
