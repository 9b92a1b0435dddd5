"""Help and refusals speak the words of the field: no name of a Python type, no sentence of a validator."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from command_line import Run, refused

from bumpfit.cli import application
from bumpfit.commands.wording import reword


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield " ".join((*path, name)), one


def test_every_option_has_its_word_and_every_command_an_example() -> None:
    whole: Any = typer.main.get_command(application())
    reword(whole)
    found = dict(commands(whole))
    assert len(found) > 40
    for name, one in found.items():
        example = "bumpfit combine" if name == "workspace combine" else f"bumpfit {name}"  # one command, two names
        assert example in " ".join(one.help.split()), f"{name} has no example"
        with one.context_class(one, info_name=name) as context:
            for parameter in one.get_params(context):
                assert parameter.metavar is not None and "<" not in parameter.metavar, (name, parameter.name)
                assert parameter.help, (name, parameter.name)


def test_workers_mean_the_same_everywhere() -> None:
    whole: Any = typer.main.get_command(application())
    options = {name: o for name, one in commands(whole) for o in one.params if "--workers" in o.opts}
    assert len(options) > 15
    assert {(o.default, o.help) for o in options.values()} == {
        (None, "Processes or threads (default: all cores); no number depends on it.")
    }


def test_help_names_no_python_type(bumpfit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for words in (("combine", "--help"), ("limit", "--help"), ("higgsml", "benchmark", "--help"), ("run", "--help")):
        text = bumpfit(*words).out
        assert not any(word in text for word in ("<str>", "<int", "<float", "<path>", "<list", "list[")), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("toys", "w.json", "--workers", "a"), "--workers is 'a'; expected a whole number, 1 or larger"),
        (("toys", "w.json", "--workers", "0"), "--workers is '0'; expected a whole number, 1 or larger"),
        (("fit", "w.json", "--minimiser", "best"), "--minimiser is 'best'; expected newton or minuit"),
        (("fit", "w.json", "--asimov", "one"), "--asimov is 'one'; expected a number"),
        (("limit",), "WORKSPACES is missing (Workspace (HistFactory"),
        (("gof",), "WORKSPACE is missing (Workspace: HistFactory"),
    ],
)
def test_refusals(words: tuple[str, ...], said: str, bumpfit: Run) -> None:
    text = refused(bumpfit(*words))
    assert said in text and "Input should" not in text and "parse" not in text


@pytest.mark.parametrize("width", [40, 79, 80, 200])
def test_help_never_cuts_the_name_of_an_option(width: int, bumpfit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    whole: Any = typer.main.get_command(application())
    for command in (name.split() for name, _ in commands(whole)):
        said = bumpfit(*command, "--help").out
        assert "…" not in said and "--help" in said, command
    said = bumpfit("fit", "--help").out
    for name in ("--correlation-figure", "--prefit-figure", "--allow-negative", "--card-strength"):
        assert name in said
