"""The detector card: every number of the parametric detector and of the jets, in one place.

A card of your own is a TOML file with the sections and names below; what it leaves out keeps its value. Energies and
transverse momenta in GeV, angles in radians.

    [hcal]
    stochastic = 0.5

    [fat_jets]
    radius = 0.8

The defaults stand for a general-purpose detector as in the usual Delphes cards of CMS and ATLAS (arXiv:1307.6346),
with a coarse hadron calorimeter: charged particles are measured by the tracker, photons and electrons outside the
tracker by the ECAL, everything else that is visible by the HCAL.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from bumpfit.errors import InputError
from bumpfit.foreign import read_toml

AXES = ("KT_Axes", "CA_Axes", "WTA_KT_Axes", "WTA_CA_Axes", "OnePass_KT_Axes", "OnePass_CA_Axes",
        "OnePass_WTA_KT_Axes", "OnePass_WTA_CA_Axes")  # fmt: skip
ALGORITHMS = {"antikt": "antikt_algorithm", "kt": "kt_algorithm", "cambridge": "cambridge_algorithm"}


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The tracker: charged particles up to `eta_max`.

    efficiency        probability to find a track with pT above `efficiency_pt`
    efficiency_low    the same between `pt_min_found` and `efficiency_pt`; none below
    pt_constant       relative resolution of pT, added in quadrature with
    pt_slope          times pT
    threshold         least measured pT of a track that is used
    """

    eta_max: float = 2.5
    efficiency: float = 0.95
    efficiency_low: float = 0.70
    efficiency_pt: float = 1.0
    pt_min_found: float = 0.1
    pt_constant: float = 0.01
    pt_slope: float = 1.5e-4
    threshold: float = 0.5


@dataclasses.dataclass(frozen=True)
class Calorimeter:
    """A calorimeter up to `eta_max`: sigma_E / E = stochastic / sqrt(E) + constant + noise / E, in quadrature.

    cell        size in eta and phi; a particle is seen at the centre of its cell
    merge       add up the particles of a cell before they are measured, as towers do; else each is measured alone
    threshold   least measured transverse energy
    """

    eta_max: float = 5.0
    cell: float = 0.02
    stochastic: float = 0.07
    constant: float = 0.0055
    noise: float = 0.0
    threshold: float = 0.5
    merge: bool = False


@dataclasses.dataclass(frozen=True)
class Leptons:
    """Electrons, muons and photons: least pT and isolation (they are found as tracker and ECAL find them).

    An object is isolated when the pT of everything else within `cone` is below `isolation` times its own.
    """

    pt_min: float = 10.0
    eta_max: float = 2.5
    cone: float = 0.5
    isolation: float = 0.12


@dataclasses.dataclass(frozen=True)
class Jets:
    """Jets: algorithm (antikt, kt or cambridge), radius, least pT, range in eta."""

    algorithm: str = "antikt"
    radius: float = 0.5
    pt_min: float = 20.0
    eta_max: float = 5.0


@dataclasses.dataclass(frozen=True)
class Subjettiness:
    """N-subjettiness (Thaler, Van Tilburg, arXiv:1011.2268) by fastjet-contrib, normalised measure.

    axes     how the axes are found; OnePass_KT_Axes is the default of fastjet and of Delphes, KT_Axes are exclusive kT
             jets without minimisation
    beta     angular exponent
    radius   R0 of the normalisation
    most     tau_1 to tau_most are computed
    """

    axes: str = "OnePass_KT_Axes"
    beta: float = 1.0
    radius: float = 0.8
    most: int = 5


RANGES = {
    "eta_max": (1e-3, 20.0),
    "cell": (1e-4, 3.2),
    "radius": (1e-3, 3.2),
    "beta": (1e-2, 10.0),
    "most": (1, 20),
    "stochastic": (0.0, 100.0),
    "constant": (0.0, 10.0),
    "noise": (0.0, 1e4),
    "pt_constant": (0.0, 10.0),
    "pt_slope": (0.0, 10.0),
    "efficiency": (0.0, 1.0),
    "efficiency_low": (0.0, 1.0),
}
"""Values of which detectors and jets make sense; beyond them numbers overflow, or fastjet ends the process
(a radius above 1000, more than 20 axes). Other values: from 0 to `MOST`."""
MOST = 1e6


def _check(name: str, value: Any) -> None:
    """Raise InputError for a value that no detector has."""
    short = name.split(".")[-1]
    if short == "axes":
        if value not in AXES:
            raise InputError(f"{name} is '{value}'; expected one of {', '.join(AXES)}")
    elif short == "algorithm":
        if value not in ALGORITHMS:
            raise InputError(f"{name} is '{value}'; expected one of {', '.join(ALGORITHMS)}")
    elif short != "merge":
        low, high = RANGES.get(short, (0.0, MOST))
        if not low <= value <= high:
            raise InputError(f"{name} is {value}; expected a number from {low:g} to {high:g}")


@dataclasses.dataclass(frozen=True)
class Card:
    """All numbers between generated particles and what is written.

    Examples:
        >>> from bumpfit.simulate import Card
        >>> Card().tracks.eta_max
        2.5
    """

    tracks: Tracks = Tracks()
    ecal: Calorimeter = Calorimeter()
    hcal: Calorimeter = Calorimeter(cell=0.087, stochastic=1.5, constant=0.05)
    leptons: Leptons = Leptons()
    jets: Jets = Jets()
    fat_jets: Jets = Jets(radius=0.8, pt_min=200.0)
    subjettiness: Subjettiness = Subjettiness()

    def __post_init__(self) -> None:
        for section in dataclasses.fields(self):
            for name, value in dataclasses.asdict(getattr(self, section.name)).items():
                _check(f"{section.name}.{name}", value)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain form, as in the TOML file."""
        return dataclasses.asdict(self)


DELPHES = Card()
"""Jets of R = 0.5, large-radius jets of R = 0.8 above 200 GeV: what `wtag` and `process` write."""
SEARCH = dataclasses.replace(
    DELPHES,
    fat_jets=Jets(radius=1.0, pt_min=50.0),
    subjettiness=Subjettiness(axes="KT_Axes", radius=1.0, most=3),
)
"""Large-radius jets of the resonance search: anti-kT R = 1.0, exclusive-kT axes (as in the LHC Olympics)."""


def read_card(path: str | os.PathLike[str], base: Card = DELPHES) -> Card:
    """A card from a TOML file; what the file leaves out is that of `base`.

    Raises:
        InputError: no such file, no TOML, an unknown section or name, a value of the wrong kind or out of range.

    Examples:
        >>> from pathlib import Path
        >>> Path("card.toml").write_text("[tracks]\\nefficiency = 0.9\\n") > 0
        True
        >>> bumpfit.simulate.read_card("card.toml").tracks.efficiency
        0.9
    """
    given = read_toml(path, "a card of the simulation")
    sections = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    changed = {}
    for title, entries in given.items():
        if title not in sections or not isinstance(entries, dict):
            raise InputError(f"{path} has '{title}'; expected the sections {', '.join(sections)}")
        known = {
            field.name: type(getattr(sections[title], field.name)) for field in dataclasses.fields(sections[title])
        }
        for name, value in entries.items():
            if name not in known:
                raise InputError(f"{path}: [{title}] has no '{name}'; it has {', '.join(known)}")
            entries[name] = _cast(value, known[name], f"{path}: {title}.{name}")
        changed[title] = dataclasses.replace(sections[title], **entries)
    return dataclasses.replace(base, **changed)


def _cast(value: Any, kind: type, name: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{name} is {value!r}; expected a value of the kind {kind.__name__}")
    return value
