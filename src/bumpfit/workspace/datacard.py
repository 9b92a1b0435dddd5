"""The text of a Combine datacard as records: channels, processes, rates, shapes and the lines of nuisances.

The format is that of Combine (arXiv:2404.06614; https://cms-analysis.github.io/HiggsAnalysis-CombinedLimit, "Setting up
the analysis"). A line that is not known is refused with its number, for it could change the likelihood; a title above
the first that is known is passed over, as Combine does. What the lines mean for the likelihood is in `datacard_model`.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bumpfit.errors import InputError
from bumpfit.foreign import head_of
from bumpfit.workspace.datacard_edits import DIGITS, Edits, matches
from bumpfit.workspace.effects_combine import CONTROLCOUNT, LOGNORMAL

SUFFIXES = (".txt", ".card", ".dat")
"""Endings of the names of datacards."""

SHAPES = ("shape", "shape2", "shapeN", "shapeN2")
"""Types of template uncertainties: additive (quadratic within one standard deviation), and in the logarithm."""

LNN, GMN = LOGNORMAL.kind, CONTROLCOUNT.kind

ROWS = (LNN, "lnU", GMN, "trG", "unif", *SHAPES, *(f"{kind}?" for kind in SHAPES))
"""Types of nuisances with one number for each column."""

NOT_READ = {
    "gmM": "a Gamma distribution of relative width; use gmN, or lnN",
    "dFD": "a double Fermi function",
    "dFD2": "a double Fermi function",
    "shapeU": "a template uncertainty with a flat prior",
    "constr": "a constraint on a function of parameters",
    "discrete": "a choice between functions of a RooFit workspace (use --family all --envelope for "
    "families of bumpfit)",
}
"""Lines of Combine that are not read, and what they are."""


NO_SHAPES = "FAKE"
"""What stands for the file of a counting channel among channels with shapes."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One process in one channel."""

    channel: str
    process: str
    number: int
    rate: float

    @property
    def signal(self) -> bool:
        """Whether it scales with the signal strength."""
        return self.number <= 0


@dataclasses.dataclass(frozen=True)
class Row:
    """A nuisance with an effect a column: None, a number, or the pair (lo, hi); `arguments` stand before them."""

    line: int
    name: str
    kind: str
    arguments: tuple[float, ...]
    effects: tuple[float | tuple[float, float] | None, ...]


