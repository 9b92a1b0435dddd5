"""From a Combine datacard to a HistFactory workspace with the same likelihood.

Yields are as Combine has them (arXiv:2404.06614, section 4): signals (process numbers of 0 or less) scale with the
strength `r`; lnN is exponential; a template uncertainty acts on the fractions of the bins (additive with a polynomial
within one standard deviation, which is HistFactory's code 4p; `shapeN` in the logarithm) and, by an asymmetric lnN, on
the integral. An effect of 0.5 for a `shape` counts the templates as two standard deviations: its parameter then stands
for 0.5 times the nuisance and has the width 0.5.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning
from bumpfit.types import Floats
from bumpfit.workspace.datacard import GMN, LNN, SHAPES, Column, Datacard, Quantity, Row, read_card
from bumpfit.workspace.datacard_statistics import bin_uncertainties
from bumpfit.workspace.datacard_templates import DATA, Templates
from bumpfit.workspace.effects_combine import CONTROLCOUNT, JOINED_WITHIN, LOGNORMAL, SYMMETRIC
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMFORMULA
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.formula import Expression, Name, names_in, parse, replaced, written
from bumpfit.workspace.templates import Template

STRENGTH = "r"
"""Combine's name for the strength of all signals."""

STRENGTH_RANGE = (0.0, 20.0)
"""Its range, and that of other strengths."""

PULLS = 7.0
"""Range of a nuisance in standard deviations, as in Combine for lnN."""

FREE_RANGE = 100.0
"""A `rateParam` without range goes from 0 (or minus this) to this times its value; Combine has none then."""

SAME_NORM = 1e-3
"""Templates whose integrals differ by less have no effect on the normalisation, as in Combine."""

LOGARITHM_JOINED = 1.0
"""Standard deviations within which the slopes of a `shapeN` join."""

AGREE = 0.01
"""How far a rate may be from the integral of its histogram, relative (absolute below one event)."""


def from_card(path: str | Path, *, strengths: Mapping[str, str] | None = None, mass: str = "120") -> dict[str, Any]:
    """The HistFactory workspace of a card.

    `strengths`: the name of the strength by pattern of signal processes ("ggH*": "r_ggH"), the first that fits; others
    scale with `r`. The first one is the parameter of interest. `mass` stands for $MASS in names of histograms.
    Raises InputError with the line for what cannot be read. Warns (InputWarning) of what is not exactly Combine's.

    Examples:
        >>> from pathlib import Path
        >>> lines = ["imax 1", "jmax 1", "kmax 1", "bin SR", "observation 12", "bin SR SR", "process sig bkg"]
        >>> lines += ["process 0 1", "rate 3.5 10.0", "lumi lnN 1.02 1.02"]
        >>> Path("card.txt").write_text("\\n".join(lines)) > 0
        True
        >>> bumpfit.workspace.read(bumpfit.workspace.from_card("card.txt")).poi
        'r'
    """
    card = read_card(path)
    with Templates(card, mass) as templates:
        return _Builder(card, templates, dict(strengths or {})).workspace()


@dataclasses.dataclass
class _Sample:
    """What is collected for one column."""

    column: Column
    nominal: Template
    modifiers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    logarithmic: dict[str, tuple[Floats, Floats]] = dataclasses.field(default_factory=dict)

    @property
    def yields(self) -> Floats:
        return self.nominal.values


