"""Combine's datacards: its documented numbers, its formulas written out, the way there and back, and faulty cards."""

import itertools
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit import inference, workspace
from bumpfit.errors import BumpfitError, InputError
from bumpfit.workspace.datacard import read_card
from bumpfit.workspace.model import Model

# the card data/tutorials/counting/realistic-counting-experiment.txt of Combine
REALISTIC = """# Simple counting experiment, with one signal and a few background processes
imax 1  number of channels
jmax 3  number of backgrounds
kmax 5  number of nuisance parameters (sources of systematical uncertainties)
------------
bin bin1
observation 0
------------
bin             bin1 bin1  bin1  bin1
process         ggH  qqWW  ggWW  others
process          0     1     2     3
rate           1.47  0.64  0.06  0.22
------------
lumi    lnN    1.11    -   1.11    -    lumi affects both signal and gg->WW (mc-driven). lnN = lognormal
xs_ggH  lnN    1.16    -     -     -    gg->H cross section + signal efficiency + other minor ones.
WW_norm gmN 4    -   0.16    -     -    WW estimate of 0.64 comes from sidebands
xs_ggWW lnN      -     -   1.50    -    50% uncertainty on gg->WW cross section
bg_others lnN    -     -     -   1.30   30% uncertainty on the rest of the backgrounds
"""

# the two-channel example of its page on fits of several parameters
TWO = """imax 2
jmax 2
kmax *
------------
shapes *  dijet  FAKE
shapes *  incl   FAKE
------------
bin           incl dijet
observation   166  8
------------
bin               incl    incl    incl    dijet   dijet   dijet
process           ggH_hgg qqH_hgg bkg     ggH_hgg qqH_hgg bkg
process            -1     0       1       -1      0        1
rate              21      1.6     140     0.4     0.95     3.2
------------
QCDscale_ggH lnN  1.12    -       -       1.12    -        -
pdf_gg       lnN  1.08    -       -       1.08    -        -
pdf_qqbar    lnN   -      1.025   -       -       1.025    -
bg_incl      lnN   -      -       1.05    -       -        -
"""

EVERYTHING = """imax * number
jmax *
kmax *
bin a b
observation 12 30
bin     a    a     a     b    b
process sig  bkg   wjets sig  bkg
process 0    1     2     0    1
rate    3.0  8.0   1.5   2.0  25
----------------
lumi    lnN   1.02  1.02     1.02 1.02  1.02
xs      lnN   -     0.8/1.3  -    -     0.85/1.1
width   lnU   -     -        2.0  -     -
fake    gmN 0 -     -        0.4  -     -
side    gmN 25 -    0.32     -    -     -
bias    trG   0.1   -        -    -     0.2
flat    unif -1 1 - -        -    0.1   -
scale   rateParam * bkg 1.0 [0.5,2]
ratio   rateParam b sig (1+0.1*@0*@1) tilt,scale
tilt    param 0.5 0.2
twist   param 1.0 -0.1/+0.3
spin    rateParam a sig TMath::Sqrt(@0)*@1 twist,ext
ext     extArg 1.0 [0.5,1.5]
theory  group = xs lumi
theory  group += tilt
nuisance edit freeze flat
""".replace("fake    gmN 0 -     -        0.4  -     -\n", "fake    gmN 4 -     -        0.375  -     -\n")


