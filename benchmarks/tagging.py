"""The W-tagging table of HEP ML Lab with simulated events: python benchmarks/tagging.py SIGNAL.root BACKGROUND.root.

The files are made by `bumpfit simulate wtag signal -n 10000 --seed 1 -o SIGNAL.root`, the same for background. Prints
the table of docs/methods/tagging.md; --json FILE writes every number. Approaches are trained on 70 % of the events, the
table is about the other 30 %. `--only trees,mlp` does some of them; networks need the extra `deep`, images `simulate`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.events import dataset
from bumpfit.events.dataset import Dataset
from bumpfit.events.representations import Image
from bumpfit.files import write_json
from bumpfit.scoring import CNN, MLP, BoostedTrees, Classifier, CutAndCount, evaluate, models

FEATURES = ("fatjet0.mass", "fatjet0.tau21", "jet0,jet1.delta_r")
CUTS = ("fatjet.size > 0 and jet.size > 1",)
IMAGE = (
    Image("constituent.phi", "constituent.eta", "constituent.pt")
    .with_subjets("constituent", "kt", 0.3)
    .translate("SubJet0")
    .rotate("SubJet1", -90)
    .pixelate((33, 33), ((-1.6, 1.6), (-1.6, 1.6)))
)
ROWS: dict[str, tuple[str, Classifier, tuple[float, ...]]] = {
    "parallel": ("cut and count, parallel", CutAndCount(search="hml", topology="parallel"),
                 (0.750, 0.728, 33.7, 4.0, 1.0)),
    "previous": ("cut and count, sequential as in hml's code", CutAndCount(search="hml", topology="previous"),
                 (0.788, 0.769, 36.6, 4.7, 1.0)),
    "sequential": ("cut and count, sequential as in the paper's text", CutAndCount(search="hml"), ()),
    "cuts": ("cut and count, largest significance", CutAndCount(), ()),
    "trees": ("boosted trees", BoostedTrees(), (0.902, 0.955, 44.4, 117.8, 2.1)),
    "mlp": ("MLP", MLP(), (0.901, 0.956, 44.2, 117.8, 2.1)),
    "cnn_max": ("CNN, images divided by their maximum", CNN(normalisation="max"), (0.807, 0.868, 38.4, 17.1, 1.2)),
    "cnn_log": ("CNN, logarithm of images", CNN(normalisation="log"), (0.809, 0.877, 38.7, 19.0, 1.3)),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("signal", type=Path)
    parser.add_argument("background", type=Path)
    parser.add_argument("--only", help="names of rows, comma separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    names = list(ROWS) if given.only is None else given.only.split(",")
    files = {"background": given.background, "signal": given.signal}
    sets = {False: dataset.build(files, FEATURES, cuts=CUTS).split(0.7, 0.3, seed=given.seed)}
    if any(name.startswith("cnn") for name in names):
        sets[True] = dataset.build(files, IMAGE, cuts=CUTS).split(0.7, 0.3, seed=given.seed)
    found = {name: row(ROWS[name][1], sets[name.startswith("cnn")], given) for name in names}
    counts = {part: np.bincount(sets[False].get(part).targets).tolist() for part in ("train", "test")}
    print(f"events of background and signal: {counts}\n")
    head = [
        "approach", "accuracy", "AUC", "S / sqrt(S + B) at 0.5", "R50 exact", "R99 exact", "R50, R99 of hml", "paper",
        "CPU s",
    ]  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, entry in found.items():
        print(line(ROWS[name][0], ROWS[name][2], entry))
    for name, entry in found.items():
        if entry["cuts"]:
            print(f"\n{ROWS[name][0]}: `{entry['cuts']}`")
    if given.json is not None:
        write_json(given.json, {"events": counts, "rows": found})


def row(approach: Classifier, data: Dataset, given: argparse.Namespace) -> dict[str, Any]:
    """Train, and evaluate on the test part."""
    began = time.process_time()
    trained = models.train(approach, data, seed=given.seed)
    spent = time.process_time() - began
    test = data.get("test")
    merits = evaluate(
        test.targets, trained.probabilities(test), test.classes, weights=test.weights, bootstrap=given.bootstrap,
        seed=given.seed,
    )  # fmt: skip
    cuts = approach.sentence(trained.features) if isinstance(approach, CutAndCount) else None
    return {**merits.to_dict(), "training_cpu_s": spent, "cuts": cuts, "settings": approach.get_params()}


def line(label: str, paper: tuple[float, ...], entry: dict[str, Any]) -> str:
    """One row of the table."""

    def plus(measure: dict[str, Any], digits: int) -> str:
        if measure["value"] is None:
            return "no background left"
        error = "" if measure["error"] is None else f" ± {measure['error']:.{digits}f}"
        return f"{measure['value']:.{digits}f}{error}"

    half, tight = (entry["rejections"][e] for e in ("0.5", "0.99"))
    theirs = [value for name, value in entry["hml"].items() if name.startswith("rejection")]
    pooled = ", ".join("none left" if value is None else f"{value:.1f}" for value in theirs)
    at_half = entry["hml"]["significance at 0.5 (test events)"]
    said = " ".join(f"{value:g}" for value in paper) or "-"
    return (
        f"| {label} | {plus(entry['accuracy'], 3)} | {plus(entry['auc'], 3)} | {at_half:.1f} | {plus(half, 1)} | "
        f"{plus(tight, 2)} | {pooled} | {said} | {entry['training_cpu_s']:.0f} |"
    )


if __name__ == "__main__":
    main()
