"""The biasing of the challenge: tau and jet energy scales, soft missing momentum, selection, weights.

The order of the official `systematics`: scale the tau and the jets and balance the missing momentum, add the soft
noise, round to three decimals, select (tau 26 GeV, lepton 20 GeV, jets at or below 26 GeV taken away), derive.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml import kernel, official
from bumpfit.higgsml.columns import DERIVED, LABEL, PRIMARY, PROCESS, PROCESSES, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.nuisances import Nuisances, random_state

SEED = 31415
"""The seed of the soft noise in the official code, and the first seed of its pseudo-experiments."""

NO_NOISE = np.empty((2, 0))


@dataclasses.dataclass(frozen=True, eq=False)
class Biased:
    """Events after the biasing: `features` (28, M) in the order of `columns.FEATURES`, and the rows they come from."""

    features: NDArray[np.float32]
    rows: NDArray[np.int64]


def soft_noise(n: int, soft_met: float, seed: int = SEED) -> NDArray[np.float64]:
    """The noise on the missing momentum, shape (2, n); (2, 0) without one. All x are drawn before all y."""
    if soft_met <= 0.0:
        return NO_NOISE
    return random_state(seed).normal(0.0, soft_met, (2, n))


def biased(
    primary: NDArray[np.float32], tes: float = 1.0, jes: float = 1.0, noise: NDArray[np.float64] = NO_NOISE,
    selection: bool = True,
) -> Biased:  # fmt: skip
    """Bias events given as a matrix (16, N) of the primary quantities, in one compiled pass."""
    n = primary.shape[1]
    features = np.empty((len(PRIMARY) + len(DERIVED), n), dtype=np.float32)
    rows = np.empty(n, dtype=np.int64)
    m = kernel.shift(
        np.ascontiguousarray(primary, dtype=np.float32), tes, jes, noise, features[: kernel.PRI],
        features[kernel.PRI :], rows, selection,
    )  # fmt: skip
    return Biased(features[:, :m], rows[:m])


def bias(
    table: pd.DataFrame,
    *,
    tes: float = 1.0,
    jes: float = 1.0,
    soft_met: float = 0.0,
    ttbar_scale: float | None = 1.0,
    diboson_scale: float | None = 1.0,
    bkg_scale: float | None = 1.0,
    seed: int = SEED,
    selection: bool = True,
    compatible: bool = False,
) -> pd.DataFrame:
    """The events as they look under other values of the nuisances.

    Args:
        table: events with the 16 primary quantities; derived ones are computed anew, other columns are kept.
        tes: tau energy scale.
        jes: jet energy scale.
        soft_met: width in GeV of the noise on each component of the missing momentum.
        ttbar_scale: factor of the weights of ttbar; None as 1.
        diboson_scale: factor of the weights of diboson.
        bkg_scale: factor of the weights of all backgrounds.
        seed: of the noise.
        selection: apply the post-selection.
        compatible: as the official code to the last digit and oddity: weights are not touched, and the derived
            quantities of events with three jets or more and a soft subleading one come from a jet of -25 GeV.

    Returns:
        A new table, index 0 to M - 1, float32 quantities.

    Raises:
        InputError: a nuisance outside its range; columns missing, no numbers or not finite; scales without weights and
            processes to scale.

    Examples:
        >>> import pandas as pd
        >>> from bumpfit.higgsml.dataset import packaged
        >>> events = pd.read_parquet(packaged()).head(2000)
        >>> bool(bumpfit.higgsml.bias(events, tes=1.05)["PRI_had_pt"].mean() > events["PRI_had_pt"].mean())
        True
    """
    values = Nuisances.of({
        "tes": tes, "jes": jes, "soft_met": soft_met, "ttbar_scale": ttbar_scale, "diboson_scale": diboson_scale,
        "bkg_scale": bkg_scale,
    })  # fmt: skip
    table = checked(table)
    noise = soft_noise(len(table), values.soft_met, seed)
    if compatible:
        features, rows = _official(table, values, noise, selection)
    else:
        result = biased(matrix(table), values.tes, values.jes, noise, selection)
        features, rows = dict(zip((*PRIMARY, *DERIVED), result.features, strict=True)), result.rows
    out = table.iloc[rows].reset_index(drop=True)
    fresh = pd.DataFrame(features, copy=False)
    others = [name for name in out.columns if name not in features]
    names = [*table.columns, *(name for name in DERIVED if name not in table.columns)]
    out = pd.concat([out[others], fresh], axis=1)[names]
    return out if compatible else _scaled(out, values)


def _official(
    table: pd.DataFrame, values: Nuisances, noise: NDArray[np.float64], selection: bool
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    columns = official.shifted({name: table[name].to_numpy() for name in PRIMARY}, values.tes, values.jes, noise)
    rows = np.arange(len(table))
    if selection:
        columns, rows = official.selected(columns)
    result = {**columns, **official.derived(columns)}
    return {name: np.asarray(column, dtype=np.float32) for name, column in result.items()}, rows


def _scaled(table: pd.DataFrame, values: Nuisances) -> pd.DataFrame:
    """Weights times the scales of their process."""
    factors = np.array([values.weight(process) for process in PROCESSES])
    if (factors == 1.0).all():
        return table
    if WEIGHTS not in table.columns:
        raise InputError(f"the scales act on weights, and the table has no column '{WEIGHTS}'; leave the scales out")
    if PROCESS in table.columns:
        scale = factors[process_index(table[PROCESS])]
    elif LABEL in table.columns and values.ttbar_scale == 1.0 and values.diboson_scale == 1.0:
        scale = np.where(table[LABEL] == 0, values.bkg_scale, 1.0)
    else:
        raise InputError(f"the scales act on processes, and the table has no column '{PROCESS}'; leave the scales out")
    return table.assign(**{WEIGHTS: (table[WEIGHTS] * scale).astype(table[WEIGHTS].dtype)})
