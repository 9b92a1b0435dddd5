"""Small files of the forms that other tools write, under the names that the documents use."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit.workspace import build, read, write
from bumpfit.workspace.edit import digest

CARD = """imax 2
jmax 2
kmax *
bin SR1 SR2
observation 30 22
bin     SR1 SR1 SR1 SR2 SR2 SR2
process ggH qqH bkg ggH qqH bkg
process -1  0   1   -1  0   1
rate    6   2   25  2   5   15
x      lnN 1.05 1.05 - 1.05 1.05 -
theory1 lnN 1.1 - - 1.1 - -
bkg_x  lnN - - 1.08 - - 1.1
theory group = theory1
"""

CONFIG = """
General: {Measurement: m, POI: mu, InputPath: "in.root:{RegionPath}/{SamplePath}", HistogramFolder: histograms/}
Regions: [{Name: SR, RegionPath: SR, Variable: x, Binning: [0, 1, 2, 3]}]
Samples:
  - {Name: Data, SamplePath: data, Data: true}
  - {Name: signal, SamplePath: signal}
  - {Name: ttbar, SamplePath: ttbar}
Systematics:
  - {Name: lumi, Type: Normalization, Up: {Normalization: 0.02}, Down: {Normalization: -0.02}}
NormFactors: [{Name: mu, Samples: signal, Nominal: 1, Bounds: [-5, 10]}]
"""

TREX = """Job: "m"
  POI: mu
  ReadFrom: HIST
  HistoPath: "."
  HistoFile: "in"

Region: "SR"
  HistoPath: "."
  Type: SIGNAL

Sample: "data"
  Type: DATA
  HistoName: "SR/data"

Sample: "signal"
  Type: SIGNAL
  NormFactor: mu,1,-5,10
  HistoName: "SR/signal"

Sample: "ttbar"
  HistoName: "SR/ttbar"

Systematic: "rate"
  Type: OVERALL
  OverallUp: 0.1
  OverallDown: -0.1
  Samples: ttbar
  Category: Theory
"""

BLUE = """
[[measurement]]
name = "A"
value = 10.0
errors = {stat = 1.0, syst = 1.0}
[[measurement]]
name = "B"
value = 12.0
errors = {stat = 2.0, syst = 1.0}
"""


def write_all(place: Path) -> None:
    """Write files of the names in docs/how-to/from-your-tool.md."""
    uproot, hist = pytest.importorskip("uproot"), pytest.importorskip("hist")
    pytest.importorskip("yaml")
    channels = {
        name: [
            build.sample("signal", [2.0, 6.0], build.modifier("normfactor", "mu")),
            build.sample("ttbar", [30.0, 10.0], build.modifier("normsys", "JES", (0.9, 1.1)),
                         build.modifier("staterror", f"staterror_{name}", [1.5, 1.0])),
            build.sample("single_top", [3.0, 1.0], build.modifier("histosys", "tilt", ([2.8, 1.1], [3.3, 0.9]))),
        ]
        for name in ("SR", "CR")
    }  # fmt: skip
    spec = build.workspace(channels, {"SR": [45, 25], "CR": [40, 20]}, "mu", {"mu": {"bounds": [[-4, 10]]}})
    (place / "ws.json").write_text(json.dumps(spec))
    for name in "ab":
        one = {f"{name}_{c}": samples for c, samples in channels.items()}
        data = {f"{name}_{c}": [44, 24] for c in channels}
        one = json.loads(
            json.dumps(build.workspace(one, data, "mu", {"mu": {"bounds": [[-4, 10]]}})).replace(
                "staterror_", f"staterror_{name}_"
            )
        )
        (place / f"{name}.json").write_text(json.dumps(one))
    for name, n in (("data", 400), ("bkg", 4000)):
        masses = np.random.default_rng(n).exponential(8.0, n)
        (place / f"{name}.csv").write_text("mass\n" + "\n".join(map(str, masses)))
    write(read(spec), place / "top.xml", "xml")
    for name in ("card.txt", "a.txt", "b.txt"):
        (place / name).write_text(CARD if name != "b.txt" else CARD.replace("SR", "CR"))
    with uproot.recreate(place / "in.root") as file:
        for name, values in {"data": [40, 30, 25], "signal": [2, 5, 9], "ttbar": [38.0, 26, 14]}.items():
            filled = hist.Hist.new.Reg(3, 0, 3).Weight()
            filled.view().value, filled.view().variance = values, np.array(values) / 5
            file[f"SR/{name}"] = filled
    (place / "config.yml").write_text(CONFIG)
    (place / "patchset.json").write_text(json.dumps({
        "metadata": {"name": "p", "description": "", "labels": ["x"], "references": {"hepdata": "ins1"},
                     "digests": {"sha256": digest(spec)}},
        "patches": [{"metadata": {"name": "s1", "values": [1]},
                     "patch": [{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 1.0}]}],
        "version": "1.0.0",
    }))  # fmt: skip
    for name, region in (("fit", "SR"), ("a", "SRa"), ("b", "SRb")):
        (place / f"{name}.config").write_text(TREX.replace('Region: "SR"', f'Region: "{region}"'))
    (place / "measurements.toml").write_text(BLUE)
    _spectra(place, uproot, hist)


def _spectra(place: Path, uproot: Any, hist: Any) -> None:
    published = Path(__file__).parents[1] / "data" / "cms_dijet_137fb.csv"
    shutil.copy(published, place / "spectrum.csv")
    lines = [line.split(",") for line in published.read_text().splitlines() if line[:1].isdigit()]
    axis = ", ".join(f"{{low: {low}, high: {high}}}" for _, low, high, *_ in lines)
    counts = ", ".join(
        f"{{value: {value}, errors: [{{asymerror: {{plus: {up}, minus: {down}}}}}]}}" for *_, value, up, down in lines
    )
    (place / "hepdata.yaml").write_text(
        f"independent_variables: [{{header: {{name: m, units: GEV}}, values: [{axis}]}}]\n"
        f"dependent_variables: [{{header: {{name: d, units: FB/GEV}}, values: [{counts}]}}]\n"
    )
    edges = np.linspace(2000.0, 7000.0, 26)
    smooth = 4e4 * np.exp(-(edges[1:] - 2000) / 700)
    for name, counts in (("mc", smooth), ("data", np.random.default_rng(1).poisson(smooth)), ("bkg", smooth)):
        with uproot.recreate(place / f"{name}.root") as file:
            filled = hist.Hist(hist.axis.Variable(edges), storage=hist.storage.Weight())
            filled.view().value, filled.view().variance = counts, counts
            file["h"] = filled
