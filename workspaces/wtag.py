"""Build the workspace of a W-tagging study: python wtag.py SIGNAL.root BACKGROUND.root OUT.json.

The files are made by `bumpfit simulate wtag signal -n 10000 --seed 1 -o SIGNAL.root`, the same for background. Boosted
trees on three observables are trained on 70 % of the events; the others, in bins of the score, are the templates. The
study assumes 80 W jets over 20 000 QCD jets after the cuts, a luminosity known to 2 % and a QCD cross-section known to
10 %; the data are the expected background."""

import sys

from bumpfit.events import dataset
from bumpfit.files import write_json
from bumpfit.scoring import BoostedTrees, models
from bumpfit.tagging import Setup, prospects


def main(signal: str, background: str, out: str) -> None:
    """Write the workspace."""
    data = dataset.build(
        {"background": background, "signal": signal},
        ["fatjet0.mass", "fatjet0.tau21", "jet0,jet1.delta_r"],
        cuts=["fatjet.size > 0 and jet.size > 1"],
    ).split(0.7, 0.3, seed=1)
    trained = models.train(BoostedTrees(), data, seed=1)
    setup = Setup(events={"background": 20_000, "signal": 80}, cross_section_errors={"background": 0.1})
    found = prospects(data, trained.probabilities(data)[:, 1], setup)
    low, middle, high = found.limit.expected[1:4]
    print(f"expected significance {found.expected.z:.2f}, limit on mu {middle:.3f} ({low:.3f} to {high:.3f})")
    write_json(out, found.workspace)


if __name__ == "__main__":
    main(*sys.argv[1:])