def card(folder: Path, text: str, name: str = "card.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_limit_of_the_counting_example(tmp_path: Path) -> None:
    found = inference.limit(workspace.read(card(tmp_path, REALISTIC)))
    assert found.observed == pytest.approx(1.6281, rel=5e-3)  # combine -M AsymptoticLimits
    assert found.expected[2] == pytest.approx(2.3281, rel=5e-3)


def test_intervals_of_the_example_with_two_strengths(tmp_path: Path) -> None:
    model = workspace.read(workspace.from_card(card(tmp_path, TWO), strengths={"ggH*": "r_ggH", "qqH*": "r_qqH"}))
    assert model.poi == "r_ggH"
    for name, best, low, high in (("r_ggH", 0.882, -0.749, 0.795), ("r_qqH", 4.683, -2.746, 3.464)):
        found = inference.interval(model, name, 0.6827)
        assert found.best == pytest.approx(best, rel=5e-3)
        assert found.low is not None and found.high is not None
        assert found.low - found.best == pytest.approx(low, rel=5e-3)
        assert found.high - found.best == pytest.approx(high, rel=5e-3)


def test_compatibility_of_the_channels_is_that_of_combine(tmp_path: Path) -> None:
    """combine -M ChannelCompatibilityCheck of its test/references/multi-signal-ChannelCompatibilityCheck.out."""
    found = inference.compatibility(workspace.read(card(tmp_path, TWO)), ranges={"r": (-10.0, 20.0)})
    rows = [("", found), *((row.name, row) for row in found.channels)]
    for (name, row), (wanted, best, low, high) in zip(
        rows, [("", 1.4812, -0.5987, 0.6644), ("incl", 1.1506, -0.6393, 0.6939), ("dijet", 3.5554, -1.8576, 2.3619)],
        strict=True,
    ):  # fmt: skip
        assert name == wanted and row.low is not None and row.high is not None
        assert [row.strength, row.low - row.strength, row.high - row.strength] == pytest.approx(
            [best, low, high], abs=8e-4
        )
    assert found.statistic == pytest.approx(1.5417, abs=1e-4)


def test_the_bayesian_limit_of_the_counting_example_is_its_integral(tmp_path: Path) -> None:
    """No events: exp(-r S - B) over the constraints of signal and of the background that shares the luminosity.

    Chains of combine -M MarkovChainMC give 2.204 +- 0.014 (its manual) and 2.229 +- 0.015 (its test).
    """
    from scipy.optimize import brentq

    x, w = np.polynomial.hermite_e.hermegauss(40)
    a, b = np.meshgrid(x, x)
    weight = np.outer(w, w) * sum(v * np.exp(-0.06 * 1.11**a * 1.5**c) for c, v in zip(x, w, strict=True))
    signal = 1.47 * 1.11**a * 1.16**b
    below = lambda r: float(np.sum(weight * (1 - np.exp(-r * signal)) / signal))  # noqa: E731
    exact = brentq(lambda r: below(r) - 0.95 * below(20.0), 0.1, 10.0)
    found = inference.posterior(workspace.read(card(tmp_path, REALISTIC)), ranges={"r": (0.0, 20.0)})
    assert found.upper == pytest.approx(exact, rel=3e-3)


def lognormal(low: float, high: float, alpha: float) -> float:
    """Combine's asymmetric log-normal, from its definition."""
    if alpha >= 0.5:
        return high**alpha
    if alpha <= -0.5:
        return low**-alpha
    t = 2 * alpha
    step = (3 * t**5 - 10 * t**3 + 15 * t) / 8
    upper, lower = math.log(high), -math.log(low)
    return math.exp(alpha * 0.5 * (upper + lower + step * (upper - lower)))


@pytest.mark.parametrize("size", [0.3, 1.0, 2.2])
def test_yields_of_every_type_of_line(tmp_path: Path, size: float) -> None:
    model = workspace.read(card(tmp_path, EVERYTHING))
    v: dict[str, Any] = {
        "r": 1.3, "lumi": -0.4 * size, "xs": 0.3 * size, "width": 0.3, "fake": 0.8, "side": 1.1, "bias": -0.5 * size,
        "flat": 0.5, "scale": 1.2, "tilt": 0.7, "twist": -1.0 * size, "ext": 0.9,
    }  # fmt: skip
    assert set(v) == set(model.names)
    lumi = 1.02 ** v["lumi"]
    twist = 1.0 - 0.1 * size
    side_a = lumi * lognormal(0.8, 1.3, v["xs"]) * 0.32 * 25 * 1.1 * 1.2
    a = 3 * 1.3 * lumi * (1 + 0.1 * v["bias"]) * math.sqrt(twist) * 0.9 + side_a + 1.5 * lumi * 2**0.3 * 0.8
    b = 2 * 1.3 * lumi * (1 + 0.1 * 0.5) * (1 + 0.1 * 0.7 * 1.2)
    b += 25 * lumi * lognormal(0.85, 1.1, v["xs"]) * (1 + 0.2 * v["bias"]) * 1.2
    assert model.expected(v) == pytest.approx([a, b], rel=1e-12)
    nll = 0.0
    for n, rate in ((12, a), (30, b), (4, 4 * 0.8), (25, 25 * 1.1)):
        nll += rate - n * math.log(rate) + math.lgamma(n + 1)
    for pull in (v["lumi"], v["xs"], v["bias"], (0.7 - 0.5) / 0.2, v["twist"]):
        nll += 0.5 * pull**2 + 0.5 * math.log(2 * math.pi)
    nll += math.log(0.2)
    assert model.twice_nll(v) == pytest.approx(2 * nll, rel=1e-12)
    assert {p.name for p in model.parameters if p.fixed} == {"flat"}
    assert model.spec["measurements"][0]["config"]["groups"] == {"theory": ["xs", "lumi", "tilt"]}


def test_a_control_sample_without_events(tmp_path: Path) -> None:
    text = REALISTIC.replace("WW_norm gmN 4 ", "WW_norm gmN 0 ").replace("0.64", "0.00")
    model = workspace.read(card(tmp_path, text))
    x = {"r": 1.0, "WW_norm": 0.7}
    assert model.expected(x) == pytest.approx([1.47 + 0.16 * 0.7 + 0.06 + 0.22])
    without = workspace.read(card(tmp_path, REALISTIC.replace("gmN 4 ", "gmN 0 ").replace("0.64", "0")))
    assert inference.limit(without).observed == pytest.approx(inference.limit(model).observed)


# ---------------------------------------------------------------- templates

SHAPED = """imax 1
jmax 1
kmax *
shapes * * in.root $PROCESS $PROCESS_$SYSTEMATIC
bin ch1
observation -1
bin ch1 ch1
process signal background
process 0 1
rate -1 -1
lumi   lnN   1.1  1.0
bgnorm lnN   -    1.3
alpha  shape -    1
sigma  KIND  0.5  -
"""


@pytest.fixture
def templates(tmp_path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """A peak over a falling background with variations of both, in a file of ROOT; values and errors."""
    uproot, hist = pytest.importorskip("uproot"), pytest.importorskip("hist")
    x = np.arange(10) + 0.5

    def peak(mean: float, width: float, n: float) -> np.ndarray[Any, Any]:
        shape = np.exp(-0.5 * ((x - mean) / width) ** 2)
        return np.asarray(n * shape / shape.sum())

    found = {
        "signal": peak(5, 1, 24), "signal_sigmaUp": peak(5, 1.4, 26), "signal_sigmaDown": peak(5, 0.7, 23),
        "background": 30 * np.exp(-0.3 * x), "background_alphaUp": 30 * np.exp(-0.27 * x),
        "background_alphaDown": 30 * np.exp(-0.34 * x),
    }  # fmt: skip
    found["data_obs"] = np.random.default_rng(3).poisson(found["signal"] + found["background"]).astype(float)
    with uproot.recreate(tmp_path / "in.root") as file:
        for name, values in found.items():
            h = hist.Hist(hist.axis.Regular(10, 0, 10), storage=hist.storage.Weight())
            h.view()["value"], h.view()["variance"] = values, values * (0.5 if name == "background" else 0.1)
            file[name] = h
    return found


def morphed(t: dict[str, np.ndarray[Any, Any]], process: str, name: str, nu: float, *, logarithm: bool) -> Any:
    """Combine's template with one nuisance, whose effect is the argument `nu` (the nuisance times its scale)."""
    nominal, up, down = t[process], t[f"{process}_{name}Up"], t[f"{process}_{name}Down"]
    f, high, low = (h / h.sum() for h in (nominal, up, down))
    if logarithm:
        f, high, low = np.log(f), np.log(high), np.log(low)
    step = np.sign(nu) if abs(nu) >= 1 else (3 * nu**5 - 10 * nu**3 + 15 * nu) / 8
    result = f + 0.5 * nu * ((high - low) + step * (high + low - 2 * f))
    return np.exp(result) if logarithm else result


@pytest.mark.parametrize("kind", ["shape", "shapeN"])
@pytest.mark.parametrize("size", [-1.7, -0.6, 0.4, 2.5])
def test_templates_are_interpolated_as_combine_does(
    tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]], kind: str, size: float
) -> None:
    model = workspace.read(card(tmp_path, SHAPED.replace("KIND", kind)))
    background = morphed(templates, "background", "alpha", size, logarithm=False) * templates["background"].sum()
    background *= 1.3**0.2 * lognormal(
        templates["background_alphaDown"].sum() / templates["background"].sum(),
        templates["background_alphaUp"].sum() / templates["background"].sum(), size,
    )  # fmt: skip
    signal = morphed(templates, "signal", "sigma", 0.5 * size, logarithm=kind == "shapeN") * 24
    signal = signal * lognormal((23 / 24) ** 0.5, (26 / 24) ** 0.5, size) * 1.1**0.3 * 1.5
    values = {"r": 1.5, "lumi": 0.3, "bgnorm": 0.2, "alpha": size, "sigma": 0.5 * size}
    assert model.expected(values) == pytest.approx(signal + background, rel=1e-9)
    assert next(p for p in model.parameters if p.name == "sigma").width == 0.5


