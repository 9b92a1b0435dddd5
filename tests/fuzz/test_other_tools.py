"""Files of other tools with random faults: each is read or refused in one sentence.

Configurations of cabinetry and TRExFitter, datacards, HistFactory XML, and published spectra (HEPData YAML and CSV,
YODA, UHI JSON). Numbers of inputs as in `test_fuzz`.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fuzz import SPEC, ends_well, number

from bumpfit import inference, published, workspace

ODD = (
    "", "nan", "-1", "1e999", "0", "[]", "{}", "null", "!!python/object/apply:os.system ['x']", "../../x",
    "/etc/passwd",
    "*", "\x00", "\x1b[2J", "𝟙", '"', "'", ":", ";", "%", "&a *a", "<<: *a", "x" * 3000, "1,2,3", "TRUE", "<a>", "&x;",
    "lnN", "- 1", "${HOME}", "2" * 400,
)  # fmt: skip

TREX = """Job: "j"
  POI: "mu"
  ReadFrom: HIST
  HistoPath: "."
  HistoFile: "h"
  HistoName: "nominal"
  MCstatThreshold: 0.01
  SmoothingOption: TTBARRESONANCE
Fit: "f"
  FitType: SPLUSB
Region: "SR"
  Type: SIGNAL
  Rebin: 2

Sample: "Data"
  Type: DATA
Sample: "B"
  Type: BACKGROUND
Sample: "S"
  Type: SIGNAL
  Smooth: TRUE

NormFactor: "mu"
  Samples: S
  Nominal: 1
  Tau: 0.1
  Min: -5
  Max: 10

NormFactor: "share"
  Samples: B
  Expression: (1.-f)/2.:f[0.1,0,1]

Systematic: "JES";"JER"
  Type: HISTO
  Samples: B
  HistoNameUp: "up"
  Smoothing: 40
  Symmetrisation: ONESIDED
  Category: "exp"
Systematic: "xs"
  Type: OVERALL
  OverallUp: 0.1
  OverallDown: -0.1
  Samples: B,S
"""

CABINETRY = """General:
  Measurement: m
  POI: mu
  InputPath: "{SamplePath}"
  HistogramFolder: histograms
Regions:
  - Name: SR
    Variable: x
    Filter: "x > 0.5 & w > 0"
    Binning: [0, 1, 2, 4]
Samples:
  - {Name: Data, Tree: t, SamplePath: t.root, Data: true}
  - {Name: S, Tree: t, SamplePath: t.root, Weight: "0.1*w"}
  - {Name: B, Tree: t, SamplePath: t.root, Weight: w}
Systematics:
  - {Name: lumi, Type: Normalization, Up: {Normalization: 0.05}, Down: {Normalization: -0.05}}
  - Name: shape
    Type: NormPlusShape
    Samples: B
    Up: {Weight: "w*(1+0.1*x)"}
    Down: {Symmetrize: true}
    Smoothing: {Algorithm: "353QH, twice"}
NormFactors:
  - {Name: mu, Samples: S, Nominal: 1, Bounds: [-5, 10]}
"""

CARD = """imax 2
jmax 1
kmax *
bin a b
observation 10 12
bin a a b b
process sig bkg sig bkg
process 0 1 0 1
rate 2 8 1.5 10
lumi lnN 1.02 1.02 1.02 1.02
k lnU - 1.5 - 1.5
n gmN 8 - 1.0 - -
r1 rateParam a bkg 1 [0,5]
r2 rateParam b bkg @0*2 r1
theta param 0 1
g group = lumi k
a autoMCStats 0
"""

HEPDATA = """independent_variables:
- header: {name: m, units: GeV}
  values:
  - {low: 1000, high: 1100}
  - {low: 1100, high: 1300}
dependent_variables:
- header: {name: N}
  values:
  - {value: 12, errors: [{symerror: 3.4}]}
  - {value: 5, errors: [{asymerror: {plus: 3, minus: -2}, label: stat}]}
