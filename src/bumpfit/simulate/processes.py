"""What is generated: lines of Pythia settings (pythia.org/latest-manual) under a name."""

from __future__ import annotations

import dataclasses
import math
import os

from bumpfit.errors import InputError
from bumpfit.files import require, sha256

ENERGY = 13000.0
MOST_ENERGY = 1e6
OURS = ("random:", "print:", "stat:", "main:numberofevents", "main:timesallowerrors", "init:show", "next:number")
"""Settings that this program sets itself, or that steer a main program: left out of files that hold them."""


@dataclasses.dataclass(frozen=True)
class Process:
    """A process: its name, lines of Pythia settings, and how it was asked for (goes into the run card).

    Examples:
        >>> from bumpfit.simulate import Process
        >>> Process("top", ("Top:gg2ttbar = on",)).name
        'top'
    """

    name: str
    settings: tuple[str, ...]
    asked: tuple[tuple[str, float | int | str | bool], ...] = ()


def qcd_dijets(
    *, pt_min: float = 1000.0, mass_min: float = 2100.0, energy: float = ENERGY, mpi: bool = False
) -> Process:
    """QCD 2 -> 2 with partons above `pt_min` and partonic masses above `mass_min` (GeV), for the resonance search.

    mpi   multi-parton interactions: four times slower, and hardly visible in jets above 1 TeV

    Examples:
        >>> from bumpfit.simulate import qcd_dijets
        >>> qcd_dijets().name
        'qcd'
    """
    _positive(pt_min=pt_min, mass_min=mass_min, energy=energy)
    lines = ("HardQCD:all = on", f"PhaseSpace:pTHatMin = {pt_min!r}", f"PhaseSpace:mHatMin = {mass_min!r}")
    asked = (("pt_min", pt_min), ("mass_min", mass_min), ("energy", energy), ("mpi", mpi))
    return Process("qcd", (*_beams(energy, mpi), *lines), asked)


def resonance(
    mass: float,
    first: float,
    second: float,
    *,
    prongs: int | tuple[int, int] = 2,
    width: float = 1e-3,
    energy: float = ENERGY,
    mpi: bool = False,
) -> Process:
    """A heavy resonance A -> B C, each of which decays to two quarks, or to two quarks and a gluon.

    A is a W' (its production only; the decay is replaced); B and C are new particles of spin 0. Masses in GeV.

    prongs   2 or 3, for both or for B and C
    width    of A, relative to its mass; B and C have 0.5 GeV

    Raises:
        InputError: masses that are not positive or do not fit, another number of prongs.

    Examples:
        >>> from bumpfit.simulate import resonance
        >>> resonance(3500.0, 500.0, 100.0).name
        'resonance'
    """
    _positive(mass=mass, first=first, second=second, width=width, energy=energy)
    if width >= 1:
        raise InputError(f"width is {width}; expected the width relative to the mass, as 0.01")
    if first + second >= 0.8 * mass:
        raise InputError(
            f"a resonance of {mass:g} GeV cannot decay to {first:g} and {second:g} GeV over its whole line shape; "
            "expected m_B + m_C below 0.8 m_A"
        )
    pair = (prongs, prongs) if isinstance(prongs, int) else tuple(prongs)
    if len(pair) != 2 or any(n not in (2, 3) for n in pair):
        raise InputError(f"prongs is {prongs}; expected 2 or 3, or a pair of them")
    lines = [
        "NewGaugeBoson:ffbar2Wprime = on",
        f"34:m0 = {mass!r}", f"34:mWidth = {mass * width!r}", "34:doForceWidth = on",
        f"34:mMin = {0.8 * mass!r}", f"34:mMax = {1.2 * mass!r}",
        # the charged one takes the charge of the W'; names, spin, charge, colour, mass, width, range
        f"9000001:all = Xplus Xminus 1 3 0 {first!r} 0.5 {first * 0.9!r} {first * 1.1!r} 0.",
        f"9000002:all = Yzero void 1 0 0 {second!r} 0.5 {second * 0.9!r} {second * 1.1!r} 0.",
    ]  # fmt: skip
    for code in (9000001, 9000002):
        lines += [f"{code}:isResonance = on", f"{code}:doForceWidth = on"]
    gluon = {2: "", 3: " 21"}
    lines += [
        f"9000001:oneChannel = 1 1.0 101 2 -1{gluon[pair[0]]}",
        f"9000002:oneChannel = 1 1.0 101 1 -1{gluon[pair[1]]}",
        "34:oneChannel = 1 1.0 101 9000001 9000002",
    ]
    asked = (
        ("mass", mass), ("first", first), ("second", second), ("prongs_first", pair[0]), ("prongs_second", pair[1]),
        ("width", width), ("energy", energy), ("mpi", mpi),
    )  # fmt: skip
    return Process("resonance", (*_beams(energy, mpi), *lines), asked)


