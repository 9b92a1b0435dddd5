"""Run a function over many tasks: serially, in worker processes, or on any `concurrent.futures.Executor` (as Dask's).

Results come back in the order of the tasks, and nothing about them depends on where they ran: a task carries its own
seed. Worker processes are spawned (never forked), use one thread each for linear algebra and numba, ignore Ctrl-C (the
parent stops them), and end with their parent. A killed worker costs only the time of its tasks: they are run again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from bumpfit.errors import BumpfitError, InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 3  # tasks handed out per worker: enough that none waits, few enough that tasks may be generated lazily
MANAGER_SECONDS = 5.0
"""How long the thread behind a pool may take to end when all its processes have."""
RESTARTS = 3  # times in a row that the pool is rebuilt without one finished task before the run is given up
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_is_worker = False


def available_cores() -> int:
    """Cores that this process may use (the affinity mask where the system has one)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int = 1,
    executor: Executor | None = None,
) -> Iterator[Result]:
    """Yield `function(task)` for every task, in the order of the tasks.

    Args:
        function: a pure function; with worker processes it and the tasks must be picklable.
        tasks: any iterable, consumed lazily.
        workers: worker processes; 1 runs in this process. Inside a worker it is always 1 (no pools of pools).
        executor: run on this executor instead; it is not shut down, but what is pending is cancelled on the way out.

    Raises:
        InputError: `workers` is not a positive whole number, or function or tasks cannot be sent to a worker.
        BumpfitError: worker processes keep dying.
    """
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise InputError(f"workers is {workers!r}; expected a whole number of at least 1")
    if executor is not None:
        return _on_executor(function, tasks, executor)
    if workers == 1 or _is_worker:
        return map(function, tasks)
    return _on_processes(function, tasks, int(workers))


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """Worker processes for several calls of `ordered_map(..., executor=...)`; None (this process) for one worker.

    Starting workers means importing libraries in each of them, so a chain of many maps shares one pool.
    """
    if workers <= 1 or _is_worker:
        yield None
        return
    pool = _pool(workers, needs_main=False)
    try:
        yield pool
    finally:
        _stop(pool)


def _on_executor(function: Callable[[Task], Result], tasks: Iterable[Task], executor: Executor) -> Iterator[Result]:
    size = getattr(executor, "_max_workers", None) or available_cores()
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            pending.append(executor.submit(function, task))
            if len(pending) >= AHEAD * size:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _on_processes(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    source = iter(tasks)
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    exhausted = False
    restarts = 0
    pool: ProcessPoolExecutor | None = None
    try:
        while True:
            try:
                while not exhausted and len(waiting) < AHEAD * workers:
                    try:
                        task = next(source)
                    except StopIteration:
                        exhausted = True
                        break
                    if pool is None:
                        pool = _pool(workers, needs_main=_needs_main(function, task))
                    waiting.append((task, Future()))  # kept even when the submission finds the pool broken
                    waiting[-1] = (task, pool.submit(function, task))
                if not waiting:
                    return
                result = waiting[0][1].result()
            except BrokenProcessPool as error:
                restarts += 1
                if restarts > RESTARTS:
                    raise BumpfitError(
                        f"worker processes died {restarts} times without finishing a task (out of memory, or killed); "
                        "try fewer workers, or workers=1 to see the error in this process"
                    ) from error
                if pool is not None:
                    _stop(pool)
                pool = _pool(workers, needs_main=_needs_main(function, waiting[0][0]))
                waiting = deque((task, _again(pool, function, task, old)) for task, old in waiting)
                continue
            restarts = 0
            waiting.popleft()
            yield result
    finally:
        if pool is not None:
            _stop(pool)


def _again(
    pool: ProcessPoolExecutor, function: Callable[[Task], Result], task: Task, old: Future[Result]
) -> Future[Result]:
    """Keep a finished task, submit the others once more."""
    if old.done() and not old.cancelled() and old.exception() is None:
        return old
    return pool.submit(function, task)


def _needs_main(function: Callable[[Any], Any], task: object) -> bool:
    """Whether a worker has to import the user's script to understand a task; says so when a task cannot be sent."""
    try:
        return b"__main__" in pickle.dumps((function, task))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"a task cannot be sent to a worker process ({error}); use workers=1 or a module-level function"
        ) from error


class _Process(SpawnProcess):
    """A spawned process that does not import the user's script.

    Spawning imports `__main__` again in every worker; a script without an `if __name__ == "__main__"` guard would then
    run itself. Tasks made of library functions and arrays do not need it, so it is hidden while the worker starts.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def _pool(workers: int, *, needs_main: bool) -> ProcessPoolExecutor:
    context = SpawnContext() if needs_main else _Context()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    global _is_worker
    _is_worker = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def limit_threads() -> None:
    """One thread for linear algebra, OpenMP and numba in this process: parallelism comes from the workers."""
    for name in THREAD_VARIABLES:  # libraries loaded from now on
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits  # libraries already loaded

    threadpool_limits(1)
    if "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(1)


def _stop(pool: ProcessPoolExecutor) -> None:
    """Stop at once: pending tasks are cancelled, running ones terminated."""
    processes = list((pool._processes or {}).values())
    manager: Any = pool._executor_manager_thread  # a thread, whatever typeshed says
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
    # while it closes its pipe the end of the interpreter would write into it (a traceback from Python 3.11's own code)
    if manager is not None:
        manager.join(MANAGER_SECONDS)
