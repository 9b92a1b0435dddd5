"""Small files under the names that the documents use, by page and heading."""

import json
import runpy
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import files_of_tools
import numpy as np
import pandas as pd
import pytest
from command_line import EXAMPLES

from bumpfit.workspace import build
from bumpfit.workspace.edit import digest


def searched(folder: Path) -> None:
    for name, rows in (("data", 2000), ("background", 1500)):
        table = pd.read_parquet(files("bumpfit") / "data" / f"example_{name}.parquet")
        table.iloc[:rows].to_csv(folder / f"{name}.csv")


def spectra(channels: tuple[str, ...] = ("SR", "CR"), *, shapes: bool = True) -> dict[str, object]:
    """A workspace with systematics of the names in the documents; toys of one without shapes are quick."""

    def of_shapes(name: str) -> list[dict[str, object]]:
        jes = build.modifier("histosys", "JES", ([47.0, 31.0], [54.0, 28.0]))
        return [jes, build.modifier("staterror", f"staterror_{name}", [2.0, 1.5])] if shapes else []

    samples = {
        name: [
            build.sample("signal", [4.0, 6.0], build.modifier("normfactor", "mu")),
            build.sample("bkg", [50.0, 30.0], build.modifier("normsys", "scale", (0.9, 1.1)), *of_shapes(name)),
        ]
        for name in channels
    }
    return build.workspace(samples, {name: [57, 33] for name in channels}, "mu", {"mu": {"bounds": [[-5, 20]]}})


def asked(folder: Path) -> None:
    searched(folder)
    for name in "ab":
        (folder / f"{name}.json").write_text(json.dumps(spectra(("SR",))))
    (folder / "top.json").write_text(json.dumps(spectra()).replace('"scale"', '"xs_ttbar"'))
    signals = [build.sample(f"signal_{x}", [6.0, 5.0], build.modifier("normfactor", f"mu_{x}")) for x in "ab"]
    two = {name: [signal, build.sample("bkg", [50.0, 30.0])] for name, signal in zip("AB", signals, strict=True)}
    (folder / "two.json").write_text(json.dumps(build.workspace(two, {name: [57, 33] for name in two}, "mu_a")))


def scored(folder: Path) -> None:
    """Scores that see a signal, in the place of those of the few events."""
    table = runpy.run_path(str(EXAMPLES / "simulate_scores.py"))["table"]
    table(5, 4000, 40, 3000.0, 2400.0, 3800.0).to_csv(folder / "scores.csv")


def one_workspace(folder: Path) -> None:
    for name in ("workspace", "search", "m1", "m2"):
        (folder / f"{name}.json").write_text(json.dumps(spectra(shapes=False)))


def taken_apart(folder: Path) -> None:
    (folder / "toys.parquet").unlink(missing_ok=True)  # of another model
    for name in ("workspace", "before", "after", "top"):
        (folder / f"{name}.json").write_text(json.dumps(spectra()))
    patch = [{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 5.0}]
    (folder / "patchset.json").write_text(json.dumps({
        "metadata": {"references": {"hepdata": "ins1"}, "description": "d", "labels": ["m"],
                     "digests": {"sha256": digest(spectra())}},
        "patches": [{"metadata": {"name": name, "values": [k]}, "patch": patch}
                    for k, name in enumerate(("A", "sbottom_1300_205_60"))],
        "version": "1.0.0",
    }))  # fmt: skip
    (folder / "bkgonly.json").write_text(json.dumps(spectra()))


def counted(folder: Path) -> None:
    uproot = pytest.importorskip("uproot")
    edges = [0.0, 1.0, 2.0]
    axis = {"type": "variable", "edges": edges, "underflow": False, "overflow": False, "circular": False}
    histogram = {"uhi_schema": 1, "axes": [axis], "storage": {"type": "double", "values": [60.0, 31.0]}}
    (folder / "data.json").write_text(json.dumps(histogram))
    with uproot.recreate(folder / "histograms.root") as file:
        file["CR/data"] = (np.array([52.0, 33.0]), np.array(edges))


