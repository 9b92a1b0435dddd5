"""Template histograms that a Combine datacard names, from ROOT files."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.types import Floats
from bumpfit.workspace.datacard import Datacard

DATA = "data_obs"
"""Name of the process that the data have in lines 'shapes'."""


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """Edges (B + 1,), contents (B,) and their errors (B,)."""

    edges: Floats
    values: Floats
    errors: Floats


class Templates:
    """The histograms of a card; files are opened once, in a `with` block."""

    def __init__(self, card: Datacard, mass: str) -> None:
        self.card, self.mass = card, mass
        self.stack = contextlib.ExitStack()
        self.files: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def line(self, channel: str, process: str) -> tuple[int, tuple[str, ...]] | None:
        """Number and words (file, histogram, its variations) of the line for a process; None without one."""
        for key in ((channel, process), (channel, "*"), ("*", process), ("*", "*")):
            found = self.card.shapes.get(key)
            if found is not None:
                return None if found[1][0] == "FAKE" else found
        return None

    def find(self, channel: str, process: str, systematic: str | None = None) -> Template | None:
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
        return self._histogram(file, pattern, number)

    def _histogram(self, file: str, name: str, line: int) -> Template | None:
        where = f"line {line} of the datacard '{self.card.path}'"
        opened = self._open(file, where)
        try:
            if ":" in name:
                raise InputError(
                    f"{where} takes '{name}' from a RooFit workspace; only histograms are read (TH1); for functions of "
                    "mass see bumpfit fit --family"
                )
            if name not in opened:
                return None
            histogram = opened[name]
            if len(getattr(histogram, "axes", ())) != 1 or not hasattr(histogram, "errors"):
                raise InputError(
                    f"'{name}' of '{file}' ({where}) is no histogram with one axis, but {type(histogram).__name__}"
                )
            edges, values, errors = (
                np.asarray(part, dtype=np.float64)
                for part in (histogram.axes[0].edges(), histogram.values(), histogram.errors())
            )
        except InputError:
            raise
        except Exception as error:  # uproot passes on whatever a damaged file makes of it
            raise InputError(f"cannot read '{name}' of '{file}' ({where}): {str(error)[:200]}") from error
        if not (np.isfinite(values).all() and np.isfinite(errors).all()):
            raise InputError(f"the histogram '{name}' of '{file}' ({where}) has contents that are not finite")
        return Template(edges, values, errors)

    def _open(self, file: str, where: str) -> Any:
        if file not in self.files:
            try:
                import uproot
            except ImportError as error:
                raise MissingExtraError("uproot", "root", "reading the shapes of datacards") from error
            path = Path(file) if Path(file).is_absolute() else self.card.path.parent / file
            try:
                self.files[file] = self.stack.enter_context(uproot.open(path))
            except (OSError, ValueError) as error:
                raise InputError(f"cannot open the file '{file}' of {where}: {str(error)[:200]}") from error
        return self.files[file]
