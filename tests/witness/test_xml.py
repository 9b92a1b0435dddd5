"""HistFactory XML with ROOT histograms: pyhf writes, bumpfit reads; what only ROOT's reader knows is written out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iminuit import Minuit
from scipy.stats import norm, poisson

from bumpfit.errors import InputError, InputWarning
from bumpfit.inference import discovery, fit
from bumpfit.workspace import read
from bumpfit.workspace.model import Model
from bumpfit.workspace.xml import read_xml

pytest.importorskip("uproot")


def spec() -> dict[str, object]:
    background = [
        {"name": "scale", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {"name": "shape", "type": "histosys", "data": {"lo_data": [48.0, 62.0], "hi_data": [53.0, 57.0]}},
        {"name": "staterror_SR", "type": "staterror", "data": [3.0, 4.0]},
    ]
    samples = [
        {"name": "signal", "data": [5.0, 6.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "bkg", "data": [50.0, 60.0], "modifiers": background},
    ]
    parameters = [{"name": "mu", "bounds": [[0.0, 10.0]], "inits": [1.0]}]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [55.0, 63.0]}],
        "measurements": [{"name": "meas", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


@pytest.mark.filterwarnings("ignore")
def test_xml_and_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyhf.writexml

    (tmp_path / "config").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    document = pyhf.writexml.writexml(spec(), "config", "data", "result")
    top = tmp_path / "config" / "result.xml"
    top.write_bytes(document)
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        model, direct = read(top), read(spec())  # type: ignore[arg-type]
        assert sorted(model.names) == sorted(direct.names)
        values = {"mu": 1.7, "scale": 0.4, "shape": -1.3, "staterror_SR[1]": 1.04}
        assert model.expected(values) == pytest.approx(direct.expected(values), rel=1e-6)
        assert model.twice_nll(values) == pytest.approx(direct.twice_nll(values), rel=1e-6)
    (tmp_path / "data" / "data.root").unlink(missing_ok=True)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"cannot open the file .* of the data of channel 'SR'"):
        read(top)


def test_xml_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "top.xml"
    with pytest.raises(InputError, match="cannot read"):
        read(path)
    path.write_text("<Combination")
    with pytest.raises(InputError, match="not valid XML"):
        read(path)
    path.write_text("<Combination></Combination>")
    with pytest.raises(InputError, match="no Input"):
        read(path)
    path.write_text("<Combination><Input>./config/SR.xml</Input></Combination>")
    with pytest.raises(InputError, match="is in none of"):
        read(path)


DATA, SIGNAL, BACKGROUND = np.array([58.0, 47.0, 12.0]), np.array([5.0, 10.0, 3.0]), np.array([50.0, 40.0, 10.0])
ERRORS = np.array([0.5, 0.4, 3.0])


def written(
    folder: Path, config: str = "", sample: str = '<StatError Activate="True"/>', top: str = "", lumi: str = "True"
) -> Path:
    """A channel with a signal and a background of three bins in ROOT histograms, and the XML files around it."""
    uproot = pytest.importorskip("uproot")
    hist = pytest.importorskip("hist")

    def histogram(values: Any, errors: Any) -> Any:
        result = hist.Hist(hist.axis.Regular(3, 0, 3), storage=hist.storage.Weight())
        result.view().value, result.view().variance = values, np.square(errors)
        return result

    with uproot.recreate(folder / "data.root") as file:
        file["data"] = histogram(DATA, np.sqrt(DATA))
        file["sig"] = histogram(SIGNAL, [0.1, 0.1, 0.1])
        file["bkg"] = histogram(BACKGROUND, ERRORS)
        file["relative"] = histogram([0.05, 0.1, 0.3], [0, 0, 0])
    (folder / "ch.xml").write_text(f"""<!DOCTYPE Channel SYSTEM "HistFactorySchema.dtd">
        <Channel Name="SR" InputFile="data.root">
        <Data HistoName="data" InputFile="data.root"/> {config}
        <Sample Name="sig" HistoName="sig" NormalizeByTheory="False">
        <NormFactor Name="mu" Val="1" Low="-5" High="20"/></Sample>
        <Sample Name="bkg" HistoName="bkg" NormalizeByTheory="{lumi}">{sample}
        <OverallSys Name="k" High="1.1" Low="0.92"/></Sample></Channel>""")
    path = folder / "top.xml"
    path.write_text(f"""<!DOCTYPE Combination SYSTEM "HistFactorySchema.dtd">
        <Combination OutputFilePrefix="./res">{top}<Input>./ch.xml</Input>
        <Measurement Name="meas" Lumi="1." LumiRelErr="0.02"><POI>mu</POI>
        <ParamSetting Const="True">Lumi</ParamSetting></Measurement></Combination>""")
    return path


def by_minuit(relative: Any, kind: str) -> tuple[float, float, float]:
    """Best strength, its error and q0 of the likelihood written out, with gammas where `relative` is not 0."""
    alive = np.flatnonzero(relative)

    def cost(parameters: Any) -> float:
        mu, alpha, gamma = parameters[0], parameters[1], np.ones(3)
        gamma[alive] = parameters[2:]
        log = [np.log(0.92) * -alpha, np.log(1.1) * alpha]
        if abs(alpha) < 1:  # code 4 by its definition
            up, down = np.log(1.1), np.log(0.92)
            c = np.linalg.solve(
                [[1, 1, 1, 1, 1, 1], [-1, 1, -1, 1, -1, 1], [1, 2, 3, 4, 5, 6], [1, -2, 3, -4, 5, -6],
                 [0, 2, 6, 12, 20, 30], [0, 2, -6, 12, -20, 30]],
                [1.1 - 1, 0.92 - 1, up * 1.1, -down * 0.92, up**2 * 1.1, down**2 * 0.92],
            )  # fmt: skip
            factor = 1 + sum(c[i] * alpha ** (i + 1) for i in range(6))
        else:
            factor = np.exp(log[int(alpha > 0)])
        rate = mu * SIGNAL + BACKGROUND * factor * gamma
        value = float(np.sum(rate - DATA * np.log(rate))) + 0.5 * alpha**2
        for g, sigma in zip(gamma[alive], np.asarray(relative)[alive], strict=True):
            tau = sigma**-2
            value += 0.5 * ((g - 1) / sigma) ** 2 if kind == "gaussian" else tau * g - tau * np.log(tau * g)
        return value

    names = ["mu", "alpha", *(f"g{i}" for i in alive)]
    results = []
    for held in (False, True):
        minuit = Minuit(cost, np.array([0.0 if held else 1.0, 0.0, *np.ones(len(alive))]), name=names)
        minuit.errordef, minuit.strategy, minuit.tol = Minuit.LIKELIHOOD, 2, 1e-6
        minuit.limits[2:] = [(1e-3, 10.0)] * len(alive)
        minuit.fixed["mu"] = held
        minuit.migrad()
        minuit.hesse()
        results.append(minuit)
    free, null = results
    assert free.fval is not None and null.fval is not None
    return free.values["mu"], free.errors["mu"], 2 * (null.fval - free.fval)


def gammas(model: Model) -> list[str]:
    """Free factors of bins."""
    return [p.name for p in model.parameters if p.name.startswith("staterror") and not p.fixed]


@pytest.mark.parametrize(
    ("config", "threshold", "kind"),
    [
        ('RelErrorThreshold="0" ConstraintType="Gaussian"', 0.0, "gaussian"),
        ('RelErrorThreshold="0.05" ConstraintType="Gaussian"', 0.05, "gaussian"),
        ('ConstraintType="Gauss"', 0.05, "gaussian"),
        ('RelErrorThreshold="0.5" ConstraintType="Gaussian"', 0.5, "gaussian"),
        ('RelErrorThreshold="0.05" ConstraintType="Poisson"', 0.05, "poisson"),
        ('RelErrorThreshold="0" ConstraintType="Pois"', 0.0, "poisson"),
        ('RelErrorThreshold="0"', 0.0, "poisson"),
        ("", 0.05, "poisson"),
    ],
)
def test_statistical_errors_as_configured(config: str, threshold: float, kind: str, tmp_path: Path) -> None:
    model = read(written(tmp_path, f"<StatErrorConfig {config}/>"))
    relative = ERRORS / BACKGROUND
    alive = np.where(relative >= threshold, relative, 0.0)
    assert gammas(model) == [f"staterror_SR[{b}]" for b in np.flatnonzero(alive)]
    best, error, q0 = by_minuit(alive, kind)
    found = fit(model)
    assert found.values["mu"] == pytest.approx(best, abs=2e-4)
    assert found.errors["mu"] == pytest.approx(error, rel=2e-3)
    assert discovery(model).q0 == pytest.approx(q0, abs=2e-5)


def test_what_is_absent_is_told(tmp_path: Path) -> None:
    with pytest.warns(InputWarning, match="has no StatErrorConfig.*ROOT takes Poisson"):
        model = read(written(tmp_path))
    assert len(gammas(model)) == 3
    assert all(p.constraint == "normal" for p in model.parameters if p.name.startswith("staterror"))
    with pytest.warns(InputWarning, match="ConstraintType; it is read as Poisson"):
        read(written(tmp_path, sample='<ShapeSys Name="u" HistoName="relative"/>'))


@pytest.mark.parametrize("kind", ["Poisson", "Gaussian"])
def test_uncertainties_of_bins(kind: str, tmp_path: Path) -> None:
    model = read(written(tmp_path, sample=f'<ShapeSys Name="u" HistoName="relative" ConstraintType="{kind}"/>'))
    values = {"mu": 0.4, "u[0]": 1.02, "u[1]": 0.9, "u[2]": 1.1}
    gamma, sigma = np.array([1.02, 0.9, 1.1]), np.array([0.05, 0.1, 0.3])
    rate = 0.4 * SIGNAL + BACKGROUND * gamma
    expected = poisson.logpmf(DATA, rate).sum() + norm.logpdf(0.0) + norm.logpdf(1.0, 1.0, 0.02)
    if kind == "Gaussian":
        expected += norm.logpdf(1.0, gamma, sigma).sum()
    else:
        from scipy.special import gammaln

        tau = sigma**-2.0
        expected += np.sum(tau * np.log(tau * gamma) - tau * gamma - gammaln(tau + 1))
    assert model.twice_nll(values) == pytest.approx(-2 * expected, rel=1e-10)


def test_functions_are_formulas(tmp_path: Path) -> None:
    function = '<Function Name="scale" Expression="@0*exp(-0.1*eff)" Dependents="eff[1,0,3],eff"/>'
    path = written(
        tmp_path, sample='<NormFactor Name="scale" Val="1" Low="0" High="3"/>', top=function.replace("@0", "@1")
    )
    model = read(path)
    assert "eff" in model.names and "scale" not in model.names
    expected = 0.3 * SIGNAL + BACKGROUND * 1.7 * np.exp(-0.17)
    assert model.expected({"mu": 0.3, "eff": 1.7}) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"config": '<StatErrorConfig Threshold="0.1"/>'}, "unknown attribute 'Threshold'"),
        ({"config": '<StatErrorConfig ConstraintType="Gamma"/>'}, "ConstraintType 'Gamma'"),
        ({"config": '<StatErrorConfig RelErrorThreshold="nan"/>'}, "relative error from 0 on, got 'nan'"),
        ({"config": '<StatErrorConfig RelErrorThreshold="5%"/>'}, "relative error from 0 on, got '5%'"),
        ({"config": "<StatErrorConfig/>" * 2}, "has 2 StatErrorConfig elements"),
        ({"sample": '<HistoFactor Name="x"/>'}, "element HistoFactor"),
        ({"sample": '<OverallSys Name="x" Low="0.9"/>'}, "no attribute 'High'"),
        ({"sample": '<ShapeSys Name="x" HistoName="absent" ConstraintType="Poisson"/>'}, "histogram 'absent'"),
        ({"lumi": "maybe"}, "must be True or False"),
        ({"top": '<Function Name="f" Expression="a*b" Dependents="a"/>'}, "names b, which is no dependent"),
        ({"top": '<Function Name="f" Expression="@3" Dependents="a"/>'}, "no dependent @3"),
        ({"top": "<Surprise/>"}, "element Surprise"),
    ],
)
def test_elements_that_could_change_the_likelihood(options: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(written(tmp_path, **options))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "</Measurement>",
            '<ParamSetting Const="yes">mu</ParamSetting></Measurement>',
            r"Const .* must be True or False",
        ),
        (
            "</Measurement>",
            '<ParamSetting Val="one">mu</ParamSetting></Measurement>',
            r"Val .* must be a number, got 'one'",
        ),
        ("<Measurement ", '<Measurement BinHigh="abc" ', r"BinHigh .* must be a number, got 'abc'"),
        ('LumiRelErr="', 'LumiRelErr="a', r"LumiRelErr .* must be a number"),
    ],
)
def test_settings_of_a_measurement_that_cannot_be_read(old: str, new: str, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, lumi="True")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words):
        read(path)


def test_constraint_terms_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, '<StatErrorConfig RelErrorThreshold="0"/>')
    term = '<ConstraintTerm Type="Gamma" RelativeUncertainty="0.3">k</ConstraintTerm></Measurement>'
    path.write_text(path.read_text().replace("</Measurement>", term))
    with pytest.raises(InputError, match="element ConstraintTerm"):
        read(path)


def test_files_start_at_the_base_folder(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir(), elsewhere.mkdir()
    path = written(here, '<StatErrorConfig RelErrorThreshold="0"/>')
    direct = read(path)
    moved = path.replace(elsewhere / path.name)
    with pytest.raises(InputError, match="is in none of"):
        read(moved)
    deep = here / "job" / "RooStats" / path.name  # where TRExFitter writes it
    deep.parent.mkdir(parents=True)
    deep.write_text(moved.read_text())
    assert read(deep).twice_nll({"mu": 1.3}) == direct.twice_nll({"mu": 1.3})
    found = read(read_xml(moved, here))
    assert found.names == direct.names
    assert found.twice_nll({"mu": 1.3}) == direct.twice_nll({"mu": 1.3})


@pytest.mark.parametrize("form", ["../secret/data.root", "{folder}/secret/data.root"])
def test_files_outside_the_folder_are_refused(form: str, tmp_path: Path) -> None:
    """Channel files and histograms, named by steps upwards or from the root; a base folder that holds all is asked."""
    here, secret = tmp_path / "here", tmp_path / "secret"
    here.mkdir(), secret.mkdir()
    path = written(here, '<StatErrorConfig RelErrorThreshold="0"/>')
    direct = read(path).twice_nll({"mu": 1.3})
    (file,) = here.glob("*.root")
    file.replace(secret / "data.root")
    (channel,) = (p for p in here.glob("*.xml") if p != path)
    whole = channel.read_text()
    outside = form.format(folder=tmp_path)
    channel.write_text(whole.replace(f"./{file.name}", outside).replace(file.name, outside))
    with pytest.raises(InputError, match=r"which is outside .*--basedir FOLDER"):
        read(path)
    if form.startswith("{"):
        path.write_text(path.read_text().replace(channel.name, f"here/{channel.name}"))
        assert read(read_xml(path, tmp_path)).twice_nll({"mu": 1.3}) == direct
    else:
        channel.replace(secret / channel.name)
        path.write_text(path.read_text().replace(channel.name, f"../secret/{channel.name}"))
        with pytest.raises(InputError, match="which is outside"):
            read(path)
