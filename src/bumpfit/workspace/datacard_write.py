"""Write a model as a datacard of Combine, with a ROOT file of templates beside it for channels of several bins.

What Combine has in the same form keeps the likelihood: a card that was read and is written, or comes through
HistFactory JSON, gives the same one. What Combine interpolates in another way is written and told; what it does not
have is refused.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning, MissingExtraError
from bumpfit.files import atomic, write_text
from bumpfit.types import Floats
from bumpfit.workspace.datacard_exact import BINS, as_counts, check_held, moved
from bumpfit.workspace.datacard_model import STRENGTH
from bumpfit.workspace.datacard_statistics import PREFIX, effective
from bumpfit.workspace.datacard_templates import DATA
from bumpfit.workspace.effects import declare
from bumpfit.workspace.effects_bins import SHAPESYS, STATERROR, relative_errors
from bumpfit.workspace.effects_combine import CONTROLCOUNT, JOINED_WITHIN, LOGNORMAL
from bumpfit.workspace.effects_scale import LUMI, NORMFACTOR, NORMFORMULA, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.formula import names_in, parse, written
from bumpfit.workspace.groups import groups_of
from bumpfit.workspace.model import Model
from bumpfit.workspace.parameters import Parameter

NOTHING = "-"

SAME_WIDTH = 1e-9
"""Relative widths of bins that differ by less are the same."""

NARROW = 5.0
"""Standard deviations to either side that the range of a nuisance may have and not be told, as nothing is there."""

SHOWN = 4
"""Names that a note has."""


def write_card(model: Model, path: str | Path, *, exact: bool = False) -> list[Path]:
    """Write the card, and the templates to the same name with .root; gives the files that were written.

    `exact`: every bin is a counting channel, and what Combine interpolates otherwise is a formula. Raises InputError
    for what a card cannot hold: no data, no parameter of interest, correlations, free shapes of templates; and for
    multi-bin channels MissingExtraError without uproot. Warns (InputWarning) where Combine interpolates otherwise.
    """
    target = Path(path)
    _check_whole(model)
    counted = None if exact else _one_bin(model)
    if exact or counted:
        model = as_counts(model, counted, everything=exact)
    card = _Writer(model, target.with_suffix(".root"))
    text = card.text()
    written_files = [target]
    if card.templates:
        try:
            import uproot
        except ImportError as error:
            raise MissingExtraError("uproot", "root", "writing the templates of a datacard") from error
        with atomic(card.file) as temporary, uproot.recreate(temporary) as file:
            for name, (values, variances) in card.templates.items():
                file[name] = _histogram(values, variances)
        written_files.append(card.file)
    write_text(target, text)
    for what, names in card.otherwise.items():
        shown = ", ".join(names) if len(names) <= SHOWN else f"{', '.join([*names][:SHOWN])}, ... ({len(names)})"
        card.told.append(f"{shown} {what}; the format datacard-exact keeps the likelihood")
    for note in dict.fromkeys(card.told):
        warnings.warn(note, InputWarning, stacklevel=3)
    return written_files


def _check_whole(model: Model) -> None:
    """Raise InputError for what no card can hold."""
    if model.observed is None:
        raise InputError("the model has no observed data, which a datacard needs")
    if model.poi is None:
        raise InputError("the model has no parameter of interest, which the signals of a datacard scale with")
    if model.correlated:
        raise InputError("a datacard has no correlated nuisance parameters")


def _one_bin(model: Model) -> list[str]:
    """Channels of one bin, which has no template, with uncertainties of shapes or bins."""
    kinds = {HISTOSYS.kind, *BINS}
    return [
        c["name"] for c in model.spec["channels"]
        if len(c["samples"][0]["data"]) == 1 and any(m["type"] in kinds for s in c["samples"] for m in s["modifiers"])
    ]  # fmt: skip


def _histogram(values: Floats, variances: Floats) -> Any:
    import hist

    histogram = hist.Hist(hist.axis.Regular(values.size, 0.0, float(values.size)), storage=hist.storage.Weight())
    histogram.view()["value"] = values
    histogram.view()["variance"] = variances
    return histogram


@dataclasses.dataclass
class _Column:
    """One sample in one channel."""

    channel: str
    process: str
    yields: Floats
    modifiers: list[Mapping[str, Any]]
    signal: bool
    errors: Floats


class _Writer:
    """Collects the lines of a card."""

    def __init__(self, model: Model, file: Path) -> None:
        assert model.poi is not None
        self.model, self.file, self.poi = model, file, model.poi
        self.parameters: dict[str, Parameter] = {p.name: p for p in model.parameters}
        config = model.spec["measurements"][0]["config"] if "measurements" in model.spec else model.spec
        self.sets = declare(model.spec["channels"], config.get("parameters", [])).sets
        self.told: list[str] = []
        self.otherwise: defaultdict[str, dict[str, None]] = defaultdict(dict)  # names by what Combine does with them
        self.templates: dict[str, tuple[Floats, Floats]] = {}
        self.rows: dict[tuple[str, str], dict[int, str]] = {}
        self.lines: list[str] = []
        self.inside: dict[str, None] = {}
        self.columns = [
            _Column(
                c["name"], s["name"], np.asarray(s["data"], dtype=np.float64), list(s["modifiers"]),
                any(m["name"] == self.poi for m in s["modifiers"]), np.zeros(len(s["data"])),
            )
            for c in model.spec["channels"] for s in c["samples"]
        ]  # fmt: skip
        self._check()

    def _check(self) -> None:
        for column in self.columns:
            for what, name in (("channel", column.channel), ("sample", column.process)):
                if not re.fullmatch(r"[A-Za-z_][\w.+-]*", name):
                    raise InputError(f"a datacard cannot have a {what} called '{name}'; rename it (letters, digits, _)")
            for other in self.columns:
                if other.process == column.process and other.signal != column.signal:
                    raise InputError(
                        f"the sample '{column.process}' is signal in one channel and background in another, which a "
                        "datacard refuses; rename it in one of them"
                    )
        for name in (p.name.partition("[")[0] for p in self.model.parameters):
            if name != self.poi and not re.fullmatch(r"[A-Za-z_][\w.:+-]*", name):
                raise InputError(f"a datacard cannot have a parameter called '{name}'; rename it (letters, digits, _)")
        if self.parameters[self.poi].fixed:
            self.told.append(f"'{self.poi}' is held at {self.parameters[self.poi].init:g}, and free in the datacard")
        if self.poi != STRENGTH:
            self.told.append(f"the parameter of interest '{self.poi}' is called '{STRENGTH}' in the datacard")
            if STRENGTH in self.parameters:
                raise InputError(
                    f"a parameter is called '{STRENGTH}', which a datacard keeps for the strength; rename it"
                )

    # ------------------------------------------------------------ the card

    def text(self) -> str:
        for i, column in enumerate(self.columns):
            self._column(i, column)
        statistics = [line for c in self._channels() for line in self._statistics(c)]
        self._inside()
        processes = list(dict.fromkeys(c.process for c in self.columns))
        numbers = {}
        signals = [p for p in processes if any(c.signal and c.process == p for c in self.columns)]
        for i, name in enumerate(signals):
            numbers[name] = i - len(signals) + 1
        for i, name in enumerate(p for p in processes if p not in signals):
            numbers[name] = i + 1
        shaped = [c for c in self._channels() if self._bins(c) > 1]
        rates = [f"{float(c.yields.sum()):.17g}" if c.channel not in shaped else "-1" for c in self.columns]
        head = [f"imax {len(self._channels())}", f"jmax {len(processes) - 1}", "kmax *", "---"]
        place = f"{self.file.name} $CHANNEL/$PROCESS $CHANNEL/$PROCESS_$SYSTEMATIC"
        head += [f"shapes * {c} {place if c in shaped else 'FAKE'}" for c in self._channels() if shaped]
        data = dict(zip((c.name for c in self.model.channels), self._observed(), strict=True))
        for channel in shaped:
            self.templates[f"{channel}/{DATA}"] = (data[channel], data[channel])
            for column in (c for c in self.columns if c.channel == channel):
                self.templates[f"{channel}/{column.process}"] = (column.yields, column.errors**2)
        counts = ["-1" if c in shaped else f"{data[c].sum():.17g}" for c in self._channels()]
        table = [
            ["bin", *(c.channel for c in self.columns)], ["process", *(c.process for c in self.columns)],
            ["process", *(str(numbers[c.process]) for c in self.columns)], ["rate", *rates],
        ]  # fmt: skip
        rows = [
            [name, *kind.split(), *(effects.get(i, NOTHING) for i in range(len(self.columns)))]
            for (name, kind), effects in self.rows.items()
        ]
        frozen = [
            f"nuisance edit freeze {p.name}"
            for p in self.model.parameters
            if p.fixed and "[" not in p.name and p.name != self.poi
        ]
        known = {name for name, _ in self.rows} | {line.split()[0] for line in self.lines}
        check_held(self.parameters[name] for name, _ in self.rows)
        groups = []
        for name, members in groups_of(self.model.spec).items():
            named = [m for m in members if m in known]
            if named and name != "autoMCStats":
                groups.append(f"{name} group = {' '.join(named)}")
        lines = [
            *head, "---", *_aligned([["bin", *self._channels()], ["observation", *counts]]), "---",
            *_aligned(table), "---", *_aligned(rows), *dict.fromkeys(self.lines), *statistics, *frozen, *groups,
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _channels(self) -> list[str]:
        return list(dict.fromkeys(c.channel for c in self.columns))

    def _bins(self, channel: str) -> int:
        return next(c.yields.size for c in self.columns if c.channel == channel)

    def _observed(self) -> list[Floats]:
        assert self.model.observed is not None
        return [self.model.observed[c.first : c.last] for c in self.model.channels]

    # ------------------------------------------------------------ modifiers

    def _column(self, i: int, column: _Column) -> None:
        shapes = {m["name"]: m for m in column.modifiers if m["type"] == HISTOSYS.kind}
        norms = {
            m["name"]: self._kappas(m, column) for m in column.modifiers if m["type"] in (LOGNORMAL.kind, NORMSYS.kind)
        }
        for name in shapes:
            self._shape(i, column, shapes[name], norms.pop(name, None))
        for name, (low, high) in norms.items():
            symmetric = abs(low * high - 1.0) < 1e-14
            self.rows.setdefault((name, LOGNORMAL.kind), {})[i] = f"{high!r}" if symmetric else f"{low!r}/{high!r}"
        where = f"{column.channel} {column.process}"
        for modifier in column.modifiers:
            kind, name = modifier["type"], modifier["name"]
            if kind in (LOGNORMAL.kind, NORMSYS.kind, HISTOSYS.kind, STATERROR.kind, SHAPESYS.kind) or name == self.poi:
                continue
            if kind == NORMFACTOR.kind:
                p = self.parameters[name]
                self.lines.append(f"{name} rateParam {where} {p.init!r} [{p.low!r},{p.high!r}]")
            elif kind == CONTROLCOUNT.kind:
                events = modifier["data"]["events"]
                alpha = float(column.yields.sum()) / max(events, 1.0)
                self.rows.setdefault((name, f"gmN {events:.0f}"), {})[i] = repr(alpha)
                if events == 0 and column.yields.size == 1:
                    column.yields = np.zeros(1)
            elif kind == NORMFORMULA.kind:
                self._formula(name, modifier["data"]["formula"], where)
            elif kind == LUMI.kind:
                self._formula(f"{name}_factor", f'"{name}"', where)
            else:
                raise InputError(f"a datacard has nothing like the {kind} '{name}' of sample '{column.process}'")

    def _sigma(self, name: str) -> float:
        """The width of a nuisance, in whose units a card counts."""
        p = self.parameters[name]
        if p.constraint != "normal" or p.width is None or p.auxdata != 0.0:
            raise InputError(f"the nuisance '{name}' is not measured as 0 by a Gaussian, as those of a datacard are")
        if max(p.low / p.width, -p.high / p.width) > -NARROW:
            self.otherwise["have ranges that a lnN or a shape cannot say"][name] = None
        return p.width

    def _kappas(self, modifier: Mapping[str, Any], column: _Column) -> tuple[float, float]:
        name, data = modifier["name"], modifier["data"]
        sigma = self._sigma(name)
        same = (
            modifier["type"] == LOGNORMAL.kind and abs(data.get("width", JOINED_WITHIN) - JOINED_WITHIN * sigma) < 1e-12
        )
        if not same and not (modifier["type"] == LOGNORMAL.kind and abs(data["lo"] * data["hi"] - 1.0) < 1e-14):
            self.otherwise["become lnN, which Combine interpolates otherwise within a standard deviation"][name] = None
        return float(data["lo"]) ** sigma, float(data["hi"]) ** sigma

    def _shape(self, i: int, column: _Column, shape: Mapping[str, Any], norm: tuple[float, float] | None) -> None:
        name, sigma = shape["name"], self._sigma(shape["name"])
        total = column.yields.sum()
        ends: list[Floats] = []
        for key, kappa in zip(("lo_data", "hi_data"), norm or (1.0, 1.0), strict=True):
            values = np.asarray(shape["data"][key], dtype=np.float64)
            if abs(values.sum() / total - 1.0) > 1e-9:
                self.otherwise["change the integral, which Combine interpolates exponentially"][name] = None
            ends.append(values * kappa ** (1.0 / sigma))
        for end, values in zip(("Down", "Up"), ends, strict=True):
            if (values < 0).any():
                raise InputError(f"the histosys '{name}' of sample '{column.process}' has negative yields")
            self.templates[f"{column.channel}/{column.process}_{name}{end}"] = (values, np.zeros(values.size))
        self.rows.setdefault((name, "shape"), {})[i] = repr(sigma)

    def _formula(self, name: str, text: str, where: str) -> None:
        expression = parse(text)
        names = names_in(expression)
        for used in names:
            if "[" in used or used == self.poi:
                raise InputError(f"the formula '{name}' names '{used}', which formulas of a datacard cannot")
        self.inside |= dict.fromkeys(names)
        numbers = {used: f"@{k}" for k, used in enumerate(names)}
        # quotes stand around what is no plain name
        plain = re.sub(r'"(@\d+)"', r"\1", written(expression, lambda n: numbers.get(n, n))).replace(" ", "")
        if not names:
            raise InputError(f"the formula '{name}' names no parameter, which a datacard needs")
        self.lines.append(f"{name} rateParam {where} {plain} {','.join(names)}")

    def _inside(self) -> None:
        """Parameters that formulas name and no row has."""
        rows = {name for name, _ in self.rows} | {line.split()[0] for line in self.lines}
        for name in self.inside:
            if name in rows:
                continue
            p = self.parameters[name]
            if p.constraint == "none" or moved(p):
                self.lines.append(f"{name} extArg {p.init!r} [{p.low!r},{p.high!r}]")
            elif p.constraint == "normal":
                if p.auxdata != p.init:
                    self.told.append(f"a fit of the datacard starts with '{name}' at {p.auxdata:g}, not at {p.init:g}")
                self.lines.append(f"{name} param {p.auxdata!r} {p.width!r} [{p.low!r},{p.high!r}]")
            else:
                raise InputError(
                    f"the formulas name '{name}', which has a Poisson constraint; a datacard has no such thing"
                )

    # ------------------------------------------------------------ uncertainties of bins

    def _check_settings(self, channel: str, found: Sequence[tuple[_Column, Mapping[str, Any]]]) -> None:
        """Raise InputError where a measurement sets what the line autoMCStats has no place for."""
        for name in {m["name"] for _, m in found}:
            uses = [(c, m) for c, m in found if m["name"] == name]
            relative = relative_errors([c.yields for c, _ in uses], [m["data"] for _, m in uses])
            first = self.sets[name].first(channel)
            for b, (width, p) in enumerate(zip(relative, self.sets[name].parameters()[first:], strict=False)):
                poisson = p.constraint == "poisson" and uses[0][1]["type"] == SHAPESYS.kind
                wide = p.width == p.auxdata if poisson else (p.constraint, p.auxdata) == ("normal", 1.0)
                if not poisson and width > 0:
                    wide &= p.width is not None and abs(p.width / width - 1.0) < SAME_WIDTH
                if not wide or p.fixed != (width == 0) or moved(p):
                    raise InputError(
                        f"the factor of bin {b} of channel '{channel}' ('{name}') is held, measured or constrained in "
                        "another way than by its error, which autoMCStats cannot say; write datacard-exact"
                    )

    def _statistics(self, channel: str) -> list[str]:
        """The line autoMCStats of a channel that has uncertainties of bins, and the errors of its templates."""
        members = [c for c in self.columns if c.channel == channel]
        found = [(c, m) for c in members for m in c.modifiers if m["type"] in (STATERROR.kind, SHAPESYS.kind)]
        if not found:
            return []
        wide, few = np.full(members[0].yields.size, np.inf), np.zeros(members[0].yields.size)
        for column, modifier in found:
            data = np.asarray(modifier["data"], dtype=np.float64)
            if modifier["type"] == SHAPESYS.kind and not modifier["name"].startswith(f"{PREFIX}{channel}"):
                raise InputError(
                    f"a datacard has no uncertainty of single bins like the {SHAPESYS.kind} '{modifier['name']}' "
                    "(beside "
                    "those of autoMCStats)"
                )
            column.errors = np.where(data > 0, data, column.errors)
        self._check_settings(channel, found)
        signal = any(c.signal for c, _ in found)
        counted = [c for c in members if signal or not c.signal]
        events = effective(
            np.sum([c.yields for c in counted], axis=0), np.sqrt(np.sum([c.errors**2 for c in counted], axis=0))
        )
        for _, modifier in found:
            there = np.asarray(modifier["data"]) > 0
            if modifier["type"] == STATERROR.kind:
                wide[there] = np.minimum(wide[there], events[there])
            else:
                few[there] = events[there]
        threshold = float(np.ceil(few.max())) if few.any() else 0.0
        if threshold >= wide.min() and few.any():
            threshold = float(few.max())
        if threshold >= wide.min():
            raise InputError(
                f"the uncertainties of the bins of channel '{channel}' are not those of one threshold of autoMCStats"
            )
        covered = {c.process for c, m in found}
        if missing := [c.process for c in counted if c.process not in covered]:
            self.told.append(
                f"the sample '{missing[0]}' of channel '{channel}' has no statistical uncertainty; in Combine it "
                f"shares that "
                "of its bins"
            )
        return [f"{channel} autoMCStats {threshold!r} {int(signal)} 1"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns."""
    if not rows:
        return []
    most = max(len(row) for row in rows)
    widths = [max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(most)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=False)).rstrip() for row in rows]
