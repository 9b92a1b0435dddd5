"""The challenge core: closed forms, bad input, files."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from higgs_events import table

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml.bias import biased, soft_noise
from bumpfit.higgsml.columns import DERIVED, PRIMARY, matrix
from bumpfit.higgsml.dataset import Dataset
from bumpfit.higgsml.pseudo import MU_RANGE, bootstrap_rows
from bumpfit.higgsml.score import penalty

DERIVED_OF_ONE = {
    "PRI_lep_pt": 30.0, "PRI_lep_eta": 0.5, "PRI_lep_phi": 0.0, "PRI_had_pt": 40.0, "PRI_had_eta": -0.5,
    "PRI_had_phi": math.pi / 2, "PRI_jet_leading_pt": 60.0, "PRI_jet_leading_eta": 2.0, "PRI_jet_leading_phi": math.pi,
    "PRI_jet_subleading_pt": 50.0, "PRI_jet_subleading_eta": -1.0, "PRI_jet_subleading_phi": -math.pi / 2,
    "PRI_n_jets": 2.0, "PRI_jet_all_pt": 110.0, "PRI_met": 20.0, "PRI_met_phi": math.pi,
}  # fmt: skip


def test_derived_quantities_by_hand() -> None:
    found = higgsml.derived(pd.DataFrame([DERIVED_OF_ONE])).iloc[0]
    want = {
        "DER_mass_transverse_met_lep": math.sqrt(50**2 - 10**2), "DER_mass_vis": math.sqrt(2400 * math.cosh(1.0)),
        "DER_pt_h": math.hypot(10, 40), "DER_deltaeta_jet_jet": 3.0, "DER_prodeta_jet_jet": -2.0,
        "DER_mass_jet_jet": math.sqrt(6000 * math.cosh(3.0)), "DER_deltar_had_lep": math.hypot(1, math.pi / 2),
        "DER_pt_tot": math.hypot(10 - 60, 40 - 50), "DER_sum_pt": 180.0, "DER_pt_ratio_lep_had": 0.75,
        "DER_met_phi_centrality": -1.0, "DER_lep_eta_centrality": 1.0,
    }  # fmt: skip
    for name, value in want.items():
        assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


def test_a_shift_of_the_tau_conserves_the_sum_of_tau_and_missing_momentum() -> None:
    events = table(500, 7)
    shifted = higgsml.bias(events, tes=1.07, selection=False)
    for function in (np.cos, np.sin):
        before, after = (
            t["PRI_had_pt"] * function(t["PRI_had_phi"]) + t["PRI_met"] * function(t["PRI_met_phi"])
            for t in (events, shifted)
        )
        np.testing.assert_allclose(after, before, atol=0.6)  # met_phi is rounded to a mrad
    np.testing.assert_allclose(shifted["PRI_had_pt"], 1.07 * events["PRI_had_pt"], atol=1e-3)


def test_the_kernel_gives_features_and_rows() -> None:
    events = table(300, 8)
    noise = soft_noise(300, 2.0)
    result = biased(matrix(events), 0.97, 1.02, noise)
    frame = higgsml.bias(events, tes=0.97, jes=1.02, soft_met=2.0)
    assert result.features.shape == (28, len(frame)) and 0 < len(frame) < 300
    np.testing.assert_array_equal(result.features.T, frame[[*PRIMARY, *DERIVED]])
    np.testing.assert_array_equal(events["weights"].to_numpy()[result.rows], frame["weights"])


def test_scales_act_on_weights_by_default_only() -> None:
    events = table(300, 9)
    plain = higgsml.bias(events)
    scaled = higgsml.bias(events, ttbar_scale=1.1, diboson_scale=0.5, bkg_scale=1.005)
    factor = plain["detailed_labels"].map(
        {"htautau": 1.0, "ztautau": 1.005, "ttbar": 1.1 * 1.005, "diboson": 0.5 * 1.005}
    )
    np.testing.assert_allclose(scaled["weights"], plain["weights"] * factor, rtol=1e-6)
    same = higgsml.bias(events, ttbar_scale=1.1, bkg_scale=1.005, compatible=True)
    np.testing.assert_array_equal(same["weights"], plain["weights"])


def test_bootstrap_has_poisson_numbers() -> None:
    events = table(2000, 10, total=4000.0)
    process = np.searchsorted(sorted(set(events["detailed_labels"])), events["detailed_labels"])
    assert set(process) == {0, 1, 2, 3}
    one = higgsml.experiment(events, 2.0, {"bkg_scale": 1.0}, 5)
    assert one.largest_multiplicity > 1 and not set(one.table.columns) - {*PRIMARY, *DERIVED}
    codes = events["detailed_labels"].map({"htautau": 0, "ztautau": 1, "ttbar": 2, "diboson": 3}).to_numpy(np.int8)
    sizes = [
        len(bootstrap_rows(events["weights"].to_numpy(), codes, 1.0, higgsml.Nuisances(), seed)) for seed in range(50)
    ]
    assert np.mean(sizes) == pytest.approx(4000.0, abs=4 * math.sqrt(4000.0 / 50))


def test_settings_and_draws() -> None:
    mus = higgsml.pseudo.strengths(31415, 1000)
    assert MU_RANGE[0] <= mus.min() and mus.max() <= MU_RANGE[1]
    settings = higgsml.Settings(tuple(mus[:3].tolist()), 4)
    assert sorted(settings.order()) == [(s, i) for s in range(3) for i in range(4)] != settings.order()
    assert settings.seed_of(2, 1) == 31415 + 9
    assert higgsml.Settings.of(json.loads(json.dumps(settings.official()))) == settings
    soft = np.array([higgsml.draw_nuisances(seed)["soft_met"] for seed in range(4000)])
    assert np.mean(soft == 5.0) == pytest.approx(0.0538, abs=0.012)
    assert higgsml.draw_nuisances(3, ()) == higgsml.Nuisances().to_dict()


def test_score_by_hand() -> None:
    low = np.array([0.0] * 68 + [2.0] * 32)
    record = higgsml.score(1.0, low, low + 1.5, eps=0.0)
    assert (record.width, record.coverage, record.penalty, record.n) == (1.5, 0.68, 1.0, 100)
    assert record.score == pytest.approx(-math.log(1.5))
    sigma = math.sqrt(0.6827 * 0.3173 / 100)
    assert penalty(0.6827 - 5 * sigma, 100) == pytest.approx(1 + 3**4)
    assert penalty(0.6827 + 5 * sigma, 100) == pytest.approx(1 + 3**3)
    assert higgsml.score(1.0, [2.0], [0.5]).reversed == 1


def test_scores_pool_all_intervals() -> None:
    rng = np.random.default_rng(0)
    mu = np.array([0.5, 1.0, 2.0])
    middles = [m + rng.normal(0, 0.2, 100) for m in mu]
    found = higgsml.scores(mu, [m - 0.2 for m in middles], [m + 0.2 for m in middles], replicas=200)
    assert found.merged.n == 300 and found.low < found.merged.score < found.high + 0.2
    assert found.merged.coverage == pytest.approx(np.mean([one.coverage for one in found.sets]))
    again = higgsml.scores(mu, [m - 0.2 for m in middles], [m + 0.2 for m in middles], replicas=200)
    assert again == found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="PRI_met"), "no column 'PRI_met'"),
        (lambda t: t.rename(columns={"PRI_met": "PRI_mett"}), "'PRI_mett' is the nearest"),
        (lambda t: pd.concat([t, t["PRI_met"]], axis=1), "more than once"),
        (lambda t: t.assign(PRI_jet_num=t["PRI_n_jets"]), "more than once"),
        (lambda t: t.assign(PRI_met="high"), "expected numbers"),
        (lambda t: t.assign(PRI_met=True), "expected numbers"),
        (lambda t: t.assign(PRI_met=t["PRI_met"].where(t.index != 3)), "not finite in 1 of 50 rows, first in row 3"),
        (lambda t: t.assign(PRI_had_pt=np.inf), "not finite"),
        (lambda t: t.iloc[:0], "no events"),
        (lambda t: t.drop(columns="weights"), "no column 'weights'"),
        (lambda t: t.assign(weights=-1.0), "negative weights"),
        (lambda t: t.assign(weights=0.0), "are zero"),
        (lambda t: t.assign(detailed_labels="wjets"), "process 'wjets'"),
        (lambda t: t.assign(detailed_labels=t["detailed_labels"].where(t.index > 0)), "a missing label"),
    ],
)
def test_bad_tables_are_told(change: object, says: str) -> None:
    bad = change(table(50, 11))  # type: ignore[operator]
    with pytest.raises(InputError, match=says):
        higgsml.pseudo_experiment(bad, 1.0, {}, 1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tes": 1.2}, "tes is 1.2; expected a number from 0.9 to 1.1"),
        ({"soft_met": -1.0}, "from 0 to 5"),
        ({"bkg_scale": math.nan}, "from 0.99 to 1.01"),
        ({"jes": "high"}, "expected a number"),
    ],
)
def test_nuisances_outside_their_range_are_named(values: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        higgsml.bias(table(20, 1), **values)


def test_other_bad_values() -> None:
    events = table(20, 1)
    with pytest.raises(InputError, match="no nuisance 'met'"):
        higgsml.draw_nuisances(1, ["met"])
    with pytest.raises(InputError, match="the seed"):
        higgsml.draw_nuisances(-1)
    with pytest.raises(InputError, match="mu is -1"):
        higgsml.pseudo_experiment(events, -1.0, {}, 1)
    with pytest.raises(InputError, match="no column 'weights'"):
        higgsml.bias(events[list(PRIMARY)], bkg_scale=1.001)
    with pytest.raises(InputError, match="not finite"):
        higgsml.score(1.0, [math.nan], [1.0])
    with pytest.raises(InputError, match="expected as many"):
        higgsml.score([1.0, 2.0, 3.0], [0.0], [1.0])


def test_names_of_the_paper_are_understood() -> None:
    events = table(30, 2)
    paper = events.rename(
        columns={"PRI_n_jets": "PRI_jet_num", "weights": "Weight", "detailed_labels": "DetailedLabel"}
    )
    pd.testing.assert_frame_equal(higgsml.bias(paper), higgsml.bias(events))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    events = table(1000, 12)
    events.to_parquet(path, row_group_size=130)
    total = float(events["weights"].to_numpy(float).sum())
    (tmp_path / "events_metadata.json").write_text(json.dumps({"sum_weights": total, "total_rows": 1000}))
    return path


def test_a_file_is_read_by_pieces(file: Path) -> None:
    data = Dataset(file)
    data.check_sum()
    assert [len(piece) for piece in data.stream("test", batch=100)] == [100, 100, 100]
    test, train = data.read("test"), data.read("train")
    assert (len(test), len(train)) == (300, 700)
    for part in (test, train, data.sample(0.1, 3)):
        assert part["weights"].to_numpy(float).sum() == pytest.approx(data.metadata.sum_weights, rel=1e-6)
    raw = pd.read_parquet(file)
    some = data.read("train", [5, 2, 650])
    np.testing.assert_array_equal(some["PRI_met"], raw["PRI_met"].iloc[[302, 305, 950]])
    assert len(data.sample(70)) == len(data.sample(0.1)) == 70


def test_bad_files_are_told(file: Path, tmp_path: Path) -> None:
    metadata = tmp_path / "events_metadata.json"
    good = metadata.read_text()
    for content, says in (("{", "not valid JSON"), ("[]", "no positive 'sum_weights'"),
                          ('{"sum_weights": 5, "total_rows": 3}', "metadata says 3"),
                          ('{"sum_weights": true}', "no positive")):  # fmt: skip
        metadata.write_text(content)
        with pytest.raises(InputError, match=says):
            Dataset(file)
    metadata.write_text('{"sum_weights": 5}')
    with pytest.raises(InputError, match="another file's metadata"):
        Dataset(file).check_sum()
    metadata.unlink()
    with pytest.raises(InputError, match="there is none"):
        Dataset(file)
    metadata.write_text(good)
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Dataset(file)
    table(5, 1).drop(columns="PRI_met").to_parquet(file)
    metadata.write_text('{"sum_weights": 5}')
    with pytest.raises(InputError, match="no column 'PRI_met'"):
        Dataset(file)
