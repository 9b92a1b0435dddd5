"""`bumpfit doctor`: what this installation is, what it has, and whether it counts right."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bumpfit.commands.output import Json, Output
from bumpfit.errors import BumpfitError

if TYPE_CHECKING:
    from rich.console import RenderableType

DEVELOPMENT = ("dev", "docs")
"""Extras that no user needs."""
AGREES = 1e-6
"""How far a number may be from pyhf's, relative to it; pyhf's own minimiser leaves 1e-4."""


def doctor(as_json: Json = False) -> None:
    """Say what is installed and test it: versions, extras, cores, threads, disk, and numbers against those of pyhf.

    Ends with code 1 when a number differs from pyhf's. Send its output along with a report of a bug.

    Example: bumpfit doctor
    """
    from importlib import metadata

    from bumpfit.execute import available_cores

    needed = requirements()
    found: dict[str, Any] = {
        "bumpfit": metadata.version("bumpfit"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": available_cores(),
        "libraries": {name: _version(name) for name in needed.pop("")},
        "extras": {
            extra: {name: _version(name) for name in names}
            for extra, names in needed.items()
            if extra not in DEVELOPMENT
        },
        "threads": _threads(),
        "free_gb": {"here": _free(Path.cwd()), "temporary files": _free(Path(tempfile.gettempdir()))},
        "kernels": _kernels(),
        "test": _against_pyhf(),
    }
    Output(as_json=as_json).give(found, lambda: _page(found))
    if not found["test"]["passed"]:
        raise BumpfitError(f"numbers differ from pyhf's: {found['test']['compared']}; reinstall, or report it as a bug")


def requirements() -> dict[str, list[str]]:
    """Names of the packages that bumpfit needs, under "", and that each extra adds."""
    from importlib import metadata

    result: dict[str, list[str]] = {"": []}
    for text in metadata.requires("bumpfit") or ():
        need, _, marker = text.partition(";")
        name = re.split(r"[\s\[<>=!~(]", need.strip(), maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        result.setdefault("" if extra is None else extra.group(1), []).append(name)
    return result


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _threads() -> dict[str, int]:
    """Threads of each library of linear algebra or OpenMP that is loaded."""
    import numpy  # noqa: F401  # loads its library of linear algebra
    from threadpoolctl import threadpool_info

    return {
        f"{pool['internal_api']} ({Path(pool['filepath']).name})": pool["num_threads"] for pool in threadpool_info()
    }


def _free(folder: Path) -> float | None:
    try:
        return round(shutil.disk_usage(folder).free / 1e9, 1)
    except OSError:
        return None


def _kernels() -> str:
    """Whether compiled functions are kept between two starts."""
    import bumpfit

    own = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(bumpfit.__file__).parent)
    if os.access(own, os.W_OK):
        return "kept beside the package" if "NUMBA_CACHE_DIR" not in os.environ else "kept in NUMBA_CACHE_DIR"
    return "kept in the user's cache, because the package's folder cannot be written to"


def _against_pyhf() -> dict[str, Any]:
    """-2 ln L, q0 and CLs of a small workspace beside those of pyhf."""
    import pyhf

    from bumpfit import inference, workspace
    from bumpfit.workspace import build
    from bumpfit.workspace.effects_scale import NORMFACTOR, NORMSYS
    from bumpfit.workspace.effects_shape import HISTOSYS

    begin = time.monotonic()
    signal = build.sample("signal", [4.0, 9.0, 3.0], NORMFACTOR.modifier("mu"))
    background = build.sample(
        "background", [60.0, 40.0, 25.0], NORMSYS.modifier("norm", (0.9, 1.1)),
        HISTOSYS.modifier("shape", ([57.0, 41.0, 26.0], [64.0, 39.0, 23.0])),
    )  # fmt: skip
    spec = build.workspace({"region": [signal, background]}, {"region": [63.0, 52.0, 27.0]}, "mu")
    model = workspace.read(spec)
    read = pyhf.Workspace(spec)
    theirs = read.model(
        modifier_settings={NORMSYS.kind: {"interpcode": "code4"}, HISTOSYS.kind: {"interpcode": "code4p"}}
    )
    data = read.data(theirs)
    start = theirs.config.suggested_init()
    values = dict(zip(theirs.config.par_names, start, strict=True))
    twice_nll = pyhf.infer.mle.fit(data, theirs, return_fitted_val=True)[1]
    fixed = pyhf.infer.mle.fixed_poi_fit(0.0, data, theirs, return_fitted_val=True)[1]
    compared = {
        "-2 ln L": (model.twice_nll(values), float(-2 * theirs.logpdf(start, data)[0])),
        "-2 ln L at the minimum": (inference.fit(model).twice_nll, float(twice_nll)),
        "q0": (inference.discovery(model).q0, float(fixed - twice_nll)),
        "CLs(mu = 1)": (inference.cls(model, 1.0).observed, float(pyhf.infer.hypotest(1.0, data, theirs))),
    }
    passed = all(
        ours is not None and abs(ours - other) < 1e-4 + AGREES * abs(other) for ours, other in compared.values()
    )
    return {
        "passed": passed,
        "seconds": round(time.monotonic() - begin, 1),
        "compared": {name: {"bumpfit": ours, "pyhf": other} for name, (ours, other) in compared.items()},
    }


def _page(found: dict[str, Any]) -> RenderableType:
    from bumpfit.pages.terminal import number, pairs, stacked, table

    test = found["test"]
    extras = [
        (f"bumpfit[{extra}]", "installed" if all(names.values()) else f"pip install 'bumpfit[{extra}]'")
        for extra, names in found["extras"].items()
    ]
    numbers = [(name, number(pair["bumpfit"], 8), number(pair["pyhf"], 8)) for name, pair in test["compared"].items()]
    return stacked(
        pairs(
            [
                ("bumpfit", f"{found['bumpfit']} in Python {found['python']} ({sys.executable})"),
                ("machine", f"{found['machine']}, {found['cores']} cores"),
                ("threads", ", ".join(f"{name}: {count}" for name, count in found["threads"].items()) or "one"),
                ("free disk", ", ".join(f"{name} {gb} GB" for name, gb in found["free_gb"].items())),
                ("compiled kernels", found["kernels"]),
                *((name, version or "missing") for name, version in found["libraries"].items()),
            ]
        ),
        table("Optional parts", ("part", "state"), extras),
        table(f"Numbers beside pyhf's ({test['seconds']} s)", ("quantity", "bumpfit", "pyhf"), numbers),
        "all agree" if test["passed"] else "numbers differ",
    )


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)
