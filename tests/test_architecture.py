"""Imports go down only: a module imports from lower floors, and from siblings without cycles."""

import ast
import graphlib
from pathlib import Path

import bumpfit

ROOT = Path(bumpfit.__file__).parent
FLOORS = {
    **dict.fromkeys(
        (
            "types",
            "compiled",
            "results",
            "errors",
            "progress",
            "execute",
            "clusters",
            "console",
            "foreign",
            "files",
            "archives",
            "normal",
            "standard_output",
        ),
        0,
    ),
    **dict.fromkeys(("likelihood", "law", "poisson"), 0),
    **dict.fromkeys(("runs", "events", "simulate", "shapes", "histograms", "foreign_histograms", "data"), 1),
    **dict.fromkeys(("scoring", "workspace"), 2),
    "inference": 3,
    "toys": 4,
    "report": 5,
    **dict.fromkeys(("search", "higgsml", "tagging"), 6),
    "pages": 7,
    **dict.fromkeys(("cli", "commands", "__init__"), 8),
    "__main__": 9,
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.startswith("bumpfit.")}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "bumpfit":
                names |= {f"bumpfit.{a.name}" for a in node.names if a.name != "__version__"}
            elif node.module.startswith("bumpfit."):
                names.add(node.module)
    return names


def test_imports_go_down_only() -> None:
    wrong = []
    rooms: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        assert here in FLOORS, f"{path} has no floor"
        for name in imports(path):
            there = room(name)
            if there != here:
                rooms.setdefault(here, set()).add(there)
            if FLOORS[there] > FLOORS[here]:
                wrong.append(f"{path.relative_to(ROOT)} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})")
    assert not wrong, "\n".join(wrong)
    graphlib.TopologicalSorter(rooms).prepare()  # raises CycleError when rooms import each other


def test_folders_are_one_deep() -> None:
    assert all(len(p.relative_to(ROOT).parts) <= 2 for p in ROOT.rglob("*.py"))


KNOWN = {("bumpfit.events.objects", "bumpfit.events.observables")}
"""Imports inside functions that close a circle: an object asks for observables that are computed of objects."""


def imported_files(node: ast.AST, files: dict[str, Path]) -> set[str]:
    """Modules that are imported anywhere below a node, in functions too; those for type checkers only are left out."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            found |= (names & set(files)) or {child.module}
        found |= imported_files(child, files)
    return found & set(files)


def test_imports_of_files_make_no_circle() -> None:
    files = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(("bumpfit", *path.relative_to(ROOT).with_suffix("").parts))
        files[name.removesuffix(".__init__")] = path
    graph = {
        name: {
            other
            for other in imported_files(ast.parse(path.read_text()), files)
            if other not in (name, "bumpfit") and (name, other) not in KNOWN
        }
        for name, path in files.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle
