"""The same likelihood with a channel for every bin, and formulas for what a datacard has no line for.

A datacard of counting channels holds any HistFactory likelihood exactly: the templates of a sample in a bin, and its
normalisations as HistFactory interpolates them (CERN-OPEN-2012-016, section 4.1), are formulas of the nuisance
parameters (`rateParam`), a factor of a bin is a parameter of them (`param`), and a Poisson constraint is a channel that
counts its auxiliary events.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bumpfit.errors import InputError, InputWarning
from bumpfit.types import Floats
from bumpfit.workspace.arrays import CODE0, CODE1
from bumpfit.workspace.effects import declare, interpolation_codes
from bumpfit.workspace.effects_bins import SHAPEFACTOR, SHAPESYS, STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMFORMULA, NORMSYS, code4_coefficients
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.formula import names_in, parse, written
from bumpfit.workspace.groups import groups_of
from bumpfit.workspace.model import Model
from bumpfit.workspace.parameters import Parameter
from bumpfit.workspace.read import compile_model

BINS = (STATERROR.kind, SHAPESYS.kind, SHAPEFACTOR.kind)
"""Effects with a factor a bin."""


def moved(p: Parameter) -> bool:
    """Whether a constrained parameter is held elsewhere than where its line in a datacard holds it."""
    return p.fixed and p.constraint != "none" and p.init != (1.0 if p.constraint == "poisson" else p.auxdata)


def check_held(parameters: Iterable[Parameter]) -> None:
    """Raise InputError for a parameter whose line would hold it elsewhere, which is another likelihood."""
    for p in filter(moved, parameters):
        raise InputError(
            f"'{p.name}' is held at {p.init:g}, but a line of a datacard holds it where it was measured; try "
            "datacard-exact, hs3 or histfactory"
        )


def as_counts(model: Model, channels: Collection[str] | None = None, *, everything: bool = True) -> Model:
    """The model with a counting channel for every bin of `channels` (default: all), shapes and bins as formulas.

    -2 ln L is the same where parameters have the same values (up to the constants of Poisson constraints that are
    held); NAME[3] of bins becomes NAME_bin3. `everything`: normalisations too, and parameters that change nothing; else
    those stay for the lines of a datacard.
    """
    spec = _Counts(model, channels, everything).workspace()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # said when the workspace was read
        return compile_model(spec, interpolation=model.interpolation, allow_negative=True)


def plain(name: str) -> str:
    """The name of a parameter without the index of a bin."""
    return name.replace("[", "_bin").replace("]", "")


class _Counts:
    """Writes the workspace anew."""

    def __init__(self, model: Model, channels: Collection[str] | None, everything: bool) -> None:
        self.model, self.everything = model, everything
        self.inside = {c.name for c in model.channels} if channels is None else set(channels)
        config = model.spec["measurements"][0]["config"] if "measurements" in model.spec else model.spec
        self.sets = declare(model.spec["channels"], config.get("parameters", [])).sets
        self.codes = interpolation_codes(model.interpolation)
        self.parameters = {p.name: p for p in model.parameters}
        self.counted: dict[str, Parameter] = {}  # with a Poisson constraint that becomes a channel

    def workspace(self) -> dict[str, Any]:
        data: dict[str, list[float]] = {}
        channels: list[dict[str, Any]] = []
        observed = self.model.observed
        assert observed is not None
        raw = {c["name"]: c for c in self.model.spec["channels"]}
        for channel in self.model.channels:
            counts = observed[channel.first : channel.last]
            if channel.name not in self.inside:
                channels.append(raw[channel.name])
                data[channel.name] = counts.tolist()
                continue
            for b, count in enumerate(counts):
                name = channel.name if counts.size == 1 else f"{channel.name}_bin{b}"
                samples = [
                    s for s in (self._sample(raw[channel.name], s, b) for s in raw[channel.name]["samples"]) if s
                ]
                channels.append({"name": name, "samples": samples})
                data[name] = [float(count)]
        for name, p in self.counted.items():
            assert p.width is not None and p.auxdata is not None
            sample = {"name": "auxiliary", "data": [p.width], "modifiers": [NORMFACTOR.modifier(name)]}
            channels.append({"name": f"{name}_auxiliary", "samples": [sample]})
            data[f"{name}_auxiliary"] = [p.auxdata]
        if self.everything:
            self._idle(channels)
        config: dict[str, Any] = {"poi": self.model.poi, "parameters": self._settings(channels)}
        if groups := groups_of(self.model.spec):
            config["groups"] = {g: [n for m in members for n in self._members(m)] for g, members in groups.items()}
        return {
            "channels": channels,
            "observations": [{"name": name, "data": counts} for name, counts in data.items()],
            "measurements": [{"name": "counts", "config": config}],
            "version": "1.0.0",
        }

    def _members(self, name: str) -> list[str]:
        """What a parameter, or a group of parameters of bins, is called now."""
        if name in self.parameters or f"{name}[0]" not in self.parameters:
            return [name]
        return [plain(full) for full in self.parameters if full.startswith(f"{name}[")]

    def _sample(self, channel: Mapping[str, Any], sample: Mapping[str, Any], b: int) -> dict[str, Any] | None:
        """A sample in a bin; None where it has no events whatever the parameters are."""
        events, place = float(sample["data"][b]), f"{channel['name']}_bin{b}_{sample['name']}"
        shifts: list[str] = []
        modifiers: list[dict[str, Any]] = []
        for modifier in sample["modifiers"]:
            kind, name = modifier["type"], modifier["name"]
            if kind == HISTOSYS.kind:
                ends = (float(modifier["data"]["lo_data"][b]), float(modifier["data"]["hi_data"][b]))
                shifts += self._shift(name, ends, events)
            elif kind == NORMSYS.kind and self.everything:
                factor = self._factor(name, modifier["data"]["lo"], modifier["data"]["hi"])
                if factor:
                    modifiers.append(NORMFORMULA.modifier(f"norm_{place}_{name}", factor))
            elif kind in BINS:
                modifiers.append(self._of_bin(name, channel["name"], b, place))
            elif kind == NORMFORMULA.kind:
                text = written(parse(modifier["data"]["formula"]), plain)
                modifiers.append(NORMFORMULA.modifier(name, text))
            else:
                modifiers.append(modifier)
        if events == 0.0 and not shifts:
            return None
        if shifts:
            first = ["1.0"] if events != 0.0 else []
            modifiers.append(NORMFORMULA.modifier(f"shape_{place}", " + ".join([*first, *shifts])))
        return {"name": sample["name"], "data": [events or 1.0], "modifiers": modifiers}

    def _of_bin(self, stem: str, channel: str, b: int, place: str) -> dict[str, Any]:
        """The factor of a bin."""
        p = self.parameters[f"{stem}[{self.sets[stem].first(channel) + b}]"]
        name = plain(p.name)
        if p.constraint == "normal":
            return NORMFORMULA.modifier(f"factor_{place}_{stem}", f'"{name}"')
        if p.constraint == "poisson" and not p.fixed:  # held, a count would be one more bin for a goodness of fit
            self.counted[name] = p
        return NORMFACTOR.modifier(name)

    def _shift(self, name: str, ends: tuple[float, float], events: float) -> list[str]:
        """What a template adds to a bin, relative to its events; nothing where it adds none."""
        size = events or 1.0
        up, down = (ends[1] - events) / size, (events - ends[0]) / size
        if up == down == 0.0:
            return []
        half, bend, n = 0.5 * (up + down), 0.5 * (up - down), f'"{name}"'
        if bend == 0.0:
            return [f"{half!r} * {n}"]
        if self.codes[HISTOSYS.kind] == CODE0:
            return [f"{half!r} * {n} + {bend!r} * abs({n})"]
        t = f"max(-1.0, min(1.0, {n}))"
        step = f"{t} * (15.0 + {t} * {t} * (3.0 * {t} * {t} - 10.0))"
        return [f"{n} * ({half!r} + {bend / 8.0!r} * {step})"]

    def _factor(self, name: str, low: float, high: float) -> str:
        """A normalisation as HistFactory interpolates it; nothing where it changes nothing."""
        if low == high == 1.0:
            return ""
        n = f'"{name}"'
        if self.codes[NORMSYS.kind] == CODE1:
            return f"exp({math.log(high)!r} * max(0.0, {n}) + {-math.log(low)!r} * min(0.0, {n}))"
        a: Floats = code4_coefficients(low, high)
        t = f"max(-1.0, min(1.0, {n}))"
        inner = repr(float(a[7]))
        for c in a[6:1:-1]:
            inner = f"({float(c)!r} + {t} * {inner})"
        outside = f"exp({float(a[1])!r} * max(0.0, {n} - 1.0) + {float(a[0])!r} * max(0.0, -{n} - 1.0))"
        return f"(1.0 + {t} * {inner}) * {outside}"

    def _idle(self, channels: list[dict[str, Any]]) -> None:
        """Parameters that change nothing keep their constraint: named with no weight."""
        kept = {m["name"] for c in channels for s in c["samples"] for m in s["modifiers"]}
        kept |= _named(channels)
        missing = [
            p.name for p in self.model.parameters
            if p.constraint == "normal" and "[" not in p.name and p.name not in kept
        ]  # fmt: skip
        if missing:
            first = channels[0]["samples"][0]["modifiers"]
            first.append(
                NORMFORMULA.modifier("idle", " + ".join(["1.0", *(f'max(0.0, min(0.0, "{n}"))' for n in missing)]))
            )

    def _settings(self, channels: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Start, range and constraint of every parameter that is left."""
        modifiers = [m for c in channels for s in c["samples"] for m in s["modifiers"]]
        whole = {m["name"] for m in modifiers if m["type"] in BINS}
        result, used = [], {m["name"] for m in modifiers} | _named(channels)
        for p in self.model.parameters:
            name = plain(p.name)
            if p.name.partition("[")[0] in whole or name not in used:
                continue
            setting: dict[str, Any] = {"name": name, "inits": [p.init], "bounds": [[p.low, p.high]], "fixed": p.fixed}
            if p.constraint == "normal":
                setting |= {"sigmas": [p.width], "auxdata": [p.auxdata]}
            result.append(setting)
        return result


def _named(channels: list[dict[str, Any]]) -> set[str]:
    """What formulas name."""
    modifiers = (m for c in channels for s in c["samples"] for m in s["modifiers"])
    return {n for m in modifiers if m["type"] == NORMFORMULA.kind for n in names_in(parse(m["data"]["formula"]))}