@dataclasses.dataclass(frozen=True)
class Rate:
    """A `rateParam` of the columns: a start with a range, or a formula of other parameters."""

    line: int
    name: str
    columns: tuple[int, ...]
    value: float | None
    bounds: tuple[float, float] | None
    formula: str | None


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A parameter of formulas: with a Gaussian constraint of width `low` below and `high` above, or free (0, 0)."""

    line: int
    name: str
    value: float
    low: float
    high: float
    bounds: tuple[float, float] | None
    held: bool = False


@dataclasses.dataclass(frozen=True)
class Statistics:
    """autoMCStats of a channel: threshold in effective events, and whether signals count."""

    threshold: float
    signal: bool


@dataclasses.dataclass(frozen=True)
class Datacard:
    """All that a card says."""

    path: Path
    channels: tuple[str, ...]
    observed: Mapping[str, float]
    columns: tuple[Column, ...]
    shapes: Mapping[tuple[str, str], tuple[int, tuple[str, ...]]]
    rows: tuple[Row, ...]
    rates: tuple[Rate, ...]
    quantities: Mapping[str, Quantity]
    groups: Mapping[str, tuple[str, ...]]
    statistics: Mapping[str, Statistics]
    frozen: tuple[str, ...]


def read_card(path: str | Path) -> Datacard:
    """The card of a file; raises InputError with the line of the first fault."""
    source = Path(path)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the datacard '{path}': {error.strerror}") from error
    try:
        return _Reader(source).read(content.decode("utf-8-sig"))  # editors of Windows mark their files
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"cannot read the datacard '{path}': a character of line {line} is not UTF-8; save it as UTF-8"
        ) from error


def looks_like_card(path: str | Path) -> bool:
    """Whether a file is a datacard: by its ending, and a line that begins with imax, or bin, process and rate."""
    words = {line.split()[0] for line in head_of(path, SUFFIXES).splitlines() if line.split()}
    return "imax" in words or {"process", "rate"} <= words


class _Reader:
    """Reads one card line by line."""

    def __init__(self, path: Path) -> None:
        self.path, self.line = path, 0
        self.numbers: dict[str, int | None] = {"imax": None, "jmax": None, "kmax": None}
        self.begun = False
        self.bins: list[str] = []
        self.processes: list[list[str]] = []
        self.channels: tuple[str, ...] = ()
        self.observed: list[float] = []
        self.columns: tuple[Column, ...] = ()
        self.shapes: dict[tuple[str, str], tuple[int, tuple[str, ...]]] = {}
        self.rows: list[Row] = []
        self.rates: list[Rate] = []
        self.quantities: dict[str, Quantity] = {}
        self.groups: dict[str, tuple[str, ...]] = {}
        self.statistics: dict[str, Statistics] = {}
        self.frozen: list[str] = []
        self.freezes: list[tuple[int, str, bool]] = []

    def wrong(self, reason: str) -> InputError:
        return InputError(f"line {self.line} of the datacard '{self.path}': {reason}")

    def number(self, text: str, what: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise self.wrong(f"{what} must be a number, got '{text}'") from None
        if not math.isfinite(value):
            raise self.wrong(f"{what} must be finite, got '{text}'")
        return value

    def read(self, text: str) -> Datacard:
        for self.line, line in enumerate(text.splitlines(), start=1):
            words = re.sub(r"(^|\s)#.*", "", line).split()
            if not words or re.fullmatch(r"-{2,}.*|[-=*]+", words[0]):
                continue
            if self.columns:
                self.nuisance(words)
            else:
                self.head(words)
        self.line += 1
        if not self.columns:
            raise InputError(f"'{self.path}' is no datacard: it has no line 'rate' below lines 'bin' and 'process'")
        self.finish()
        return Datacard(
            self.path, self.channels, dict(zip(self.channels, self.observed, strict=True)), self.columns, self.shapes,
            tuple(self.rows), tuple(self.rates), self.quantities, self.groups, self.statistics, tuple(self.frozen),
        )  # fmt: skip

    # ------------------------------------------------------------ above the rates

    def head(self, words: list[str]) -> None:
        key, rest = words[0], words[1:]
        known = [*self.numbers, "shapes", "bin", "observation", "process", "rate"]
        if key.lower() not in known and not self.begun and not difflib.get_close_matches(key.lower(), known, 1, 0.8):
            return  # the title, which Combine passes over
        self.begun = True
        if key in self.numbers:
            if not rest:
                raise self.wrong(f"{key} needs a number or *")
            self.numbers[key] = None if rest[0] == "*" else int(self.number(rest[0], key))
        elif key == "shapes":
            if len(rest) < 3:
                raise self.wrong("expected: shapes PROCESS CHANNEL FILE HISTOGRAM [HISTOGRAM_WITH_SYSTEMATIC]")
            if len(rest) == 3 and rest[2] != NO_SHAPES:
                raise self.wrong(f"'{rest[2]}' has no name of a histogram after it; only {NO_SHAPES} stands alone")
            if (rest[1], rest[0]) in self.shapes:
                raise self.wrong(f"the shapes of process '{rest[0]}' in channel '{rest[1]}' are there twice")
            self.shapes[rest[1], rest[0]] = (self.line, tuple(rest[2:]))
        elif key == "bin":
            self.bins = rest
        elif key.lower() == "observation":
            self.observed = [self.number(word, "an observation") for word in rest]
            if self.bins:
                self._channels(self.bins)
        elif key == "process":
            self.processes.append(rest)
        elif key == "rate":
            self.table([self.number(word, "a rate") for word in rest])
        else:
            raise self.wrong(f"unknown word '{key}'; above the rates stand {', '.join(known[:-1])}")

    def _channels(self, names: Sequence[str]) -> None:
        if len(set(names)) < len(names):
            raise self.wrong("a channel is there twice in the line 'bin' of the observations")
        if len(self.observed) != len(names):
            raise self.wrong(f"{len(names)} channels but {len(self.observed)} observations")
        self.channels, self.bins = tuple(names), []

    def table(self, rates: list[float]) -> None:
        """The columns, once their four lines are there."""
        if len(self.processes) != 2 or not self.bins:
            raise self.wrong("above the rates there must be one line 'bin' and two lines 'process', names and numbers")
        names, ids = self.processes
        if all(re.fullmatch(r"[-+]?\d+", word) for word in names):
            names, ids = ids, names
        for what, line in (("process names", names), ("process numbers", ids), ("rates", rates)):
            if len(line) != len(self.bins):
                raise self.wrong(f"the line 'bin' has {len(self.bins)} columns, but there are {len(line)} {what}")
        bins = self.bins
        if not self.channels:  # no line 'bin' above the observations
            self._channels(list(dict.fromkeys(bins)))
        found: list[Column] = []
        for channel, process, number, rate in zip(bins, names, ids, rates, strict=True):
            if channel not in self.channels:
                raise self.wrong(f"channel '{channel}' has no observation; there are {', '.join(self.channels)}")
            if not re.fullmatch(r"[-+]?\d+", number):
                raise self.wrong(f"a process number must be whole (0 or less for signals), got '{number}'")
            column = Column(channel, process, int(number), rate)
            for other in found:
                if other.process == process and other.signal != column.signal:
                    raise self.wrong(f"process '{process}' is signal in one channel and background in another")
                if (other.process, other.channel) == (process, channel):
                    raise self.wrong(f"process '{process}' is there twice in channel '{channel}'")
            found.append(column)
        self._counts(found)
        self.columns = tuple(found)

    def _counts(self, found: Sequence[Column]) -> None:
        """The numbers of channels and processes that the head announces."""
        there = {"imax": len(self.channels), "jmax": len({c.process for c in found}) - 1}
        for key, value in there.items():
            said = self.numbers[key]
            if said is not None and said != value:
                what = {"imax": "channels", "jmax": "processes less one"}[key]
                raise self.wrong(f"{key} says {said}, but there are {value} {what}; write * to have them counted")
        missing = [c for c in self.channels if c not in {column.channel for column in found}]
        if missing:
            raise self.wrong(f"channel '{missing[0]}' has an observation but no processes")

    # ------------------------------------------------------------ below the rates

    def nuisance(self, words: list[str]) -> None:
        if len(words) < 2:
            raise self.wrong(f"'{words[0]}' is no nuisance: expected NAME TYPE and its numbers")
        name, kind, rest = words[0].removesuffix("[nofloat]"), words[1], words[2:]
        if re.match(r"\d", name):
            name = f"{DIGITS}{name}"
        if name == "nuisance" and kind == "edit":
            self.edit(rest)
        elif kind in ROWS:
            self.row(name, kind, rest)
        elif kind == "rateParam":
            self.rate(name, rest)
        elif kind == "param":
            self.param(name, rest)
        elif kind == "extArg":
            self.external(name, rest)
        elif kind == "group":
            self.group(name, rest)
        elif kind == "autoMCStats":
            self.statistic(name, rest)
        elif kind == "flatParam":
            if name not in self.quantities:
                raise self.wrong(f"flatParam '{name}' belongs to a RooFit workspace, which is not read")
        elif kind in NOT_READ:
            raise self.wrong(f"'{kind}' is not read: {NOT_READ[kind]}")
        else:
            known = ", ".join([*ROWS[:9], "rateParam", "param", "extArg", "group", "autoMCStats"])
            raise self.wrong(f"unknown type '{kind}' of '{name}'; known are {known}")

    def row(self, name: str, kind: str, rest: list[str]) -> None:
        before = {GMN: 1, "unif": 2}.get(kind, 0)
        if len(rest) < before + len(self.columns):
            raise self.wrong(
                f"'{name}' has {max(0, len(rest) - before)} numbers for {len(self.columns)} columns of processes"
            )
        arguments = tuple(self.number(word, f"the number of '{name}'") for word in rest[:before])
        if kind == GMN and (arguments[0] < 0 or arguments[0] % 1):
            raise self.wrong(f"gmN '{name}' needs a whole number of events from 0 on, got {rest[0]}")
        effects = tuple(self.effect(name, kind, word) for word in rest[before : before + len(self.columns)])
        self.rows.append(Row(self.line, name, kind, arguments, effects))

    def effect(self, name: str, kind: str, word: str) -> float | tuple[float, float] | None:
        if re.fullmatch(r"-+", word):
            return None
        parts = [self.number(part, f"an effect of '{name}'") for part in word.split("/")]
        if len(parts) > 2 or (len(parts) == 2 and not kind.startswith("ln") and "?" not in kind):
            raise self.wrong(f"cannot read the effect '{word}' of '{name}'; only lnN has pairs lo/hi")
        if any(part <= 0 for part in parts) and (len(parts) == 2 or (parts[0] < 0 and kind not in ("trG", "unif"))):
            raise self.wrong(f"the effect '{word}' of '{name}' must be positive")
        if len(parts) == 2:
            return parts[0], parts[1]
        nothing = parts[0] == 0.0 or (kind in (LNN, "lnU") and parts[0] == 1.0)
        return None if nothing else parts[0]

    def bounds(self, word: str) -> tuple[float, float]:
        ends = word.strip("[]").split(",")
        if not (word.startswith("[") and word.endswith("]") and len(ends) == 2):
            raise self.wrong(f"cannot read the range '{word}'; expected [LOW,HIGH] without spaces")
        low, high = (self.number(end, "an end of a range") for end in ends)
        if not low < high:
            raise self.wrong(f"the range {word} is empty")
        return low, high

    def rate(self, name: str, rest: list[str]) -> None:
        if not 3 <= len(rest) <= 4:
            raise self.wrong(
                "expected: NAME rateParam CHANNEL PROCESS VALUE [LOW,HIGH], or ... PROCESS FORMULA ARGUMENTS"
            )
        chosen = tuple(
            i
            for i, column in enumerate(self.columns)
            if fnmatch.fnmatchcase(column.channel, rest[0]) and fnmatch.fnmatchcase(column.process, rest[1])
        )
        if not chosen:
            raise self.wrong(f"rateParam '{name}' matches no process: there is no '{rest[1]}' in channel '{rest[0]}'")
        if len(rest) == 4 and not rest[3].startswith("["):
            if "@" not in rest[2]:
                raise self.wrong(
                    f"the formula '{rest[2]}' of rateParam '{name}' has none of its arguments (@0, @1, ...)"
                )
            formula = numbered(rest[2], rest[3].split(","))
            self.rates.append(Rate(self.line, name, chosen, None, None, formula))
            return
        if ":" in rest[2] or ".root" in rest[2]:
            raise self.wrong(f"rateParam '{name}' stands in the RooFit workspace {rest[2]}, which is not read")
        limits = self.bounds(rest[3]) if len(rest) == 4 else None
        value = self.number(rest[2], f"the value of '{name}'")
        self.rates.append(Rate(self.line, name, chosen, value, limits, None))

    def param(self, name: str, rest: list[str]) -> None:
        if not 2 <= len(rest) <= 3:
            raise self.wrong("expected: NAME param MEAN WIDTH [LOW,HIGH]")
        mean = self.number(rest[0], f"the mean of '{name}'")
        parts = rest[1].split("/")
        if len(parts) == 2 and parts[0].startswith("-") and parts[1].startswith("+"):
            low, high = (self.number(part[1:], f"the width of '{name}'") for part in parts)
        else:
            low = high = self.number(rest[1], f"the width of '{name}' (-LOW/+HIGH for two)")
        if not (low > 0 and high > 0):
            raise self.wrong(f"the width of '{name}' must be positive, got {rest[1]}")
        self.quantity(Quantity(self.line, name, mean, low, high, self.bounds(rest[2]) if len(rest) == 3 else None))

    def external(self, name: str, rest: list[str]) -> None:
        if not rest or ":" in rest[0]:
            raise self.wrong(f"extArg '{name}' stands in a RooFit workspace, which is not read")
        value, held = self.number(rest[0], f"the value of '{name}'"), rest[1:] == ["[const]"]
        limits = self.bounds(rest[1]) if len(rest) > 1 and not held else None
        self.quantity(Quantity(self.line, name, value, 0.0, 0.0, limits, held))

    def quantity(self, found: Quantity) -> None:
        if found.name in self.quantities:
            raise self.wrong(f"the parameter '{found.name}' is there twice")
        self.quantities[found.name] = found

    def group(self, name: str, rest: list[str]) -> None:
        if len(rest) < 2 or rest[0] not in ("=", "+="):
            raise self.wrong("expected: NAME group = NUISANCE NUISANCE ...")
        if (rest[0] == "=") == (name in self.groups):
            state = "there already; add with +=" if name in self.groups else "not there; begin with ="
            raise self.wrong(f"the group '{name}' is {state}")
        self.groups[name] = tuple(dict.fromkeys((*self.groups.get(name, ()), *rest[1:])))

    def statistic(self, pattern: str, rest: list[str]) -> None:
        if not 1 <= len(rest) <= 3:
            raise self.wrong("expected: CHANNEL autoMCStats THRESHOLD [INCLUDE_SIGNAL [MODE]]")
        chosen = [c for c in self.channels if fnmatch.fnmatchcase(c, pattern)]
        if not chosen:
            raise self.wrong(f"autoMCStats of '{pattern}' matches no channel; there are {', '.join(self.channels)}")
        found = Statistics(self.number(rest[0], "the threshold"), len(rest) > 1 and rest[1] != "0")
        self.statistics |= dict.fromkeys(chosen, found)

    def edit(self, rest: list[str]) -> None:
        if rest[:1] == ["freeze"] and 2 <= len(rest) <= 3:
            if rest[2:] not in ([], ["ifexists"]):
                raise self.wrong(f"expected: nuisance edit freeze NAME [ifexists], got '{rest[2]}'")
            self.freezes.append((self.line, rest[1], rest[2:] == ["ifexists"]))
            return
        edits = Edits(self.rows, self.columns, Row, self.effect)
        try:
            self.rows = edits.apply(self.line, rest[0] if rest else "", rest[1:])
        except InputError as error:
            raise error if str(error).startswith("line ") else self.wrong(str(error)) from None

    def finish(self) -> None:
        """Groups name nuisances of the card; what is frozen is looked for among free parameters first (Combine)."""
        free = {r.name for r in self.rates} | {q.name for q in self.quantities.values() if q.low == 0.0}
        names = {row.name for row in self.rows} | free | set(self.quantities)
        for group, members in self.groups.items():
            unknown = [name for name in members if name not in names]
            if unknown:
                raise InputError(
                    f"the group '{group}' of the datacard '{self.path}' names '{unknown[0]}', which is no nuisance of "
                    f"it"
                )
        for number, pattern, if_exists in self.freezes:
            self.line = number
            try:
                found = [name for name in sorted(names) if matches(pattern, name)]
            except InputError as error:
                raise self.wrong(str(error)) from None
            found = [name for name in found if name in free] or found
            if not found and not if_exists:
                raise self.wrong(f"it freezes '{pattern}', which is no nuisance of the card")
            self.frozen += found


def numbered(formula: str, arguments: Sequence[str]) -> str:
    """A formula of RooFit with names in place of @0, @1, ... and without TMath:: before its functions."""
    text = re.sub(r"TMath::(\w+)", lambda found: {"power": "pow"}.get(found[1].lower(), found[1].lower()), formula)

    def name(found: re.Match[str]) -> str:
        number = int(found[1])
        if number >= len(arguments):
            raise InputError(f"the formula '{formula}' has no argument {found[0]}; there are {len(arguments)}")
        return f'"{arguments[number]}"'

    return re.sub(r"@(\d+)", name, text)
