"""Every command that writes, where writing fails: one sentence, nothing half-written, and afterwards the same numbers.

The commands are those of the command line itself: a new one, or a new option that names a file, fails the first test
until it is written down here.
"""

import contextlib
import errno
import io
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import Run, refused
from matplotlib.figure import Figure
from writing_commands import CASES, Inputs, Make, numbers, tree

from bumpfit import files, inference
from bumpfit.cli import application
from bumpfit.report import style

INPUTS = {
    "background", "basedir", "card", "config", "data", "files", "first", "measurements", "member", "method", "methods",
    "observed", "patch", "patchset", "read", "regions", "results", "sample", "second", "settings", "source", "split_as",
    "submission", "templates", "workspaces",
}  # fmt: skip
"""Parameters that are files to read."""
OUTPUTS = {
    "out", "output", "target", "export", "figure", "limits_figure", "template_figure", "cutflow_figure", "cutflow_html",
    "prefit_figure", "correlation_figure", "report", "diagrams",
}  # fmt: skip
"""Parameters that are files or folders to write."""
BOTH = {"workspace": ("train", "metrics"), "model": ("train",)}
"""Parameters to write in these commands only."""


UNTRIED = {
    "demo": "is run on the packaged example",
    "report": "writes into the folder of a finished run, as run does",
    "higgsml train": "takes minutes; what is refused before it is tried below",
    "higgsml workspace": "needs a trained method",
    "higgsml benchmark": "needs trained methods; its interruption is tried in tests/higgsml/test_higgsml_commands.py",
}
"""Commands that are not tried here, and why."""
NOT_OURS = {"simulate madgraph": {"--out"}}
"""Outputs of a command that another program writes; MadGraph's is tried in tests/simulate/test_madgraph.py."""


def leaves(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Commands with their words, those of groups too."""
    if not hasattr(command, "commands"):
        yield " ".join(name), command
        return
    for word, below in command.commands.items():
        yield from leaves(below, (*name, word))


def written(name: str, command: Any) -> set[str]:
    """Words on the command line that name what is written; fails for a parameter that nobody knows."""
    found = set()
    for parameter in command.params:
        if "Path" not in repr(getattr(parameter, "type_descriptor", None) or parameter.type):
            continue
        place = parameter.name
        assert place in INPUTS | OUTPUTS | set(BOTH), f"is --{place} of `bumpfit {name}` read or written?"
        if place in OUTPUTS or name in BOTH.get(place, ()):
            option = [word for word in parameter.opts if word.startswith("--")]
            found.add(option[-1] if option else place.upper())
    return found


def test_every_command_that_writes_is_tried() -> None:
    commands = dict(leaves(typer.main.get_command(application())))
    for name, command in commands.items():
        options = written(name, command)
        cases = [case for label, case in CASES.items() if label == name or case.words.startswith(f"{name} ")]
        if not options or name in UNTRIED:
            continue
        options -= NOT_OURS.get(name, set())
        tried = {option for case in cases for option in case.outputs}
        assert {"TARGET" if word == "OUT" else word for word in tried} >= options, f"bumpfit {name} is not tried"


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """The system refuses every byte that is written into a file (EFBIG, as of a quota), whoever writes it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class System:
    """Lets the k-th call of one of its functions fail, the disk being full."""

    def __init__(self, patch: pytest.MonkeyPatch, k: int) -> None:
        self.calls = 0
        for name in ("replace", "fsync"):
            patch.setattr(os, name, self.failing(getattr(os, name), k))

    def failing(self, function: Callable[..., Any], k: int) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == k:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments, **options)

        return call


SOME = [pytest.param(name, marks=[pytest.mark.slow] if case.slow else []) for name, case in CASES.items()]


@pytest.mark.parametrize("name", SOME)
def test_a_full_disk_and_a_place_that_is_none(name: str, commands: Make, tmp_path: Path) -> None:
    command = commands(CASES[name])
    (tmp_path / "file").write_text("")
    for option, file in command.outputs.items():  # told before anything is made
        refused(command({**command.outputs, option: f"{tmp_path}/file/{file}"}))
        assert not tree(command.folder), option
    some = {option: file for option, file in command.outputs.items() if not file.endswith(".png")}
    done = command(some)
    assert done.code == 0, done.err
    whole = tree(command.folder)
    command.clear()
    with no_room():
        done = command(some)
    assert "File too large" in refused(done, code=1)
    assert not tree(command.folder)
    assert command(some).code == 0
    assert numbers(tree(command.folder)) == numbers(whole)


