"""The store of finished pieces: resumed, damaged, refused, locked, and nothing left over."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from bumpfit import files, runs
from bumpfit.errors import BumpfitError, InputError, UnfinishedError


def started(out: Path, seed: int = 1, *, overwrite: bool = False) -> AbstractContextManager[runs.Run]:
    return runs.in_folder(
        out, {"seed": seed}, outputs=("scores.csv", "figures/"), result="result.json", overwrite=overwrite
    )


def square(x: int) -> runs.Arrays:
    return {"square": np.array([x * x])}


class StopError(Exception):
    """What interrupts a run."""


def interrupt(out: Path, seed: int = 1, *, overwrite: bool = False) -> None:
    with pytest.raises(StopError), started(out, seed, overwrite=overwrite) as run:
        run.piece("a", lambda: {"x": np.arange(1000.0)})
        raise StopError


def resume(out: Path, seed: int = 1, *, overwrite: bool = False) -> int:
    """How often the piece was made."""
    calls = []
    with started(out, seed, overwrite=overwrite) as run:

        def make() -> runs.Arrays:
            calls.append(1)
            return {"x": np.arange(1000.0)}

        np.testing.assert_array_equal(run.piece("a", make)["x"], np.arange(1000.0))
        assert run.folder is not None
        files.write_json(run.folder / "result.json", {})
        run.finish()
    assert sorted(os.listdir(out)) == ["log.jsonl", "result.json"] or os.listdir(out) == ["result.json"]
    return len(calls)


def piece_of(out: Path) -> Path:
    (found,) = (out / ".stages").glob("*/a.npz")
    return found


def test_a_finished_piece_is_not_made_again(tmp_path: Path) -> None:
    interrupt(tmp_path / "out")
    assert resume(tmp_path / "out") == 0


@pytest.mark.parametrize("damage", ["empty", "torn", "zeros", "zeros inside", "other"])
def test_a_damaged_piece_is_made_again(tmp_path: Path, damage: str) -> None:
    interrupt(tmp_path / "out")
    path = piece_of(tmp_path / "out")
    content = path.read_bytes()
    changed = {
        "empty": b"",
        "torn": content[: len(content) // 2],
        "zeros": bytes(len(content)),
        "zeros inside": content[:400] + bytes(64) + content[464:],
        "other": b"{}",
    }[damage]
    path.write_bytes(changed)
    assert resume(tmp_path / "out") == 1


@pytest.mark.parametrize("note", [b"", b"{", b"null", b'{"settings": 3, "key": 1}', bytes(30)])
def test_pieces_of_unknown_settings_are_made_again(tmp_path: Path, note: bytes) -> None:
    interrupt(tmp_path / "out")
    (tmp_path / "out" / ".stages" / "run.json").write_bytes(note)
    assert resume(tmp_path / "out") == 1


def test_other_settings_are_refused_until_overwritten(tmp_path: Path) -> None:
    interrupt(tmp_path / "out")
    with (
        pytest.raises(InputError, match=r"unfinished run of other inputs.*seed was 1, is 2"),
        started(tmp_path / "out", 2),
    ):
        raise AssertionError("not reached")
    assert resume(tmp_path / "out", 2, overwrite=True) == 1


def test_an_interrupted_overwriting_run_goes_on(tmp_path: Path) -> None:
    resume(tmp_path / "out")
    interrupt(tmp_path / "out", overwrite=True)
    assert resume(tmp_path / "out", overwrite=True) == 0


def test_a_finished_run_is_kept(tmp_path: Path) -> None:
    resume(tmp_path / "out")
    with pytest.raises(InputError, match="already holds another run"), started(tmp_path / "out"):
        raise AssertionError("not reached")
    assert resume(tmp_path / "out", overwrite=True) == 1


def test_a_run_stopped_while_it_tidied_up_ends(tmp_path: Path) -> None:
    interrupt(tmp_path / "out")
    (tmp_path / "out" / "result.json").write_text("{}")
    assert resume(tmp_path / "out") == 0


def test_a_run_killed_while_its_pieces_are_removed_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(folder: Path) -> None:
        (folder / "run.json").unlink()
        raise StopError

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(StopError):
        resume(tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(InputError, match="already holds another run"), started(tmp_path / "out"):
        raise AssertionError("not reached")
    assert os.listdir(tmp_path / "out") == ["result.json"]


def test_a_run_killed_while_it_is_overwritten_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume(tmp_path / "out")
    (tmp_path / "out" / "scores.csv").write_text("old")

    def killed(path: Path) -> None:
        path.unlink()
        raise StopError

    monkeypatch.setattr("bumpfit.runs.folder.discard", killed)
    with pytest.raises(StopError), started(tmp_path / "out", overwrite=True):
        raise AssertionError("not reached")
    monkeypatch.undo()
    with started(tmp_path / "out") as run:  # no result is complete any more
        assert run.folder is not None


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    interrupt(tmp_path / "out")
    for place in (tmp_path / "out", piece_of(tmp_path / "out").parent):
        (place / ".bumpfit-0a1b2c-1-01234567.csv").write_text("half")
    assert resume(tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: (out / "letter.txt").write_text(""), "holds other files"),
        (lambda out: (out / "figures").write_text(""), "figures is a file, but the run writes a folder"),
        (lambda out: (out / "scores.csv").mkdir(), "scores.csv is a folder, but the run writes a file"),
        (lambda out: (out / "result.json").mkdir(), "result.json is a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_told_first(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError, match=message), started(tmp_path):
        raise AssertionError("not reached")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", ["a" * 300, "file/out", "nul\0", ""])
def test_impossible_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError), started(Path(f"{tmp_path}/{name}") if name else ""):  # type: ignore[arg-type]
        raise AssertionError("not reached")


def test_no_answer_leaves_nothing_and_a_failing_machine_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(BumpfitError, match="cannot be had"), started(tmp_path / "out") as run:
        run.log.write("start")
        run.piece("a", lambda: {"x": np.arange(1000.0)})
        raise BumpfitError("the answer cannot be had")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnfinishedError), started(tmp_path / "out") as run:
        run.piece("a", lambda: {"x": np.arange(1000.0)})
        raise UnfinishedError("the disk is full")
    assert resume(tmp_path / "out") == 0


def test_tasks_are_mapped_kept_and_taken_up(tmp_path: Path) -> None:
    tasks = {f"toy-{i}": i for i in range(5)}
    for last in (2, 4):
        with pytest.raises(StopError), started(tmp_path / "out") as run:
            for name, _ in run.map(square, tasks):
                if name == f"toy-{last}":
                    raise StopError
    (folder,) = (tmp_path / "out" / ".stages").glob("*/")
    (folder / "toy-1.npz").write_bytes(b"")
    with started(tmp_path / "out") as run:
        found = {name: int(arrays["square"][0]) for name, arrays in run.map(square, tasks, workers=2)}
    assert found == {f"toy-{i}": i * i for i in range(5)}
    assert list(found) == list(tasks)


def test_pieces_beside_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "toys.parquet"
    with pytest.raises(StopError), runs.beside(out, {"seed": 1}) as run:
        run.piece("0", lambda: {"x": np.ones(2)})
        raise StopError
    assert sorted(os.listdir(f"{out}.parts")) == ["part-0.npz", "run.json"]
    with pytest.raises(InputError, match=r"holds pieces of other inputs.*remove"), runs.beside(out, {"seed": 2}):
        raise AssertionError("not reached")
    with runs.beside(out, {"seed": 1}) as run:
        np.testing.assert_array_equal(run.piece("0", lambda: {"x": np.zeros(2)})["x"], [1, 1])
        out.write_text("done")
        run.finish()
    assert os.listdir(tmp_path) == ["toys.parquet"]


def test_a_folder_of_pieces_without_any_is_removed(tmp_path: Path) -> None:
    with pytest.raises(StopError), runs.beside(tmp_path / "toys.parquet", {"seed": 1}):
        raise StopError
    assert os.listdir(tmp_path) == []


def test_a_run_that_keeps_nothing() -> None:
    for run in (runs.nowhere(), runs.in_folder(None, {}, outputs=(), result="r").__enter__()):
        assert run.piece("a", lambda: {"x": np.ones(1)})["x"].tolist() == [1]
        run.log.write("start")


def held(out: Path) -> subprocess.Popen[str]:
    script = textwrap.dedent(
        f"""
        import time
        from bumpfit import runs
        with runs.in_folder({str(out)!r}, {{"seed": 1}}, outputs=(), result="result.json") as run:
            run.piece("a", lambda: {{"x": __import__("numpy").arange(1000.0)}})
            print("held", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_and_a_dead_one_is_no_obstacle(tmp_path: Path) -> None:
    process = held(tmp_path / "out")
    with pytest.raises(InputError, match=f"process {process.pid} on .*, since 20"), started(tmp_path / "out"):
        raise AssertionError("not reached")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "out" / ".lock").exists()
    assert resume(tmp_path / "out") == 0


@pytest.mark.parametrize(
    "content", ["", "{", '{"pid": 1, "host": "elsewhere", "since": "yesterday"}', '{"pid": 4000000}']
)
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path: Path, content: str) -> None:
    interrupt(tmp_path / "out")
    (tmp_path / "out" / ".lock").write_text(content)
    assert resume(tmp_path / "out") == 0


def test_fingerprints_tell_what_json_does_not() -> None:
    different = [
        (1,),
        (1.5,),
        (None,),
        (float("nan"),),
        (float("inf"),),
        ("1",),
        ({"a": None},),
        ({"a": float("nan")},),
    ]
    assert len({runs.fingerprint(*parts) for parts in different}) == len(different)
    assert runs.fingerprint({"a": 1, "b": np.arange(2)}) == runs.fingerprint({"b": [0, 1], "a": 1})
