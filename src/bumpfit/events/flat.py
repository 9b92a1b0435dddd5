"""A ROOT tree as a table: the branches that hold one number an event."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bumpfit.errors import InputError
from bumpfit.events.arrays import ak, filled, numbers
from bumpfit.events.layout import nearest
from bumpfit.events.root import RootFiles


def read(name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The flat branches of `file.root` or `file.root:tree` as a frame: all of them, or these `columns`.

    Raises:
        InputError: a branch that is asked for does not exist, or holds lists or no numbers; no branch is flat.
    """
    source = RootFiles([name])
    branches = source.layout.branches
    wanted = source.scalars() if columns is None else [branches.get(column) for column in columns]
    if not wanted:
        raise InputError(f"{source.label} has no branch of one number an event; it has {nearest('', branches.exact)}")
    chunk = source.all()
    frame = {}
    for column, asked in zip(wanted, columns or wanted, strict=True):
        if column is None:
            raise source.layout.unknown_column(str(asked), quoted=True)
        array = chunk.column(column)
        if array.ndim != 1 or not numbers(array):
            kind = str(ak.type(array)).partition(" * ")[2]
            raise InputError(
                f"the branch '{column}' of {source.label} holds {kind[:100]}; expected one number an event: make a "
                "table of such values first"
            )
        frame[asked] = filled(array)
    return pd.DataFrame(frame)