class _Builder:
    """Puts the workspace of a card together."""

    def __init__(self, card: Datacard, templates: Templates, strengths: dict[str, str]) -> None:
        self.card, self.templates, self.strengths = card, templates, strengths
        self.settings: dict[str, dict[str, Any]] = {}
        self.told: list[str] = []
        self.edges: dict[str, Floats] = {}
        self.interest: list[str] = []
        self.scales = self._scales()

    def wrong(self, line: int, reason: str) -> InputError:
        return InputError(f"line {line} of the datacard '{self.card.path}': {reason}")

    def workspace(self) -> dict[str, Any]:
        found = [self._sample(column) for column in self.card.columns]
        samples = {(s.column.channel, s.column.process): s for s in found if s is not None}
        self._strengths(samples)
        for row in self.card.rows:
            self._row(row, samples)
        self._rates(samples)
        groups = {name: list(members) for name, members in self.card.groups.items()}
        for channel, statistics in self.card.statistics.items():
            members = [s for s in samples.values() if s.column.channel == channel]
            if channel not in self.edges:
                continue
            for sample, modifiers, settings in bin_uncertainties(
                channel, [(s.nominal, s.column.signal) for s in members], statistics
            ):
                members[sample].modifiers += modifiers
                self.settings |= settings
                group = groups.setdefault("autoMCStats", [])
                group += [m["name"] for m in modifiers if m["name"] not in group]
        self._freeze()
        for text in dict.fromkeys(self.told):
            warnings.warn(text, InputWarning, stacklevel=4)
        return self._spec(samples, groups)

    def _spec(self, samples: Mapping[tuple[str, str], _Sample], groups: Mapping[str, Any]) -> dict[str, Any]:
        channels: list[dict[str, Any]] = []
        observations: list[dict[str, Any]] = []
        for channel in self.card.channels:
            members = [made for s in samples.values() if s.column.channel == channel for made in _samples_of(s)]
            if not members:
                raise InputError(f"channel '{channel}' of the datacard '{self.card.path}' predicts no events")
            channels.append({"name": channel, "samples": members})
            observations.append({"name": channel, "data": self._data(channel, len(members[0]["data"]))})
        modifiers = [m for c in channels for s in c["samples"] for m in s["modifiers"]]
        used = {m["name"] for m in modifiers}
        for modifier in modifiers:
            if modifier["type"] == NORMFORMULA.kind:
                used |= set(names_in(parse(modifier["data"]["formula"])))
        config: dict[str, Any] = {
            "poi": self.interest[0] if self.interest else "",
            "parameters": [s for name, s in self.settings.items() if name in used],
        }
        kept = {name: [m for m in members if m in used] for name, members in groups.items()}
        if any(kept.values()):
            config["groups"] = {name: members for name, members in kept.items() if members}
        return {
            "channels": channels,
            "observations": observations,
            "measurements": [{"name": self.card.path.stem, "config": config}],
            "version": "1.0.0",
        }

    # ------------------------------------------------------------ yields

    def _sample(self, column: Column) -> _Sample | None:
        """Template or rate of a column; None where it predicts nothing."""
        nominal = self.templates.template(column.channel, column.process)
        line = self.templates.line(column.channel, column.process)
        if nominal is None:
            if line is not None:
                raise self.wrong(
                    line[0],
                    f"the histogram of process '{column.process}' in channel '{column.channel}' is not in "
                    f"'{line[1][0]}'",
                )
            controlled = any(
                row.kind == GMN and effect is not None
                for row in self.card.rows
                for c, effect in zip(self.card.columns, row.effects, strict=True)
                if c == column
            )
            if column.rate < 0:
                raise InputError(
                    f"process '{column.process}' of channel '{column.channel}' in '{self.card.path}' has the rate "
                    f"{column.rate:g} but no histogram to count"
                )
            if column.rate == 0 and not controlled:
                return None
            rate = np.array([column.rate])
            return _Sample(column, Template(np.array([0.0, 1.0]), rate, np.zeros(1)))
        known = self.edges.setdefault(column.channel, nominal.edges)
        if known.shape != nominal.edges.shape or not np.allclose(known, nominal.edges):
            raise self.wrong(
                line[0] if line else 0,
                f"the histogram of process '{column.process}' has other bins ({nominal.edges.size - 1} from "
                f"{nominal.edges[0]:g} to {nominal.edges[-1]:g}) than those before it in channel '{column.channel}' "
                f"({known.size - 1} from {known[0]:g} to {known[-1]:g})",
            )
        total = float(nominal.values.sum())
        if column.rate >= 0 and abs(column.rate - total) > AGREE * max(1.0, column.rate):
            raise InputError(
                f"process '{column.process}' of channel '{column.channel}' in '{self.card.path}' has the rate "
                f"{column.rate:g}, but its histogram {total:g} events; write -1 to take the histogram"
            )
        return None if not nominal.values.any() else _Sample(column, nominal)

    def _data(self, channel: str, bins: int) -> list[float]:
        said = self.card.observed[channel]
        found = self.templates.template(channel, DATA) if channel in self.edges else None
        if found is None:
            if channel in self.edges or said < 0 or bins != 1:
                raise InputError(f"channel '{channel}' of the datacard '{self.card.path}' has no histogram '{DATA}'")
            return [said]
        known = self.edges[channel]
        if known.shape != found.edges.shape or not np.allclose(known, found.edges):
            raise InputError(
                f"the data of channel '{channel}' in '{self.card.path}' have other bins than the processes"
            )
        total = float(found.values.sum())
        if said >= 0 and abs(said - total) > AGREE * max(1.0, said):
            raise InputError(
                f"channel '{channel}' of '{self.card.path}' observes {said:g}, but its histogram has {total:g} events"
            )
        return [float(v) for v in found.values]

    def _strengths(self, samples: Mapping[tuple[str, str], _Sample]) -> None:
        for sample in samples.values():
            if not sample.column.signal:
                continue
            fits = [n for p, n in self.strengths.items() if fnmatch.fnmatchcase(sample.column.process, p)]
            name = fits[0] if fits else STRENGTH
            if name not in self.interest:
                self.interest.append(name)
            self.settings[name] = {"name": name, "inits": [1.0], "bounds": [list(STRENGTH_RANGE)]}
            sample.modifiers.append(NORMFACTOR.modifier(name))
        wanted = [name for name in self.strengths.values() if name in self.interest]
        self.interest.sort(key=lambda name: wanted.index(name) if name in wanted else len(wanted))
        for pattern, name in self.strengths.items():
            if name not in self.interest:
                signals = sorted({c.process for c in self.card.columns if c.signal})
                raise InputError(
                    f"the strength '{name}' belongs to no signal like '{pattern}'; there are {', '.join(signals)}"
                )

    # ------------------------------------------------------------ nuisances with a row

    def _scales(self) -> dict[str, float]:
        """By how much the templates of each nuisance count; raises InputError where they differ."""
        result: dict[str, float] = {}
        for row in self.card.rows:
            if row.kind.rstrip("?") not in SHAPES:
                continue
            for effect in row.effects:
                if isinstance(effect, float) and result.setdefault(row.name, effect) != effect:
                    raise self.wrong(
                        row.line,
                        f"the templates of '{row.name}' count {result[row.name]:g} and {effect:g} times; one parameter "
                        "cannot stand for both, so give them two names",
                    )
        return result

    def _nuisance(self, name: str) -> None:
        """Settings of a nuisance with a Gaussian constraint."""
        scale = self.scales.get(name, 1.0)
        setting: dict[str, Any] = {"name": name, "bounds": [[-PULLS * scale, PULLS * scale]]}
        if scale != 1.0:
            setting["sigmas"] = [scale]
        quantity = self.card.quantities.get(name)
        same = quantity is None or (quantity.value, quantity.low, quantity.high, scale) == (0.0, 1.0, 1.0, 1.0)
        if quantity is not None and not same:
            raise self.wrong(quantity.line, f"'{name}' is a param and a nuisance with another constraint")
        self.settings[name] = setting

    def _row(self, row: Row, samples: Mapping[tuple[str, str], _Sample]) -> None:
        for column, effect in zip(self.card.columns, row.effects, strict=True):
            sample = samples.get((column.channel, column.process))
            if effect is None or sample is None:
                continue
            kind = row.kind
            if kind.rstrip("?") in SHAPES:
                if self._template(row, sample, effect, kind):
                    continue
                kind = LNN  # a shape? without templates
            if kind == LNN:
                pair = effect if isinstance(effect, tuple) else (1.0 / effect, effect)
                self._lognormal(row.name, sample, *pair)
            elif kind == GMN:
                self._control(row, sample, effect)
            else:
                self._factor(row, sample, effect)

    def _lognormal(self, name: str, sample: _Sample, low: float, high: float) -> None:
        self._nuisance(name)
        scale = self.scales.get(name, 1.0)
        pair = (low ** (1.0 / scale), high ** (1.0 / scale))
        for modifier in sample.modifiers:
            if (modifier["name"], modifier["type"]) == (name, LOGNORMAL.kind):  # several lines multiply
                pair = (pair[0] * modifier["data"]["lo"], pair[1] * modifier["data"]["hi"])
                sample.modifiers.remove(modifier)
                break
        width = () if scale == 1.0 else (JOINED_WITHIN * scale,)
        sample.modifiers.append(LOGNORMAL.modifier(name, (*pair, *width)))

    def _template(self, row: Row, sample: _Sample, effect: Any, kind: str) -> bool:
        """Up and down templates of a nuisance; False where a `shape?` has none."""
        column, nominal = sample.column, sample.nominal
        where = f"of process '{column.process}' in channel '{column.channel}'"
        line = self.templates.line(column.channel, column.process)
        if line is None or (kind.endswith("?") and len(line[1]) < 3):
            if kind.endswith("?"):
                return False
            raise self.wrong(row.line, f"'{row.name}' is a template uncertainty, but there are no histograms {where}")
        up, down = (
            self.templates.template(column.channel, column.process, f"{row.name}{end}") for end in ("Up", "Down")
        )
        if kind.endswith("?") and up is None and down is None:
            return False
        for template, end in ((up, "Up"), (down, "Down")):
            if template is None:
                raise self.wrong(row.line, f"the histogram {end} of '{row.name}' {where} is not there (line {line[0]})")
            if template.edges.shape != nominal.edges.shape or not np.allclose(template.edges, nominal.edges):
                raise self.wrong(
                    row.line, f"the histogram {end} of '{row.name}' {where} has other bins than the nominal one"
                )
        assert up is not None and down is not None
        if not isinstance(effect, float):
            raise self.wrong(row.line, f"'{row.name}' is a template uncertainty, its effect {where} must be one number")
        total = float(nominal.values.sum())
        kappas = [float(t.values.sum()) / total for t in (down, up)]
        if not min(kappas) > 0:
            raise self.wrong(row.line, f"a histogram of '{row.name}' {where} has no events")
        self._nuisance(row.name)
        if max(abs(k - 1.0) for k in kappas) >= SAME_NORM:
            scale = self.scales[row.name]
            self._lognormal(row.name, sample, kappas[0] ** scale, kappas[1] ** scale)
        low, high = (t.values / k for t, k in zip((down, up), kappas, strict=True))
        if "N" in kind:
            # as in Combine a bin that one of the templates leaves empty does not change
            bent = [np.where(values > 0, values, nominal.values) for values in (low, high)]
            sample.logarithmic[row.name] = (bent[0], bent[1])
        elif not (np.allclose(low, nominal.values) and np.allclose(high, nominal.values)):
            sample.modifiers.append(HISTOSYS.modifier(row.name, (low, high)))
        return True

    def _control(self, row: Row, sample: _Sample, effect: Any) -> None:
        """gmN: alpha n with n ~ Poisson; the rate of the card is that of n = N."""
        events = row.arguments[0]
        if any(m["type"] == CONTROLCOUNT.kind for m in sample.modifiers):
            raise self.wrong(
                row.line, f"process '{sample.column.process}' has two gmN in channel '{sample.column.channel}'"
            )
        rate = float(sample.yields.sum())
        if abs(effect * events - rate) > max(0.05 * max(rate, 1.0), effect):
            raise self.wrong(
                row.line, f"{events:g} events times {effect:g} are not the rate {rate:g} of process "
                f"'{sample.column.process}' in channel '{sample.column.channel}'",
            )  # fmt: skip
        wanted = effect * max(events, 1.0)
        shape = sample.yields / rate if rate > 0 else np.full(sample.yields.size, 1.0 / sample.yields.size)
        sample.nominal = dataclasses.replace(sample.nominal, values=shape * wanted)
        sample.modifiers.append(CONTROLCOUNT.modifier(row.name, events))

    def _factor(self, row: Row, sample: _Sample, effect: Any) -> None:
        """lnU, trG and unif: formulas of a parameter that is flat or Gaussian."""
        n = f'"{row.name}"'
        if row.kind == "lnU":
            if isinstance(effect, tuple):
                raise self.wrong(row.line, f"lnU '{row.name}' takes one number a process, not a pair")
            formula, setting = f"exp({math.log(effect)!r} * {n})", {"inits": [0.0], "bounds": [[-1.0, 1.0]]}
        elif row.kind == "unif":
            low, high = row.arguments
            if not low < high:
                raise self.wrong(row.line, f"the range of unif '{row.name}' is empty")
            formula, setting = f"1 + {effect!r} * {n}", {"inits": [0.5 * (low + high)], "bounds": [[low, high]]}
        else:
            worst = max((abs(e) for e in row.effects if isinstance(e, float)), default=1.0)
            reach = min(PULLS, 0.999 / worst)  # where the yield would become negative
            formula = f"1 + {effect!r} * {n}"
            setting = {"inits": [0.0], "bounds": [[-reach, reach]], "sigmas": [1.0], "auxdata": [0.0]}
        self.settings[row.name] = {"name": row.name, **setting}
        name = f"{row.name}_{sample.column.process}_{sample.column.channel}"
        sample.modifiers.append(NORMFORMULA.modifier(name, formula))

    # ------------------------------------------------------------ rateParam, param, extArg

    def _rates(self, samples: Mapping[tuple[str, str], _Sample]) -> None:
        formulas: dict[str, Expression] = {}
        for rate in self.card.rates:
            if rate.formula is not None:
                formulas[rate.name] = parse(rate.formula)
        plain = {rate.name for rate in self.card.rates if rate.formula is None}
        for rate in self.card.rates:
            setting = self._free(rate.value, rate.bounds)
            if rate.formula is None and self.settings.setdefault(rate.name, {"name": rate.name, **setting}) != {
                "name": rate.name, **setting
            } and rate.bounds is not None:  # fmt: skip
                self.settings[rate.name] = {"name": rate.name, **setting}
            for i in rate.columns:
                sample = samples.get((self.card.columns[i].channel, self.card.columns[i].process))
                if sample is None or any(m["name"] == rate.name for m in sample.modifiers):
                    continue
                if rate.formula is None:
                    sample.modifiers.append(NORMFACTOR.modifier(rate.name))
                else:
                    text = written(self._whole(rate.name, formulas, plain, rate.line))
                    sample.modifiers.append(NORMFORMULA.modifier(rate.name, text))

    def _free(self, value: float | None, bounds: tuple[float, float] | None) -> dict[str, Any]:
        start = 1.0 if value is None else value
        reach = FREE_RANGE * max(1.0, abs(start))
        low, high = bounds or (0.0 if start >= 0 else -reach, reach)
        return {"inits": [min(max(start, low), high)], "bounds": [[low, high]]}

    def _whole(
        self, name: str, formulas: Mapping[str, Expression], plain: set[str], line: int, depth: int = 0
    ) -> Expression:
        """A formula with the formulas and two-sided widths that it names put in."""
        if depth > len(formulas):
            raise self.wrong(line, f"the formulas of rateParam '{name}' name each other in a loop")
        inside: dict[str, Expression] = {}
        for used in names_in(formulas[name]):
            if used in formulas:
                inside[used] = self._whole(used, formulas, plain, line, depth + 1)
            elif used in self.card.quantities:
                inside[used] = self._quantity(self.card.quantities[used])
            elif used not in plain and used not in self.settings:
                raise self.wrong(
                    line, f"the formula of rateParam '{name}' names '{used}', which the card does not define"
                )
        return replaced(formulas[name], inside)

    def _quantity(self, found: Quantity) -> Expression:
        """A parameter of formulas; with two widths it is a formula of a unit Gaussian, whose likelihood is the same."""
        if found.low != found.high:
            reach = PULLS
            self.settings[found.name] = {
                "name": found.name, "inits": [0.0], "bounds": [[-reach, reach]], "sigmas": [1.0], "auxdata": [0.0],
            }  # fmt: skip
            n = f'"{found.name}"'
            return parse(f"{found.value!r} + {found.high!r} * max(0, {n}) + {found.low!r} * min(0, {n})")
        if found.low > 0:
            low, high = found.bounds or (found.value - PULLS * found.low, found.value + PULLS * found.low)
            self.settings.setdefault(found.name, {
                "name": found.name, "inits": [found.value], "bounds": [[low, high]],
                "sigmas": [found.low], "auxdata": [found.value],
            })  # fmt: skip
        else:
            setting = self._free(found.value, found.bounds)
            self.settings[found.name] = {"name": found.name, **setting, **({"fixed": True} if found.held else {})}
        return Name(found.name)

    def _freeze(self) -> None:
        for name in self.card.frozen:
            if name not in self.settings:
                raise InputError(f"the datacard '{self.card.path}' freezes '{name}', which is no parameter of it")
            self.settings[name]["fixed"] = True


def _samples_of(sample: _Sample) -> Sequence[dict[str, Any]]:
    """The sample; with uncertainties in the logarithm one for each bin, which has its own exponential."""
    name, yields = sample.column.process, sample.yields
    if not sample.logarithmic:
        return [{"name": name, "data": [float(v) for v in yields], "modifiers": sample.modifiers}]
    result: list[dict[str, Any]] = []
    for b in np.flatnonzero(yields > 0):
        alone = [float(v) if i == b else 0.0 for i, v in enumerate(yields)]
        modifiers: list[dict[str, Any]] = []
        for modifier in sample.modifiers:
            data = modifier["data"]
            if modifier["type"] == LOGNORMAL.kind and modifier["name"] in sample.logarithmic:
                continue
            if modifier["type"] == HISTOSYS.kind:
                data = {key: [float(v) if i == b else 0.0 for i, v in enumerate(data[key])] for key in data}
            modifiers.append({**modifier, "data": data})
        norm = {m["name"]: m["data"] for m in sample.modifiers if m["type"] == LOGNORMAL.kind}
        for nuisance, (low, high) in sample.logarithmic.items():
            pair = (float(low[b] / yields[b]), float(high[b] / yields[b]))
            where = f"{nuisance}_norm_{name}_{sample.column.channel}"
            modifiers += _with_norm(nuisance, pair, norm.get(nuisance), where)
        result.append({"name": f"{name}_bin{b}", "data": alone, "modifiers": modifiers})
    return result


def _with_norm(
    nuisance: str, pair: tuple[float, float], norm: Mapping[str, float] | None, where: str
) -> list[dict[str, Any]]:
    """The exponential of a bin, which joins within one standard deviation, and that of the integral, which joins within
    half of one: a formula of its own unless it is symmetric.
    """
    if norm is None:
        return [LOGNORMAL.modifier(nuisance, (*pair, LOGARITHM_JOINED))]
    low, high = math.log(norm["lo"]), math.log(norm["hi"])
    if abs(low + high) < SYMMETRIC:
        return [LOGNORMAL.modifier(nuisance, (pair[0] * norm["lo"], pair[1] * norm["hi"], LOGARITHM_JOINED))]
    n, width = f'"{nuisance}"', norm.get("width", JOINED_WITHIN)
    t = f"max(-1, min(1, {n} / {width!r}))"
    step = f"0.125 * {t} * (15 + {t} ** 2 * (3 * {t} ** 2 - 10))"
    formula = f"exp({n} * ({0.5 * (high - low)!r} + {0.5 * (high + low)!r} * {step}))"
    return [LOGNORMAL.modifier(nuisance, (*pair, LOGARITHM_JOINED)), NORMFORMULA.modifier(where, formula)]
