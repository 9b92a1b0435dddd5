"""One sample of HiggsML events from files of single processes, with the metadata file that readers want beside it.

    python benchmarks/higgs_sample.py OUT.parquet FILE.parquet... [--seed 1]

FILEs are what `bumpfit simulate higgs` writes, several of a process with different seeds if need be. Weights of each
process sum to its expected events in 10 fb-1 (before had_pt > 26); rows are shuffled, so that the first 30 % are a fair
test set. A hard event that comes twice (the same seed twice) is refused.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from bumpfit.simulate.higgs import EXPECTED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # raw weights of files of one process agree up to their sums: each file counts by its effective rows
    pieces = []
    for path in given.files:
        piece = pd.read_parquet(path)
        for name, rows in piece.groupby("detailed_labels"):
            w = rows.weights.to_numpy(np.float64)
            pieces.append(rows.assign(weights=w / w.sum() * (w.sum() ** 2 / (w**2).sum()), detailed_labels=name))
    table = pd.concat(pieces, ignore_index=True)
    if table.hard_event.duplicated().any():
        parser.error("a hard event comes twice: two files of the same process and seed")
    sums = table.groupby("detailed_labels").weights.transform("sum")
    table["weights"] = table.weights * table.detailed_labels.map(EXPECTED) / sums
    table = table.astype({"weights": np.float32}).sample(frac=1, random_state=given.seed)
    table.to_parquet(given.out, index=False, compression="zstd", compression_level=19)
    total = float(table.weights.to_numpy(np.float64).sum())
    metadata = {
        "total_rows": len(table), "columns": list(table.columns), "detailed_labels": sorted(set(table.detailed_labels)),
        "sum_weights": total, "luminosity": 10,
    }  # fmt: skip
    given.out.with_name(f"{given.out.stem}_metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")
    print(table.groupby("detailed_labels").weights.agg(["size", "sum"]))


if __name__ == "__main__":
    main()
