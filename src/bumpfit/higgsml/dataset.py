"""Files of the challenge: Parquet with a metadata file beside it, read by row groups in bounded memory.

`NAME.parquet` has its metadata in `NAME_metadata.json` (or another `*_metadata.json` in the folder, when there is one
only). The test set is the first 30 % of the rows, the training set the rest. The weights of whatever is loaded are
rescaled so that they sum to the metadata's `sum_weights`, as in the official code.
"""

from __future__ import annotations

import dataclasses
import filecmp
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.files import atomic, require
from bumpfit.foreign import read_json
from bumpfit.higgsml.columns import (
    ALIASES,
    HARD_EVENT,
    LABEL,
    PRIMARY,
    PROCESS,
    STRATUM,
    WEIGHTS,
    check_weights,
    checked,
    official,
)  # fmt: skip

TEST_FRACTION = 0.3
BATCH = 1 << 18
"""Rows that are in memory at a time while a file is streamed."""

SUM_TOLERANCE = 1e-4
"""Largest relative difference between the sum of the weights and that of the metadata (weights are float32)."""

Part = Literal["all", "train", "test"]


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What the metadata file says: expected events in `luminosity` (fb-1), and the number of rows (None: not said)."""

    sum_weights: float
    luminosity: float = 10.0
    total_rows: int | None = None


def packaged() -> Path:
    """The packaged sample: simulated events, too few for a measurement in 10 fb-1."""
    return Path(str(resources.files("bumpfit.data").joinpath("higgsml_sample.parquet")))


def write_packaged(out: str | os.PathLike[str], overwrite: bool = False) -> tuple[int, Path]:
    """Copy the packaged sample to `out` with its metadata beside it: the number of rows and the metadata's path.

    Raises:
        InputError: no `.parquet` ending, or one of the files is there with other content and no `overwrite`.
    """
    target = Path(out)
    if target.suffix != ".parquet":
        raise InputError(f"the sample is Parquet; expected a name that ends with .parquet, got {target}")
    source = packaged()
    described = source.with_name(f"{source.stem}_metadata.json")
    beside = target.with_name(f"{target.stem}_metadata.json")
    wanted = ((described, beside), (source, target))
    for origin, file in wanted:
        # what an interrupted copy left is the same
        if file.exists() and not (overwrite or (file.is_file() and filecmp.cmp(origin, file, shallow=False))):
            raise InputError(f"{file} is there already; choose another name, or give --overwrite")
    for origin, file in wanted:
        with atomic(file) as temporary:
            shutil.copyfile(origin, temporary)
    rows = read_metadata(target).total_rows
    assert rows is not None
    return rows, beside


def read_metadata(path: Path) -> Metadata:
    """The metadata of a Parquet file.

    Raises:
        InputError: there is none, several that could be, or it has no sum of weights.
    """
    own = path.with_name(f"{path.stem}_metadata.json")
    found = [own] if own.exists() else sorted(path.parent.glob("*_metadata.json"))
    if len(found) != 1:
        problem = "there is none" if not found else f"there are {len(found)} others in the folder"
        raise InputError(f"{path} needs its metadata in {own.name} beside it, and {problem}")
    content = read_json(found[0], "metadata of the table")
    total = content.get("sum_weights") if isinstance(content, dict) else None
    if isinstance(total, bool) or not isinstance(total, int | float) or not (math.isfinite(total) and total > 0):
        raise InputError(f"{found[0]} has no positive 'sum_weights' (got {total!r})")
    rows, luminosity = content.get("total_rows"), content.get("luminosity", 10.0)
    if isinstance(luminosity, bool) or not isinstance(luminosity, int | float) or not 0 < luminosity < math.inf:
        raise InputError(f"{found[0]} has the luminosity {luminosity!r}; expected a positive number of fb-1")
    return Metadata(float(total), float(luminosity), rows if isinstance(rows, int) else None)


class Dataset:
    """A file of the challenge. Nothing is read before it is asked for."""

    def __init__(self, path: str | os.PathLike[str], test_fraction: float = TEST_FRACTION) -> None:
        """Open the file and its metadata.

        Raises:
            InputError: no such file, no Parquet, truncated, a column missing, no metadata, or a wrong number of rows.
        """
        self.path = require(path)
        if not 0.0 <= test_fraction < 1.0:
            raise InputError(f"the fraction of test events is {test_fraction}; expected 0 to 1, less than 1")
        self.metadata = read_metadata(self.path)
        self._file = _parquet(self.path)
        self.rows = int(self._file.metadata.num_rows)
        said = self.metadata.total_rows
        if said is not None and said != self.rows:
            raise InputError(f"{self.path} has {self.rows} rows, its metadata says {said}: another file's metadata?")
        self.test_rows = int(test_fraction * self.rows)
        self._names = self._columns()

    def _columns(self) -> list[str]:
        """Columns to read, by their names in the file: what a table of pseudo-experiments and of training needs."""
        names = list(self._file.schema_arrow.names)
        empty = pd.DataFrame(columns=names)
        known = list(official(empty, str(self.path)).columns)
        wanted = (*PRIMARY, WEIGHTS, PROCESS)
        for name in wanted:
            if name not in known:
                checked(pd.DataFrame({column: [0.0] for column in known}), wanted, what=str(self.path))
        extra = [name for name in (LABEL, HARD_EVENT, STRATUM) if name in known]
        return [names[known.index(name)] for name in (*wanted, *extra)]

    def stream(self, part: Part = "all", batch: int = BATCH) -> Iterator[pd.DataFrame]:
        """The rows of a part in pieces of at most `batch` rows, weights as they are in the file.

        Raises:
            InputError: the file is damaged, or has values that cannot be.
        """
        import pyarrow as pa

        start, stop = self._span(part)
        row = 0
        try:
            for piece in self._file.iter_batches(batch, columns=self._names):
                low, high = max(start - row, 0), min(stop - row, piece.num_rows)
                row += piece.num_rows
                if high > low:
                    yield _frame(piece.slice(low, high - low), str(self.path))
                if row >= stop:
                    return
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error

    def _span(self, part: Part) -> tuple[int, int]:
        spans = {"all": (0, self.rows), "test": (0, self.test_rows), "train": (self.test_rows, self.rows)}
        if part not in spans:
            raise InputError(f"there is no part '{part}'; expected all, train or test")
        return spans[part]

    def check_sum(self) -> None:
        """Compare the sum of all weights with the metadata, in one pass.

        Raises:
            InputError: they differ.
        """
        total = sum(float(piece[WEIGHTS].to_numpy(np.float64).sum()) for piece in self.stream())
        if not abs(total - self.metadata.sum_weights) <= SUM_TOLERANCE * self.metadata.sum_weights:
            raise InputError(
                f"the weights of {self.path} sum to {total:.8g}, its metadata says {self.metadata.sum_weights:.8g}: "
                "another file's metadata?"
            )

    def read(self, part: Part = "all", rows: Sequence[int] | NDArray[np.int64] | None = None) -> pd.DataFrame:
        """The rows of a part, or some of them (counted within the part), weights rescaled to the metadata's sum.

        Raises:
            InputError: as `stream`; no rows, or rows that are not there.
        """
        start, stop = self._span(part)
        wanted = None
        if rows is not None:
            wanted = np.sort(np.asarray(rows, dtype=np.int64))
            if len(wanted) and not (wanted[0] >= 0 and wanted[-1] < stop - start):
                raise InputError(f"rows {wanted[0]} to {wanted[-1]} are wanted of {stop - start} in the part '{part}'")
        pieces, row = [], 0
        for piece in self.stream(part):
            if wanted is not None:
                low, high = np.searchsorted(wanted, [row, row + len(piece)])
                row += len(piece)
                piece = piece.iloc[wanted[low:high] - row + len(piece)]
            pieces.append(piece)
        table = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()
        if not len(table):
            raise InputError(f"the part '{part}' of {self.path} has no events")
        table[WEIGHTS] = rescaled(table[WEIGHTS].to_numpy(), self.metadata.sum_weights)
        return table

    def sample(self, n: int | float | None, seed: int = 0) -> pd.DataFrame:
        """Training rows drawn without replacement in one pass: a number, a fraction, or all (None)."""
        total = self.rows - self.test_rows
        if n is None:
            return self.read("train")
        size = int(n * total) if isinstance(n, float) else int(n)
        if not 0 < size <= total:
            raise InputError(f"{n} training events are wanted of {total}")
        rng, pieces, left = np.random.default_rng(seed), [], size
        for piece in self.stream("train"):
            taken = int(rng.hypergeometric(left, total - left, len(piece))) if left < total else len(piece)
            rows = np.sort(rng.choice(len(piece), taken, replace=False))
            pieces.append(piece.iloc[rows])
            left, total = left - taken, total - len(piece)
        table = pd.concat(pieces, ignore_index=True)
        table[WEIGHTS] = rescaled(table[WEIGHTS].to_numpy(), self.metadata.sum_weights)
        return table


def rescaled(weights: NDArray[Any], total: float) -> NDArray[Any]:
    """Weights with the given sum, in their own type and in the arithmetic of the official code."""
    check_weights(weights)
    result: NDArray[Any] = (total * weights) / math.fsum(weights.tolist())
    return result


def _frame(piece: Any, what: str) -> pd.DataFrame:
    table: pd.DataFrame = piece.to_pandas().rename(columns=ALIASES)
    for name in (WEIGHTS, *PRIMARY):
        if pd.api.types.is_numeric_dtype(table[name].dtype):
            table[name] = table[name].astype(np.float32)
    checked(table, (*PRIMARY, WEIGHTS), processes=True, what=what)
    return table


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
