"""Coverage of Feldman-Cousins and asymptotic intervals with a nuisance parameter, by toys of toys.

One bin, 20 background events known to 15 % by an auxiliary measurement; every experiment is tested at its own true
strength with 400 toys. Run: python benchmarks/feldman_cousins_coverage.py [EXPERIMENTS]
"""

import sys

import numpy as np

from bumpfit.inference import prepare
from bumpfit.inference.profile import Profile
from bumpfit.toys import Toys
from bumpfit.workspace import build, read

LEVEL = 0.6827
TRUTHS = ((0.0, 0.0), (5.0, 0.0), (5.0, 1.0), (15.0, 0.0), (15.0, -1.0))


def main(experiments: int) -> None:
    """Print the coverage at each strength and pull of the background."""
    shift = build.modifier("histosys", "k", ([17.0], [23.0]))
    samples = [build.sample("s", [1.0], build.modifier("normfactor", "mu")), build.sample("b", [20.0], shift)]
    model = read(build.workspace({"SR": samples}, {"SR": [20.0]}, "mu", {"mu": {"bounds": [[0.0, 100.0]]}}))
    rng = np.random.default_rng(7)
    for strength, pull in TRUTHS:
        covered = asymptotic = 0
        for seed in range(experiments):
            data = np.array([float(rng.poisson(strength + 20 + 3 * pull)), pull + rng.normal()])
            problem = prepare(model, data)
            rise = Profile(problem, "mu").rise(strength)
            covered += Toys(400, seed=seed).of(problem, "mu", "t").tail(strength, strength, rise).p > 1 - LEVEL
            asymptotic += rise <= 1.0
        print(f"{strength:5g} {pull:3g}  {covered / experiments:.3f}  {asymptotic / experiments:.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
