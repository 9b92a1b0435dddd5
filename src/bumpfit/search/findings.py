"""Everything a search found: records and arrays, without words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.search.config import SearchConfig
from bumpfit.search.peaks import PeakFit
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.template import TemplateScores, YieldFit
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
    """What the new physics looks like: three peaks (resonance, lighter, heavier daughter) and the yield fit."""

    resonance: PeakFit
    light: PeakFit
    heavy: PeakFit
    yield_fit: YieldFit | None
    template_scores: TemplateScores | None


Origin = Literal["excess", "excess without jets", "templates", "generic templates", "spectrum"]


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
    """A check of the search: which (`kind`), whether it passed, and the numbers that decided."""

    kind: str
    passed: bool
    numbers: Mapping[str, Any]


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

    `seed` made the random choices; `claim`: the global significance reaches `config.claim_z`; `signal` and
    `upper_95`: signal events before any selection; `checks` and `steps` in the order in which they were made;
    `first`: description after the first answer, `updated`: after the iterations (both None when nothing is claimed);
    `null_yield`: the yield fit of a generic signal when nothing is claimed; `window`: number of the window of the best
    selection; `updated_probability` (N,): P(signal) after the iterations; `spectrum_mass`: position of the peak in
    the spectrum, where that is the primary test.
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
    window: int | None
    first: Description | None
    updated: Description | None
    null_yield: YieldFit | None
    seed: int
    claim: bool
    signal: SignalEvents
    upper_95: float
    checks: tuple[Check, ...]
    steps: tuple[Step, ...]
    spectrum_mass: Value | None = None

    @property
    def final(self) -> Description | None:
        """The latest description of a candidate."""
        return self.updated or self.first

    @property
    def yield_fit(self) -> YieldFit | None:
        """The latest template fit: of the candidate, or of a generic signal."""
        return self.null_yield if self.final is None else self.final.yield_fit

    @property
    def resonance(self) -> Value | None:
        """Mass of a claimed resonance."""
        if not self.claim or self.final is None:
            return self.spectrum_mass if self.claim else None
        return Value(self.final.resonance.mass, self.final.resonance.error)

    @property
    def daughters(self) -> tuple[Value, ...]:
        """Masses of the daughters of a claimed resonance, the lighter first."""
        if not self.claim or self.final is None:
            return ()
        pair = sorted((self.final.light, self.final.heavy), key=lambda peak: peak.mass)
        return tuple(Value(peak.mass, peak.error) for peak in pair)