def test_statistical_uncertainties_of_the_templates(tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]]) -> None:
    text = SHAPED.replace("KIND", "shape")
    model = workspace.read(card(tmp_path, text + "ch1 autoMCStats 10\n"))
    events = templates["background"] / 0.5
    names = [n for n in model.names if n.startswith("prop_binch1[")]
    free = [n for n in names if not next(p for p in model.parameters if p.name == n).fixed]
    assert len(free) == (events > 10).sum()
    first = next(p for p in model.parameters if p.name == "prop_binch1[0]")
    assert first.width == pytest.approx(1 / math.sqrt(events[0]))
    few = [p for p in model.parameters if "poisson" in p.name and not p.fixed]
    assert [p.width for p in few] == pytest.approx([round(n) for n in events if round(n) <= 10 and n <= 10])
    assert model.spec["measurements"][0]["config"]["groups"]["autoMCStats"][0] == "prop_binch1"
    none = workspace.read(card(tmp_path, text + "ch1 autoMCStats -1\n"))
    assert not [n for n in none.names if n.startswith("prop")]


# ---------------------------------------------------------------- there and back


def there_and_back(model: Model, folder: Path) -> None:
    """JSON, a card, and the card's model: -2 ln L stays at any values, up to constants nowhere."""
    workspace.write(model, folder / "again.json")
    from_json = workspace.read(folder / "again.json")
    workspace.write(from_json, folder / "again.txt", format="datacard")
    again = workspace.read(folder / "again.txt")
    assert set(again.names) == set(model.names)
    order = [again.index(name) for name in model.names]
    rng = np.random.default_rng(8)
    for _ in range(5):
        x = np.clip(model.inits + rng.normal(0, 0.3, model.inits.size), np.maximum(model.lower, -2) + 0.1, model.upper)
        y = np.empty_like(x)
        y[order] = x
        assert again.twice_nll(y) == pytest.approx(model.twice_nll(x), abs=1e-9, rel=1e-13)
    assert {p.name for p in again.parameters if p.fixed} == {p.name for p in model.parameters if p.fixed}


