"""Run a function over many tasks: serially, in worker processes, or on any `concurrent.futures.Executor` (as Dask's).

Results come back in the order of the tasks, and nothing about them depends on where they ran: a task carries its own
seed. Worker processes are spawned (never forked), use one thread each for linear algebra and numba, ignore Ctrl-C (the
parent stops them), and end with their parent. A killed worker costs only the time of its tasks: they are run again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic, TypeVar

from bumpfit.errors import InputError, UnfinishedError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 3  # tasks handed out per worker: enough that none waits, few enough that tasks may be generated lazily
TICK = 2.0
"""Seconds between two looks at the workers while a result is waited for."""
MANAGER_SECONDS = 5.0
"""How long the thread behind a pool may take to end when all its processes have."""
Workers = int | Executor
"""Processes, or the executor that runs the tasks."""
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


def processes(workers: int | None) -> int:
    """As many as are asked for, or one a core."""
    return workers or available_cores()


def ordered_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: Workers = 1,
    executor: Executor | None = None,
) -> Iterator[Result]:
    """Yield `function(task)` for every task, in the order of the tasks.

    Args:
        function: a pure function; with worker processes it and the tasks must be picklable.
        tasks: any iterable, consumed lazily.
        workers: worker processes; 1 runs in this process. Inside a worker it is always 1 (no pools of pools). Or an
            executor, as the next argument.
        executor: run on this executor instead; it is not shut down, but what is pending is cancelled on the way out.
            One with the methods of `Renewable` is made again when its workers die.

    Raises:
        InputError: `workers` is not a positive whole number, or function or tasks cannot be sent to a worker.
        UnfinishedError: worker processes keep dying.
    """
    if isinstance(workers, Executor):
        executor = workers
        workers = 1
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise InputError(f"workers is {workers!r}; expected a whole number of at least 1")
    if executor is not None:
        return _on_executor(function, tasks, executor if isinstance(executor, Renewable) else _Given(executor))
    if workers == 1 or _is_worker:
        return map(function, tasks)
    return _on_own_pool(function, tasks, int(workers))


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """Worker processes for several calls of `ordered_map(..., executor=...)`; None (this process) for one worker.

    Starting workers means importing libraries in each of them, so a chain of many maps shares one pool.
    """
    if workers <= 1 or _is_worker:
        yield None
        return
    pool = Processes(workers)
    try:
        yield pool
    finally:
        pool.stop()


class Renewable(Executor):
    """An executor whose workers may be lost: `ordered_map` repeats what was lost."""

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    """What a future raises whose worker died."""
    keeps: bool = False
    """Whether other tasks go on when one worker dies; else all that are not finished are lost with it."""

    @property
    def size(self) -> int:
        """Number of tasks that run at the same time."""
        raise NotImplementedError

    @property
    def generation(self) -> int:
        """How often the workers were made."""
        return 1

    def renew(self, generation: int) -> None:
        """Make the workers again if they are still those of this generation."""

    def check(self) -> None:
        """Called every `TICK` seconds while a result is waited for; raises BumpfitError to give up."""


class Processes(Renewable):
    """Worker processes that are started with the first task, and again when one was killed."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._main = False
        self._made = 0
        self._guard = threading.Lock()

    @property
    def size(self) -> int:
        """Number of processes."""
        return self._workers

    @property
    def generation(self) -> int:
        """How often the processes were started."""
        return self._made

    @property
    def _processes(self) -> dict[int, Any]:
        """The running processes by their numbers, as in `ProcessPoolExecutor`."""
        return {} if self._pool is None else dict(self._pool._processes or {})

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args)` in a process; raises InputError when it cannot be sent there."""
        with self._guard:
            if self._pool is not None:
                with contextlib.suppress(BrokenProcessPool):  # found broken: made again below
                    return self._pool.submit(fn, *args, **kwargs)
                _stop(self._pool)
            self._main = self._main or _needs_main(fn, args)
            self._pool = _pool(self._workers, needs_main=self._main)
            self._made += 1
            return self._pool.submit(fn, *args, **kwargs)

    def renew(self, generation: int) -> None:
        """Stop what is left of the processes; the next task starts new ones."""
        with self._guard:
            if generation == self._made and self._pool is not None:
                _stop(self._pool)
                self._pool = None

    def stop(self) -> None:
        """Stop at once: pending tasks are cancelled, running ones terminated."""
        self.renew(self._made)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, after the pending tasks when asked to wait."""
        if self._pool is not None and wait:
            self._pool.shutdown(wait=True, cancel_futures=cancel_futures)
        self.stop()


class _Given(Renewable):
    """An executor of the caller, which cannot be made again here."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @property
    def size(self) -> int:
        return getattr(self._executor, "_max_workers", None) or available_cores()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._executor.submit(fn, *args, **kwargs)

    def renew(self, generation: int) -> None:
        raise UnfinishedError("a worker of the executor that was given died; make it again, or give workers=N")


def _on_own_pool(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    pool = Processes(workers)
    try:
        yield from _on_executor(function, tasks, pool)
    finally:
        pool.stop()


@dataclasses.dataclass
class _Waiting(Generic[Task]):
    """A task that was handed out; `future` is None where it was not taken."""

    task: Task
    future: Future[Any] | None = None
    generation: int = 0


def _on_executor(function: Callable[[Task], Result], tasks: Iterable[Task], executor: Renewable) -> Iterator[Result]:
    """Hand out tasks some way ahead and give results in order; what a dead worker had is handed out again."""
    source = iter(tasks)
    waiting: deque[_Waiting[Task]] = deque()
    exhausted = False
    restarts = 0
    try:
        while True:
            while not exhausted and len(waiting) < max(AHEAD * executor.size, 1):
                try:
                    waiting.append(_Waiting(next(source)))
                except StopIteration:
                    exhausted = True
            if not waiting:
                return
            try:
                for each in waiting:
                    if each.future is None:
                        each.future, each.generation = executor.submit(function, each.task), executor.generation
                result = _result(waiting[0].future, executor)
            except executor.lost as error:
                restarts += 1
                if restarts > RESTARTS:
                    raise UnfinishedError(
                        f"worker processes died {restarts} times without finishing a task (out of memory, or killed); "
                        "try fewer workers, or workers=1 to see the error in this process"
                    ) from error
                executor.renew(waiting[0].generation)
                for each in waiting:
                    if each.future is not None and not _finished(each.future, executor):
                        each.future = None
                continue
            restarts = 0
            waiting.popleft()
            yield result
    finally:
        for each in waiting:
            if each.future is not None:
                each.future.cancel()


def _result(future: Future[Any] | None, executor: Renewable) -> Any:
    assert future is not None
    while not wait_for([future], timeout=TICK).done:
        executor.check()
    return future.result()


def _finished(future: Future[Any], executor: Renewable) -> bool:
    """Whether a task needs no repetition: it has a result, or an exception of its own, or its worker still has it."""
    if future.cancelled():
        return False
    if not future.done():
        return executor.keeps
    return not isinstance(future.exception(), executor.lost)


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
