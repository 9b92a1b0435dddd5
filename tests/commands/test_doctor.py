"""`bumpfit doctor`, the options of all commands, and the help."""

import dataclasses
from typing import Any

import pytest
from command_line import Run, refused

from bumpfit import inference
from bumpfit.cli import MODULES, application, main
from bumpfit.progress import bar


def test_doctor(bumpfit: Run) -> None:
    found = bumpfit("doctor", "--json").json
    assert found["test"]["passed"] and set(found["test"]["compared"]) >= {"q0", "CLs(mu = 1)"}
    assert found["libraries"]["numpy"] and found["cores"] >= 1 and "root" in found["extras"]
    shown = bumpfit("doctor")
    assert shown.code == 0 and "all agree" in shown.out and "compiled kernels" in shown.out


def test_doctor_sees_a_wrong_number(bumpfit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = inference.discovery
    monkeypatch.setattr(
        inference, "discovery", lambda model: dataclasses.replace(right(model), q0=right(model).q0 + 0.01)
    )
    assert "numbers differ from pyhf's" in refused(bumpfit("doctor", "--json"), code=1)


def test_debug_shows_where(bumpfit: Run) -> None:
    for words in (("--debug", "fit", "nowhere.json"), ("fit", "nowhere.json", "--debug")):
        done = bumpfit(*words)
        assert done.code == 2 and "Traceback" in done.err and "nowhere.json" in done.err.splitlines()[-1]
    assert "Traceback" not in bumpfit("fit", "nowhere.json").err


def test_quiet_draws_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bumpfit import cli, progress

    def command(**_: Any) -> int:
        with bar("working", 1):
            drawn.append(progress._display.get() is not None)
        return 0

    drawn: list[bool] = []
    monkeypatch.setattr(cli, "application", lambda name, **_: command)
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    for words in (["toys"], ["toys", "--quiet"]):
        with pytest.raises(SystemExit):
            cli.main(words)
    assert drawn == [True, False]
    capsys.readouterr()


def test_help_has_parts(bumpfit: Run) -> None:
    shown = bumpfit("--help").out
    assert all(part.panel in shown for part in MODULES.values())
    fit = bumpfit("fit", "--help").out
    assert not any(
        word in text for text in (shown, fit, bumpfit("higgsml", "train", "-h").out) for word in ("<bool>", "BOOLEAN")
    )
    assert all(panel in fit for panel in ("Workspace", "Data and parameters", "From a scored table", "Output"))
    assert len(application().registered_commands) + len(application().registered_groups) == sum(
        len(part.names) for part in MODULES.values()
    )


def test_no_command_shows_the_help(bumpfit: Run) -> None:
    done = bumpfit()
    assert "Questions to a likelihood" in done.out + done.err and "bumpfit:  (try" not in done.err


@pytest.mark.parametrize("words", [(), ("workspace",), ("higgsml", "--help")])
def test_help_on_a_narrow_terminal(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit):
        main(list(words))
    told = capsys.readouterr()
    assert told.out.startswith("Usage: ") and not told.err
    assert max(map(len, told.out.splitlines())) <= 40
