"""-2 ln L, fits and CLs of all workspaces at hand, beside pyhf's; prints the table of docs/methods/inference.md.

    python tests/witness/every_workspace.py [--values] [WORD ...]

Of sources with one of the words in their names; with --values -2 ln L alone, which takes seconds instead of minutes.

Workspaces are found by walking folders for JSON with channels and observations: those that the package ships, those
in pyhf's own package, and, where they are, the ones for development (`BUMPFIT_SHARED_DATA`) with the published ATLAS
sbottom likelihood. Models of pyhf's constructors and random ones with all types of modifiers are added.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import numpy as np
import pyhf

sys.path.insert(0, str(Path(__file__).parent))
from random_models import random_workspace

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference import cls, fit, limit
from bumpfit.workspace import Model, read

HERE = Path(__file__).parents[2]
SHARED = Path(os.environ.get("BUMPFIT_SHARED_DATA", HERE.parent / "shared" / "data"))
RANDOM, CONSTRUCTED, POINTS = 80, 8, 8
"""Random models, models of each of pyhf's constructors, published signal points of each region."""
SAME = 1e-4
"""Difference of -2 ln L above which two fits are not at one minimum."""

Spec = dict[str, Any]


def walked(*folders: Path) -> Iterator[tuple[str, Spec]]:
    """All workspaces with data below some folders."""
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            try:
                content = json.loads(path.read_text())
            except ValueError:
                continue
            if isinstance(content, dict) and {"channels", "observations", "measurements"} <= content.keys():
                yield str(path.relative_to(folder)), content


def constructed() -> Iterator[tuple[str, Spec]]:
    """Models of `pyhf.simplemodels` with random numbers and data."""
    for seed in range(CONSTRUCTED):
        rng = np.random.default_rng(seed)
        bins = int(rng.integers(1, 6))
        signal, background = rng.uniform(1, 20, bins).tolist(), rng.uniform(20, 200, bins)
        error = background * rng.uniform(0.05, 0.3, bins)
        counts = rng.poisson(background).astype(float).tolist()
        for name, model in (
            ("uncorrelated", pyhf.simplemodels.uncorrelated_background(signal, background.tolist(), error.tolist())),
            ("correlated", pyhf.simplemodels.correlated_background(
                signal, background.tolist(), (background + error).tolist(), (background - error).tolist())),
        ):  # fmt: skip
            yield f"{name} {seed}", dict(pyhf.Workspace.build(model, counts + model.config.auxdata))


