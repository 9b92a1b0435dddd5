"""What a search was made with, so that it can be made again: settings as TOML and the command."""

from __future__ import annotations

import dataclasses
import json
import shlex
from typing import Any

from bumpfit.events.tables import FEATURES, MASS
from bumpfit.search.findings import Findings

CONFIG = "search.toml"
"""What the command of the report calls the file with the settings."""


def config_toml(config: Any) -> str:
    """Settings (nested records of numbers, texts and tuples) as TOML that `read_config` takes back unchanged."""
    plain, tables = [], []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            tables.append(f"\n[{field.name}]\n{config_toml(value)}")
        else:
            plain.append(f"{field.name} = {_toml(value)}\n")
    return "".join(plain + tables)


def command(findings: Findings) -> str:
    """The command that repeats the search with the settings in `CONFIG`; the Python call where frames were given."""
    answers, data = findings.answers, findings.data
    paths = [entry.path for entry in answers.inputs]
    if any(path is None for path in paths):
        tables = ", ".join(("data", "background")[: len(paths)])
        return (
            f"bumpfit.run({tables}, out='OUT', seed={answers.seed}, iterations={len(answers.iterations)}, "
            f"config=read_config('{CONFIG}'))"
        )
    words = ["bumpfit", "run", str(paths[0])]
    if len(paths) > 1:
        words += ["--background", str(paths[1])]
    words += ["-o", "OUT", "--config", CONFIG, "--seed", str(answers.seed)]
    words += ["--iterations", str(len(answers.iterations))]
    if data.mass_name != MASS:
        words += ["--mass", data.mass_name]
    if data.names != FEATURES:
        words += ["--features", ",".join(data.names)]
    if len(data.dropped) or (findings.background is not None and len(findings.background.dropped)):
        words.append("--drop-bad")
    return shlex.join(words)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return repr(value)