def bumps(folder: Path) -> None:
    """Histograms h, and events of pyBumpHunter's example in trees of the same file."""
    uproot = pytest.importorskip("uproot")
    rng = np.random.default_rng(1)
    background, signal = rng.exponential(8.0, 10_000), rng.normal(5.5, 0.35, 200)
    edges = np.linspace(0.0, 20.0, 21)
    for name, masses in (("data", np.append(background[:5000], signal)), ("background", background)):
        with uproot.recreate(folder / f"{name}.root") as file:
            file["h"] = np.histogram(masses, edges)
            if name == "data":
                file.mktree("data", {"m": np.float64}).extend({"m": masses})
                file.mktree("bkg", {"m": np.float64}).extend({"m": background})


def higgs(folder: Path) -> None:
    """Results of a submission, a grid of templates with counts, and packaged events in place of the official file."""
    from bumpfit import higgsml
    from bumpfit.higgsml.dataset import packaged

    middle = np.random.default_rng(0).normal(1.0, 0.2, (2, 20))
    for k, row in enumerate(middle):
        content = {"p16": (row - 0.2).tolist(), "p84": (row + 0.2).tolist()}
        (folder / f"result_{k}.json").write_text(json.dumps(content))
    (folder / "test_settings.json").write_text(json.dumps(higgsml.Settings((1.0, 1.0), 20).official()))
    (folder / "grid.json").write_text(json.dumps({
        f"({t}, {j})": {"sig": [5.0 * t, 20.0, 40.0 * j], "bg": [900.0 * t, 100.0 * j, 20.0]}
        for t in (0.98, 1.0, 1.02) for j in (0.97, 1.0, 1.03)
    }))  # fmt: skip
    (folder / "counts.json").write_text(json.dumps([905, 120, 60]))
    table = pd.read_parquet(packaged()).iloc[:4000]
    table.to_parquet(folder / "other.parquet")
    official = folder / "FAIR_Universe_HiggsML_data.parquet"
    table.to_parquet(official)
    about = {"sum_weights": float(table["weights"].sum()), "total_rows": len(table)}
    official.with_name(f"{official.stem}_metadata.json").write_text(json.dumps(about))


def studied(folder: Path) -> None:
    """Events in place of those of a study of an hour."""
    from bumpfit.higgsml.dataset import packaged

    pd.read_parquet(packaged()).iloc[:9000].to_parquet(folder / "mid.parquet")


def diagrams(folder: Path) -> None:
    """The folder of a MadGraph process with its diagrams and without a run."""
    place = folder / "wz" / "SubProcesses" / "P1_qq_wpz"
    place.mkdir(parents=True)
    (place / "matrix1.ps").write_text("%!PS-Adobe-2.0\n 50         770  moveto\n (u d~ > w+ z) show\n")


def varied(folder: Path) -> None:
    for name in ("background", "signal"):
        for which in ("up", "down"):
            shutil.copy(folder / f"{name}.root", folder / f"{name}_{which}.root")


def masses(folder: Path) -> None:
    scored(folder)
    (folder / "scores.csv").rename(folder / "events.csv")


SETUP: dict[tuple[str, str], Callable[[Path], None]] = {
    ("higgsml.md", "From nothing to a measured μ"): higgs,
    ("higgsml.md", "Measured: the methods side by side"): studied,
    ("likelihood.md", "Ask a workspace"): asked,
    ("likelihood.md", "A published spectrum"): files_of_tools.write_all,
    ("likelihood.md", "Look into a workspace and take it apart"): taken_apart,
    ("likelihood.md", "Data from histograms"): counted,
    ("likelihood.md", "A bump over a known background"): bumps,
    ("likelihood.md", "Many masses"): scored,
    ("simulate.md", "Simulated events"): diagrams,
    ("long-runs.md", "What is it doing?"): searched,
    ("run.md", "Run a search"): searched,
    ("tagging.md", "The likelihood"): varied,
    ("toys.md", "Toys: from one laptop to a cluster, and what the results hold"): one_workspace,
    ("inference.md", "Inference"): one_workspace,
    ("shapes.md", "Shapes: parametric spectra and their fits"): masses,
    ("toys.md", "Toys"): one_workspace,
    ("workspaces.md", "Workspaces"): lambda folder: (one_workspace(folder), taken_apart(folder)),
}
"""What is written when a reader comes to a heading."""