def published() -> Iterator[tuple[str, Spec]]:
    """Signal points of the ATLAS sbottom likelihood, the same distance apart in each region."""
    archive = SHARED / "likelihoods" / "atlas_sbottom_ins1748602.tar.gz"
    if not archive.exists():
        return
    with tarfile.open(archive) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith(".json"))

        def content(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        for background in (name for name in names if name.endswith("BkgOnly.json")):
            folder = background.rpartition("/")[0]
            patches = [name for name in names if name.startswith(f"{folder}/patch.")]
            for name in patches[:: max(1, len(patches) // POINTS)][:POINTS]:
                yield name, jsonpatch.apply_patch(content(background), content(name))


SOURCES: dict[str, Callable[[], Iterator[tuple[str, Spec]]]] = {
    "shipped": lambda: walked(HERE / "workspaces", HERE / "src" / "bumpfit" / "data"),
    "in pyhf's package": lambda: walked(Path(pyhf.__file__).parent),
    "pyhf's constructors": constructed,
    "for development": lambda: walked(SHARED, SHARED.parent / "cases"),
    "random": lambda: ((str(seed), random_workspace(seed)) for seed in range(1000, 1000 + RANDOM)),
    "ATLAS sbottom": published,
}
"""Workspaces by where they come from; each entry is a name and its JSON."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """Differences of one workspace. `refused`: by which of the two programs it is not read. `above`: how far the
    highest of pyhf's fits lies above ours, `below` how far ours above pyhf's, in -2 ln L; `tested`: largest relative
    difference of CLs (observed, five expected), None where the fits are at different minima or pyhf's failed.
    """

    name: str
    parameters: int = 0
    refused: str = ""
    value: float = 0.0
    above: float = 0.0
    below: float = 0.0
    tested: float | None = None
    failed: bool = False


def compare(name: str, spec: Spec, *, answers: bool = True) -> Compared:
    """Compare -2 ln L at three points and, unless asked not to, CLs at our limit and the fits behind it."""
    try:
        workspace = pyhf.Workspace(spec)
        theirs = workspace.model()
        data = workspace.data(theirs)
    except Exception:  # pyhf raises what its libraries raise
        return Compared(name, refused="pyhf")
    try:
        model = read(spec)
    except InputError:
        return Compared(name, refused="bumpfit")
    rng = np.random.default_rng(1)
    value = 0.0
    for _ in range(3):
        x = np.clip(model.inits + rng.normal(0, 0.2, model.inits.size), np.maximum(model.lower, 0.3), model.upper)
        ours, other = model.twice_nll(x), -2 * float(theirs.logpdf(x, data)[0])
        value = max(value, abs(ours - other) / max(1.0, abs(other)))
    result = Compared(name, len(model.names), value=value)
    return _answers(result, model, theirs, np.asarray(data)) if answers and model.poi else result


def _answers(result: Compared, model: Model, theirs: Any, data: np.ndarray) -> Compared:
    """Free and held fits to data and to Asimov data, and CLs."""
    poi = str(model.poi)
    low, top = float(model.lower[model.index(poi)]), float(model.upper[model.index(poi)])
    statistic: Any = "qtilde" if low >= 0 else "q"  # pyhf takes the formulae of q-tilde for q where the range is wider
    try:
        bound = limit(model, statistic=statistic).observed
    except BumpfitError:  # without signal nothing could have made the data
        return result
    strength = top if bound is None else min(bound, top)
    null = fit(model, fixed={poi: 0.0}).array
    expected = np.asarray(theirs.expected_data(null))
    pairs = []
    try:
        for counts, held in ((data, None), (data, 0.0), (data, strength), (expected, strength)):
            other = (
                pyhf.infer.mle.fit(counts, theirs, return_fitted_val=True)
                if held is None
                else pyhf.infer.mle.fixed_poi_fit(held, counts, theirs, return_fitted_val=True)
            )
            ours = fit(model, counts, fixed={} if held is None else {poi: held})
            pairs.append(ours.twice_nll - float(other[1]))
        one, band = pyhf.infer.hypotest(strength, data, theirs, test_stat=statistic, return_expected_set=True)
    except (pyhf.exceptions.FailedMinimization, ValueError):
        return dataclasses.replace(result, failed=True)
    result = dataclasses.replace(result, above=max(0.0, -min(pairs)), below=max(0.0, *pairs))
    if max(map(abs, pairs)) > SAME:
        return result
    found, want = cls(model, strength, statistic=statistic), np.array([one, *band], dtype=float)
    ours = np.array([found.observed, *found.expected], dtype=float)
    return dataclasses.replace(result, tested=float(np.max(np.abs(ours / want - 1))))


@functools.cache
def compared(source: str, *, answers: bool = True) -> tuple[Compared, ...]:
    """All workspaces of a source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyhf warns about its own internals
        return tuple(compare(name, spec, answers=answers) for name, spec in SOURCES[source]())


def row(source: str, found: tuple[Compared, ...]) -> str:
    """A line of the table."""
    both = [c for c in found if not c.refused]
    if not both:
        return f"| {source} | 0 | | | | | | |"
    sizes = [c.parameters for c in both]
    tested = [c.tested for c in both if c.tested is not None]
    return (
        f"| {source} | {len(both)} | {min(sizes)} to {max(sizes)} | {max(c.value for c in both):.1e} | {len(tested)} | "
        f"{max((c.below for c in both), default=0.0):.1e} | {max(tested, default=float('nan')):.1e} | "
        f"{sum(c.above > SAME for c in both)}, {sum(c.failed for c in both)} |"
    )


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--values"]
    answers = "--values" not in sys.argv
    print("| workspaces | number | parameters | -2 ln L | same minima | fits | CLs | pyhf above, failed |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for source in SOURCES:
        if words and not any(word in source for word in words):
            continue
        found = compared(source, answers=answers)
        print(row(source, found), flush=True)
        for c in found:
            if c.refused or c.failed or c.above > SAME or c.below > SAME or (c.tested or 0.0) > 1e-3 or c.value > 1e-9:
                print("  ", c, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