"""

SPECTRA = {
    "t.yaml": HEPDATA,
    "t.csv": "#: name: Table 1\nm [TeV],m [TeV] LOW,m [TeV] HIGH,N,stat +,stat -\n"
    "1.05,1,1.1,12,4,-3\n1.2,1.1,1.3,5,3,-2\n",
    "t.yoda": "BEGIN YODA_HISTO1D_V3 /A/m\nPath: /A/m\n---\nEdges(A1): [1.0e+00, 2.0e+00, 4.0e+00]\n# sumW\n"
    "0\t0\t0\t0\t0\n3\t3\t0\t0\t3\n2\t2\t0\t0\t2\n0\t0\t0\t0\t0\nEND YODA_HISTO1D_V3\n",
    "o.yoda": "BEGIN YODA_HISTO1D_V2 /A/m\nPath: /A/m\n---\n# ID\nTotal\tTotal\t1\t1\t0\t0\t1\n"
    "1\t2\t3\t3\t0\t0\t3\n2\t4\t5\t5\t0\t0\t5\nEND YODA_HISTO1D_V2\n",
    "u.json": json.dumps({
        "uhi_schema": 1,
        "axes": [{"type": "variable", "edges": [1.0, 2.0, 4.0], "underflow": False, "overflow": False,
                  "circular": False}],
        "storage": {"type": "double", "values": [3.0, 5.0]},
    }),
}  # fmt: skip


def changed(text: str, draw: random.Random) -> str:
    """One to three faults: lines lost, repeated, exchanged or cut, words replaced, letters changed."""
    for _ in range(draw.randint(1, 3)):
        lines = text.split("\n")
        k, kind = draw.randrange(len(lines)), draw.randrange(6)
        if kind == 0:
            del lines[k]
        elif kind == 1:
            lines.insert(draw.randrange(len(lines)), lines[k])
        elif kind == 2:
            lines[k] = lines[k][: draw.randrange(len(lines[k]) + 1)]
        elif kind == 3 and lines[k]:
            place = draw.randrange(len(lines[k]))
            lines[k] = lines[k][:place] + draw.choice(ODD) + lines[k][place + 1 :]
        else:
            words = lines[k].split(" ")
            words[draw.randrange(len(words))] = draw.choice(ODD) if kind == 4 else draw.choice(text.split() or [""])
            lines[k] = " ".join(words)
        text = "\n".join(lines)
    return text


def tried(path: Path, text: str, seed: int, inputs: int, call: Any) -> None:
    draw = random.Random(seed)
    call(0)
    for place in range(number(inputs)):
        path.write_text(changed(text, draw))
        ends_well(lambda place=place: call(place))


def asked(path: Path) -> Any:
    def whole(place: int) -> None:
        model = workspace.read(path)
        if place % 10 == 0:
            inference.fit(model)

    return whole


@pytest.mark.parametrize("which", ["trexfitter", "cabinetry", "datacard"])
def test_configurations(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uproot = pytest.importorskip("uproot")
    monkeypatch.chdir(tmp_path)
    if which == "trexfitter":
        with uproot.recreate(tmp_path / "h.root") as file:
            file["nominal"] = np.array([9.0, 4, 6, 3]), np.array([0.0, 1, 2, 3, 4])
            file["up"] = np.array([10.0, 4, 5, 3]), np.array([0.0, 1, 2, 3, 4])
    if which == "cabinetry":
        with uproot.recreate(tmp_path / "t.root") as file:
            file["t"] = {"x": np.linspace(0.2, 3.9, 40), "w": np.linspace(0.5, 1.5, 40)}
    name, text, seed = {
        "trexfitter": ("c.config", TREX, 11), "cabinetry": ("c.yml", CABINETRY, 12), "datacard": ("c.txt", CARD, 13),
    }[which]  # fmt: skip
    (tmp_path / name).write_text(text)
    tried(tmp_path / name, text, seed, 6, asked(tmp_path / name))


@pytest.mark.parametrize("which", ["top", "channel"])
@pytest.mark.filterwarnings("ignore")
def test_xml(which: str, tmp_path: Path) -> None:
    pytest.importorskip("uproot")
    top = tmp_path / "top.xml"
    workspace.write(workspace.read(SPEC), top, "xml")
    path = top if which == "top" else tmp_path / "top_SR.xml"
    tried(path, path.read_text(), 14, 8, asked(top))


@pytest.mark.parametrize("name", SPECTRA)
def test_published_spectra(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(SPECTRA[name])
    tried(path, SPECTRA[name], 15, 40, lambda _: published.read(path))
