"""MadGraph5_aMC (arXiv:1405.0301): command scripts of a process and its runs, and starting the program with them.

process = MadGraph(("p p > w+ z", "p p > w- z"), output="wz", definitions={"j": "j b b~"})
launch = Launch(shower="Pythia8", detector="Delphes", settings={"nevents": 10_000}, seed=42, multi_run=2)
print(process.script(launch))
runs = process.run(launch)          # needs the executable mg5_aMC; or read_runs("wz") of a folder that is finished
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate import madgraph_cards
from bumpfit.simulate.madgraph_runs import Run, read_runs

SHOWERS = ("OFF", "Pythia8")
DETECTORS = ("OFF", "Delphes")
SPIN = ("OFF", "ON", "onshell", "none", "full")
SEEDS = ("iseed", "random:seed", "random:setseed", "randomseed")
MOST_SEED = 30081 * 30081
"""MadGraph's random generator takes seeds below."""


@dataclasses.dataclass(frozen=True)
class Launch:
    """One `launch`: what runs after the matrix elements, and with which settings.

    shower      OFF or Pythia8; detector: OFF or Delphes (needs a shower)
    madspin     OFF, ON, onshell, none or full: decays with spin correlations, given by `decays`
    decays      lines of MadSpin, such as "w+ > j j"
    settings    parameters of the run and parameter cards, written as `set NAME VALUE`
    cards       files that replace the cards of the process: MadGraph finds their kind from their content, and the last
                of a kind counts
    multi_run   number of runs, each with the next seed
    seed        of MadGraph (`iseed`), Pythia 8 (`Random:seed`) and Delphes (`RandomSeed`); their own choices when None
    """

    shower: str = "OFF"
    detector: str = "OFF"
    madspin: str = "OFF"
    decays: tuple[str, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cards: tuple[str, ...] = ()
    multi_run: int = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("shower", SHOWERS), ("detector", DETECTORS), ("madspin", SPIN)):
            known = {choice.lower(): choice for choice in choices}
            given = str(getattr(self, name))
            if given.lower() not in known:
                raise InputError(f"{name} is '{given}'; expected one of {', '.join(choices)}")
            object.__setattr__(self, name, known[given.lower()])
        if self.detector != "OFF" and self.shower == "OFF":
            raise InputError("a detector needs showered events; add shower=Pythia8")
        if self.decays and self.madspin == "OFF":
            raise InputError("decays are made by MadSpin; add madspin=ON, or write them into the process")
        if not _whole(self.multi_run) or self.multi_run < 1:
            raise InputError(f"multi_run is {self.multi_run}; expected a whole number of at least 1")
        if self.seed is not None and not (_whole(self.seed) and 0 < self.seed < MOST_SEED):
            raise InputError(f"the seed is {self.seed}; expected a whole number from 1 to {MOST_SEED - 1}")
        for name in self.settings if self.seed is not None else ():
            if name.lower().split()[-1] in SEEDS:
                raise InputError(f"the seed is given twice, as seed and as the setting {name}")
        for name, value in self.settings.items():
            _line("setting", name)
            _line("setting", _written(value))
        for card in self.cards:
            _line("card", card)
        for decay in self.decays:
            _line("decay", decay)
            if ">" not in decay:
                raise InputError(f"'{decay}' is no decay; expected as in 'w+ > j j'")

    def lines(self, output: str) -> list[str]:
        """The lines of the script from `launch` on."""
        first = f"launch {output}" if self.multi_run == 1 else f"launch -i {output}"
        lines = [first] if self.multi_run == 1 else [first, f"multi_run {self.multi_run}"]
        lines += [f"shower={self.shower}", f"detector={self.detector}", f"madspin={self.madspin}", "done"]
        lines += [os.path.abspath(card) for card in self.cards]
        lines += [f"set {name} {_written(value)}" for name, value in self.settings.items()]
        lines += [] if self.seed is None else [f"set iseed {self.seed}"]
        # typed where cards are edited, a decay replaces that particle's line in MadSpin's card
        lines += ["decay " + decay for decay in self.decays]
        lines += ["done"]
        return lines if self.multi_run == 1 else [*lines, "exit"]

    @property
    def seeded_cards(self) -> dict[str, tuple[str, str]]:
        """Cards that must hold the seed: kind, and the lines that go before and after the card.

        Pythia 8 and Delphes have random generators of their own, which `iseed` does not reach.
        """
        found: dict[str, tuple[str, str]] = {}
        if self.seed is not None and self.shower == "Pythia8":
            found["pythia8_card"] = ("", f"\nRandom:setSeed = on\nRandom:seed = {self.seed}\n")
        if self.seed is not None and self.detector == "Delphes":
            found["delphes_card"] = (f"set RandomSeed {self.seed}\n", "")
        return found


