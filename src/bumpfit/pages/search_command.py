"""The command that repeats a search."""

from __future__ import annotations

import shlex
from pathlib import PurePath

from bumpfit.events.tables import FEATURES, MASS
from bumpfit.pages.answers import Told

CONFIG = "search.toml"
"""What the command of the report calls the file with the settings."""


def command(findings: Told) -> str:
    """The command that repeats the search with the settings in `CONFIG`; the Python call where frames were given."""
    answers, data = findings.answers, findings.data
    paths = [None if entry.path is None else PurePath(entry.path).name for entry in answers.inputs]
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
