"""What the systematic uncertainties of a workspace do to its yields, and which of them deserve a look.

Users look by hand for effects that point to one side, that are too small to matter, too large to be believed, or that
jump from bin to bin because their templates have few events. Each of them is a flag here, with a threshold that can be
set (`Thresholds`).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.workspace.arrays import LINEAR
from bumpfit.workspace.combine import configs_of, settle
from bumpfit.workspace.effect import PerBin, Scale, Shift, Use
from bumpfit.workspace.effects import EFFECTS, declare, interpolation_codes, uses_of
from bumpfit.workspace.kernels import scale_parts, shift_weights


@dataclasses.dataclass(frozen=True)
class Thresholds(Record):
    """When an effect is flagged. Effects are relative to the yields."""

    tiny: float = 0.005
    """Flagged where no bin changes by more."""

    huge: float = 0.5
    """Flagged where the integral, or a bin with at least `relevant` of it, changes by more."""

    relevant: float = 0.01
    """Part of the sample's events that a bin must have to be looked at."""

    swings: float = 3.0
    """A shape is noisy where its effect goes up and down over the bins by more than this times its range (1: monotone).
    """


@dataclasses.dataclass(frozen=True)
class Systematic(Record):
    """One modifier of one sample: relative changes of the integral, and the largest of a relevant bin, at plus and
    minus one standard deviation; `flags` among one-sided, tiny, huge, noisy.
    """

    parameter: str
    type: str
    channel: str
    sample: str
    up: float
    down: float
    largest_up: float
    largest_down: float
    flags: tuple[str, ...]


def survey(spec: Mapping[str, Any], thresholds: Thresholds | None = None) -> list[Systematic]:
    """All modifiers with an effect at plus and minus one standard deviation (factors and shapes), in pyhf's order.

    The standard deviation is that of the parameter's constraint, around its auxiliary value, as the first measurement
    sets them.
    """
    limits = thresholds or Thresholds()
    return list(_found(spec, limits))


def _found(spec: Mapping[str, Any], limits: Thresholds) -> Iterator[Systematic]:
    uses, codes = list(uses_of(spec["channels"])), interpolation_codes({})
    if not uses:
        return
    sets = declare(spec["channels"], configs_of(spec)[0].get("parameters", [])).sets
    for use in uses:
        part = EFFECTS[use.modifier["type"]].part(use, codes.get(use.modifier["type"], 0))
        total = float(use.yields.sum())
        if isinstance(part, PerBin) or (isinstance(part, Scale) and part.code == LINEAR) or not total > 0:
            continue
        constraint = sets[use.modifier["name"]]
        (centre,), (sigma,) = constraint.auxdata, constraint.widths
        up, down = (_yields(use, part, centre + s) - _yields(use, part, centre) for s in (sigma, -sigma))
        bins = use.yields > limits.relevant * total
        changes = [np.where(bins, end, 0.0) / np.where(bins, use.yields, 1.0) for end in (up, down)]
        most = [float(c[np.argmax(np.abs(c))]) for c in changes]
        whole = [float(end.sum()) / total for end in (up, down)]
        yield Systematic(
            use.modifier["name"], use.modifier["type"], use.channel, use.sample,
            whole[0], whole[1], most[0], most[1],
            _flags(changes, whole, limits, bins),
        )  # fmt: skip


def _yields(use: Use, part: Shift | Scale, alpha: float) -> Floats:
    """The yields of a sample with one modifier at a value of its parameter, shape (B,)."""
    out = np.empty(6)
    if isinstance(part, Shift):
        shift_weights(part.code, alpha, out)
        return np.asarray(use.yields + out[0] * part.up + out[1] * part.down)
    scale_parts(part.code, part.coefficients, alpha, out)
    return np.asarray(use.yields * math.exp(out[0]) * out[1])


def _flags(changes: list[Floats], whole: list[float], limits: Thresholds, bins: Any) -> tuple[str, ...]:
    up, down = changes
    flags = []
    largest = max(float(np.abs(c).max()) for c in changes)
    weighty = (np.abs(up) > limits.tiny) | (np.abs(down) > limits.tiny)
    if weighty.any() and (up * down > 0)[weighty].mean() > 0.5:
        flags.append("one-sided")
    if largest <= limits.tiny:
        flags.append("tiny")
    if max(largest, *map(abs, whole)) > limits.huge:
        flags.append("huge")
    for change in changes:
        seen = change[bins]
        reach = float(np.ptp(seen)) if seen.size > 3 else 0.0
        if reach > limits.tiny and float(np.abs(np.diff(seen)).sum()) > limits.swings * reach:
            flags.append("noisy")
            break
    return tuple(flags)


def without_small(spec: Mapping[str, Any], effect: float) -> tuple[dict[str, Any], list[Systematic]]:
    """The workspace without the systematics of samples that change no relevant bin by more than `effect` (relative),
    and what went. Raises InputError for an effect that is not positive.
    """
    if not effect > 0:
        raise InputError(f"the effect below which systematics go must be positive, got {effect:g}")
    gone = [s for s in survey(spec, Thresholds(tiny=effect)) if "tiny" in s.flags]
    keys = {(s.channel, s.sample, s.parameter, s.type) for s in gone}
    result = copy.deepcopy(dict(spec))
    for channel in result["channels"]:
        for sample in channel["samples"]:
            sample["modifiers"] = [
                m for m in sample["modifiers"]
                if (channel["name"], sample["name"], m["name"], m["type"]) not in keys
            ]  # fmt: skip
    settle(result, spec)
    return result, gone