@pytest.mark.parametrize("text", [REALISTIC, TWO, EVERYTHING])
def test_counting_cards_there_and_back(tmp_path: Path, text: str) -> None:
    there_and_back(workspace.read(card(tmp_path, text)), tmp_path)


@pytest.mark.parametrize("statistics", ["", "ch1 autoMCStats 0\n", "* autoMCStats 10 1\n"])
def test_cards_with_templates_there_and_back(
    tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]], statistics: str
) -> None:
    model = workspace.read(card(tmp_path, SHAPED.replace("KIND", "shape") + statistics))
    there_and_back(model, tmp_path)


# ---------------------------------------------------------------- faulty cards


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lumi    lnN", "lumi    lnX", "line 14 .*unknown type 'lnX' of 'lumi'"),
        ("1.47  0.64", "1.47", "the line 'bin' has 4 columns, but there are 3 rates"),
        ("lumi    lnN    1.11    -   1.11    -  ", "lumi lnN 1.11 -   \n", "'lumi' has 2 numbers for 4 columns"),
        ("xs_ggH  lnN    1.16", "xs_ggH  lnN    -1.16", "must be positive"),
        ("xs_ggH  lnN    1.16", "xs_ggH  lnN    big", "must be a number, got 'big'"),
        ("xs_ggH  lnN    1.16", "xs_ggH  lnN    inf", "must be finite"),
        ("jmax 3", "jmax 2", "jmax says 2, but there are 3 processes less one"),
        ("imax 1", "imax 2", "imax says 2, but there are 1 channels"),
        ("gmN 4 ", "gmN 4.5 ", "needs a whole number"),
        ("gmN 4 ", "gmN 9 ", "are not the rate 0.64"),
        ("observation 0", "observation -1", "has no histogram 'data_obs'"),
        ("observation 0", "observed 0", "unknown word 'observed'"),
        ("ggWW  others", "ggWW  ggWW", "process 'ggWW' is there twice"),
        ("rate  ", "rates ", "unknown word 'rates'"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in REALISTIC
    with pytest.raises(InputError, match=message):
        workspace.read(card(tmp_path, REALISTIC.replace(old, new)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("f rateParam bin1 nobody 1", "matches no process: there is no 'nobody'"),
        ("f rateParam bin1 ggH @0*@2 a,b", "has no argument @2"),
        ("f rateParam bin1 ggH @0 a", "names 'a', which the card does not define"),
        ("f rateParam bin1 ggH @0+ lumi", "cannot read the formula"),
        ("f rateParam bin1 ggH log(@0-1) g\ng extArg 1", "must be finite"),
        ("f rateParam bin1 ggH @0 g\ng rateParam bin1 ggH @0 f", "name each other in a loop"),
        ("f rateParam bin1 ggH 1 [2,1]", "is empty"),
        ("f rateParam bin1 ggH ws.root:w", "RooFit workspace"),
        ("f rateParam bin1 ggH 1 ws.root:w", "has none of its arguments"),
        ("f param 1", "expected: NAME param"),
        ("f param 1 -0.1", "must be positive"),
        ("g group = lumi nobody", "names 'nobody', which is no nuisance"),
        ("g group += lumi", "begin with ="),
        ("x shape 1 - - -", "there are no histograms"),
        ("x autoMCStats 10", "matches no channel"),
        ("pdf_index discrete", "a choice between functions"),
        ("nuisance edit scale * * lumi 2", "'nuisance edit scale' is not read; known are freeze NAME"),
        ("nuisance edit freeze nobody", "line 19 .*freezes 'nobody'"),
        ("nuisance edit drop * * nobody", "line 19 .*finds no nuisance 'nobody'"),
        ("nuisance edit drop nobody * lumi", "finds no process 'nobody' in a channel '\\*'"),
        ("nuisance edit drop gg( * lumi", "is no regular expression"),
        ("nuisance edit add ggH * lumi lnN 1.2", "has an effect on process 'ggH' in channel 'bin1' already"),
        ("nuisance edit add ggH * lumi lnN much", "must be a number, got 'much'"),
        ("nuisance edit add ggH * lumi trG 0.1", "is there already, of type lnN and not trG"),
        ("nuisance edit add ggH * lumi lnN .9 addq", "go different ways"),
        ("nuisance edit add ggH *", "expected: nuisance edit add PROCESS CHANNEL NAME TYPE VALUE"),
        ("nuisance edit rename * * WW_norm other", "of type gmN, which cannot be renamed"),
        ("nuisance edit changepdf WW_norm lnN", "cannot change from gmN to lnN"),
        ("g trG 1 - 0.2 -\nnuisance edit changepdf g lnN", "Combine leaves out the effect 1 of 'g'"),
        ("nuisance edit add ggH * 2jes lnN 1.2", "'2jes' begins with a digit; .* 'theta2jes'"),
        ("nuisance edit rename * * lumi 13TeV", "'13TeV' begins with a digit"),
        ("2jes lnN 1.2 - - -\nnuisance edit drop * * 2jes", "finds no nuisance '2jes' .* called 'theta2jes' here"),
        ("nuisance edit", "'nuisance edit ' is not read"),
        ("nuisance edit add ggH * more gmN 0.5", "'more' cannot be added with type gmN"),
        ("nuisance edit add ggH * more lnn 1.2", "'more' cannot be added with type lnn"),
        ("nuisance edit add ggH * more shape 1", "Combine leaves out templates 'more' with the effect 1"),
        ("nuisance edit add ggH .+ more lnN 1.2", "finds no process 'ggH' in a channel '.\\+'"),
        ("nuisance edit drop * * lumi xs_ggH", "expected: nuisance edit drop"),
        ("nuisance edit rename * lumi other", "expected: nuisance edit rename"),
        ("nuisance edit merge * * lumi lum.*", "'lumi' would be merged into itself"),
        ("nuisance edit split * * lumi lumi a 1.1 1.1", "'lumi' would be split into itself"),
        ("nuisance edit flip * * lumi", "expected: nuisance edit flip PROCESS CHANNEL NAME p2n"),
        ("nuisance edit freeze lumi ifexist", "expected: nuisance edit freeze NAME .ifexists., got 'ifexist'"),
        ("nuisance edit freeze (", "line 19 .*is no regular expression"),
        ("alone", "is no nuisance"),
    ],
)  # fmt: skip
def test_faulty_lines_below_the_rates(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        workspace.read(card(tmp_path, f"{REALISTIC}{line}\n"))


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        ("add qqWW|others * lumi lnN 1.2", "lumi    lnN    1.11    -   1.11    - ", "lumi lnN 1.11 1.2 1.11 1.2"),
        ("add ggH * lumi lnN 0.9/1.3 overwrite", "lumi    lnN    1.11", "lumi lnN 0.9/1.3"),
        ("add ggH bin1 lumi lnN 1.16 addq", "lumi    lnN    1.11", "lumi lnN 1.1989394166480998"),
        ("add gg.* * more lnN 1.3", "xs_ggWW", "more lnN 1.3 - 1.3 -\nxs_ggWW"),
        ("drop gg.* * lumi", "lumi    lnN    1.11    -   1.11 ", "lumi lnN - - - "),
        ("drop * * nobody ifexists", "lumi", "lumi"),
        ("rename * * xs_ggH theory", "xs_ggH  lnN", "theory lnN"),
        ("rename xs_ggH theory", "xs_ggH  lnN", "theory lnN"),
        ("rename ggWW * lumi lumi2", "lumi    lnN    1.11    -   1.11 ", "lumi2 lnN - - 1.11 -\nlumi lnN 1.11 - - "),
        ("changepdf xs_ggH trG", "xs_ggH  lnN    1.16", f"xs_ggH trG {np.log(1.16)}"),
        ("changepdf xs_.* lnU", "xs_ggH  lnN    1.16", "xs_ggH lnU 1.16"),
        ("merge * * xs_ggH xs_ggWW", "xs_ggH  lnN    1.16    -     -     - ", "xs_ggH lnN 1.16 - 1.5 - "),
        ("split ggH * lumi a b 1.05 1.07", "lumi    lnN    1.11    -   1.11 ",
         "a lnN 1.05 - - -\nb lnN 1.07 - - -\nlumi lnN - - 1.11"),
        ("flip ggH * xs_ggH p2n", "xs_ggH  lnN    1.16", f"xs_ggH lnN {1 / 1.16}"),
        ("flip ggH * xs_ggH n2p", "xs_ggH  lnN    1.16", "xs_ggH lnN 1.16"),
        ("flip ggH * xs_ggH n2p p2n", "xs_ggH  lnN    1.16", f"xs_ggH lnN {1 / 1.16}"),
    ],
)  # fmt: skip
def test_edits_give_the_card_that_is_written_so(tmp_path: Path, edit: str, old: str, new: str) -> None:
    """Each edit against a card whose lines say the same."""
    assert old in REALISTIC
    edited = workspace.read(card(tmp_path, f"{REALISTIC}nuisance edit {edit}\n"))
    text = REALISTIC.replace(old, new)
    if edit.startswith("merge"):
        text = text.replace("xs_ggWW lnN      -     -   1.50 ", "xs_ggWW lnN - - - ")
    if edit.startswith("changepdf xs_.*"):
        text = text.replace("xs_ggWW lnN", "xs_ggWW lnU")
    wanted = workspace.read(card(tmp_path, text))
    assert {p.name for p in edited.parameters} == {p.name for p in wanted.parameters}
    values = {p.name: p.init + 0.3 for p in wanted.parameters}
    assert edited.twice_nll(values) == pytest.approx(wanted.twice_nll(values), abs=1e-9)


