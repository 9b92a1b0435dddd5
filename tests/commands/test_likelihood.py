"""The likelihood commands against pyhf and closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import pyhf
import pytest
from command_line import Run, refused
from scipy.stats import chi2, norm, poisson


@pytest.fixture
def theirs(multi: Path, quiet_pyhf: None) -> tuple[pyhf.pdf.Model, list[float]]:
    workspace = pyhf.Workspace(json.loads(multi.read_text()))
    model = workspace.model()
    return model, workspace.data(model)


def test_fit(bumpfit: Run, multi: Path, theirs: tuple[pyhf.pdf.Model, list[float]], tmp_path: Path) -> None:
    model, data = theirs
    out, figure = tmp_path / "fit.json", tmp_path / "fit.png"
    result = bumpfit("fit", multi, "-o", out, "--figure", figure, "--json", "--yields").json
    assert json.loads(out.read_text()) == result
    best, twice_nll = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    null = pyhf.infer.mle.fixed_poi_fit(0.0, data, model, return_fitted_val=True)[1]
    assert result["twice_nll"] == pytest.approx(float(twice_nll), abs=1e-4)
    assert result["mu"] == pytest.approx(best[model.config.poi_index], abs=1e-3)
    assert result["values"]["mu"] == result["mu"]
    assert result["q0"] == pytest.approx(float(null - twice_nll), abs=1e-3)
    assert result["z"] == pytest.approx(math.sqrt(result["q0"]))
    assert result["p"] == pytest.approx(norm.sf(result["z"]))
    assert len(result["inputs"][0]["sha256"]) == 64
    total = sum(c["sum"] for c in result["yields"]["postfit"]["channels"])
    assert total == pytest.approx(float(np.sum(model.expected_actualdata(best))), rel=1e-3)
    assert figure.read_bytes().startswith(b"\x89PNG")
    shown = bumpfit("fit", multi, "--correlation", "--minimiser", "minuit")
    assert shown.code == 0
    assert "top_cross_section" in shown.out
    assert "Correlations" in shown.out


def test_settings_of_parameters(bumpfit: Run, multi: Path, theirs: tuple[pyhf.pdf.Model, list[float]]) -> None:
    model, data = theirs
    held = bumpfit("fit", multi, "--fix", "mu=1.5", "--json").json
    expected = pyhf.infer.mle.fixed_poi_fit(1.5, data, model, return_fitted_val=True)[1]
    assert held["twice_nll"] == pytest.approx(float(expected), abs=1e-4)
    assert held["q0"] is None
    assert "mu" in held["discovery"]
    free = bumpfit("fit", multi, "--json").json
    bounded = bumpfit("fit", multi, "--range", "mu=0:0.9", "--start", "mu=0.2", "--json").json
    assert bounded["mu"] == pytest.approx(free["mu"], abs=1e-5)
    assert bounded["options"] == {"range": ["mu=0:0.9"], "start": ["mu=0.2"]}
    assert "excludes the minimum" in refused(bumpfit("fit", multi, "--range", "mu=0:0.5"))
    # a name without index is all of its bins
    bins = bumpfit("fit", multi, "--fix", "stat_tight", "--json").json
    assert [name for name in bins["fixed"] if name.startswith("stat")] == [f"stat_tight[{i}]" for i in range(5)]


def test_asimov_and_blinding(bumpfit: Run, multi: Path) -> None:
    assert bumpfit("fit", multi, "--asimov", "0.7", "--json").json["mu"] == pytest.approx(0.7, abs=1e-4)
    blind = bumpfit("fit", multi, "--blind", "tight", "--blind", "loose", "--json").json
    assert blind["mu"] == pytest.approx(0.0, abs=1e-4)
    assert "exclude each other" in refused(bumpfit("fit", multi, "--blind", "tight", "--asimov", "0"))


def test_fit_of_a_scored_table(bumpfit: Run, scored: Path, tmp_path: Path) -> None:
    options = ["--keep", "0.05", "--mass", "3000", "--parameters", "3"]
    workspace = tmp_path / "w.json"
    assert bumpfit("build", scored, "-o", workspace, *options).code == 0
    direct, through = bumpfit("fit", scored, *options, "--json").json, bumpfit("fit", workspace, "--json").json
    assert direct["q0"] == through["q0"] > 9
    assert direct["built"]["mass"] == 3000
    assert "is a workspace already" in refused(bumpfit("fit", workspace, "--mass", "3000"))


def test_scan(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    figure = tmp_path / "scan.pdf"
    found = bumpfit("scan", counting, "--low", "0", "--high", "10", "--points", "6", "--figure", figure, "--json").json
    rate = np.array(found["points"]) + 4.0
    assert found["delta_twice_nll"] == pytest.approx(2 * (rate - 9 - 9 * np.log(rate / 9)), abs=1e-6)
    interval = found["intervals"][0]
    for end in (interval["low"], interval["high"]):
        rise = 2 * (end + 4 - 9 - 9 * math.log((end + 4) / 9))
        assert rise == pytest.approx(chi2.ppf(0.6827, 1), abs=1e-5)
    assert figure.read_bytes().startswith(b"%PDF")
    assert "best fit" in bumpfit("scan", counting, "--points", "3", "--side", "high", "--level", "0.95").out


def test_limit(bumpfit: Run, multi: Path, theirs: tuple[pyhf.pdf.Model, list[float]], tmp_path: Path) -> None:
    model, data = theirs
    found = bumpfit("limit", multi, "--figure", tmp_path / "cls.png", "--json").json
    observed, expected = pyhf.infer.hypotest(found["observed"], data, model, return_expected_set=True)
    assert float(observed) == pytest.approx(0.05, abs=2e-4)
    tested = bumpfit("limit", multi, "--test", found["observed"], "--json").json
    assert tested["observed"] == pytest.approx(0.05, abs=1e-6)
    assert tested["expected"] == pytest.approx([float(e) for e in expected], rel=5e-3)


def test_limit_from_toys(bumpfit: Run, counting: Path) -> None:
    # CLs of a counting experiment in closed form
    strength, n, b = 12.0, 9, 4.0
    expected = poisson.cdf(n, strength + b) / poisson.cdf(n, b)
    found = bumpfit("limit", counting, "--test", strength, "--toys", "5000", "--seed", "3", "--json").json
    assert found["observed"] == pytest.approx(expected, abs=5 * found["observed_error"])
    assert found["observed_error"] < 0.02


def test_masses(bumpfit: Run, scored: Path, tmp_path: Path) -> None:
    files = []
    for mass in (2800, 3000, 3200):
        files.append(tmp_path / f"m{mass}.json")
        assert (
            bumpfit("build", scored, "-o", files[-1], "--keep", "0.05", "--mass", mass, "--parameters", "3").code == 0
        )
    figure = tmp_path / "brazil.png"
    limits = bumpfit("limit", *files, "--masses", "2800,3000,3200", "--figure", figure, "--json").json
    single = bumpfit("limit", files[1], "--json").json
    assert limits["limits"][1]["observed"] == pytest.approx(single["observed"], rel=1e-6)
    tests = bumpfit("scan", *files, "--masses", "2800,3000,3200", "--figure", tmp_path / "p.png", "--json").json
    assert np.argmax([d["q0"] for d in tests["discoveries"]]) == 1
    assert bumpfit("scan", *files, "--masses", "2800,3000,3200").out.count("\n") > 3
    toys = bumpfit("toys", *files, "-n", "400", "--seed", "1", "--figure", tmp_path / "q.png", "--json").json
    assert toys["observed"] == pytest.approx(tests["discoveries"][1]["q0"], rel=1e-3)
    assert toys["p_global"] <= 0.02
    assert "as many different --masses" in refused(bumpfit("limit", *files, "--masses", "2800,3000"))
    assert "take one workspace" in refused(bumpfit("limit", *files, "--masses", "1,2,3", "--asimov", "0"))


def test_impacts(bumpfit: Run, multi: Path, tmp_path: Path, theirs: tuple[pyhf.pdf.Model, list[float]]) -> None:
    model, data = theirs
    found = bumpfit("impacts", multi, "--figure", tmp_path / "ranking.png", "--json").json
    row = next(row for row in found["impacts"] if row["parameter"] == "dijet_norm")
    held = list(model.config.suggested_init())
    fixed = list(model.config.suggested_fixed())
    index = model.config.par_slice("dijet_norm").start
    held[index], fixed[index] = row["value"] + row["error"], True
    shifted = pyhf.infer.mle.fit(data, model, init_pars=held, fixed_params=fixed)
    assert row["up"] == pytest.approx(shifted[model.config.poi_index] - found["best"], abs=2e-3)
    assert "dijet_norm" in bumpfit("impacts", multi, "--top", "5").out


def test_gof(bumpfit: Run, counting: Path, multi: Path) -> None:
    found = bumpfit("gof", counting, "--fix", "mu=0", "--json").json
    assert found["statistic"] == pytest.approx(2 * (4 - 9 + 9 * math.log(9 / 4)))
    assert found["p"] == pytest.approx(chi2.sf(found["statistic"], 1))
    toys = bumpfit("gof", multi, "--statistic", "ks", "--toys", "60", "--seed", "1", "--json").json
    assert 0 < toys["p"] <= 1
    assert "only toys" in refused(bumpfit("gof", multi, "--statistic", "ks"))
    assert "only toys" in refused(bumpfit("gof", multi, "--statistic", "ad"))
    assert "--toys N with --by-channel" in refused(bumpfit("gof", multi, "--by-channel"))
    assert "degree" in refused(bumpfit("gof", counting))


def test_gof_by_channel(bumpfit: Run, multi: Path) -> None:
    asked = ("--toys", "40", "--seed", "1")
    found = bumpfit("gof", multi, "--statistic", "ad", *asked, "--json").json
    assert list(found["channels"]) == ["control", "loose", "tight"]
    assert found["statistic"] == pytest.approx(sum(one["statistic"] for one in found["channels"].values()))
    assert all(0 < one["p"] <= one["p_upper"] <= 1 for one in found["channels"].values())
    assert found["constraints"] is None
    plain = bumpfit("gof", multi, "--json").json
    parts = sum(one["statistic"] for one in plain["channels"].values())
    assert plain["statistic"] == pytest.approx(parts + plain["constraints"])
    assert plain["channels"]["tight"]["p"] is None
    shown = bumpfit("gof", multi, "--by-channel", *asked).out
    assert "p-value" in shown.split("channel", 1)[1] and "constraints" in shown


def test_contour(bumpfit: Run, multi: Path, tmp_path: Path, theirs: tuple[pyhf.pdf.Model, list[float]]) -> None:
    model, data = theirs
    found = bumpfit("contour", multi, "mu", "dijet_norm", "--points", "8", "--level", "0.6827", "--figure",
                    tmp_path / "c.png", "--json").json  # fmt: skip
    line = found["contours"][0]
    held, fixed = list(model.config.suggested_init()), list(model.config.suggested_fixed())
    for name, value in (("mu", line["x"][1]), ("dijet_norm", line["y"][1])):
        place = model.config.par_slice(name).start
        held[place], fixed[place] = value, True
    rise = float(
        pyhf.infer.mle.fit(data, model, init_pars=held, fixed_params=fixed, return_fitted_val=True)[1]
        - pyhf.infer.mle.fit(data, model, return_fitted_val=True)[1]
    )
    assert rise == pytest.approx(chi2.ppf(0.6827, 2), abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fix", "nothing=1"], "there is no parameter 'nothing'"),
        (["--fix", "mu=x"], "expected NAME or NAME=VALUE"),
        (["--range", "mu=1"], "expected NAME=LOW:HIGH"),
        (["--range", "mu=3:1"], "the lower end must be below the upper"),
        (["--range", "mu=7:9"], "excludes the minimum, which is at 5; widen"),
        (["--range", "mu=0:2"], "excludes the minimum, which is at 5; widen"),
        (["--fix", "mu=1", "--fix", "mu=2"], "a second time"),
        (["--fix", "mu=1", "--free", "mu"], "contradict each other"),
        (["-o", "x" * 300 + ".json"], "File name too long"),
        (["--start", "mu=nan"], "must be finite"),
        (["--poi", "nothing"], "does not exist"),
        (["--patch", "missing.json"], "there is no file missing.json"),
        (["--patch-name", "a"], "without a patchset"),
        (["--card-mass", "125"], "--card-mass belongs to a datacard"),
        (["--card-strength", "ttH=mu"], "--card-strength belongs to a datacard"),
        (["--measurement", "b"], "there is no measurement 'b'"),
        (["--blind", "bin"], "all channels would be blinded"),
        (["--figure", "fit.txt"], "expected a name that ends in"),
    ],
)
def test_bad_settings(bumpfit: Run, counting: Path, arguments: list[str], words: str) -> None:
    assert words in refused(bumpfit("fit", counting, *arguments))


def test_bad_files(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    assert "there is no file" in refused(bumpfit("fit", tmp_path / "no.json"))
    broken = tmp_path / "broken.json"
    broken.write_text('{"channels": [')
    assert "not valid JSON" in refused(bumpfit("limit", broken))
    (tmp_path / "scores.csv").write_text("score,m_JJ\n0.5,3000\n")
    assert "with bumpfit build" in refused(bumpfit("limit", tmp_path / "scores.csv"))
    before = counting.read_text()
    assert "is an input of this command" in refused(bumpfit("fit", counting, "-o", counting))
    assert "is a folder" in refused(bumpfit("fit", counting, "-o", tmp_path))
    assert counting.read_text() == before
    spec = json.loads(before)
    spec["channels"][0]["samples"][0]["data"] = [0.0]
    spec["channels"][0]["samples"][1]["data"] = [-1.0]
    negative = tmp_path / "negative.json"
    negative.write_text(json.dumps(spec))
    assert "must not be negative" in refused(bumpfit("fit", negative, "-o", tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()


def test_usage_errors_are_one_line(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    assert "--to is missing (Format to write)" in refused(bumpfit("convert", counting, tmp_path / "x.json"))


def test_ranges_may_end_where_strengths_do(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    """A deficit: 4 events expected, 1 seen."""
    spec = json.loads(counting.read_text())
    spec["observations"][0]["data"] = [1.0]
    spec["measurements"][0]["config"]["parameters"][0]["bounds"] = [[-3, 50]]
    path = tmp_path / "deficit.json"
    path.write_text(json.dumps(spec))
    assert bumpfit("fit", path, "--json").json["mu"] == pytest.approx(-3.0)
    assert bumpfit("fit", path, "--range", "mu=-3:9", "--json").json["mu"] == pytest.approx(-3.0)
    found = bumpfit("fit", path, "--range", "mu=0:9", "--json").json
    assert found["mu"] == 0.0
    assert found["at_bounds"] == ["mu"]
    assert "excludes the minimum" in refused(bumpfit("limit", path, "--range", "mu=-1:9"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk(bumpfit: Run, counting: Path) -> None:
    assert "No space left" in refused(bumpfit("fit", counting, "-o", "/dev/full"), code=1)


def test_no_result_is_exit_code_1(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    spec = json.loads(counting.read_text())
    spec["channels"][0]["samples"][0]["data"] = [0.0]
    path = tmp_path / "no_background.json"
    path.write_text(json.dumps(spec))
    # nothing is expected at strength 0, so a fit exists but no discovery test
    found = bumpfit("fit", path, "--json").json
    assert found["mu"] == pytest.approx(9.0)
    assert found["discovery"].startswith("not available")
    assert "likelihood is zero" in refused(bumpfit("fit", path, "--fix", "mu=0"), 1)


def test_a_p_value_below_all_numbers_is_a_bound(bumpfit: Run, tmp_path: Path) -> None:
    path = tmp_path / "far.json"
    samples = [
        {"name": "s", "data": [1.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [1.0], "modifiers": []},
    ]
    strength = {"name": "mu", "bounds": [[0, 1e5]], "inits": [1.0]}
    path.write_text(json.dumps({
        "channels": [{"name": "c", "samples": samples}], "observations": [{"name": "c", "data": [5000.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [strength]}}], "version": "1.0.0",
    }))  # fmt: skip
    assert "< 1e-300 (asymptotic" in " ".join(bumpfit("fit", path).out.split())
