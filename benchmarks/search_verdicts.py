"""What the search says of tables that differ, and of two resonances: `python benchmarks/search_verdicts.py ...`.

distortions POOL             background tables distorted in ten ways by 1, 2, 3 and 5 %, no signal: the verdicts
pairs POOL SIGNAL SIGNAL     two resonances in one table (and each alone): the particles that are claimed
summary FILE                 counts of the verdicts of distortions in a --json FILE

POOL and SIGNAL are search tables (CSV or Parquet) of background and of signal events alone, in one unit. Every line is
also appended to --json FILE; what that file has already is not run again, so a long study can be done in pieces, of
--most new runs each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bumpfit

JETS = ["m_J1", "delta_m_J"]
TAUS = ["tau_2_over_tau_1_J1", "tau_2_over_tau_1_J2"]
Distortion = Callable[[pd.DataFrame, float, np.random.Generator], pd.DataFrame]


def scaled(columns: list[str]) -> Distortion:
    return lambda table, size, _: table.assign(**{c: table[c] * (1 + size) for c in columns})


def smeared(columns: list[str]) -> Distortion:
    return lambda table, size, rng: table.assign(
        **{c: table[c] * (1 + size * rng.standard_normal(len(table))) for c in columns}
    )


def thinned(column: str) -> Distortion:
    """Weights that fall by twice the size over the range of a column, by leaving out events."""

    def distort(table: pd.DataFrame, size: float, rng: np.random.Generator) -> pd.DataFrame:
        rank = table[column].rank(pct=True)
        return table[rng.uniform(size=len(table)) > 2 * size * rank].reset_index(drop=True)

    return distort


DISTORTIONS: dict[str, Distortion] = {
    "jet masses scaled": scaled(JETS),
    "lighter jet's mass scaled": scaled(["m_J1"]),
    "mass difference scaled": scaled(["delta_m_J"]),
    "tau21 scaled": scaled(TAUS),
    "tau21 of the lighter jet scaled": scaled(TAUS[:1]),
    "dijet mass scaled": scaled(["m_JJ"]),
    "jet masses smeared": smeared(JETS),
    "tau21 smeared": smeared(TAUS),
    "tilted in tau21": thinned(TAUS[0]),
    "jet masses and tau21 scaled": lambda t, size, rng: scaled(TAUS)(scaled(JETS)(t, -size, rng), size, rng),
}


def table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, index_col=0)


def parts(pool: pd.DataFrame, a: argparse.Namespace, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = rng.permutation(len(pool))
    data, background = order[: a.data], order[a.data : a.data + a.background]
    return pool.iloc[data].reset_index(drop=True), pool.iloc[background].reset_index(drop=True)


class Lines:
    """Results as lines of a JSON file, by what was run; `done` ends a piece."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.path, self.left = arguments.json, arguments.most
        text = self.path.read_text() if self.path is not None and self.path.exists() else ""
        self.found = [json.loads(line) for line in text.splitlines()]

    def wanted(self, key: dict[str, Any]) -> bool:
        return self.left > 0 and not any(key.items() <= row.items() for row in self.found)

    def add(self, row: dict[str, Any]) -> None:
        self.left -= 1
        line = json.dumps(row)
        print(line, flush=True)
        if self.path is not None:
            with self.path.open("a") as stream:
                stream.write(line + "\n")


def told(answers: dict[str, Any]) -> dict[str, Any]:
    failed = {c["name"]: c["detail"] for c in answers["checks"] if c["decisive"] and c["passed"] is False}
    found = [
        {
            "mass": p["resonance_mass"],
            "daughters": [m["value"] for m in p["daughter_masses"] or ()],
            "n": round(p["n_signal"]["value"]),
        }
        for p in answers["particles"]
    ]
    return {
        "verdict": answers["verdict"],
        "z": round(answers["p_value"]["z_global"], 2),
        "particles": found,
        "failed": failed,
    }


def distortions(a: argparse.Namespace) -> None:
    pool, lines = table(a.pool), Lines(a)
    for size, (number, (name, distort)) in itertools.product(a.sizes, enumerate(DISTORTIONS.items())):
        key = {"distortion": name, "size": size, "data": a.data, "quick": a.quick}
        if lines.wanted(key):
            rng = np.random.default_rng([number, round(1000 * size)])
            data, background = parts(pool, a, rng)
            started = time.process_time()
            answers = bumpfit.run(data, distort(background, size, rng), seed=number, quick=a.quick).to_dict()
            lines.add({**key, **told(answers), "seconds": round(time.process_time() - started, 1)})


def summary(a: argparse.Namespace) -> None:
    """Verdicts by size: of searches with Z of 3 or more, how many are called a difference."""
    rows = [json.loads(line) for line in a.file.read_text().splitlines()]
    print("| size | searches | Z >= 3 | difference | resonance | largest Z |\n| --- | --- | --- | --- | --- | --- |")
    for size in sorted({row["size"] for row in rows}):
        of = [row for row in rows if row["size"] == size]
        said = [sum(row["verdict"] == verdict for row in of) for verdict in ("difference", "resonance")]
        large = max(row["z"] for row in of)
        print(f"| {size:.0%} | {len(of)} | {sum(r['z'] >= 3 for r in of)} | {said[0]} | {said[1]} | {large:.1f} |")


def pairs(a: argparse.Namespace) -> None:
    pool, signals, lines = table(a.pool), [table(path) for path in a.signals], Lines(a)
    for draw in range(a.draws):
        for which, chosen in {"both": signals, "first": signals[:1], "second": signals[1:]}.items():
            key = {"draw": draw, "resonances": which, "events": a.events, "data": a.data, "quick": a.quick}
            if not lines.wanted(key):
                continue
            rng = np.random.default_rng([7, draw])
            data, background = parts(pool, a, rng)
            data = pd.concat([data, *(s.iloc[rng.permutation(len(s))[: a.events]] for s in chosen)])
            data = data.iloc[rng.permutation(len(data))].reset_index(drop=True)
            answers = bumpfit.run(data, background, seed=draw, quick=a.quick).to_dict()
            lines.add({**key, **told(answers)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("distortions", distortions), ("pairs", pairs)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("pool", type=Path)
        command.add_argument("--data", type=int, default=20_000)
        command.add_argument("--background", type=int, default=12_000)
        command.add_argument("--quick", action="store_true")
        command.add_argument("--json", type=Path)
        command.add_argument("--most", type=int, default=1000)
        if name == "distortions":
            command.add_argument("--sizes", type=float, nargs="+", default=[0.01, 0.02, 0.03, 0.05])
        else:
            command.add_argument("signals", type=Path, nargs=2)
            command.add_argument("--events", type=int, default=500)
            command.add_argument("--draws", type=int, default=10)
    command = commands.add_parser("summary")
    command.set_defaults(function=summary)
    command.add_argument("file", type=Path)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
