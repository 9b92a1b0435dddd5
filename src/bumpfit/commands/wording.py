"""What help and refusals call the values of options: words of the field, whatever Typer and its validators say."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

METAVARS = {int: "N", float: "NUMBER", Path: "FILE", str: "TEXT"}
"""What stands for the value of an option that names no word of its own."""
EXPECTED = {int: "a whole number", float: "a number", Path: "a file", bool: "true or false"}


def reword(command: Any, parent: Any = None) -> None:
    """Give every option and argument of a command, and of those below it, its word in the help; flags have none."""
    settings = command.context_settings or {}
    with command.context_class(command, parent=parent, info_name=command.name, **settings) as context:
        for parameter in command.get_params(context):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = parameter.metavar or ""
            elif not _is_option(parameter):
                parameter.metavar = parameter.metavar or str(parameter.name).upper()
                if hasattr(parameter, "display_type_rich"):  # newer versions of Typer show `<list[Path]>` beside it
                    parameter.display_type_rich = _nothing
            elif parameter.metavar is None:
                choices = _choices(parameter)
                parameter.metavar = "|".join(choices) if choices else METAVARS.get(_kind(parameter), "TEXT")
        for one in getattr(command, "commands", {}).values():
            reword(one, context)


def refusal(error: Any) -> str:
    """One sentence for wrong use: what was got, and what is expected; Typer's own where it knows better."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        return " ".join(str(error.format_message()).split())
    name = max(parameter.opts, key=len) if _is_option(parameter) else parameter.metavar or str(parameter.name).upper()
    if type(error).__name__ == "MissingParameter":
        told = " ".join((parameter.help or "").split()).rstrip(".")
        return f"{name} is missing{f' ({told})' if told else ''}"
    expected = _expected(parameter)
    if not expected:
        return " ".join(str(error.format_message()).split())
    return f"{name} is {_got(error)}; expected {expected}"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _nothing(*_: Any, **__: Any) -> str:
    return ""


def _kind(parameter: Any) -> type:
    """The type of one value: of newer versions of Typer from the annotation, before from click's own names."""
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        first = str(getattr(parameter.type, "name", "text")).split()[0]
        return {"integer": int, "float": float, "path": Path, "file": Path, "boolean": bool}.get(first, str)
    annotation = described.annotation
    while typing.get_origin(annotation) in (list, tuple, typing.Union, types.UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    return annotation if isinstance(annotation, type) else str


def _choices(parameter: Any) -> list[str]:
    described = getattr(parameter, "type_descriptor", None)
    found = getattr(parameter.type, "choices", None) if described is None else described.choices
    return [str(getattr(one, "value", one)) for one in found or ()]


def _expected(parameter: Any) -> str:
    """`a whole number, 1 or larger`; empty where there is no more to say than Typer does."""
    if choices := _choices(parameter):
        return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)
    kind = EXPECTED.get(_kind(parameter), "")
    low, high = (_end(parameter, name) for name in ("min", "max"))
    if not kind or (low is None and high is None):
        return kind
    if low is not None and high is not None:
        return f"{kind} from {low:g} to {high:g}"
    return f"{kind}, {low:g} or larger" if low is not None else f"{kind}, {high:g} or smaller"


def _end(parameter: Any, name: str) -> float | None:
    own = getattr(parameter, name, None)
    found = getattr(getattr(parameter, "type", None), name, None) if own is None else own
    return found if isinstance(found, int | float) else None


def _got(error: Any) -> str:
    """The value that was refused, of pydantic's report or between the quotes of click's sentence."""
    report: Callable[..., list[dict[str, Any]]] | None = getattr(error.__cause__, "errors", None)
    if report is not None and (found := report()):
        return f"'{found[0].get('input')}'"
    return next((f"'{part}'" for part in str(error.message).split("'")[1::2]), "not what it should be")
