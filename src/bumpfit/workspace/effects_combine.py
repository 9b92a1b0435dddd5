"""Effects of Combine's datacards that HistFactory does not have: its log-normal, and counts of a control sample.

Definitions: CMS Collaboration, "The CMS statistical analysis and combination tool: Combine", arXiv:2404.06614,
section 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.arrays import CODE1, LINEAR, SMOOTH
from bumpfit.workspace.effect import Effect, Modifier, Scale, Use, check_positive, numeric
from bumpfit.workspace.effects_scale import standard_normal
from bumpfit.workspace.parameters import ParameterSet
from bumpfit.workspace.structure import Path, check_keys, finite, is_number, place

if TYPE_CHECKING:
    from bumpfit.workspace.hs3_read import Reader
    from bumpfit.workspace.hs3_write import Writer

JOINED_WITHIN = 0.5
"""Standard deviations to each side of 0 within which the two slopes of an asymmetric log-normal join."""

SYMMETRIC = 1e-12
"""Largest |ln(lo hi)| of a log-normal that counts as symmetric."""


class CombineEffect(Effect):
    """One that HS3 does not have."""

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """Refuses to be read."""
        raise InputError(f"the modifier '{raw['name']}' of channel '{channel}' has the type {self.kind}; HS3 has none")

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """Refuses to be written."""
        raise InputError(
            f"HS3 has no modifier like the {self.kind} '{use.modifier['name']}' of {use.where}; write HistFactory "
            "JSON or a datacard"
        )


class LogNormal(CombineEffect):
    """A normalisation that is exponential in its parameter: hi^alpha above, lo^-alpha below `width`, smooth between."""

    kind = "lnN"

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the factors (lo, hi) at minus and plus one standard deviation, and the half-width of the smooth region
        where it is another than that of Combine.
        """
        lo, hi, *width = data
        return super().modifier(
            name, {"lo": float(lo), "hi": float(hi), **({"width": float(width[0])} if width else {})}
        )

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """Numbers lo and hi, and width if it is there."""
        check_keys(data, ("lo", "hi"), ("width",), path, spec)
        numeric(data, tuple(data), path, spec)

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """All positive."""
        check_positive(data, tuple(data), f"a number of a {self.kind}", path[:-1], spec)

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One parameter alpha with a unit Gaussian, which it shares with shapes of the same name."""
        return standard_normal(name)

    def part(self, use: Use, code: int) -> Scale:
        """exp(alpha (mean + half step(alpha / width))), mean and half of the slopes ln(hi) and -ln(lo)."""
        data = use.modifier["data"]
        low, high = math.log(data["lo"]), math.log(data["hi"])
        mean, half = 0.5 * (high - low), 0.5 * (high + low)
        inverse = 1.0 / data.get("width", JOINED_WITHIN)
        symmetric = abs(low + high) < SYMMETRIC
        return Scale(CODE1 if symmetric else SMOOTH, np.array([low, high, inverse, mean, half, 0.0, 0.0, 0.0]))


class ControlCount(CombineEffect):
    """A yield that is extrapolated from N events of a control sample: the factor is n / N with N ~ Poisson(n).

    With N = 0 the factor is n itself, and the yield of the sample that for one expected event.
    """

    kind = "gmN"

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the number of events of the control sample."""
        return super().modifier(name, {"events": float(data)})

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """The number of events."""
        check_keys(data, ("events",), (), path, spec)
        numeric(data, ("events",), path, spec)

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """Zero or more."""
        events = data["events"]
        if not (is_number(events) and finite(events) and events >= 0):
            raise InputError(f"a control sample has zero events or more, got {events} at {place(path, spec)}")

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One factor, of which the control sample with tau n expected events measures tau = N (1 for N = 0)."""
        events = {use.modifier["data"]["events"] for use in uses}
        if len(events) > 1:
            raise InputError(
                f"{self.kind} '{name}' has {' and '.join(f'{n:g}' for n in sorted(events))} events; one control sample "
                "has one number of events"
            )
        count = float(events.pop())
        tau = max(count, 1.0)
        # where the Poisson probability has fallen by more than seven standard deviations
        top = (count + 8.0 * math.sqrt(count + 1.0) + 28.0) / tau
        return ParameterSet(name, True, (1.0,), ((0.0, top),), (False,), "poisson", (tau,), (count,))

    def part(self, use: Use, code: int) -> Scale:
        """The parameter itself is the factor."""
        return Scale(LINEAR, np.zeros(8))


LOGNORMAL, CONTROLCOUNT = LogNormal(), ControlCount()
