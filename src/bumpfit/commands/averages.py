"""`bumpfit blue`: combine measurements of one quantity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import grouped
from bumpfit.commands.output import Output, check_outputs, provenance
from bumpfit.errors import InputError
from bumpfit.pages.terminal import measured, number, pairs, probability, stacked, table

if TYPE_CHECKING:
    from rich.console import RenderableType

EXPECTED = "[[measurement]] tables with name, value, errors = {SOURCE = NUMBER}, and maybe [correlation] SOURCE = ..."


@grouped
def blue(
    measurements: Annotated[Path, typer.Argument(help="TOML file of measurements with their errors by source.")],
    output: Output,
) -> None:
    r"""Combine measurements of one quantity with correlated errors: the best linear unbiased estimate.

    The file has a table for each measurement, \[\[measurement]] name = "A", value = 17, errors = {stat = 0.3,
    jes = 0.5}, and \[correlation] with a number for all pairs or a matrix for a source: jes = 0.8.

    Example: bumpfit blue masses.toml
    """
    from bumpfit.files import require
    from bumpfit.foreign import read_toml
    from bumpfit.inference import blue as combine

    check_outputs([measurements], output.out)
    content = read_toml(require(measurements), EXPECTED)
    values, errors, correlations = _content(content, measurements)
    found = combine(values, errors, correlations)
    result = {**provenance("blue", [measurements]), **found.to_dict()}

    def show() -> RenderableType:
        rows = [[name, number(values[name], 6), number(found.weights[name], 4)] for name in values]
        parts = [(f"error of {source}", number(error, 4)) for source, error in found.errors.items()]
        fit = f"{number(found.chi2, 4)} for {found.degrees_of_freedom}, p = {probability(found.p)}"
        return stacked(
            table("", ["measurement", "value", "weight"], rows),
            pairs([("combination", measured(found.value, found.error)), *parts, ("chi2", fit)]),
        )

    output.give(result, show, list(found.notes))


def _content(content: Mapping[str, Any], path: Path) -> tuple[dict[str, float], dict[str, list[float]], dict[str, Any]]:
    """Values, errors by source and correlations; raises InputError for what is not as expected."""
    unknown = set(content) - {"measurement", "correlation"}
    rows, correlations = content.get("measurement", []), content.get("correlation", {})
    if unknown or not isinstance(rows, list) or not isinstance(correlations, Mapping):
        raise InputError(f"{path} has {', '.join(sorted(unknown)) or 'no measurements'}; expected {EXPECTED}")
    values: dict[str, float] = {}
    for row in rows:
        right = isinstance(row, Mapping) and set(row) == {"name", "value", "errors"}
        if not (right and isinstance(row["name"], str) and isinstance(row["errors"], Mapping)):
            raise InputError(f"{path} has a measurement {str(row)[:60]}; expected {EXPECTED}")
        if row["name"] in values:
            raise InputError(f"{path} has the measurement '{row['name']}' twice")
        values[row["name"]] = _number(row["value"], f"the value of '{row['name']}'", path)
    sources = list(dict.fromkeys(source for row in rows for source in row["errors"]))
    errors = {
        source: [_number(row["errors"].get(source, 0.0), f"error {source} of '{row['name']}'", path) for row in rows]
        for source in sources
    }
    for source, given in correlations.items():
        lines = given if isinstance(given, list) else [[given]]
        for x in (x for line in lines for x in (line if isinstance(line, list) else [line])):
            _number(x, f"the correlation of {source}", path)
        if isinstance(given, list) and {len(line) if isinstance(line, list) else -1 for line in given} != {len(rows)}:
            raise InputError(f"the correlation of {source} in {path} must be a number or {len(rows)} rows of as many")
    return values, errors, dict(correlations)


def _number(value: Any, what: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{what} in {path} must be a number, got {str(value)[:40]!r}")
    return float(value)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(blue)
