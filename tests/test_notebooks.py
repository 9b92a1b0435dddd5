"""Every notebook runs from top to bottom, on less than it shows, and its two forms say the same.

The text form (`NAME.py`, percent format) is run here, cell by cell, with the last value of a cell shown as a notebook
shows it. `NAME.ipynb` is made of it by `notebooks/execute.py`.
"""

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1] / "notebooks"
REDUCED: dict[str, dict[str, Any]] = {
    "higgsml": {
        "SETTINGS": {"trees": 20, "first_trees": 10, "fine": 8, "bins": 12, "draws": 1},
        "N": 1150,
        "POINTS": 10,
    },
    "likelihood": {"TOYS": 1000},
    "own_analysis": {},
    "search": {"ROWS": 1500},
    "tagging": {"N": 120, "EPOCHS": 1},
    "toys": {"TOYS": 200, "MASSES": 6},
}
EXECUTED = tuple(REDUCED)
"""Notebooks that are kept with what they show."""
NEEDS = {"tagging": ("pythia8mc", "fastjet", "awkward")}
LARGEST = 700_000
"""Bytes of a notebook with its figures."""

spec = importlib.util.spec_from_file_location("execute", HERE / "execute.py")
assert spec is not None and spec.loader is not None
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)


def test_all_notebooks_are_here() -> None:
    assert {path.stem for path in HERE.glob("*.py")} - {"execute"} == set(REDUCED)
    assert {path.stem for path in HERE.glob("*.ipynb")} >= set(EXECUTED)


def shown(value: Any) -> str:
    """A value as a notebook shows it."""
    for form in ("_repr_png_", "_repr_html_"):
        if hasattr(value, form) and (told := getattr(value, form)()) is not None:
            return str(told)
    return repr(value)


def run(source: str, names: dict[str, Any]) -> str | None:
    """Run a cell; what it shows when its last statement is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None if value is None else shown(value)


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCED)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    left = dict(REDUCED[name])
    seen = []
    for source, code, tags in made.cells((HERE / f"{name}.py").read_text()):
        if code:
            seen.append(run(source, names))
        if "parameters" in tags:
            assert set(left) <= set(names), f"{name} has no such parameters"
            names |= left
            left = {}
    assert not left and sum(value is not None for value in seen) >= 1


@pytest.mark.parametrize("name", EXECUTED)
def test_both_forms_say_the_same(name: str) -> None:
    book = json.loads((HERE / f"{name}.ipynb").read_text())
    text = made.cells((HERE / f"{name}.py").read_text())
    stored = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in book["cells"]]
    assert stored == [(cell.source, cell.code) for cell in text], "run: python notebooks/execute.py " + name
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", ())]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert (HERE / f"{name}.ipynb").stat().st_size < LARGEST
    assert not re.search(r"/(home|work|root|Users)/", json.dumps([o for o in outputs if "data" in o or "text" in o]))


def test_cells() -> None:
    text = '# ---\n# header\n\n# %% [markdown]\n# # T\n#\n# a\n\n# %% tags=["parameters"]\nN = 1\n\n\n# %%\nx = 2\n'
    assert made.cells(text) == [("# T\n\na", False, ()), ("N = 1", True, ("parameters",)), ("x = 2", True, ())]
