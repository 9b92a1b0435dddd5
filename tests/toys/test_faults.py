"""Every renaming and flush of a run fails in turn; afterwards the same run has the same numbers and leaves nothing."""

import contextlib
import errno
import importlib
import os
from pathlib import Path

import numpy as np
import pytest
from test_run import SmallChunks
from toy_models import dijet

from bumpfit.errors import UnfinishedError
from bumpfit.toys.tally import read

runs = importlib.import_module("bumpfit.toys.run")
N = 1500


class Fault:
    """Lets the k-th call of a function of the system fail."""

    def __init__(self, function, k: int, code: int) -> None:  # type: ignore[no-untyped-def]
        self.function, self.k, self.code, self.calls = function, k, code, 0

    def __call__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.calls += 1
        if self.calls == self.k:
            if self.code == errno.EINTR:
                raise KeyboardInterrupt
            raise OSError(self.code, os.strerror(self.code))
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EINTR])
@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_every_call_may_fail(tmp_path: Path, name: str, code: int) -> None:
    engine = SmallChunks(dijet(6000))
    whole = runs.run(engine, N, seed=2, observed=4.0)
    k = 0
    while True:
        k += 1
        folder = tmp_path / str(k)
        folder.mkdir()
        path = folder / "toys.parquet"
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault(getattr(os, name), k, code)
            patch.setattr(os, name, fault)
            with contextlib.suppress(UnfinishedError, KeyboardInterrupt):
                runs.run(engine, N, seed=2, observed=4.0, path=path)
        if fault.calls < k:
            break
        again = runs.run(engine, N, seed=2, observed=4.0, path=path)
        for found in (again, read(path)):
            np.testing.assert_array_equal(found.value, whole.value)
            np.testing.assert_array_equal(found.toys, whole.toys)
        assert os.listdir(folder) == ["toys.parquet"]
    assert k > 4
