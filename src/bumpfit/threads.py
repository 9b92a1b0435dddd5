"""How many threads linear algebra takes.

Threads that wait for each other cost more than they save on small matrices, and on a machine with other work a multiple
of the computation itself. Large matrices are worth them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

LEAST = 2e5
"""Multiplications up to which libraries take one thread by themselves (64 x 64 x 64 in OpenBLAS)."""
MOST = 1e9
"""Multiplications from which on several threads may work: a tenth of a second of one."""


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # here, for a quicker start

    return ThreadpoolController()


@contextlib.contextmanager
def matched(work: float) -> Iterator[None]:
    """Linear algebra takes one thread inside, unless a matrix operation there has `MOST` multiplications (`work`)."""
    if LEAST < work < MOST:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    else:
        yield
