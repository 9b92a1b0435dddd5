"""Cards given to MadGraph5_aMC: which kind each is, found from its content as MadGraph does, never from its name.

MadGraph copies a card over that of the process whose kind it recognises (`detect_card_type` of
madgraph/interface/common_run_interface.py): its markers of the kinds that hold seeds are repeated here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bumpfit.errors import InputError

LOOKED_AT = 50_000
"""Characters from the beginning of a card that MadGraph looks at."""
DELPHES = re.compile("ParticlePropagator|ExecutionPath|Treewriter|CEN_max_tracker", re.IGNORECASE)
PYTHIA8 = re.compile("main:numberofevents", re.IGNORECASE)
BEFORE_PYTHIA8 = re.compile(
    r"<mgversion>|<mg5proccard>|@mg5amc|#trigger card|parameter set name|muon eta coverage|mstp|begin minpts|"
    r"block\s+mw_run|transfer_card\.dat|b_stable|fo_analysis_format",
    re.IGNORECASE,
)
"""Markers of other kinds, which MadGraph looks for first."""
SETTING = re.compile(r"^\s*[A-Za-z]\w*:[A-Za-z]\w*\s*=", re.MULTILINE)
"""A setting of Pythia 8, such as `PartonLevel:MPI = off`."""


def kind(path: str | Path) -> str:
    """`delphes_card`, `pythia8_card` or, for all others, an empty text.

    Raises:
        InputError: the card cannot be read, or has settings of Pythia 8 without the line by which MadGraph knows them.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")[:LOOKED_AT]
    except OSError as error:
        raise InputError(f"cannot read the card {path} ({error.strerror})") from error
    if DELPHES.search(text) and not re.search("<mgversion>|<mg5proccard>", text, re.IGNORECASE):
        return "delphes_card"
    if BEFORE_PYTHIA8.search(text):
        return ""
    if PYTHIA8.search(text):
        return "pythia8_card"
    if SETTING.search(text):
        raise InputError(
            f"the card {path} holds settings of Pythia 8, but MadGraph knows them by the line 'Main:numberOfEvents = "
            "...', which is missing; add 'Main:numberOfEvents = -1' (all events)"
        )
    return ""


def of_kind(wanted: str, cards: Sequence[str]) -> str | None:
    """The card of a kind that counts: MadGraph copies one after the other, so the last."""
    return next((card for card in reversed(cards) if kind(card) == wanted), None)