def test_nuisances_are_frozen_by_pattern(tmp_path: Path) -> None:
    model = workspace.read(card(tmp_path, f"{REALISTIC}nuisance edit freeze xs_.*\nnuisance edit freeze no ifexists\n"))
    assert {p.name for p in model.parameters if p.fixed} == {"xs_ggH", "xs_ggWW"}


def test_what_is_frozen_is_a_free_parameter_first(tmp_path: Path) -> None:
    """Combine looks among the nuisances only where no rateParam and no extArg has the name."""
    lines = "lumi_scale rateParam * ggH 1 [0,4]\nnuisance edit freeze lumi.*\n"
    model = workspace.read(card(tmp_path, REALISTIC + lines))
    assert {p.name for p in model.parameters if p.fixed} == {"lumi_scale"}


def test_flips_take_one_over_both_numbers_of_a_pair(tmp_path: Path) -> None:
    lumi = "lumi    lnN    1.11    -   1.11    - "
    assert lumi in REALISTIC
    given = REALISTIC.replace(lumi, "lumi lnN 0.9/1.3 - 0.95 - ")
    edited = workspace.read(card(tmp_path, f"{given}nuisance edit flip * * lumi p2n\n"))
    text = REALISTIC.replace(lumi, f"lumi lnN {1 / 0.9}/{1 / 1.3} - 0.95 - ")
    values = {"lumi": 0.7}
    assert edited.twice_nll(values) == pytest.approx(workspace.read(card(tmp_path, text)).twice_nll(values), abs=1e-9)


