import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from bumpfit import execute
from bumpfit.errors import BumpfitError, InputError


def cube(x: int) -> int:
    time.sleep(0.01 * (x % 3))  # finish out of order
    return x**3


def threads(_: int) -> dict[str, int]:
    import threadpoolctl

    np.ones((2, 2)) @ np.ones((2, 2))
    return {entry["user_api"]: entry["num_threads"] for entry in threadpoolctl.threadpool_info()}


def nested(x: int) -> list[int]:
    return list(execute.ordered_map(cube, range(x), workers=2))


def fail_at_three(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x


def kill_once(path: str) -> str:
    """Kill the own process the first time, succeed the second time."""
    flag = Path(path)
    if flag.suffix == ".kill" and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def kill_always(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_are_in_order_however_many_workers() -> None:
    expected = [x**3 for x in range(20)]
    assert list(execute.ordered_map(cube, range(20))) == expected
    assert list(execute.ordered_map(cube, iter(range(20)), workers=2)) == expected
    with ThreadPoolExecutor(3) as pool:
        assert list(execute.ordered_map(cube, range(20), executor=pool)) == expected
    assert list(execute.ordered_map(cube, [], workers=2)) == []


def test_workers_use_one_thread_and_no_pools_of_pools() -> None:
    for limits in execute.ordered_map(threads, range(2), workers=2):
        assert set(limits.values()) <= {1}
    assert list(execute.ordered_map(nested, [2, 3], workers=2)) == [[0, 1], [0, 1, 8]]


def test_tasks_are_taken_lazily() -> None:
    taken = []

    def source():
        for x in range(1000):
            taken.append(x)
            yield x

    with ThreadPoolExecutor(2) as pool:
        stream = execute.ordered_map(cube, source(), executor=pool)
        assert [next(stream), next(stream)] == [0, 1]
        stream.close()
    assert len(taken) <= 2 * execute.AHEAD + 2


def test_an_exception_comes_through() -> None:
    with pytest.raises(ValueError, match="three"):
        list(execute.ordered_map(fail_at_three, range(6), workers=2))


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    tasks = [str(tmp_path / f"{i}{'.kill' if i == 4 else ''}") for i in range(8)]
    assert list(execute.ordered_map(kill_once, tasks, workers=2)) == tasks


@pytest.mark.slow
def test_a_shared_pool_survives_its_workers(tmp_path: Path) -> None:
    with execute.worker_pool(2) as pool:
        assert list(execute.ordered_map(cube, range(4), executor=pool)) == [0, 1, 8, 27]
        for name in ("a", "b"):
            tasks = [str(tmp_path / f"{name}{i}{'.kill' if i == 4 else ''}") for i in range(8)]
            assert list(execute.ordered_map(kill_once, tasks, executor=pool)) == tasks
        found = execute.ordered_map(cube, range(20), executor=pool)
        assert next(found) == 0
        os.kill(next(iter(pool._processes)), signal.SIGKILL)  # type: ignore[union-attr]
        assert list(found) == [x**3 for x in range(1, 20)]
        with pytest.raises(BumpfitError, match="fewer workers"):
            list(execute.ordered_map(kill_always, range(3), executor=pool))
        assert list(execute.ordered_map(cube, range(4), executor=pool)) == [0, 1, 8, 27]


def test_two_maps_share_a_pool_that_breaks(tmp_path: Path) -> None:
    tasks = [str(tmp_path / f"{i}{'.kill' if i == 4 else ''}") for i in range(8)]
    with execute.worker_pool(2) as pool:
        one, two = (execute.ordered_map(kill_once, tasks, executor=pool) for _ in range(2))
        assert list(zip(one, two, strict=True)) == list(zip(tasks, tasks, strict=True))


def test_an_executor_of_the_caller_that_breaks_is_said(tmp_path: Path) -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(BumpfitError, match="executor that was given died"),
    ):
        list(execute.ordered_map(kill_always, range(3), executor=pool))


def test_workers_that_keep_dying_are_given_up() -> None:
    with pytest.raises(BumpfitError, match="fewer workers"):
        list(execute.ordered_map(kill_always, range(3), workers=2))


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_wrong_number_of_workers(workers: int) -> None:
    with pytest.raises(InputError, match="workers"):
        execute.ordered_map(cube, range(3), workers=workers)


def test_what_cannot_be_sent_is_said() -> None:
    with pytest.raises(InputError, match="module-level"):
        list(execute.ordered_map(lambda x: x, range(3), workers=2))


def run_script(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(body))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    process = run_script(
        tmp_path,
        """
        import math
        from bumpfit.execute import ordered_map
        print("started")
        print(list(ordered_map(math.factorial, [3, 4], workers=2)))
        """,
    )
    out, err = process.communicate(timeout=60)
    assert (out.split("\n")[:2], err) == (["started", "[6, 24]"], "")


def test_interrupt_is_prompt(tmp_path: Path) -> None:
    process = run_script(
        tmp_path,
        """
        import time
        from bumpfit.execute import ordered_map
        print("ready", flush=True)
        for _ in ordered_map(time.sleep, [0.0] + [30.0] * 4, workers=2):
            print("one", flush=True)
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "one\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 5
    assert "KeyboardInterrupt" in err
    assert process.returncode != 0
