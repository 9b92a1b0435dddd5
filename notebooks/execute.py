"""Make the notebooks (`NAME.ipynb`, with light outputs) of their text form (`NAME.py`): python execute.py [NAME ...].

Needs the extra `notebooks`. The text form is jupytext's percent format, so Jupyter opens it too.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
COLOURS = 64
"""Colours of a figure that is kept: a third of the bytes."""


class Cell(NamedTuple):
    """A cell of a notebook: its text, whether it is code, and its tags."""

    source: str
    code: bool
    tags: tuple[str, ...]


def cells(text: str) -> list[Cell]:
    """The cells of a notebook in percent format; what stands before the first one is its header."""
    found = []
    for head, body in re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n?)*)", text, re.MULTILINE):
        code = "[markdown]" not in head
        source = body.strip("\n")
        if not code:
            source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.split("\n"))
        tags = re.search(r"tags=(\[.*\])", head)
        found.append(Cell(source, code, tuple(json.loads(tags.group(1))) if tags else ()))
    return found


def light(data: dict[str, str]) -> dict[str, str]:
    """What a cell shows, its figure with few colours."""
    if "image/png" not in data:
        return data
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    stream = io.BytesIO()
    image.quantize(COLOURS).save(stream, format="png", optimize=True)
    return {**data, "image/png": base64.b64encode(stream.getvalue()).decode()}


def execute(name: str) -> None:
    """Run a notebook in an empty folder and write it with what its cells show."""
    import nbformat
    from nbclient import NotebookClient

    made = []
    for number, (source, code, tags) in enumerate(cells((HERE / f"{name}.py").read_text())):
        cell = nbformat.v4.new_code_cell(source) if code else nbformat.v4.new_markdown_cell(source)
        cell.id = f"{name.replace('_', '-')}-{number}"  # the same for every run
        cell.metadata = {"tags": list(tags)} if tags else {}
        made.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel})
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(book, timeout=1800, record_timing=False, resources={"metadata": {"path": folder}})
        client.execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "data" in output:
                    output.data = light(output.data)
    book.metadata.pop("language_info", None)  # the version of this machine's Python
    nbformat.write(book, HERE / f"{name}.ipynb")


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__)):
        execute(name)
        print(f"{name}.ipynb: {(HERE / f'{name}.ipynb').stat().st_size / 1000:.0f} kB")
