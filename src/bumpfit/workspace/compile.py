"""From a checked HistFactory specification to the arrays that the kernels work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bumpfit.types import Floats, Integers
from bumpfit.workspace.arrays import Compiled
from bumpfit.workspace.correlations import Correlation
from bumpfit.workspace.effect import PerBin, Scale, Shift, Use
from bumpfit.workspace.effects import EFFECTS, Declared, interpolation_codes
from bumpfit.workspace.formula import names_in
from bumpfit.workspace.formula_slopes import programs


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


def _joined(arrays: Sequence[Floats]) -> Floats:
    return np.concatenate(arrays) if arrays else np.zeros(0)


class _Compiler:
    """Collects the entries (samples in channels) of a model; quantities are parameters and then formulas."""

    def __init__(self, declared: Declared, interpolation: Mapping[str, str]) -> None:
        self.sets, self.codes = declared.sets, interpolation_codes(interpolation)
        self.first: dict[str, int] = {}
        self.n_parameters = 0
        for name, group in self.sets.items():
            self.first[name] = self.n_parameters
            self.n_parameters += len(group.inits)
        for name in declared.formulas:
            self.first[name] = self.n_parameters + len(self.first) - len(self.sets)
        size = self.n_parameters + len(declared.formulas)
        self.touched_first = np.full(size, np.iinfo(np.int64).max)
        self.touched_last = np.zeros(size, dtype=np.int64)
        self.entries: list[tuple[int, int, int]] = []
        self.places: list[tuple[str, str]] = []
        self.shifts, self.scales, self.gammas = _Rows(), _Rows(), _Rows()
        self.nominal: list[Floats] = []
        self.up: list[Floats] = []
        self.down: list[Floats] = []
        self.coefficients: list[Floats] = []
        self.n_nominal = self.n_shifts = 0

    def touch(self, quantity: int, first: int, last: int) -> None:
        self.touched_first[quantity] = min(self.touched_first[quantity], first)
        self.touched_last[quantity] = max(self.touched_last[quantity], last)

    def add(self, channel: str, sample: Mapping[str, Any], offset: int) -> None:
        """One sample of a channel whose bins start at `offset`."""
        yields = _floats(sample["data"])
        parts = [
            (m["name"], EFFECTS[m["type"]].part(Use(channel, sample["name"], yields, m), self.codes.get(m["type"], 0)))
            for m in sample["modifiers"]
        ]
        alive = yields != 0
        for _, part in parts:
            if isinstance(part, Shift):
                alive |= (part.up != 0) | (part.down != 0)
        if not alive.any():
            return
        begin, end = int(np.argmax(alive)), int(len(alive) - np.argmax(alive[::-1]))
        first, last = offset + begin, offset + end
        self.entries.append((first, end - begin, self.n_nominal))
        self.places.append((channel, sample["name"]))
        self.nominal.append(yields[begin:end])
        self.n_nominal += end - begin
        for name, part in parts:
            q = self.first[name]
            if isinstance(part, Shift):
                if part.up.any() or part.down.any():
                    self.shifts.items.append((q, part.code, self.n_shifts))
                    self.up.append(part.up[begin:end])
                    self.down.append(part.down[begin:end])
                    self.n_shifts += end - begin
                    self.touch(q, first, last)
            elif isinstance(part, Scale):
                self.scales.items.append((q, part.code))
                self.coefficients.append(part.coefficients)
                self.touch(q, first, last)
            else:
                assert isinstance(part, PerBin)
                q += begin + self.sets[name].first(channel)
                self.gammas.items.append((q,))
                for b in np.flatnonzero(alive[begin:end]):
                    self.touch(q + int(b), first + int(b), first + int(b) + 1)
        for rows in (self.shifts, self.scales, self.gammas):
            rows.close()

    def arrays(self, n_bins: int) -> dict[str, Any]:
        """The fields of `Compiled` that hold entries and modifiers."""
        self.touched_first[self.touched_last == 0] = 0
        return {
            "n_bins": n_bins,
            "n_parameters": self.n_parameters,
            "entry_bin": _integers([e[0] for e in self.entries]),
            "entry_size": _integers([e[1] for e in self.entries]),
            "entry_start": _integers([e[2] for e in self.entries]),
            "nominal": _joined(self.nominal),
            "shift_pointer": _integers(self.shifts.pointer),
            "shift_parameter": self.shifts.column(0),
            "shift_code": self.shifts.column(1),
            "shift_start": self.shifts.column(2),
            "shift_up": _joined(self.up),
            "shift_down": _joined(self.down),
            "scale_pointer": _integers(self.scales.pointer),
            "scale_parameter": self.scales.column(0),
            "scale_code": self.scales.column(1),
            "scale_coefficients": np.array(self.coefficients, dtype=np.float64).reshape(-1, 8),
            "gamma_pointer": _integers(self.gammas.pointer),
            "gamma_parameter": self.gammas.column(0),
        }


def compile_spec(
    channels: Sequence[Mapping[str, Any]],
    declared: Declared,
    correlations: Sequence[Correlation],
    interpolation: Mapping[str, str],
) -> tuple[Compiled, list[tuple[str, str]]]:
    """Compile channels (sorted by name); also channel and sample of each entry."""
    compiler = _Compiler(declared, interpolation)
    offset = 0
    for channel in channels:
        for sample in sorted(channel["samples"], key=lambda s: str(s["name"])):
            compiler.add(channel["name"], sample, offset)
        offset += len(channel["samples"][0]["data"])
    arrays = compiler.arrays(offset)
    constraints = _constraints(declared, correlations)
    formulas = _formulas(declared, compiler)
    n = compiler.n_parameters
    result = Compiled(
        **arrays,
        **formulas,
        **constraints,
        touched_first=compiler.touched_first[:n],
        touched_last=compiler.touched_last[:n],
        input_first=compiler.touched_first,
        input_last=compiler.touched_last,
    )
    return result, compiler.places


def _formulas(declared: Declared, compiler: _Compiler) -> dict[str, Any]:
    """The fields of `Compiled` that hold formulas; what a formula changes, its parameters change as well."""
    position = {name: i for i, name in enumerate(declared.names())}
    pointer, names, first = [0], list[int](), list[int]()
    made: list[list[tuple[int, float]]] = []
    direct = (compiler.touched_first.copy(), compiler.touched_last.copy())
    for k, expression in enumerate(declared.formulas.values()):
        first.append(len(made))
        made += programs(expression, position)
        found = [position[name] for name in names_in(expression)]
        names += found
        pointer.append(len(names))
        begin, end = (int(ends[compiler.n_parameters + k]) for ends in direct)
        for p in found if end > begin else ():
            if compiler.touched_last[p] == 0:
                compiler.touched_first[p] = begin
            compiler.touch(p, begin, end)
    return {
        "formula_pointer": _integers(pointer),
        "formula_parameter": _integers(names),
        "program_first": _integers(first),
        "program_pointer": np.cumsum([0, *(len(p) for p in made)], dtype=np.int64),
        "program_code": _integers([code for p in made for code, _ in p]),
        "program_argument": _floats([argument for p in made for _, argument in p]),
    }


def _constraints(declared: Declared, correlations: Sequence[Correlation]) -> dict[str, Any]:
    """The fields of `Compiled` that hold constraints; the correlated ones stand last."""
    normal: dict[str, tuple[int, float, int]] = {}
    poisson: list[tuple[int, float, int]] = []
    p = aux = 0
    for group in declared.sets.values():
        for parameter in group.parameters():
            if parameter.constraint != "none":
                assert parameter.width is not None
                row = (p, parameter.width, aux)
                if parameter.constraint == "normal":
                    normal[parameter.name] = row
                else:
                    poisson.append(row)
                aux += 1
            p += 1
    together = [name for correlation in correlations for name in correlation.parameters]
    order = [name for name in normal if name not in together] + together
    number = {name: i for i, name in enumerate(order)}
    pointer, column = [0], []
    weight: list[Floats] = []
    lower: list[Floats] = []
    for correlation in correlations:
        inverse: Floats = np.asarray(np.linalg.inv(correlation.lower), dtype=np.float64)
        for i in range(len(correlation.parameters)):
            column += [number[name] for name in correlation.parameters[: i + 1]]
            weight.append(inverse[i, : i + 1])
            lower.append(correlation.lower[i, : i + 1])
            pointer.append(len(column))
    return {
        "normal_parameter": _integers([normal[name][0] for name in order]),
        "normal_sigma": _floats([normal[name][1] for name in order]),
        "normal_aux": _integers([normal[name][2] for name in order]),
        "n_independent": len(order) - len(together),
        "joint_pointer": _integers(pointer),
        "joint_column": _integers(column),
        "joint_weight": _joined(weight),
        "joint_lower": _joined(lower),
        "poisson_parameter": _integers([r[0] for r in poisson]),
        "poisson_factor": _floats([r[1] for r in poisson]),
        "poisson_aux": _integers([r[2] for r in poisson]),
    }
