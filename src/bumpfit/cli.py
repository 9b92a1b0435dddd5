"""The command line: `bumpfit COMMAND`. Exit codes: 0 done, 1 no result could be had, 2 wrong use or bad input."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import os
import shlex
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

import typer

from bumpfit import caches, logs, progress
from bumpfit.commands.output import TYPED
from bumpfit.console import Console, printable
from bumpfit.errors import BumpfitError, InputError, NoticeWarning


class Part(NamedTuple):
    """A module of commands: where it stands in the help, and the names of its commands."""

    panel: str
    names: tuple[str, ...]


MODULES = {
    "search": Part("From a table to a report", ("demo", "run", "score", "report")),
    "workspaces": Part("Workspaces", ("build", "convert", "combine", "validate")),
    "parts": Part("Workspaces", ("workspace",)),
    "patchsets": Part("Workspaces", ("patchset",)),
    "likelihood": Part("Questions to a likelihood", ("fit", "scan", "impacts", "gof")),
    "limits": Part("Questions to a likelihood", ("limit",)),
    "plane": Part("Questions to a likelihood", ("contour",)),
    "functions": Part("Questions to a likelihood", ("spurious", "bias")),
    "averages": Part("Questions to a likelihood", ("blue",)),
    "hepdata": Part("Questions to a likelihood", ("hepdata",)),
    "channels": Part("Questions to a likelihood", ("compatibility",)),
    "compared": Part("Questions to a likelihood", ("pulls",)),
    "strengths": Part("Questions to a likelihood", ("discovery",)),
    "bayesian": Part("Questions to a likelihood", ("posterior",)),
    "windows": Part("Questions to a likelihood", ("bumphunter",)),
    "toys": Part("Toys", ("toys", "interval", "coverage", "sensitivity")),
    "simulate": Part("Events and classifiers", ("simulate",)),
    "tagging": Part("Events and classifiers", ("dataset", "train", "metrics")),
    "higgsml": Part("HiggsML uncertainty challenge", ("higgsml",)),
    "doctor": Part("This installation", ("doctor",)),
}
"""Where the commands are: a command that is run needs one module only, which halves the start."""


NARROW = 80
"""Columns below which help is plain text: in a table the names of options would be cut."""


def application(command: str | None = None, *, outline: bool = False) -> typer.Typer:
    """The command line with all commands, or with those of the module that has `command`.

    `outline`: commands have their names and what they say of themselves, but no options, which take Typer a third of
    the time of the list of all commands.
    """
    columns = shutil.get_terminal_size().columns
    narrow: dict[str, Any] = {"terminal_width": columns} if columns < NARROW else {}
    app = typer.Typer(
        name="bumpfit",
        help="Likelihood fits for particle-physics searches: from event tables to calibrated p-values, masses and "
        "yields.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], **narrow},
        rich_markup_mode=None if narrow else "rich",
    )
    app.callback(invoke_without_command=True)(version)
    wanted = [module for module, part in MODULES.items() if command in part.names]
    for module in wanted or MODULES:
        known = len(app.registered_commands), len(app.registered_groups)
        importlib.import_module(f"bumpfit.commands.{module}").add_to(app)
        for command_info in app.registered_commands[known[0] :]:
            command_info.rich_help_panel = MODULES[module].panel
        for group_info in app.registered_groups[known[1] :]:
            group_info.rich_help_panel = MODULES[module].panel
    if outline and not wanted:
        for command_info in app.registered_commands:
            command_info.callback = _nameplate(command_info.callback)
        for group_info in app.registered_groups:
            assert group_info.typer_instance is not None
            app.command(
                group_info.name, help=group_info.typer_instance.info.help, rich_help_panel=group_info.rich_help_panel
            )(_nameplate(group_info.typer_instance))
        app.registered_groups.clear()
    return app


def _nameplate(command: Any) -> Callable[[], None]:
    """A command that does nothing, with the name and the text of another one."""

    def shown() -> None:
        pass

    shown.__name__, shown.__doc__ = getattr(command, "__name__", "shown"), command.__doc__
    return shown


log = logging.getLogger(__name__)


class Everywhere(NamedTuple):
    """Options of all commands, which may stand before or after the command's name."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    log: str | None = None

    @classmethod
    def taken(cls, words: list[str]) -> tuple[Everywhere, list[str]]:
        """The options among the words of a command line, and the other words; raises InputError for wrong ones."""
        found: dict[str, bool | str] = {}
        rest: list[str] = []
        left = iter(words)
        for word in left:
            name, equals, value = word.partition("=")
            if word in ("--quiet", "--verbose", "--debug"):
                found[word[2:]] = True
            elif name == "--log":
                found["log"] = value if equals else next(left, "")
                if not found["log"] or str(found["log"]).startswith("-"):
                    raise InputError("--log needs the name of a file, as in --log run.log")
            else:
                rest.append(word)
        if "quiet" in found and "verbose" in found:
            raise InputError("--quiet and --verbose contradict each other; give one of the two")
        return cls(**found), rest  # type: ignore[arg-type]


