"""Template histograms that a Combine datacard names, from ROOT files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.datacard import NO_SHAPES, Datacard
from bumpfit.workspace.templates import RootHistograms, Template

DATA = "data_obs"
"""Name of the process that the data have in lines 'shapes'."""


class Templates(RootHistograms):
    """The histograms of a card; files are opened once, in a `with` block."""

    def __init__(self, card: Datacard, mass: str) -> None:
        super().__init__("shapes of datacards")
        self.card, self.mass = card, mass

    def line(self, channel: str, process: str) -> tuple[int, tuple[str, ...]] | None:
        """Number and words (file, histogram, its variations) of the line for a process; None without one."""
        for key in ((channel, process), (channel, "*"), ("*", process), ("*", "*")):
            found = self.card.shapes.get(key)
            if found is not None:
                return None if found[1][0] == NO_SHAPES else found
        return None

    def template(self, channel: str, process: str, systematic: str | None = None) -> Template | None:
        """The histogram of a process, or of a variation (its name with Up or Down); None if it is not there.

        Raises InputError for files that cannot be read and objects that are no one-dimensional histograms.
        """
        found = self.line(channel, process)
        if found is None:
            return None
        number, words = found
        if systematic is not None and len(words) < 3:
            raise InputError(
                f"line {number} of the datacard '{self.card.path}' names no histograms with $SYSTEMATIC, which "
                f"'{systematic}' of process '{process}' needs"
            )
        pattern = words[1] if systematic is None else words[2]
        for word, value in (
            ("$PROCESS", process), ("$CHANNEL", channel), ("$MASS", self.mass), ("$SYSTEMATIC", systematic or ""),
        ):  # fmt: skip
            pattern = pattern.replace(word, value)
        file = words[0].replace("$CHANNEL", channel).replace("$MASS", self.mass).replace("$PROCESS", process)
        where = f"line {number} of the datacard '{self.card.path}'"
        if Path(file).suffix.lower() in (".csv", ".tsv", ".parquet", ".json"):
            raise InputError(f"{where} takes its templates from the table '{file}'; only ROOT files (TH1) are read")
        if ":" in pattern:
            raise InputError(
                f"{where} takes '{pattern}' from a RooFit workspace; only histograms are read (TH1); for functions of "
                "mass see bumpfit fit --family"
            )
        path = Path(file) if Path(file).is_absolute() else self.card.path.parent / file
        template = self.find(path, pattern, where, file)
        if template is not None and not np.isfinite(template.errors).all():
            raise InputError(f"the histogram '{pattern}' of '{file}' ({where}) has errors that are not finite")
        return template
