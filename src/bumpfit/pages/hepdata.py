"""Results as tables of HEPData: what `bumpfit hepdata` puts into a submission.

The form is that of https://hepdata-submission.readthedocs.io: a file `submission.yaml` of one document a table, and a
file a table with independent and dependent variables. JSON is YAML, so no other package writes it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError

Json = dict[str, Any]

DIGITS = 6
"""Significant digits of the numbers."""
NAME = 64
"""Characters that the name of a table may have."""
SIGNS = ("up", "down", "prefit_up", "prefit_down")
"""Shifts of an impact."""
MISSING = "-"
"""What stands for a value that does not exist."""


def submission(results: Mapping[str, Mapping[str, Any]], comment: str, energy: float | None = None) -> dict[str, str]:
    """Contents by the name of the file.

    Args:
        results: results of `fit`, `limit`, `scan`, `impacts` and `dataset` with its cut flow (their JSON) by a name
            for each.
        comment: what the submission says of itself.
        energy: centre-of-mass energy in GeV.

    Raises InputError for other results.
    """
    found = [table for name, result in results.items() for table in _tables(name, result)]
    files: dict[str, str] = {}
    documents: list[Json] = [{"comment": comment}]
    names: set[str] = set()
    for table in found:
        name = table["name"][:NAME]
        number = 2
        while name in names:
            name, number = f"{table['name'][: NAME - 4]} {number}", number + 1
        names.add(name)
        file = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() + ".yaml"
        while file in files:
            file = f"_{file}"
        keywords = [{"name": "observables", "values": [table["observable"]]}]
        if energy is not None:
            keywords.append({"name": "cmenergies", "values": [energy]})
        document: Json = {"name": name, "description": table["description"], "keywords": keywords, "data_file": file}
        documents.append(document)
        files[file] = _text({k: table[k] for k in ("independent_variables", "dependent_variables")})
    return {"submission.yaml": "".join(f"---\n{_text(document)}" for document in documents), **files}


def _text(content: Json) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _tables(name: str, result: Mapping[str, Any]) -> list[Json]:
    command = result.get("command")
    makers = {"fit": _fit, "limit": _limit, "scan": _scan, "impacts": _impacts, "dataset": _cut_flow}
    if command not in makers:
        raise InputError(
            f"'{name}' is a result of {command!r}; tables are made of those of {', '.join(makers)}, as JSON"
        )
    try:
        return list(makers[command](name, result))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"'{name}' is no whole result of bumpfit {command}: {type(error).__name__} {error}") from None


def _number(value: float | None) -> float | str:
    return MISSING if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def _cell(value: float | None, **errors: tuple[float | None, float | None]) -> Json:
    """A value with errors by label, each (down, up) with its sign."""
    cell: Json = {"value": _number(value)}
    told = [
        {"asymerror": {"minus": _number(low), "plus": _number(high)}, "label": label}
        for label, (low, high) in errors.items()
        if value is not None and low is not None and high is not None and (low or high)  # HEPData refuses errors of 0
    ]
    return {**cell, "errors": told} if told else cell


def _around(value: float | None, error: float | None, label: str) -> Json:
    return _cell(value) if error is None else _cell(value, **{label: (-error, error)})


def _column(name: str, values: Sequence[Json], units: str = "") -> Json:
    header = {"name": name, "units": units} if units else {"name": name}
    return {"header": header, "values": list(values)}


def _table(name: str, description: str, observable: str, independent: list[Json], dependent: list[Json]) -> Json:
    return {
        "name": name, "description": description, "observable": observable, "independent_variables": independent,
        "dependent_variables": dependent,
    }  # fmt: skip


def _limit(name: str, result: Mapping[str, Any]) -> Iterator[Json]:
    over = result.get("masses") is not None
    rows = result["limits"] if over else [result]
    first = next((row for row in rows if row is not None), None)
    if first is None:
        raise InputError(f"'{name}' has no limit at any mass")
    what = f"{100 * first['level']:g} % CLs limit on {first['parameter']}"
    of = "without signal" if not first["bands_at"] else f"with {first['parameter']} = {first['bands_at']:g}"
    observed: list[Json] = []
    expected: list[Json] = []
    ends: Sequence[float | None]
    for row in rows:
        ends = [None] * 5 if row is None else row["expected"]
        median = ends[2]
        observed.append(_cell(None if row is None else row["observed"]))
        bands = {}
        for label, low, high in (("1 sigma", ends[1], ends[3]), ("2 sigma", ends[0], ends[4])):
            if low is not None and high is not None and median is not None:
                bands[label] = (low - median, high - median)
        expected.append(_cell(median, **bands))
    independent = (
        _column("mass", [{"value": _number(m)} for m in result["masses"]], "GeV")
        if over
        else _column("parameter", [{"value": first["parameter"]}])
    )
    yield _table(
        f"Limits {name}", f"Upper limits, observed and expected for data {of}, by {first['method']}.", "CLS",
        [independent], [_column(f"observed {what}", observed), _column(f"expected {what}", expected)],
    )  # fmt: skip


def _scan(name: str, result: Mapping[str, Any]) -> Iterator[Json]:
    if "parameter" not in result:
        raise InputError(f"'{name}' is a scan over masses; tables are made of scans of a parameter")
    yield _table(
        f"Scan {name}", f"Profile likelihood of {result['parameter']}; best value {result['best']:.{DIGITS}g}.", "NLL",
        [_column(result["parameter"], [{"value": _number(x)} for x in result["points"]])],
        [_column("-2 Delta ln L", [_cell(y) for y in result["delta_twice_nll"]])],
    )  # fmt: skip


def _fit(name: str, result: Mapping[str, Any]) -> Iterator[Json]:
    names = result["parameters"]
    label = "from second derivatives"
    rows = [_around(result["values"][one], result["errors"].get(one), label) for one in names]
    yield _table(
        f"Parameters {name}", "Best fit with uncertainties.", "PARAMETER",
        [_column("parameter", [{"value": one} for one in names])], [_column("value", rows)],
    )  # fmt: skip
    if result.get("correlation") is not None:
        pairs = [(i, j) for i in range(len(names)) for j in range(len(names))]
        yield _table(
            f"Correlation {name}", "Correlation of the parameters of the fit.", "CORR",
            [_column("row", [{"value": names[i]} for i, _ in pairs]),
             _column("column", [{"value": names[j]} for _, j in pairs])],
            [_column("correlation", [_cell(result["correlation"][i][j]) for i, j in pairs])],
        )  # fmt: skip
    for stage, yields in (result.get("yields") or {}).items():
        for channel in yields["channels"]:
            bins = [{"value": k} for k in range(1, len(channel["total"]) + 1)]
            columns = [] if channel["data"] is None else [_column("data", [_cell(n) for n in channel["data"]])]
            parts = [("total", channel["total"], channel["total_errors"])]
            parts += [(sample["name"], sample["yields"], sample["errors"]) for sample in channel["samples"]]
            for part, values, errors in parts:
                columns.append(_column(part, [_around(v, e, "total") for v, e in zip(values, errors, strict=True)]))
            yield _table(
                f"Events {stage} {channel['name']} {name}", f"Events of channel {channel['name']}, {stage}.", "N",
                [_column("bin", bins)], columns,
            )  # fmt: skip


def _impacts(name: str, result: Mapping[str, Any]) -> Iterator[Json]:
    rows = result["impacts"]
    pulls = [_around(row["pull"], row["constraint"], "constraint") for row in rows]
    of = f"shift of {result['parameter']}"
    shifts = [_column(f"{of}, {sign}", [_cell(row[sign]) for row in rows]) for sign in SIGNS]
    yield _table(
        f"Impacts {name}", f"Pulls, and shifts of {result['parameter']} with each parameter.", "IMPACT",
        [_column("parameter", [{"value": row["parameter"]} for row in rows])],
        [_column("pull", pulls), *shifts],
    )  # fmt: skip


def _cut_flow(name: str, result: Mapping[str, Any]) -> Iterator[Json]:
    """Events after each cut, and what each cut keeps of those that pass all others; a group of columns a sample."""
    flows = result["cutflow"]
    if not flows:
        raise InputError(f"'{name}' has no cut flow; make the data set with --cutflow")
    cuts = [step["sentence"] for step in flows[0]["steps"]]
    after: list[Json] = []
    rest: list[Json] = []
    for flow in flows:
        steps, of = flow["steps"], flow["name"]
        weighted = flow["scale"] != "one"
        counts = [flow["events"], *(step["events"] for step in steps)]
        after.append(_column(f"{of}, simulated events" if weighted else f"{of}, events", [_cell(n) for n in counts]))
        rest.append(_column(f"{of}, events of all other cuts", [_cell(step["others"]) for step in steps]))
        if weighted:
            cells = [_around(flow["weighted"], flow["error"], "stat")]
            cells += [_around(step["weighted"], step["error"], "stat") for step in steps]
            after.append(_column(f"{of}, events", cells))
            weights = [_cell(step["others_weighted"]) for step in steps]
            rest[-1] = _column(f"{of}, events of all other cuts", weights)
        shares = [_cell(1.0), *(_cell(step["total_efficiency"]) for step in steps)]
        after.append(_column(f"{of}, efficiency", shares))
        rest.append(_column(f"{of}, part that passes", [_cell(step["alone"]) for step in steps]))
    scales = "; ".join(dict.fromkeys(f"weights of {flow['name']}: {flow['scale']}" for flow in flows))
    yield _table(
        f"Cut flow {name}", f"Events that pass each cut and all before it ({scales}).", "N",
        [_column("cut", [{"value": cut} for cut in ("all", *cuts)])], after,
    )  # fmt: skip
    yield _table(
        f"All cuts but one {name}", f"Events that pass all cuts but one, and the part that this one keeps ({scales}).",
        "N", [_column("cut", [{"value": cut} for cut in cuts])], rest,
    )  # fmt: skip
