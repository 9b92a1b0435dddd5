"""What the systematic uncertainties of a workspace do to its yields, and which of them deserve a look.

Users look by hand for effects that point to one side, that are too small to matter, too large to be believed, or that
jump from bin to bin because their templates have few events. Each of them is a flag here, with a threshold that can be
set (`Thresholds`).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.workspace.combine import prune
from bumpfit.workspace.effect import Scale, Shift, Use
from bumpfit.workspace.effects import EFFECTS, interpolation_codes, uses_of
from bumpfit.workspace.kernels import LINEAR


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
    """All modifiers with an effect at plus and minus one standard deviation (factors and shapes), in pyhf's order."""
    limits = thresholds or Thresholds()
    return list(_found(spec, limits))


def _found(spec: Mapping[str, Any], limits: Thresholds) -> Iterator[Systematic]:
    codes = interpolation_codes({})
    for use in uses_of(spec["channels"]):
        ends = _ends(use, codes.get(use.modifier["type"], 0))
        total = float(use.yields.sum())
        if ends is None or not total > 0:
            continue
        up, down = ends
        bins = use.yields > limits.relevant * total
        changes = [np.where(bins, end, 0.0) / np.where(bins, use.yields, 1.0) for end in (up, down)]
        most = [float(c[np.argmax(np.abs(c))]) for c in changes]
        whole = [float(end.sum()) / total for end in (up, down)]
        yield Systematic(
            use.modifier["name"], use.modifier["type"], use.channel, use.sample,
            whole[0], whole[1], most[0], most[1],
            _flags(changes, whole, limits, bins),
        )  # fmt: skip


def _ends(use: Use, code: int) -> tuple[Floats, Floats] | None:
    """Changes of the yields at plus and minus one standard deviation, shape (B,) each; None for other types."""
    part = EFFECTS[use.modifier["type"]].part(use, code)
    if isinstance(part, Shift):
        return part.up, -part.down
    if isinstance(part, Scale) and part.code != LINEAR:
        low, high = np.exp(part.coefficients[:2])
        return use.yields * (high - 1.0), use.yields * (low - 1.0)
    return None


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
    return prune(result, ()), gone
