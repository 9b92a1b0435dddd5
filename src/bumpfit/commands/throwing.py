"""Options of commands that throw toys: their seed, and where they are thrown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from bumpfit.commands.options import Dask, Seed, Workers
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.law import Law


@dataclasses.dataclass(frozen=True)
class Throwing:
    """Which toys, and where: threads of this machine, or the workers of a Dask scheduler."""

    PANEL: ClassVar[str] = "Options"

    seed: Seed = 0
    workers: Workers = None
    dask: Dask = None

    @property
    def threads(self) -> int:
        """Threads on this machine."""
        from bumpfit.execute import processes

        return processes(self.workers)

    @contextmanager
    def executor(self) -> Iterator[Executor | None]:
        """The workers of the scheduler; None where there is none."""
        if self.dask is None:
            yield None
            return
        from bumpfit.clusters import dask_executor

        with dask_executor(self.dask) as executor:
            yield executor

    @contextmanager
    def law(self, toys: int | None) -> Iterator[Law]:
        """Toys where a number of them is given, asymptotic formulae otherwise."""
        if toys is None:
            from bumpfit.inference import Asymptotic

            if self.dask is not None:
                raise InputError(
                    "--dask is where toys are thrown, and none are asked for; leave it out, or give --toys N"
                )
            yield Asymptotic()
            return
        from bumpfit.toys import Toys

        with self.executor() as executor:
            yield Toys(toys, self.seed, self.threads, executor)
