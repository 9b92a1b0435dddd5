"""Imports go down only: a module imports from lower floors, and from siblings without cycles."""

import ast
import functools
import graphlib
import re
from pathlib import Path

import bumpfit

ROOT = Path(bumpfit.__file__).parent
FLOORS = {
    **dict.fromkeys(
        (
            "types",
            "words",
            "compiled",
            "compiled_records",
            "compiled_rows",
            "display",
            "results",
            "errors",
            "progress",
            "execute",
            "clusters",
            "console",
            "foreign",
            "logs",
            "caches",
            "mixing",
            "files",
            "archives",
            "normal",
            "standard_output",
            "threads",
        ),
        0,
    ),
    **dict.fromkeys(("likelihood", "law", "poisson"), 0),
    **dict.fromkeys(("runs", "events", "simulate", "shapes", "histograms", "foreign_histograms", "data"), 1),
    **dict.fromkeys(("published", "published_formats"), 1),
    **dict.fromkeys(("scoring", "workspace"), 2),
    "inference": 3,
    "toys": 4,
    "report": 5,
    **dict.fromkeys(("search", "higgsml", "tagging"), 6),
    "pages": 7,
    **dict.fromkeys(("cli", "commands", "__init__"), 8),
    "__main__": 9,
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """What a source holds."""
    return ast.parse(path.read_text())


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
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


def modules_named() -> list[tuple[str, str]]:
    """Place and module, as the table of the modules in docs/architecture.md names them."""
    found = []
    for line in (Path(__file__).parents[1] / "docs" / "architecture.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"`[a-z]+`", cells[0]):
            found += [(cells[0].strip("`"), name) for name in re.findall(r"`(\w+)`", cells[2])]
    return found


def test_every_module_is_named_once_in_the_document() -> None:
    tree = [(path.parent.name, path.stem) for path in ROOT.rglob("*.py") if path.stem not in ("__init__", "__main__")]
    named = modules_named()
    assert sorted(set(tree) - set(named)) == [], "docs/architecture.md lacks these"
    assert sorted(set(named) - set(tree)) == [], "docs/architecture.md names what is not there"
    assert len(named) == len(set(named))


def test_folders_are_one_deep() -> None:
    assert all(len(p.relative_to(ROOT).parts) <= 2 for p in ROOT.rglob("*.py"))


KNOWN = {("bumpfit.events.objects", "bumpfit.events.observables")}
"""Imports inside functions that close a circle: an object asks for observables that are computed of objects."""


def imported_files(node: ast.AST, files: frozenset[str]) -> set[str]:
    """Modules that are imported anywhere below a node, in functions too; those for type checkers only are left out."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            found |= (names & files) or {child.module}
        found |= imported_files(child, files)
    return found & files


def test_imports_of_files_make_no_circle() -> None:
    files = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(("bumpfit", *path.relative_to(ROOT).with_suffix("").parts))
        files[name.removesuffix(".__init__")] = path
    names = frozenset(files)
    graph = {
        name: {
            other
            for other in imported_files(parsed(path), names)
            if other not in (name, "bumpfit") and (name, other) not in KNOWN
        }
        for name, path in files.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


LINES, ARGUMENTS = 60, 8

LONG: tuple[str, ...] = (
    "commands/likelihood.py:fit",
    "commands/tagging_data.py:dataset",
    "commands/toys.py:toys",
    "events/dataset.py:build",
    "inference/newton.py:descend",
    "scoring/merits.py:evaluate",
    "tagging/prospects.py:prospects",
    "toys/general_lanes.py:fit_toys",
    "toys/general_likelihood.py:evaluate",
    "workspace/kernels.py:of_rates",
)
"""Functions of more than `LINES` lines without their docstring, sorted. This list may only get shorter."""

WIDE: tuple[str, ...] = (
    "higgsml/bias.py:bias",
    "higgsml/forest.py:walk",
    "higgsml/likelihood.py:fit_all",
    "higgsml/likelihood.py:throw",
    "higgsml/likelihood_kernel.py:end",
    "higgsml/likelihood_kernel.py:measure",
    "higgsml/likelihood_kernel.py:side",
    "higgsml/submission.py:systematics",
    "inference/low_rank.py:minimise",
    "inference/newton.py:along_walls",
    "inference/newton.py:descend",
    "inference/newton.py:minimise",
    "pages/search_run.py:run",
    "scoring/crossfit.py:cross_fit",
    "scoring/merits.py:evaluate",
    "scoring/merits.py:max_significance",
    "search/score_events.py:primary_test",
    "simulate/tau_pairs.py:choose",
    "toys/careful.py:fit_carefully",
    "toys/coverage.py:coverage",
    "toys/coverage.py:sensitivity",
    "toys/damped.py:derivatives",
    "toys/damped.py:minimise",
    "toys/general_lanes.py:begin",
    "toys/general_lanes.py:fit_toys",
    "toys/importance.py:tail",
    "toys/loglinear_batch.py:call",
    "toys/loglinear_batch.py:put_toys",
    "toys/loglinear_batch.py:run_queue",
    "toys/loglinear_batch.py:run_toys",
    "toys/loglinear_kernel.py:fit_background",
    "toys/loglinear_kernel.py:fit_signal",
    "toys/loglinear_kernel.py:signal_pass",
    "toys/look_elsewhere.py:scan_toys",
    "toys/run.py:run",
    "toys/throw.py:throw",
    "workspace/build.py:selection",
    "workspace/build.py:spectrum",
    "workspace/kernels.py:derivatives",
    "workspace/kernels.py:of_rates",
    "workspace/vectorised.py:of_rates",
)
"""Public functions of more than `ARGUMENTS` arguments, sorted. This list may only get shorter."""


def functions() -> list[tuple[str, int, int]]:
    """All functions with their lines, docstrings left out, and arguments; `self` and `cls` are none."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                told = node.body[0]
                documented = ast.get_docstring(node) is not None
                first = (told.end_lineno or told.lineno) if documented else node.lineno - 1
                head = told.lineno - node.lineno if documented else 0
                lines = head + (node.end_lineno or node.lineno) - first
                place = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
                found.append((place, lines, len([n for n in names if n not in ("self", "cls")])))
    return found


def test_functions_are_short() -> None:
    assert sorted({place for place, lines, _ in functions() if lines > LINES}) == list(LONG)


def test_public_functions_have_few_arguments() -> None:
    """Options of a command are the arguments of its function, so the functions of `commands/` are left out."""
    wide = {
        place
        for place, _, arguments in functions()
        if arguments > ARGUMENTS and not place.startswith("commands/") and not place.split(":")[1].startswith("_")
    }
    assert sorted(wide) == list(WIDE)


def test_names_of_test_files_are_unique() -> None:
    """Two of one name in two folders cannot be collected in one run."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert {name for name in names if names.count(name) > 1} == set()


def test_a_probability_from_toys_is_estimated_in_one_place() -> None:
    """(h + 1) / (n + 1): the data are one more world. Ranks of events among events are another thing."""
    ranks = {"posterior.py", "crossfit.py"}

    def one_more(node: ast.expr) -> bool:
        one = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and isinstance(node.right, ast.Constant)
        return one and node.right.value == 1

    def estimates(tree: ast.AST) -> bool:
        ratios = (n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div))
        return any(one_more(n.left) and one_more(n.right) for n in ratios)

    found = {p.name for p in ROOT.rglob("*.py") if estimates(parsed(p))}
    assert found - ranks == {"law.py"}


def test_minuit_is_called_in_few_places() -> None:
    """Spectra of shapes, workspaces and toys where Newton stops, mass peaks, the baseline of HiggsML."""
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if "Minuit(" in path.read_text()}
    assert found == {
        "shapes/minimise.py", "inference/histfactory.py", "toys/damped.py", "search/peaks.py",
        "higgsml/method_baseline.py",
    }  # fmt: skip


def test_all_parts_are_attributes_of_the_package() -> None:
    parts = {"events", "higgsml", "histograms", "inference", "report", "results", "run", "scoring", "search", "shapes",
             "simulate", "tagging", "toys", "workspace"}  # fmt: skip
    assert parts <= set(dir(bumpfit)) and all(getattr(bumpfit, name) for name in parts)