def test_line_ends_and_marks_of_editors_change_nothing(tmp_path: Path) -> None:
    plain = workspace.read(card(tmp_path, REALISTIC)).twice_nll({})
    for text in ("\ufeff" + REALISTIC, REALISTIC.replace("\n", "\r\n"), "\n# é\n" + REALISTIC.replace(" ", "\t")):
        path = tmp_path / "card.txt"
        path.write_bytes(text.encode())
        assert workspace.read(path).twice_nll({}) == plain
    path.write_bytes(b"# caf\xe9\n" + REALISTIC.encode())
    with pytest.raises(InputError, match="a character of line 1 is not UTF-8"):
        workspace.read(path)


def test_a_title_is_passed_over_and_a_misspelt_word_is_not(tmp_path: Path) -> None:
    title = "Simple counting experiment\ndate  2011.11.18\nCombination of a.txt  b.txt\n"
    assert workspace.read(card(tmp_path, title + REALISTIC)).twice_nll({}) == pytest.approx(
        workspace.read(card(tmp_path, REALISTIC)).twice_nll({})
    )
    for word in ("shape * * in.root x", "imx 1", "Rates 1"):
        with pytest.raises(InputError, match=f"line 1 .*unknown word '{word.split()[0]}'"):
            workspace.read(card(tmp_path, f"{word}\n{REALISTIC}"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("in.root", "in.parquet", "takes its templates from the table 'in.parquet'; of tables only CSV"),
        ("in.root", "in.csv", "cannot read the table 'in.csv' of line 4"),
        ("in.root", "absent.root", "cannot open the file 'absent.root' of line 4"),
        ("$PROCESS $PROCESS_$SYSTEMATIC", "$PROCESS", "names no histograms with \\$SYSTEMATIC"),
        ("alpha  shape", "beta  shape", "the histogram Up of 'beta' of process 'background'"),
        ("rate -1 -1", "rate -1 500", "has the rate 500, but its histogram"),
        ("observation -1", "observation 5", "observes 5, but its histogram has"),
        ("in.root $PROCESS", "in.root w:$PROCESS", "RooFit workspace"),
        ("process signal background", "process signal nobody", "of process 'nobody' in channel 'ch1' is not in"),
        ("sigma  KIND  0.5  -", "alpha  shape  0.5  -", "count 1 and 0.5 times|is not there"),
    ],
)  # fmt: skip
def test_faulty_templates(
    tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]], old: str, new: str, message: str
) -> None:
    assert old in SHAPED
    with pytest.raises(InputError, match=message):
        workspace.read(card(tmp_path, SHAPED.replace(old, new).replace("KIND", "shape")))


TABLE = "in.csv $CHANNEL:$PROCESS:nominal,sum_w:sum_ww $CHANNEL:$PROCESS:$SYSTEMATIC,sum_w:sum_ww"


def rows_of(templates: dict[str, np.ndarray[Any, Any]]) -> str:
    """The table that Combine's data/tutorials/shapes/simple-shapes-df.txt reads, with these contents."""
    lines = ["channel,process,systematic,bin,sum_w,sum_ww"]
    for name, values in templates.items():
        process, _, systematic = name.partition("_") if name != "data_obs" else (name, "", "")
        squares = values * (0.5 if name == "background" else 0.1)
        for low, value, square in zip(range(11), [*values, 0.0], [*squares, 0.0], strict=True):
            lines.append(f"ch1,{process},{systematic or 'nominal'},{low}.0,{float(value)!r},{float(square)!r}")
    return "\n".join(lines) + "\n"


def test_templates_in_a_table_are_those_in_a_file_of_root(
    tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]]
) -> None:
    text = (SHAPED + "* autoMCStats 0\n").replace("KIND", "shapeN2")
    there = workspace.read(card(tmp_path, text))
    (tmp_path / "in.csv").write_text(rows_of(templates))
    table = text.replace("in.root $PROCESS $PROCESS_$SYSTEMATIC", TABLE)
    here = workspace.read(card(tmp_path, table))
    assert here.names == there.names
    for values in ({}, {"r": 0.3, "alpha": 0.7, "sigma": -1.2}):
        assert here.twice_nll(values) == pytest.approx(there.twice_nll(values), abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sum_ww\n", "other\n", "needs 3 of words, one of edges and sum_w and sum_ww"),
        ("ch1,signal,nominal,10.0,0.0", "ch1,signal,nominal,10.0,2.0", "closes the last bin"),
        ("ch1,signal,nominal,3.0", "ch1,signal,nominal,1.0", "edges that rise"),
        ("ch1,signal,nominal,3.0,", "ch1,signal,nominal,x,", "cannot be read"),
        ("ch1,signal,nominal,3.0,", "ch1,signal,nominal,3.0,1,", "not as long as its header"),
        ("ch1,signal,sigmaUp", "ch1,signal,omegaUp", "sigma"),
    ],
)
def test_faulty_tables_of_templates(
    tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]], old: str, new: str, message: str
) -> None:
    text = rows_of(templates)
    assert old in text
    (tmp_path / "in.csv").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        workspace.read(
            card(tmp_path, SHAPED.replace("in.root $PROCESS $PROCESS_$SYSTEMATIC", TABLE).replace("KIND", "shape"))
        )


