"""The last section of a report: version, inputs and options that its numbers follow from, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bumpfit.report.document import Block, Heading, Items, Paragraph, Table, verbatim


def made(result: Mapping[str, Any], method: str, remarks: Sequence[str] = ()) -> list[Block]:
    """How a result was made.

    Args:
        result: the first keys of the command's JSON (command, version, inputs, options).
        method: where the numbers come from, with its source.
        remarks: what has no answer, or does not hold.
    """
    rows = [("bumpfit", str(result["version"]))]
    rows += [(verbatim(Path(one["path"]).name), f"SHA-256 {verbatim(one['sha256'])}") for one in result["inputs"]]
    rows += [(verbatim(f"--{name.replace('_', '-')}"), verbatim(value)) for name, value in result["options"].items()]
    return [
        Heading("How it was made", "made"),
        *([Items(tuple(remarks))] if remarks else []),
        Table("made_with", "Version, inputs, and options that were given.", ("Item", "Value"), tuple(rows)),
        Paragraph(method),
    ]
