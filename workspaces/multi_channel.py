"""Build a workspace of two signal regions and a control region: python multi_channel.py OUT.json.

Luminosity and jet-energy scale are shared by all channels, the control region measures the normalisation of the main
background, and every bin of a signal region has one statistical uncertainty for all its samples (staterror).
"""

import sys

import numpy as np

from bumpfit.files import write_json
from bumpfit.workspace.build import modifier, sample, workspace

SIGNAL = {"tight": [2.0, 6.0, 12.0, 5.0, 1.0], "loose": [6.0, 11.0, 14.0, 9.0, 4.0]}
DIJET = {"tight": [48.0, 31.0, 20.0, 13.0, 8.0], "loose": [420.0, 300.0, 205.0, 140.0, 98.0]}
TOP = {"tight": [6.0, 4.5, 3.0, 2.0, 1.2], "loose": [40.0, 31.0, 22.0, 15.0, 10.0]}
DATA = {"tight": [53, 39, 33, 19, 9], "loose": [470, 335, 251, 158, 117], "control": [2110, 985]}


def scale(yields: list[float], slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Yields at -1 and +1 sigma of a scale uncertainty that moves events towards higher bins."""
    lever = np.linspace(-1.0, 1.0, len(yields))
    return np.array(yields) * (1 - slope * lever), np.array(yields) * (1 + slope * lever)


def region(name: str) -> list[dict]:
    """Samples of a signal region."""
    luminosity = modifier("lumi", "lumi")
    return [
        sample("signal", SIGNAL[name], modifier("normfactor", "mu"), luminosity,
               modifier("normsys", "tagging", (0.92, 1.08)), modifier("histosys", "jes", scale(SIGNAL[name], 0.03))),
        sample("dijet", DIJET[name], modifier("normfactor", "dijet_norm"),
               modifier("histosys", "jes", scale(DIJET[name], 0.05)),
               modifier("staterror", f"stat_{name}", 0.6 * np.sqrt(DIJET[name]))),
        sample("top", TOP[name], luminosity, modifier("normsys", "top_cross_section", (0.94, 1.06)),
               modifier("histosys", "jes", scale(TOP[name], 0.04)),
               modifier("staterror", f"stat_{name}", 0.3 * np.sqrt(TOP[name]))),
    ]  # fmt: skip


def main(path: str) -> None:
    """Write the workspace."""
    control = [
        sample("dijet", [2000.0, 900.0], modifier("normfactor", "dijet_norm"),
               modifier("histosys", "jes", scale([2000.0, 900.0], 0.02))),
        sample("top", [60.0, 42.0], modifier("lumi", "lumi"), modifier("normsys", "top_cross_section", (0.94, 1.06))),
    ]  # fmt: skip
    spec = workspace(
        {"tight": region("tight"), "loose": region("loose"), "control": control},
        DATA,
        "mu",
        {
            "lumi": {"inits": [1.0], "bounds": [[0.9, 1.1]], "auxdata": [1.0], "sigmas": [0.017]},
            "mu": {"inits": [1.0], "bounds": [[0.0, 10.0]]},
        },
        measurement="search",
    )
    write_json(path, spec)


if __name__ == "__main__":
    main(sys.argv[1])