@dataclasses.dataclass(frozen=True)
class MadGraph:
    """A process: model, particles defined, processes (the first is generated, the others are added), output folder."""

    processes: tuple[str, ...]
    output: str
    model: str = "sm"
    definitions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.processes:
            raise InputError("there is no process; expected at least one, as 'p p > w+ z'")
        for process in self.processes:
            _line("process", process)
            if not all(side.strip() for side in process.split(">")) or ">" not in process:
                raise InputError(f"'{process}' is no process; expected as in 'p p > w+ z'")
        if not self.output or self.output[0] in "-#!" or any(mark.isspace() or mark == ";" for mark in self.output):
            raise InputError(
                f"the output folder is '{self.output}'; expected a path without blanks and semicolons (MadGraph splits "
                "there) that begins with none of - # !"
            )
        _line("model", self.model)
        for name, value in self.definitions.items():
            _line("definition", f"{name} = {value}")

    def script(self, *launches: Launch) -> str:
        """The commands of MadGraph5_aMC, one a line."""
        lines = [f"import model {self.model}"]
        lines += [f"define {name} = {value}" for name, value in self.definitions.items()]
        lines += [f"{'add process' if place else 'generate'} {text}" for place, text in enumerate(self.processes)]
        lines += [f"output {self.output}"]
        for launch in launches:
            for kind, texts in launch.seeded_cards.items():
                said = ", ".join(line for text in texts for line in text.split("\n") if line)
                lines += [f"# the seed of Cards/{kind}.dat: {said}"]
            lines += launch.lines(self.output)
        return "\n".join(lines) + "\n"

    def run(self, *launches: Launch, executable: str = "mg5_aMC") -> list[Run]:
        """Run MadGraph with the script and read what it made; its output goes to the file `OUTPUT.log`.

        With a seed, the process is made first and launched then, with cards that hold the seed: those that were given,
        or MadGraph's defaults.

        Raises:
            InputError: the executable or a card is missing, MadGraph would not know a card for Pythia 8, the output
                folder exists or cannot be made.
            BumpfitError: MadGraph ends with an error or makes no run.
        """
        program = find(executable)
        for launch in launches:
            for card in launch.cards:
                if not Path(card).is_file():
                    raise InputError(f"there is no card {card}; check the path")
                madgraph_cards.kind(card)
        if Path(self.output).exists():
            raise InputError(f"{self.output} exists; choose another output folder, or read its runs")
        log = Path(f"{self.output}.log")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("")
        except OSError as error:
            raise InputError(f"cannot write {log} ({error.strerror}); choose another output") from error
        with tempfile.TemporaryDirectory() as folder:
            if any(launch.seeded_cards for launch in launches):
                self._execute(program, self.script(), log, Path(folder))
                seeded = [self._seeded(launch, Path(folder)) for launch in launches]
                self._execute(program, "\n".join(line for one in seeded for line in one) + "\n", log, Path(folder))
            else:
                self._execute(program, self.script(*launches), log, Path(folder))
        return read_runs(self.output) if launches else []

    def _execute(self, program: str, text: str, log: Path, folder: Path) -> None:
        """One call of MadGraph with a script; its output is added to the log."""
        script = folder / "script.mg5"
        script.write_text(text)
        with open(log, "a") as stream:
            try:
                done = subprocess.run(
                    [program, str(script)], stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                    check=False,
                )  # fmt: skip
            except OSError as error:
                log.unlink()
                raise InputError(
                    f"{program} cannot be started ({error.strerror}); expected MadGraph's mg5_aMC"
                ) from error
        if done.returncode or not Path(self.output).is_dir():
            raise BumpfitError(f"MadGraph ended with code {done.returncode}{_complaint(log)}; its output is in {log}")

    def _seeded(self, launch: Launch, folder: Path) -> list[str]:
        """The lines of a launch with copies of its cards that hold the seed."""
        cards = list(launch.cards)
        for kind, (before, after) in launch.seeded_cards.items():
            given = madgraph_cards.of_kind(kind, launch.cards)
            source = Path(self.output) / "Cards" / f"{kind}_default.dat" if given is None else Path(given)
            try:
                text = source.read_text(errors="surrogateescape")
            except OSError as error:
                raise BumpfitError(f"cannot read {source} ({error.strerror}), which must hold the seed") from error
            number = len(list(folder.glob(f"*{kind}.dat")))
            made = folder / f"{number}_{kind}.dat"
            made.write_text(before + text + after, errors="surrogateescape")
            cards.append(str(made))  # the last of a kind counts
        return dataclasses.replace(launch, cards=tuple(cards)).lines(self.output)


def find(executable: str = "mg5_aMC") -> str:
    """Path of MadGraph's program; raises InputError in one sentence when it is not installed."""
    program = shutil.which(executable)
    if program is None:
        raise InputError(
            f"MadGraph5_aMC is not installed: there is no program '{executable}'; install it from "
            "launchpad.net/mg5amcnlo and put its bin folder on the PATH, or print the script with --dry"
        )
    return program


def _line(what: str, text: str) -> None:
    """Raise InputError for text that would be more than one command."""
    if not text.strip() or "\n" in text or ";" in text or text.lstrip().startswith("!"):
        raise InputError(f"the {what} is {text!r}; expected one line without semicolons")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _written(value: Any) -> str:
    return str(value) if not isinstance(value, list | tuple) else " ".join(str(v) for v in value)


def _complaint(log: Path) -> str:
    """What MadGraph said was wrong."""
    rows = [" ".join(row.split()) for row in log.read_text(errors="replace").splitlines()]
    wrong = next((row for row in rows if re.search(r"error|critical|command .* interrupted", row, re.IGNORECASE)), None)
    return "" if wrong is None else f": {wrong[:200]}"
