"""The twelve derived quantities of a table of primary ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bumpfit.higgsml import kernel, official
from bumpfit.higgsml.columns import DERIVED, PRIMARY, checked, matrix


def derived(table: pd.DataFrame, *, compatible: bool = False) -> pd.DataFrame:
    """The table with the derived quantities computed anew, float32.

    Args:
        table: events with the primary quantities; other columns are kept.
        compatible: as the official code, which computes with jets of -25 GeV where `PRI_n_jets` counts a jet that has
            no momentum; by default such a jet is absent.

    Raises:
        InputError: columns are missing, no numbers or not finite.

    Examples:
        >>> import pandas as pd
        >>> from bumpfit.higgsml.dataset import packaged
        >>> events = pd.read_parquet(packaged()).head(200)
        >>> bool(bumpfit.higgsml.derived(events)["DER_mass_vis"].gt(0).all())
        True
    """
    table = checked(table)
    result = table.copy()
    if compatible:
        columns = official.derived({name: table[name].to_numpy() for name in PRIMARY})
        for name in DERIVED:
            result[name] = columns[name]
        return result
    values = np.empty((len(DERIVED), len(table)), dtype=np.float32)
    kernel.derive_all(matrix(table), values)
    for name, row in zip(DERIVED, values, strict=True):
        result[name] = row
    return result
