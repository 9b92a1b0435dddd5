"""Round trips of workspaces through other formats: worst change of -2 ln L, and of the fit.

    python benchmarks/round_trips.py FOLDER ... --patches 3 --fit [--store]

Each FOLDER is walked for HistFactory JSON with channels, observations and measurements; JSON patches beside such a file
(`patch*.json`) are applied to it, `--patches` of them. -2 ln L is taken at the start and at random points around it. A
workspace that a format cannot say is counted with the sentence of its refusal.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import stored
from bumpfit import inference, workspace
from bumpfit.errors import BumpfitError, InputWarning
from bumpfit.workspace import Model
from bumpfit.workspace.patchsets import apply_patch

ROADS = {"xml": "w.xml", "hs3": "w_hs3.json", "datacard": "w.txt"}
COLUMNS = {
    "form": ("through", ""), "same": ("the same", ""), "worst": ("largest change of -2 ln L", ".1e"),
    "fit": ("at the minimum", ".1e"), "refused": ("not said by the format", "d"),
}  # fmt: skip
SAME = 1e-9
"""Largest change of -2 ln L that counts as none."""
POINTS = 5
"""Points at which -2 ln L is compared."""


def found(folders: list[Path], patches: int) -> Iterator[tuple[str, Any]]:
    """Workspaces by name."""
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            content = json.loads(path.read_text())
            if not (isinstance(content, dict) and {"channels", "observations", "measurements"} <= content.keys()):
                continue
            beside = sorted(path.parent.glob("patch*.json"))[: None if patches < 0 else patches]
            if not beside:
                yield str(path.relative_to(folder)), content
            for patch in beside:
                yield f"{path.parent.name}/{patch.name}", apply_patch(content, json.loads(patch.read_text()), None)


def points(model: Model, seed: int) -> Iterator[dict[str, float]]:
    """The start, and places within the ranges around it."""
    generator = np.random.default_rng(seed)
    yield dict(zip(model.names, map(float, model.inits), strict=True))
    for _ in range(POINTS - 1):
        values = {}
        for parameter in model.parameters:
            width = 0.5 if parameter.constraint == "normal" and parameter.init == 0.0 else 0.05
            moved = parameter.init + (0.0 if parameter.fixed else width * generator.normal())
            values[parameter.name] = float(np.clip(moved, parameter.low, parameter.high))
        yield values


def told(values: dict[str, float], model: Model, again: Model) -> dict[str, float]:
    """Values by the names of what was read again: XML and cards name statistical errors anew."""
    names = dict(values)
    for channel in model.spec["channels"]:
        for modifier in (m for sample in channel["samples"] for m in sample["modifiers"] if m["type"] == "staterror"):
            old = f"{modifier['name']}["
            bins = {name.removeprefix(old): value for name, value in values.items() if name.startswith(old)}
            for new in (f"prop_bin{channel['name']}[", f"staterror_{channel['name']}["):
                names |= {new + number: value for number, value in bins.items()}
    missing = sorted(set(again.names) - set(names))
    if missing:
        raise BumpfitError(f"other names of parameters: {', '.join(missing[:3])}")
    return {name: names[name] for name in again.names}


def compare(spec: Any, form: str, fit: bool) -> tuple[float, float]:
    """Largest change of -2 ln L over the points, and that at the minimum."""
    model = workspace.read(spec)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ROADS[form]
        workspace.write(model, path, format=form)  # type: ignore[arg-type]
        again = workspace.read(path)
    places = list(points(model, 1))
    first = np.array([model.twice_nll(values) for values in places])
    second = np.array([again.twice_nll(told(values, model, again)) for values in places])
    worst = float(np.abs(second - first).max())
    if not fit:
        return worst, 0.0
    one, other = (inference.fit(m) for m in (model, again))
    return worst, abs(other.twice_nll - one.twice_nll)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--patches", type=int, default=3)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--formats", nargs="+", choices=list(ROADS), default=list(ROADS))
    parser.add_argument("--store", action="store_true", help="keep the rows in benchmarks/results")
    given = parser.parse_args()
    warnings.simplefilter("ignore", InputWarning)
    specs = list(found(given.folders, given.patches))
    print(f"{len(specs)} workspaces, {POINTS} points each")
    print("| format | same | worst change of -2 ln L | of the fit | not said by the format |")
    print("| --- | --- | --- | --- | --- |")
    rows = []
    for form in given.formats:
        changes, refusals = [], Counter[str]()
        for name, spec in specs:
            try:
                changes.append((*compare(spec, form, given.fit), name))
            except BumpfitError as error:
                refusals[str(error)[:90]] += 1
        worst = max(changes, default=(np.nan, np.nan, ""))
        same = sum(change < SAME for change, _, _ in changes)
        fits = max((fit for _, fit, _ in changes), default=0.0)
        print(
            f"| {form} | {same} of {len(specs)} | {worst[0]:.1e} ({worst[2]}) | {fits:.1e} | {sum(refusals.values())} |"
        )
        rows.append({"form": form, "same": f"{same} of {len(specs)}", "worst": worst[0] if changes else None,
                     "fit": fits if changes and given.fit else None, "refused": sum(refusals.values())})  # fmt: skip
        for reason, number in refusals.most_common(5):
            print(f"  {number}: {reason}")
    if given.store:
        folders = " ".join(str(f) if f.is_relative_to(".") and not f.is_absolute() else "FOLDER" for f in given.folders)
        chosen = "" if given.formats == list(ROADS) else f" --formats {' '.join(given.formats)}"
        command = f"python benchmarks/round_trips.py {folders}{chosen} --patches {given.patches}{' --fit' * given.fit}"
        stored.save("round_trips", command, rows, COLUMNS)


if __name__ == "__main__":
    main()
