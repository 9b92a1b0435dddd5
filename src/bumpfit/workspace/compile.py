"""From a checked HistFactory specification to the arrays that the kernels work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.kernels import CODE0, CODE1, CODE4, CODE4P, LINEAR, Compiled, Floats, Integers
from bumpfit.workspace.parameters import ParameterSet

INTERPOLATIONS = {
    "normsys": {"code1": CODE1, "code4": CODE4},
    "histosys": {"code0": CODE0, "code4p": CODE4P},
}
DEFAULT_INTERPOLATION = {"normsys": "code4", "histosys": "code4p"}

# Inverse of the conditions of code 4 (value, slope and curvature of lo^-alpha and hi^alpha at alpha = -1 and 1) on a
# sixth-order polynomial without constant term; rows give the coefficients of alpha to alpha^6 (CERN-OPEN-2012-016,
# section 4.1.4)
CODE4_INVERSE = (
    np.array(
        [
            [15, -15, -7, -7, 1, -1],
            [24, 24, -9, 9, 1, 1],
            [-10, 10, 10, 10, -2, 2],
            [-24, -24, 14, -14, -2, -2],
            [3, -3, -3, -3, 1, -1],
            [8, 8, -5, 5, 1, 1],
        ]
    )
    / 16.0
)


def code4_coefficients(lo: float, hi: float) -> Floats:
    """ln(lo), ln(hi) and the polynomial coefficients of interpolation code 4, shape (8,)."""
    log_lo, log_hi = np.log(lo), np.log(hi)
    conditions = [hi - 1.0, lo - 1.0, log_hi * hi, -log_lo * lo, log_hi**2 * hi, log_lo**2 * lo]
    return np.array([log_lo, log_hi, *(CODE4_INVERSE @ conditions)])


@dataclasses.dataclass
class _Rows:
    """Items of all entries, with the pointer that says which entry owns which."""

    items: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    pointer: list[int] = dataclasses.field(default_factory=lambda: [0])

    def close(self) -> None:
        self.pointer.append(len(self.items))

    def column(self, i: int) -> Integers:
        return np.array([item[i] for item in self.items], dtype=np.int64)


def _integers(values: Sequence[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _floats(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def interpolation_codes(interpolation: Mapping[str, str]) -> tuple[int, int]:
    """Codes of normsys and histosys; raises InputError for names that do not exist."""
    codes = []
    for kind in ("normsys", "histosys"):
        name = interpolation.get(kind, DEFAULT_INTERPOLATION[kind])
        if name not in INTERPOLATIONS[kind]:
            raise InputError(
                f"unknown interpolation '{name}' for {kind}; choose from {', '.join(INTERPOLATIONS[kind])}"
            )
        codes.append(INTERPOLATIONS[kind][name])
    return codes[0], codes[1]


def compile_spec(
    channels: Sequence[Mapping[str, Any]], sets: Mapping[str, ParameterSet], interpolation: Mapping[str, str]
) -> Compiled:
    """Compile channels (sorted by name) whose parameters are `sets` (in the order of the parameter array)."""
    normsys_code, histosys_code = interpolation_codes(interpolation)
    start_of: dict[str, int] = {}
    n_parameters = 0
    for name, group in sets.items():
        start_of[name] = n_parameters
        n_parameters += len(group.inits)
    touched_first = np.full(n_parameters, np.iinfo(np.int64).max)
    touched_last = np.zeros(n_parameters, dtype=np.int64)

    def touch(parameter: int, first: int, last: int) -> None:
        touched_first[parameter] = min(touched_first[parameter], first)
        touched_last[parameter] = max(touched_last[parameter], last)

    entries: list[tuple[int, int, int]] = []
    nominal: list[float] = []
    shifts, scales, gammas = _Rows(), _Rows(), _Rows()
    up: list[float] = []
    down: list[float] = []
    coefficients: list[Floats] = []
    stat_used: dict[str, int] = {}  # bins of each staterror that earlier channels took
    offset = 0
    for channel in channels:
        n_channel = len(channel["samples"][0]["data"])
        stat_here = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
        for sample in sorted(channel["samples"], key=lambda s: str(s["name"])):
            yields = _floats(sample["data"])
            modifiers = {(m["type"], m["name"]): m for m in sample["modifiers"]}
            systematics = [
                (start_of[name], _floats(m["data"]["hi_data"]) - yields, yields - _floats(m["data"]["lo_data"]))
                for (kind, name), m in modifiers.items()
                if kind == "histosys"
            ]
            alive = yields != 0
            for _, rise, fall in systematics:
                alive |= (rise != 0) | (fall != 0)
            if not alive.any():
                continue
            begin, end = int(np.argmax(alive)), int(len(alive) - np.argmax(alive[::-1]))
            first, last = offset + begin, offset + end
            entries.append((first, end - begin, len(nominal)))
            nominal.extend(yields[begin:end])
            for p, rise, fall in systematics:
                if not (rise.any() or fall.any()):
                    continue
                shifts.items.append((p, histosys_code, len(up)))
                up.extend(rise[begin:end])
                down.extend(fall[begin:end])
                touch(p, first, last)
            for (kind, name), m in modifiers.items():
                p = start_of[name]
                if kind in ("normfactor", "lumi"):
                    scales.items.append((p, LINEAR))
                    coefficients.append(np.zeros(8))
                    touch(p, first, last)
                elif kind == "normsys":
                    scales.items.append((p, normsys_code))
                    coefficients.append(code4_coefficients(m["data"]["lo"], m["data"]["hi"]))
                    touch(p, first, last)
                elif kind in ("staterror", "shapesys", "shapefactor"):
                    p += begin + (stat_used.get(name, 0) if kind == "staterror" else 0)
                    gammas.items.append((p,))
                    for b in np.flatnonzero(alive[begin:end]):
                        touch(p + int(b), first + int(b), first + int(b) + 1)
            shifts.close()
            scales.close()
            gammas.close()
        for name in stat_here:
            stat_used[name] = stat_used.get(name, 0) + n_channel
        offset += n_channel
    untouched = touched_last == 0
    touched_first[untouched] = 0
    normal: list[tuple[int, float, int]] = []
    poisson: list[tuple[int, float, int]] = []
    aux = 0
    for name, group in sets.items():
        if group.constraint == "none":
            continue
        rows = normal if group.constraint == "normal" else poisson
        for i, width in enumerate(group.widths):
            rows.append((start_of[name] + i, width, aux))
            aux += 1
    return Compiled(
        n_bins=offset,
        n_parameters=n_parameters,
        entry_bin=_integers([e[0] for e in entries]),
        entry_size=_integers([e[1] for e in entries]),
        entry_start=_integers([e[2] for e in entries]),
        nominal=_floats(nominal),
        shift_pointer=_integers(shifts.pointer),
        shift_parameter=shifts.column(0),
        shift_code=shifts.column(1),
        shift_start=shifts.column(2),
        shift_up=_floats(up),
        shift_down=_floats(down),
        scale_pointer=_integers(scales.pointer),
        scale_parameter=scales.column(0),
        scale_code=scales.column(1),
        scale_coefficients=np.array(coefficients, dtype=np.float64).reshape(-1, 8),
        gamma_pointer=_integers(gammas.pointer),
        gamma_parameter=gammas.column(0),
        formula_pointer=_integers([0]),
        formula_parameter=_integers([]),
        program_first=_integers([]),
        program_pointer=_integers([0]),
        program_code=_integers([]),
        program_argument=_floats([]),
        normal_parameter=_integers([r[0] for r in normal]),
        normal_sigma=_floats([r[1] for r in normal]),
        normal_aux=_integers([r[2] for r in normal]),
        n_independent=len(normal),
        joint_pointer=_integers([0]),
        joint_column=_integers([]),
        joint_weight=_floats([]),
        joint_lower=_floats([]),
        poisson_parameter=_integers([r[0] for r in poisson]),
        poisson_factor=_floats([r[1] for r in poisson]),
        poisson_aux=_integers([r[2] for r in poisson]),
        touched_first=touched_first.astype(np.int64),
        touched_last=touched_last,
        input_first=touched_first,
        input_last=touched_last,
    )
