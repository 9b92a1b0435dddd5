"""Results of benchmarks as they were measured, and the tables of the documents that are made of them.

    python benchmarks/stored.py            write the tables between the markers of docs/ anew
    python benchmarks/stored.py --check    exit code 1 where a table is not what is stored

A benchmark with `--store` writes `benchmarks/results/NAME.json`: rows, how they are shown, command, date, machine, load
and versions. In a document its table stands between `<!-- stored: NAME -->` and `<!-- end of stored -->`. Results
that were measured before there was `--store` name their command and the commits that brought their numbers.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("bumpfit", "numpy", "scipy", "numba", "iminuit", "pyhf")
BLOCK = re.compile(r"(<!-- stored: (\S+) -->\n)(.*?)(<!-- end of stored -->)", re.DOTALL)
BEGIN = re.compile(r"<!-- stored: (\S+) -->")


def save(name: str, command: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]) -> Path:
    """Write what was measured.

    Args:
        name: of the file, and in the markers of documents.
        command: that repeats the measurement.
        rows: a mapping of the same keys each; None where there is no number.
        columns: key of the rows to its header and the format of its cells, in the order shown: that of `format`, "" for
            text, "plain" for numbers as they are, a pair being a value and its error.
    """
    kept = {
        "name": name,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES},
        "columns": {key: list(shown) for key, shown in columns.items()},
        "rows": [{key: row.get(key) for key in columns} for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print(f"stored in {path.relative_to(ROOT)}; now: python benchmarks/stored.py", file=sys.stderr)
    return path


def read(name: str) -> dict[str, Any]:
    """A stored result."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"there is no {path.relative_to(ROOT)}, which a document names")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def plain(value: Any) -> str:
    """A text, or a number with its own digits, a space before each three of many; of a pair also its error."""
    if isinstance(value, list):
        return " ± ".join(plain(one) for one in value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ") if abs(value) >= 10_000 else str(value)
    return re.sub(r"e([+-]?)0*", lambda found: f"e{found[1].strip('+')}", str(value))


def cell(value: Any, form: str) -> str:
    """What stands in a cell."""
    return "" if value is None else plain(value) if form == "plain" else format(value, form)


def origin(found: Mapping[str, Any]) -> str:
    """Where the numbers come from, in a line."""
    if "recorded" in found:
        commits = ", ".join(f"{commit} ({date})" for commit, date in found["recorded"])
        return f"`{found['command']}`; numbers of {commits}."
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"`{found['command']}`, {found['date']}: {found['machine']}, load {found['load']}; {versions}."


def table(found: Mapping[str, Any]) -> str:
    """The rows as Markdown, and below them what they were measured with."""
    columns = found["columns"]
    lines = ["| " + " | ".join(head for head, _ in columns.values()) + " |"]
    lines.append("| " + " | ".join("---:" if form else "---" for _, form in columns.values()) + " |")
    for row in found["rows"]:
        cells = (cell(row[key], form) for key, (_, form) in columns.items())
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", origin(found), ""]
    return "\n".join(lines)


def filled(text: str) -> str:
    """A document with its tables made anew."""
    if len(BEGIN.findall(text)) != len(BLOCK.findall(text)) or "<!-- stored:" in BLOCK.sub("", text):
        raise SystemExit("a marker `<!-- stored: NAME -->` without its `<!-- end of stored -->`")
    return BLOCK.sub(lambda block: f"{block[1]}\n{table(read(block[2]))}\n{block[4]}", text)


def documents() -> list[Path]:
    """Those that hold a table."""
    return [path for path in sorted((ROOT / "docs").rglob("*.md")) if "<!-- stored:" in path.read_text()]


def main() -> None:
    """Fill the documents, or look whether they are filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [path for path in documents() if filled(path.read_text()) != path.read_text()]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'not what is stored' if check else 'written'}")
        if not check:
            path.write_text(filled(path.read_text()))
    sys.exit(bool(check and stale))


if __name__ == "__main__":
    main()
