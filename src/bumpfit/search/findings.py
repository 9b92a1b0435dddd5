"""Everything a search found, for the report: the records and arrays that the figures show. Nothing is computed here."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.search.answers import Answers
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


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """All that the report shows.

    `first`: description after the first answer, `updated`: after the iterations (both None when nothing is claimed);
    `null_yield`: the yield fit of a generic signal when nothing is claimed; `window`: number of the window of the best
    selection; `updated_probability` (N,): P(signal) after the iterations.
    """

    answers: Answers
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
