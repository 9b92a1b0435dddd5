"""Workers on other machines: the workers of a Dask scheduler as an executor that survives their loss."""

from __future__ import annotations

import contextlib
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from bumpfit.errors import BumpfitError, InputError, MissingExtraError, UnfinishedError, WaitingWarning
from bumpfit.execute import TICK, Renewable, processes, worker_pool

CONNECT = "5s"
"""How long a Dask scheduler may take to answer."""
NOTICE = 10.0
"""Seconds without any worker after which it is said."""
PATIENCE = 600.0
"""Seconds that a run waits for a worker when there is none."""


@contextlib.contextmanager
def dask_executor(address: str, *, patience: float = PATIENCE) -> Iterator[Executor]:
    """The workers of a Dask scheduler ("tcp://host:port") as an executor.

    Dask gives the tasks of a lost worker to another one. When no worker is left it is said (a WaitingWarning), and new
    ones are waited for.

    Args:
        address: of the scheduler.
        patience: seconds without any worker after which the run is given up (what is finished stays finished).

    Raises:
        InputError: that is no address.
        MissingExtraError: the package is not installed.
        BumpfitError: the scheduler cannot be reached.

    Examples:
        >>> from bumpfit.clusters import dask_executor
        >>> with dask_executor("here"):
        ...     pass
        Traceback (most recent call last):
        bumpfit.errors.InputError: 'here' is no address of a Dask scheduler; expected one like tcp://host:8786
    """
    if not re.fullmatch(r"([a-z]+://)?[^\s/:]+:\d{1,5}", address):
        raise InputError(f"'{address}' is no address of a Dask scheduler; expected one like tcp://host:8786")
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError("distributed", "dask", "running on Dask") from error
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise BumpfitError(
            f"no Dask scheduler answers at {address} ({error}); is it running, and the address right?"
        ) from error
    try:
        yield _Dask(client, address, patience)
    finally:
        with contextlib.suppress(OSError, TimeoutError):  # a scheduler that is gone cannot be told
            client.close()


@contextlib.contextmanager
def pool(workers: int | None, address: str | None = None) -> Iterator[Executor | None]:
    """Processes of this machine (None: one a core; `execute.worker_pool`), or the workers of a Dask scheduler."""
    with worker_pool(processes(workers)) if address is None else dask_executor(address) as executor:
        yield executor


class _Dask(Renewable):
    """Tasks on the workers of a scheduler."""

    keeps = True

    def __init__(self, client: Any, address: str, patience: float) -> None:
        from distributed.scheduler import KilledWorker

        self.lost = (KilledWorker, CancelledError)
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._address = address
        self._patience = patience
        self._threads, self._seen = 0, -math.inf
        self._alone: float | None = None
        self._told = False

    @property
    def size(self) -> int:
        """Threads of all workers, as seen last."""
        if time.monotonic() - self._seen > TICK:
            try:
                self._threads = sum(self._client.nthreads().values())
            except (OSError, TimeoutError, ValueError):  # the scheduler does not answer now
                self._threads = 0
            self._seen = time.monotonic()
        return max(1, self._threads)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand a task to the scheduler."""
        found: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        return found

    def renew(self, generation: int) -> None:
        """Wait for a scheduler that was lost; raises UnfinishedError when it does not come back."""
        until = time.monotonic() + self._patience
        while self._client.status == "connecting" and time.monotonic() < until:
            time.sleep(0.1)
        self._answering()

    def check(self) -> None:
        """Say when no worker is left, and give up after a while; raises UnfinishedError."""
        if self._client.status != "connecting":
            self._answering()
        if self.size and self._threads:
            self._alone, self._told = None, False
            return
        now = time.monotonic()
        self._alone = now if self._alone is None else self._alone
        if now - self._alone > self._patience:
            raise UnfinishedError(
                f"the Dask scheduler at {self._address} had no worker for {self._patience:.0f} seconds; start workers "
                "and give the command again"
            )
        if now - self._alone > min(NOTICE, self._patience / 2) and not self._told:
            self._told = True
            warnings.warn(
                f"no worker is left on the Dask scheduler at {self._address}; waiting up to {self._patience:.0f} "
                "seconds for new ones, and nothing that is finished is lost",
                WaitingWarning,
                stacklevel=2,
            )

    def _answering(self) -> None:
        if self._client.status != "running":
            raise UnfinishedError(f"the Dask scheduler at {self._address} is gone; start it and give the command again")