def boosted_w(*, pt_min: float = 250.0, pt_max: float = 300.0, energy: float = ENERGY, mpi: bool = True) -> Process:
    """W Z with W -> q q' and Z -> nu nu, transverse momentum of both between `pt_min` and `pt_max` (GeV).

    Examples:
        >>> from bumpfit.simulate import boosted_w
        >>> boosted_w().name
        'boosted_w'
    """
    lines = (
        "WeakDoubleBoson:ffbar2ZW = on",
        "24:onMode = off", "24:onIfAny = 1 2 3 4 5",
        "23:onMode = off", "23:onIfAny = 12 14 16",
    )  # fmt: skip
    return _in_range("boosted_w", lines, pt_min, pt_max, energy, mpi)


def qcd_jets(*, pt_min: float = 250.0, pt_max: float = 300.0, energy: float = ENERGY, mpi: bool = True) -> Process:
    """QCD 2 -> 2 with partons between `pt_min` and `pt_max` (GeV): the background of W tagging.

    Examples:
        >>> from bumpfit.simulate import qcd_jets
        >>> qcd_jets().name
        'qcd'
    """
    return _in_range("qcd", ("HardQCD:all = on",), pt_min, pt_max, energy, mpi)


def from_lines(name: str, lines: list[str] | tuple[str, ...]) -> Process:
    """Any process by lines of Pythia settings; those that this program sets itself (seed, printing) are left out.

    Examples:
        >>> from bumpfit.simulate import from_lines
        >>> from_lines("top", ["Top:gg2ttbar = on"]).settings
        ('Top:gg2ttbar = on',)
    """
    kept = tuple(" ".join(line.split()) for line in lines if line.strip()[:1].isalnum())
    kept = tuple(line for line in kept if not line.lower().startswith(OURS))
    if not kept:
        raise InputError(f"{name} holds no Pythia settings; expected lines such as 'HardQCD:all = on'")
    return Process(name, kept, tuple(("lhef_sha256", sha256(path)) for path in _event_files(kept)))


def from_file(path: str | os.PathLike[str]) -> Process:
    """Any process by a file of Pythia settings; lines that begin with neither letter nor digit are comments.

    Raises:
        InputError: no such file, no text, no settings in it, or it includes other files.

    Examples:
        >>> from pathlib import Path
        >>> settings = Path("top.cmnd")
        >>> settings.write_text("Top:gg2ttbar = on\\n")
        18
        >>> process = bumpfit.simulate.from_file(settings)
    """
    try:
        lines = require(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file; expected lines of Pythia settings") from error
    wrong = next((line for line in lines if line.strip().lower().startswith(("include", "main:subrun"))), None)
    if wrong is not None:
        raise InputError(f"{path} has the line '{wrong.strip()}'; expected plain settings in one file")
    return from_lines(os.path.splitext(os.path.basename(path))[0], lines)


def _event_files(lines: tuple[str, ...]) -> list[str]:
    """Les Houches files that the settings read events from."""
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    return [value.strip() for name, value in pairs if name.strip().lower() == "beams:lhef"]


def _in_range(name: str, lines: tuple[str, ...], low: float, high: float, energy: float, mpi: bool) -> Process:
    _positive(pt_min=low, pt_max=high, energy=energy)
    if not low < high:
        raise InputError(f"the range of pT is {low:g} to {high:g} GeV; expected the lower end first")
    limits = (f"PhaseSpace:pTHatMin = {low!r}", f"PhaseSpace:pTHatMax = {high!r}")
    asked = (("pt_min", low), ("pt_max", high), ("energy", energy), ("mpi", mpi))
    return Process(name, (*_beams(energy, mpi), *lines, *limits), asked)


def _beams(energy: float, mpi: bool) -> tuple[str, str]:
    return f"Beams:eCM = {float(energy)!r}", f"PartonLevel:MPI = {'on' if mpi else 'off'}"


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; expected a positive number")
        if name == "energy" and value > MOST_ENERGY:
            raise InputError(f"energy is {value:g} GeV; expected at most {MOST_ENERGY:g} (Pythia does not end beyond)")
