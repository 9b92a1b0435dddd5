"""Template histograms that a Combine datacard names, from ROOT files and CSV tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.datacard import NO_SHAPES, Datacard
from bumpfit.workspace.templates import RootHistograms, Template

DATA = "data_obs"
"""Name of the process that the data have in lines 'shapes'."""


TABLES = (".tsv", ".parquet", ".json", ".h5", ".hdf5", ".pkl", ".xlsx", ".html")
"""Tables that Combine reads, and this does not."""
SUMS = ("sum_w", "sum_ww")
"""Columns of the contents and of their squared errors, where a line names none."""


class Templates(RootHistograms):
    """The histograms of a card; files are opened once, in a `with` block."""

    def __init__(self, card: Datacard, mass: str) -> None:
        super().__init__("shapes of datacards")
        self.card, self.mass = card, mass
        self.tables: dict[Path, tuple[list[str], list[list[str]]]] = {}

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
        if Path(file).suffix.lower() == ".csv":
            return self._of_table(self.card.path.parent / file, pattern, f"the table '{file}' of {where}")
        if Path(file).suffix.lower() in TABLES:
            raise InputError(f"{where} takes its templates from the table '{file}'; of tables only CSV is read")
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

    def _of_table(self, path: Path, pattern: str, where: str) -> Template | None:
        """The rows whose first columns are the words of `pattern`, LEVEL:LEVEL...,CONTENT:SQUARE; the column after them
        has lower edges, and the last row, which closes the last bin, no content.
        """
        if path not in self.tables:
            self.tables[path] = _table(path, where)
        header, rows = self.tables[path]
        words, _, columns = pattern.partition(",")
        levels, sums = words.split(":"), tuple(columns.split(":")) if columns else SUMS
        index = [name for name in header if name not in sums]
        if len(sums) != 2 or not set(sums) <= set(header) or len(index) != len(levels) + 1:
            raise InputError(
                f"{where} has the columns {', '.join(header)}; '{pattern}' needs {len(levels)} of words, one of edges "
                f"and {' and '.join(sums)}"
            )
        places = [header.index(name) for name in (*index, *sums)]
        found = [[row[k] for k in places] for row in rows]
        chosen = [row[len(levels) :] for row in found if row[: len(levels)] == levels]
        if not chosen:
            return None
        try:
            edges, values, squares = np.array(chosen, dtype=np.float64).T
        except ValueError:
            raise InputError(f"{where}: a number of '{words}' cannot be read") from None
        if not np.isfinite([edges, values, squares]).all() or (squares < 0).any() or (np.diff(edges) <= 0).any():
            raise InputError(f"{where}: '{words}' needs finite numbers, squares of 0 or more and edges that rise")
        if len(edges) < 2 or values[-1] != 0:
            raise InputError(f"{where}: the last row of '{words}' closes the last bin, so its content must be 0")
        return Template(edges, values[:-1], np.sqrt(squares[:-1]))


def _table(path: Path, where: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"cannot read {where}: {error}") from error
    if any(len(row) != len(header) for row in rows):
        raise InputError(f"{where} has rows that are not as long as its header")
    return header, rows