def version(
    context: typer.Context,
    show: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    quiet: bool = typer.Option(False, "--quiet", help="No progress and no notices; also after the command."),
    verbose: bool = typer.Option(False, "--verbose", help="Say what is being done; also after the command."),
    logged: str | None = typer.Option(
        None, "--log", metavar="FILE", help="Write what is being done to the end of a file; also after the command."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show where in the code an error arose; also after the command."),
) -> None:
    """Likelihood fits for particle-physics searches."""
    if show:
        from bumpfit import __version__

        typer.echo(__version__)
        raise typer.Exit()


def _usage_error() -> type[Exception]:
    """What wrong use raises: the exception of the copy of click inside newer versions of Typer, or of click."""
    inside = importlib.util.find_spec("typer._click") is not None
    module = importlib.import_module("typer._click.exceptions" if inside else "click.exceptions")
    found: type[Exception] = module.ClickException
    return found


UsageError = _usage_error()
INTERRUPTED = 130
COMPLETION = "_BUMPFIT_COMPLETE"
"""Variable in which a shell asks for what a line could go on with."""


def _command(words: list[str]) -> object:
    """Run a command and say in the log what it was and how it ended."""
    if log.isEnabledFor(logging.INFO):
        from bumpfit import __version__

        log.info("bumpfit %s, Python %s: bumpfit %s", __version__, sys.version.split()[0], shlex.join(words))
    TYPED.set(tuple(words))
    started = time.monotonic()
    commands = {name for part in MODULES.values() for name in part.names}
    # without a command there will be the list of all, or a sentence
    outline = COMPLETION not in os.environ and not commands & set(words)
    try:
        command: Callable[..., object] = application(words[0] if words else None, outline=outline)
        if {"--help", "-h"} & set(words) or not words:
            command = typer.main.get_command(command)  # type: ignore[arg-type]
            from bumpfit.commands.wording import reword

            reword(command)
        code = command(args=words, standalone_mode=False)
    except BaseException as error:
        log.info("ended after %.1f s by %s", time.monotonic() - started, type(error).__name__)
        log.debug("where it arose", exc_info=True)
        raise
    log.info("done after %.1f s", time.monotonic() - started)
    return code


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; a user's mistake is one sentence on standard error, never a traceback."""
    gc.set_threshold(500_000, 20, 20)  # what is imported stays: looking for garbage in it is a tenth of the start
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    asked = Everywhere()

    def note(message: Warning | str, category: type[Warning], filename: str, lineno: int,
             file: TextIO | None = None, line: str | None = None) -> None:  # fmt: skip
        if issubclass(category, NoticeWarning):
            log.debug("notice: %s", message)
            if asked.quiet:
                return
            errors.print(f"bumpfit: {printable(str(message))}", markup=False, style="yellow")
        else:
            usual(message, category, filename, lineno, file, line)

    try:
        with warnings.catch_warnings():
            usual, warnings.showwarning = warnings.showwarning, note
            asked, given = Everywhere.taken(sys.argv[1:] if arguments is None else arguments)
            if any(not word or (word.startswith("--") and word.endswith("=")) for word in given):
                raise InputError("an option or argument is empty; give it a value or leave it out")
            with caches.somewhere(), progress.silent(asked.quiet), logs.told(asked.log, verbose=asked.verbose):
                code = _command(given)
            if code == INTERRUPTED:  # what newer versions of Typer make of Ctrl-C
                raise KeyboardInterrupt
    except BumpfitError as error:
        if asked.debug:
            traceback.print_exc()
        errors.print(f"bumpfit: {printable(str(error))}", markup=False, style="red")
        sys.exit(error.exit_code)
    except UsageError as error:
        from bumpfit.commands.wording import refusal

        message = refusal(error)
        if type(error).__name__ == "NoArgsIsHelpError" and message:  # its help, on narrow terminals not yet shown
            typer.echo(error.format_message())  # type: ignore[attr-defined]
        elif message:
            errors.print(f"bumpfit: {printable(message)} (try --help)", markup=False, style="red")
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        errors.print("bumpfit: interrupted; what was finished is kept where the command keeps its stages")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
    except MemoryError:
        errors.print("bumpfit: the memory of this machine is not enough; give less at once", style="red")
        sys.exit(1)
    except OSError as error:  # of a file that no command has words of its own for, standard output among them
        place = f" ({printable(os.fsdecode(error.filename))})" if isinstance(error.filename, str | bytes) else ""
        errors.print(f"bumpfit: {printable(error.strerror or str(error))}{place}", markup=False, style="red")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
