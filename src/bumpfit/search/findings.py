"""Everything a search found: records and arrays, without words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.results import Record
from bumpfit.search.config import SearchConfig
from bumpfit.search.peaks import PeakFit
from bumpfit.search.sideband_test import SidebandTest
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.template import YieldFit
from bumpfit.search.template_scores import TemplateScores
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.windows import Window

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ShapeCheck:
    """Does a selection keep the m_JJ shape of the background table? chi2 of cut against uncut, bins, probability.

    `edges` (B+1,), `selected` and `expected` (B,): selected background events and their share of the whole table.
    """

    background_efficiency: float
    chi2: float
    bins: int
    p: float
    edges: Array
    selected: Array
    expected: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores of all events: background survival fraction of data (N,) and background (M,), P(signal) of data (N,)."""

    survival: Array
    background_survival: Array
    probability: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """What the new physics looks like: three peaks (resonance, lighter, heavier daughter) and the yield fit.

    `span`: dijet masses in GeV whose events `template_scores` holds.
    """

    resonance: PeakFit
    light: PeakFit
    heavy: PeakFit
    yield_fit: YieldFit | None
    template_scores: TemplateScores | None
    span: tuple[float, float] | None = None

    @property
    def peaks(self) -> tuple[PeakFit, PeakFit, PeakFit]:
        """Resonance, lighter and heavier daughter."""
        return self.resonance, self.light, self.heavy

    @property
    def prongs(self) -> int | None:
        """Prongs of both daughters, where the yield fit decides; None where it does not, or there is none."""
        return None if self.yield_fit is None else self.yield_fit.prongs

    @property
    def ordered(self) -> tuple[PeakFit, PeakFit, PeakFit]:
        """Resonance, and the daughters by their mass: a fit may put the lighter jet above the heavier one."""
        first, second = sorted((self.light, self.heavy), key=lambda peak: peak.mass)
        return self.resonance, first, second


Origin = Literal[
    "all events",
    "templates",
    "generic templates",
    "spectrum",
    "regions",
    "selection",
    "generic selection",
]


@dataclasses.dataclass(frozen=True)
class Value:
    """A measured value with a symmetric error."""

    value: float
    error: float


@dataclasses.dataclass(frozen=True)
class SignalEvents:
    """Signal events before any selection, with a 68.27 % interval, and which measurement they come from."""

    value: float
    error_low: float
    error_high: float
    origin: Origin


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of the search: which (`kind`), whether it passed (None: not applicable), and the numbers that decided.

    No resonance is claimed while a `decisive` check fails.
    """

    kind: str
    passed: bool | None
    numbers: Mapping[str, Any]
    decisive: bool = False


Verdict = Literal["resonance", "difference", "nothing"]


@dataclasses.dataclass(frozen=True, eq=False)
class Particle:
    """A resonance that is claimed.

    `p_local`, `p_global` with their significances: of the test that found it, in which earlier ones were removed;
    `low`, `high`: the mass window that was searched, in GeV. `daughters`: lighter first, empty where the features do
    not tell. `description`: the fits that the masses come from. `trials`, `draws`, `error`: of the test, as in
    `two_sample.GlobalP`; an asymptotic one has no draws. `two_prong_preference`: 2 ln L for two prongs over three,
    where there is no description and that is known.
    """

    p_local: float
    z_local: float
    p_global: float
    z_global: float
    low: float
    high: float
    resonance: Value | None
    daughters: tuple[Value, ...]
    signal: SignalEvents
    upper_95: float
    description: Description | None = None
    trials: int = 1
    draws: int = 0
    error: float | None = None
    two_prong_preference: float | None = None


@dataclasses.dataclass(frozen=True)
class Further(Record):
    """The excess after removing the particles found before: `reason` says why it is none, if it is none."""

    z_global: float
    p_global: float
    masses: tuple[float, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Step:
    """A step after the first answer: which (`kind`), numbers before and after, and whether its result was `taken`."""

    kind: Literal["templates", "masses", "cross-check", "closer look"]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    taken: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """All that a search found.

    `seed` made the random choices; `verdict`: what is said (`verdict.decide`); `particles`: the resonances that are
    claimed, the leading one first, none unless the verdict is a resonance; `signal` and `upper_95`: signal events
    before any selection; `checks` and `steps` in the order in which they were made; `first`: description of the largest
    excess after the first answer, `updated`: after the iterations (both None below `config.claim_z`); `null_yield`: the
    yield fit of a generic signal below it; `updated_probability` (N,): P(signal) after the iterations; `sidebands`: the
    primary test where there is no background table but there are sidebands.
    """

    config: SearchConfig
    data: Events
    background: Events | None
    windows: tuple[Window, ...]
    test: TwoSampleTest | None
    scores: Scores
    updated_probability: Array
    spectra: tuple[SpectrumTest, ...]
    shapes: tuple[ShapeCheck, ...]
    first: Description | None
    updated: Description | None
    null_yield: YieldFit | None
    seed: int
    verdict: Verdict
    particles: tuple[Particle, ...]
    signal: SignalEvents
    upper_95: float
    checks: tuple[Check, ...]
    steps: tuple[Step, ...]
    sidebands: SidebandTest | None = None

    @property
    def claim(self) -> bool:
        """Whether a resonance is claimed."""
        return self.verdict == "resonance"

    @property
    def final(self) -> Description | None:
        """The latest description of a candidate."""
        return self.updated or self.first

    @property
    def yield_fit(self) -> YieldFit | None:
        """The latest template fit: of the candidate, or of a generic signal."""
        return self.null_yield if self.final is None else self.final.yield_fit
