"""What a search answers: the record behind `result.json`."""

from __future__ import annotations

import dataclasses
from typing import Any

from bumpfit.results import plain


@dataclasses.dataclass(frozen=True)
class Input:
    """An input table: path (None for a frame), SHA-256 and number of events."""

    path: str | None
    sha256: str
    events: int
    unit: str


@dataclasses.dataclass(frozen=True)
class PValue:
    """Primary p-value: `local` of the best selection, `global` (`overall` here) over everything that was tried.

    `overall` is an upper bound when `method` says union bound. `floor`: the smallest value that the shuffles alone
    could have given.
    """

    local: float
    overall: float
    z_local: float
    z_global: float
    method: str
    floor: float
    trials: int
    shuffles: int

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json."""
        result = plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        result["global"] = result.pop("overall")
        return dict(result)


@dataclasses.dataclass(frozen=True)
class Value:
    """A measured value with a symmetric error; `name` for a daughter mass."""

    value: float
    error: float
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Keys of result.json; no `name` where there is none."""
        return {**({"name": self.name} if self.name else {}), "value": float(self.value), "error": float(self.error)}


@dataclasses.dataclass(frozen=True)
class SignalYield:
    """Signal events before any selection, with a 68.27 % interval."""

    value: float
    error_low: float
    error_high: float
    method: str


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of the chain: what was looked at, whether it passed, and the numbers."""

    name: str
    passed: bool
    detail: str


@dataclasses.dataclass(frozen=True)
class Iteration:
    """A further step that was taken after the first answer: what, why, and the numbers before and after."""

    task: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """All answers of a search; `to_dict` is the content of result.json (masses in GeV)."""

    version: str
    seed: int
    inputs: tuple[Input, ...]
    runtime_s: float
    p_value: PValue
    claim: bool
    claim_z: float
    resonance_mass: Value | None
    daughter_masses: tuple[Value, ...] | None
    decay: str | None
    n_signal: SignalYield
    n_signal_upper_limit_95: float
    signal_percent: float
    selections: tuple[dict[str, Any], ...]
    mass_spectrum_fit: dict[str, Any]
    goodness_of_fit: dict[str, Any]
    checks: tuple[Check, ...]
    iterations: tuple[Iteration, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types in the order of the documented schema."""
        result: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, PValue | Value):
                result[field.name] = value.to_dict()
            elif field.name == "daughter_masses" and value is not None:
                result[field.name] = [mass.to_dict() for mass in value]
            else:
                result[field.name] = plain(value)
        return result