@pytest.mark.parametrize("name", CASES)
def test_no_output_takes_the_place_of_an_input(name: str, commands: Make, tmp_path: Path) -> None:
    command = commands(CASES[name])
    for option in command.outputs:
        for word, path in command.inputs.items():
            if path.is_dir():
                continue
            copy = tmp_path / path.name  # in the words of the command, so that a fault costs no other test its inputs
            shutil.copy(path, copy)
            command.replace(str(path), str(copy))
            done = command({**command.outputs, option: str(copy)})
            assert copy.read_bytes() == path.read_bytes(), (option, word)
            assert done.code == 2, (option, word, done.err)
            command.replace(str(copy), str(path))


def test_a_training_is_refused_before_it_starts(bumpfit: Run, inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, entry in (("file/out.zip", "entry"), ("out.zip", "file/entry")):
        words = ("higgsml", "train", "baseline", inputs["higgs"], "-o", tmp_path / out, "--export", tmp_path / entry)
        assert "is a file" in refused(bumpfit(*words))
    assert set(tree(tmp_path)) == {"file"}


def save_blank(figure: Figure, target: Any, **options: Any) -> None:
    """Instead of `Figure.savefig`, which takes most of the time of a command: its drawing is not the question here."""
    if isinstance(target, io.BytesIO):
        target.write(VECTOR if options.get("format") == "svg" else BLANK)
    else:
        Path(target).write_bytes(BLANK)


BLANK = b"\x89PNG\r\n\x1a\n"
VECTOR = b'<svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt" viewBox="0 0 9 9"><g/></svg>'


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose first answer is given again: a report is written often, of the same fit."""
    kept: list[Any] = []

    def told(*arguments: Any, **named: Any) -> Any:
        if not kept:
            kept.append(function(*arguments, **named))
        return kept[0]

    return told


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.slow])
def test_every_call_of_the_system_may_fail(name: str, commands: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renaming and each flush of a command, which then goes on. Figures, written in one place, are one."""
    monkeypatch.setattr(Figure, "savefig", save_blank)
    monkeypatch.setattr(style, "as_texts", lambda figure: None)
    monkeypatch.setattr(inference, "summary", once(inference.summary))
    command = commands(CASES[name])
    drawn = ("--figure",) if name == "fit" else ()
    some = {option: file for option, file in command.outputs.items() if option in drawn or not file.endswith(".png")}
    assert command(some).code == 0
    whole = tree(command.folder)
    for k in itertools.count(1):
        command.clear()
        with pytest.MonkeyPatch.context() as patch:
            system = System(patch, k)
            done = command(some)
        if system.calls < k:
            break
        assert "No space left" in refused(done, code=1)
        assert not [path for path in tree(command.folder) if files.is_temporary(Path(path).name)]
        done = command(some)
        assert done.code == 0, done.err
        assert numbers(tree(command.folder)) == numbers(whole), k
    assert k > 2


KILLED = """
import os, signal, sys
from bumpfit.cli import main

left, replace = int(sys.argv[1]), os.replace

def counting(*arguments, **options):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*arguments, **options)

os.replace = counting
main(sys.argv[2:])
"""
"""A process that is killed with the k-th of its files written, but not yet in its place."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "k"),
    [("fit", 1), ("dataset", 1), ("toys", 2), ("simulate process", 1), ("simulate process", 2)],
)  # fmt: skip
def test_a_killed_process_is_no_obstacle(name: str, k: int, commands: Make) -> None:
    command = commands(CASES[name])
    assert command(command.outputs).code == 0
    whole = tree(command.folder)
    command.clear()
    line = [sys.executable, "-c", KILLED, str(k), *command.line(command.outputs)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert tree(command.folder)
    files._swept.clear()  # as in a new process
    again = command(command.outputs)
    assert again.code == 0, again.err
    assert numbers(tree(command.folder)) == numbers(whole)
