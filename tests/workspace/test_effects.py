"""Types of systematic effects are records: no other file knows one by its name."""

import ast
from pathlib import Path

import bumpfit
from bumpfit.workspace.effects import EFFECTS

ROOT = Path(bumpfit.__file__).parent


def strings(path: Path) -> set[str]:
    """All string literals of a file but its docstrings."""
    tree = ast.parse(path.read_text())
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {node.value for node in constants if id(node) not in documents}  # type: ignore[misc]


def test_no_other_file_names_a_type() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in ROOT.rglob("*.py")
        if not path.name.startswith("effects_") and (names := strings(path) & set(EFFECTS))
    }
    assert not found, found


def test_the_order_of_parameters_is_pyhfs() -> None:
    assert list(EFFECTS)[:7] == ["histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror"]