def test_templates_of_other_bins_are_refused(tmp_path: Path, templates: dict[str, np.ndarray[Any, Any]]) -> None:
    uproot = pytest.importorskip("uproot")
    with uproot.update(tmp_path / "in.root") as file:
        file["other"] = np.histogram([1.0, 2.0], bins=7, range=(0, 10))
    text = SHAPED.replace("KIND", "shape").replace(
        "bin ch1\n", "shapes signal ch1 in.root other other_$SYSTEMATIC\nbin ch1\n", 1
    )
    with pytest.raises(InputError, match="has other bins"):
        workspace.read(card(tmp_path, text))


def test_cards_with_words_changed_end_in_a_sentence(tmp_path: Path) -> None:
    """Words left out, doubled or exchanged: a model or an error of ours, never another exception."""
    rng = random.Random(4)
    lines = EVERYTHING.splitlines()
    for number in range(150):
        changed = [line.split(" ") for line in lines]
        for _ in range(rng.randint(1, 3)):
            row = changed[rng.randrange(len(changed))]
            at = rng.randrange(len(row))
            row[at] = rng.choice(["", "nan", "-", "1e400", "[", "@1", "bkg", "0", "-1", row[at] * 2, "é", "a/b"])
        path = card(tmp_path, "\n".join(" ".join(row) for row in changed), f"c{number}.txt")
        try:
            workspace.read(path)
        except BumpfitError as error:
            assert str(error)


def test_what_a_card_cannot_hold_is_refused(tmp_path: Path) -> None:
    from bumpfit.workspace import build

    channels = {"a": [build.sample("s", [1.0, 2.0], build.modifier("normfactor", "mu")),
                      build.sample("b", [5.0, 4.0], build.modifier("shapefactor", "f"))]}  # fmt: skip
    model = workspace.read(build.workspace(channels, {"a": [5, 6]}, "mu"))
    with pytest.raises(InputError, match="nothing like the shapefactor"):
        workspace.write(model, tmp_path / "out.txt", format="datacard")
    assert not (tmp_path / "out.txt").exists()


def test_toys_follow_the_smooth_lognormal(tmp_path: Path) -> None:
    """The lanes that fit many toys at once have the asymmetric lnN too: their fits are those of single fits."""
    from bumpfit import toys

    text = REALISTIC.replace("1.30", "0.5/1.8").replace("observation 0", "observation 12").replace("0.22", "7.22")
    model = workspace.read(card(tmp_path, text))
    assert model.compiled.scale_code.max() == 16
    found = toys.throw(model, 2000, seed=1)
    p, error = found.p_value(inference.discovery(model).q0)
    assert p == pytest.approx(inference.discovery(model).p, abs=5 * error + 0.02)


def test_channels_keep_their_order_of_reading(tmp_path: Path) -> None:
    found = read_card(card(tmp_path, EVERYTHING))
    assert found.channels == ("a", "b")
    assert [c.signal for c in found.columns] == [True, False, False, True, False]
    assert len(list(itertools.chain(found.rows, found.rates))) == 10


def test_observations_without_names_of_channels(tmp_path: Path) -> None:
    """Without a line 'bin' above the observations the channels are those of the columns."""
    named = workspace.read(card(tmp_path, REALISTIC))
    bare = workspace.read(card(tmp_path, REALISTIC.replace("bin bin1\nobservation", "observation"), "bare.txt"))
    assert bare.names == named.names and bare.twice_nll(bare.inits) == named.twice_nll(named.inits)


def test_a_file_of_shapes_without_a_histogram_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 5 .*'F\]AKE' has no name of a histogram after it"):
        workspace.read(card(tmp_path, TWO.replace("dijet  FAKE", "dijet  F]AKE")))
