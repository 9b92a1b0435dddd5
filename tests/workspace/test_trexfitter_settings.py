"""Settings of TRExFitter beyond its example: replaced and included text, regularised factors, smoothed samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_trexfitter import EXAMPLE, YIELDS, folder, found, replaced, written

from bumpfit import workspace
from bumpfit.errors import InputError
from bumpfit.workspace.read import read_spec
from bumpfit.workspace.smoothing import smooth_353qh_twice
from bumpfit.workspace.smoothing_joined import smooth_extrema, smooth_nominal, smooth_resonance, smooth_twice
from bumpfit.workspace.templates import Template

__all__ = ["folder"]


# ---------------------------------------------------------------- text


PLACED = (
    EXAMPLE.replace('POI: "SigXsecOverSM"', 'POI: "SigXsecOverSM"\n  ReplacementFile: values.txt')
    .replace('"inputs/Histo"', '"XXX_inputs/XXX_folder"').replace("OverallUp: 0.10", "OverallUp: XXX_size")
    .replace("OverallDown: -0.10", "OverallDown: -XXX_size")
)  # fmt: skip
VALUES = """% what is put in
XXX_size: 0.XXX_tenth0
XXX_inputs: inputs
XXX_folder:  Histo
XXX_tenth: 1
"""


def test_names_are_replaced_by_the_values_of_a_file(folder: Path) -> None:
    plain = read_spec(written(EXAMPLE, folder))
    (folder / "values.txt").write_text(VALUES)
    assert read_spec(written(PLACED, folder)) == plain


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VALUES.replace("XXX_size", "XXX_wide"), "line 6[0-9] .*values.txt' says nothing for 'XXX_size'; it has XXX_f"),
        (VALUES.replace("XXX_tenth: 1", "XXX_tooth: 1"), "says nothing for 'XXX_tenth0'"),
        (VALUES.replace("0.XXX_tenth0", "XXX_size"), "'XXX_size' is left, for .*of its own"),
        (VALUES.replace("0.XXX_tenth0", "XXX_inputs"), "'XXX_inputs' is left.*comes after it in the alphabet"),
        (VALUES + "XXX_in: 1\n", "'XXX_inputs' begins with 'XXX_in', which TRExFitter puts in first"),
        (VALUES + "XXX_size: 2\n", "line 6 of the ReplacementFile .*'XXX_size' is there twice"),
        (VALUES + "XXX_more:\n", "line 6 of the ReplacementFile .*expected 'XXX_NAME: value', got 'XXX_more:'"),
        (VALUES.replace("XXX_tenth: 1", "XXX_tenth: 1 # of it"), "lines with % or # are comments"),
    ],
)  # fmt: skip
def test_names_without_a_value_and_circles_are_told(values: str, message: str, folder: Path) -> None:
    (folder / "values.txt").write_text(values)
    with pytest.raises(InputError, match=message):
        read_spec(written(PLACED, folder))


def test_names_that_double_end_in_a_sentence(folder: Path) -> None:
    names = [f"XXX_{i:02}" for i in range(40)]
    doubling = [f"{a}: {b}{b}\n" for a, b in zip(names, [*names[1:], "1"], strict=True)]
    (folder / "values.txt").write_text("".join(doubling))
    with pytest.raises(InputError, match="has more than 1000000 characters"):
        read_spec(written(PLACED.replace("XXX_inputs", "XXX_00"), folder))


def test_without_a_file_of_values_and_without_their_use(folder: Path) -> None:
    with pytest.raises(InputError, match=r"line 5 .*there is no ReplacementFile 'values.txt', seen from"):
        read_spec(written(PLACED, folder))
    with pytest.raises(InputError, match=r"there is no file 'XXX_inputs/XXX_folder/data.root'"):
        read_spec(written(PLACED.replace("  ReplacementFile: values.txt\n", ""), folder))
    (folder / "values.txt").write_text("XXX_unused: 1\n")
    text = EXAMPLE.replace("  DebugLevel: 2\n", "  ReplacementFile: values.txt\n")
    assert read_spec(written(text, folder)) == read_spec(written(EXAMPLE, folder))


def test_included_files(folder: Path) -> None:
    """Seen from the file that includes them, with names put in; a fault is told where it stands."""
    plain = read_spec(written(EXAMPLE, folder))
    head, systematics = EXAMPLE.split('Systematic: "JES"')
    (folder / "parts").mkdir()
    (folder / "parts" / "all.config").write_text('\nINCLUDE: "jes.txt"\n')
    (folder / "parts" / "jes.txt").write_text('Systematic: "JES"' + systematics)
    main = head.replace("  DebugLevel: 2\n", "  ReplacementFile: v\n") + "INCLUDE: XXX_where/all.config\n"
    (folder / "v").write_text("XXX_where: parts\n")
    assert read_spec(written(main, folder)) == plain
    (folder / "parts" / "jes.txt").write_text('Systematic: "JES"' + systematics.replace("Smoothing", "Smoth"))
    with pytest.raises(InputError, match=r"line 7 of the TRExFitter configuration '.*jes.txt', Systematic 'JES'"):
        read_spec(written(main, folder))
    (folder / "parts" / "jes.txt").write_text("INCLUDE: ../fit.config\n")
    with pytest.raises(InputError, match=r"line 1 .*jes.txt': INCLUDE names '../fit.config', which includes this file"):
        read_spec(written(main, folder))
    with pytest.raises(InputError, match="INCLUDE names 'nothing', which is not there"):
        read_spec(written(EXAMPLE + "\nINCLUDE: nothing\n", folder))


def test_other_encodings_are_told_by_line(folder: Path) -> None:
    (folder / "fit.config").write_bytes(EXAMPLE.replace("a comment", "ein Schlußwort").encode("latin-1"))
    with pytest.raises(InputError, match=r"line 29 is not text in UTF-8; if it is in Latin-1, iconv"):
        read_spec(folder / "fit.config")


# ---------------------------------------------------------------- regularised factors


@pytest.mark.parametrize("tau", [0.5, -2.0])
def test_a_regularised_factor_has_a_gaussian_around_its_nominal_value(tau: float, folder: Path) -> None:
    """Twice -ln L changes by (Tau (x - Nominal))^2 more than without it, and expected counts do not change."""
    block = '\nNormFactor: "muBkg"\n  Samples: Bkg1\n  Nominal: 1.2\n  Min: 0\n  Max: 4\n'
    free = workspace.read(written(EXAMPLE + block, folder))
    bound = workspace.read(written(EXAMPLE + block + f"  Tau: {tau}\n", folder))
    assert {p.name: (p.init, p.low, p.high) for p in bound.parameters}["muBkg"] == (1.2, 0.0, 4.0)
    more = []
    for value in (1.2, 0.7):
        at = {"muBkg": value, "JES": 0.3}
        np.testing.assert_allclose(bound.expected(at), free.expected(at), rtol=1e-14)
        more.append(bound.twice_nll(at) - free.twice_nll(at))
    difference = more[1] - more[0]
    assert difference == pytest.approx((tau * 0.5) ** 2, rel=1e-9)


def test_blind_data_of_a_regularised_factor(folder: Path) -> None:
    block = '\nNormFactor: "muBkg"\n  Samples: Bkg1\n  Nominal: 1.2\n  Min: 0\n  Max: 4\n'
    blind = replaced("  FitRegion: CRSR\n", "  FitBlind: TRUE\n")
    with pytest.warns(UserWarning, match="FitBlind"):
        free = read_spec(written(blind + block, folder))
    with pytest.warns(UserWarning, match="FitBlind"):
        bound = read_spec(written(blind + block + "  Tau: 3\n", folder))
    assert bound["observations"] == free["observations"]


def test_a_formula_is_not_regularised(folder: Path) -> None:
    block = '\nNormFactor: "f"\n  Samples: Bkg1\n  Expression: 1 + a:a[0,-1,1]\n  Tau: 1\n'
    with pytest.raises(InputError, match="Tau of a factor that is an Expression is not read"):
        read_spec(written(EXAMPLE + block, folder))


# ---------------------------------------------------------------- smoothed samples


def template(values: list[float], errors: list[float]) -> Template:
    return Template(np.arange(len(values) + 1.0), np.array(values, dtype=float), np.array(errors, dtype=float))


def test_smoothing_of_a_nominal_template() -> None:
    """Straight lines stay; a spike that is more than two errors high stays, one within is flattened; the sum and its
    error stay, shared out as the counts."""
    line = template([10.0, 20, 30, 40, 50], [1.0, 2, 2, 1, 1])
    smooth = smooth_nominal(line)
    np.testing.assert_allclose(smooth.values, line.values, rtol=1e-12)
    np.testing.assert_allclose(smooth.errors, np.sqrt(11.0) * np.sqrt(line.values / 150.0), rtol=1e-12)
    spike = [100.0, 100, 100, 130, 100, 100, 100]
    np.testing.assert_allclose(smooth_nominal(template(spike, [10.0] * 7)).values, spike, rtol=1e-12)
    np.testing.assert_allclose(smooth_nominal(template(spike, [20.0] * 7)).values, 730.0 / 7.0, rtol=1e-12)
    raised = smooth_nominal(template([1.0, 0.0, 3.0], [1.0, 1.0, 1.0]), 0.0).values
    np.testing.assert_allclose(raised, np.array([1.0, 1e-6, 3.0]) * 4.0 / 4.000001, rtol=1e-12)


def test_a_smoothed_sample_in_a_configuration(folder: Path) -> None:
    """The nominal template is smoothed, OVERALL made again, and varied templates are as they were."""
    text = replaced('  HistoFile: "bkg1"\n', '  HistoFile: "bkg1"\n  Smooth: TRUE\n').replace("  Smoothing: 40\n", "")
    plain = read_spec(written(EXAMPLE.replace("  Smoothing: 40\n", ""), folder))
    spec = read_spec(written(text, folder))
    values = np.array(YIELDS["bkg1"]["HTj"])
    expected = smooth_nominal(Template(np.arange(5.0), values, np.sqrt(values / 25.0)))
    sample = next(s for s in spec["channels"][0]["samples"] if s["name"] == "Bkg1")
    np.testing.assert_allclose(sample["data"], expected.values, rtol=1e-12)
    assert sum(sample["data"]) == pytest.approx(205.0)
    np.testing.assert_allclose(found(spec, "SR_1", "Bkg1", "staterror_SR_1", "staterror"), expected.errors, rtol=1e-12)
    assert found(spec, "SR_1", "Bkg1", "Bkg1Xsec", "normsys") == {"hi": 1.1, "lo": 0.9}
    up = np.array(YIELDS["bkg1"]["HTj_jesUp"])
    shape = found(spec, "SR_1", "Bkg1", "JES", "histosys")["hi_data"]
    np.testing.assert_allclose(shape, up * 205.0 / up.sum(), rtol=1e-12)
    skipped = text.replace('  HistoName: "HTj"\n', '  HistoName: "HTj"\n  SkipSmoothing: TRUE\n')
    assert read_spec(written(skipped, folder))["channels"] == plain["channels"]
    twice = text.replace("  DebugLevel: 2\n", "  SmoothingOption: TTBARRESONANCE\n")
    sample = next(s for s in read_spec(written(twice, folder))["channels"][0]["samples"] if s["name"] == "Bkg1")
    again = smooth_353qh_twice(smooth_353qh_twice(values))
    np.testing.assert_allclose(sample["data"], again * 205.0 / again.sum(), rtol=1e-12)
    assert smooth_twice(template([1.0, 2.0], [1.0, 1.0])).values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replaced("  Type: data\n", "  Type: data\n  Smooth: TRUE\n"), "Smooth of data is not read"),
        (
            replaced('  HistoFile: "bkg1"\n', '  HistoFile: "bkg1"\n  Smooth: TRUE\n  SeparateGammas: TRUE\n'),
            "Smooth is not read with 'stat_Bkg1'",
        ),
        (replaced("  DebugLevel: 2\n", "  SmoothingOption: TCHANNEL\n"), "SmoothingOption is 'TCHANNEL'; expected MAX"),
        (replaced("Smoothing: 40\n", "Smoothing: 4\n  SmoothingOption: TTBARRESONANCE\n"), "10 to 99 .*got 4"),
        (
            replaced("Smoothing: 40\n", "Smoothing: 40\n  ReferenceSample: Bkg2\n  SmoothingOption: TTBARRESONANCE\n"),
            "TTBARRESONANCE needs the statistical errors of its templates",
        ),
    ],
)  # fmt: skip
def test_what_is_not_smoothed_is_told(text: str, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_spec(written(text, folder))


# ---------------------------------------------------------------- smoothed systematics


def test_bins_are_joined_until_the_ratio_is_monotonic_or_parabolic() -> None:
    """By hand: ratios 1.0, 1.2, 1.1, 1.3 of 1% each turn twice; the middle ones fit a flat ratio best (chi-squared 50
    and not 200), become 1.15 and are averaged with their neighbours."""
    n = template([100.0] * 4, [1.0] * 4)
    np.testing.assert_allclose(
        smooth_extrema(n, np.array([100.0, 120, 110, 130]), 0), [100, 111.25, 118.75, 130], rtol=1e-12
    )
    line = np.array([100.0, 110, 120, 130])
    np.testing.assert_allclose(smooth_extrema(n, line, 0), line, rtol=1e-12)
    n3, turned = template([100.0] * 3, [1.0] * 3), np.array([100.0, 120, 110])
    np.testing.assert_allclose(smooth_extrema(n3, turned, 1), np.array([100, 112.5, 110]) * 330.0 / 322.5, rtol=1e-12)
    joined = np.array([100, (230 + 100 + 115) / 4, 115])
    np.testing.assert_allclose(smooth_extrema(n3, turned, 0), joined * 330.0 / joined.sum(), rtol=1e-12)
    few = template([100.0] * 4, [11.0] * 4)  # 5.5% altogether: one factor
    np.testing.assert_allclose(smooth_extrema(few, line, 0), [115.0] * 4, rtol=1e-12)
    last = template([100.0] * 4, [1.0, 1.0, 1.0, 6.0])  # the last is joined to the one before
    ends = np.array([100, (220 + 100 + 125) / 4, (250 + 110 + 125) / 4, 125])
    np.testing.assert_allclose(smooth_extrema(last, line, 0), ends * 460.0 / ends.sum(), rtol=1e-12)


def expected_of(ratios: list[float], nominal: list[float], total: float, passes: int) -> Any:
    shift = np.array(ratios) + 99.0
    for _ in range(passes):
        shift = smooth_353qh_twice(shift)
    result = np.array(nominal) * (shift - 99.0)
    return result * total / result.sum()


def test_bins_are_joined_until_steps_are_beyond_their_errors() -> None:
    """By hand: the step 0.01 of the first two is within 0.01 sqrt(2), 0.195 of the joined ones beyond; a change beyond
    100% is joined first."""
    n = template([100.0] * 3, [1.0] * 3)
    varied = template([110.0, 111, 130], [1.0] * 3)
    for independent, passes in ((False, 1), (True, 4)):
        np.testing.assert_allclose(
            smooth_resonance(n, varied, independent=independent),
            expected_of([1.105, 1.105, 1.3], [100.0] * 3, 351.0, passes), rtol=1e-10,
        )  # fmt: skip
    large = smooth_resonance(
        template([10.0, 100, 100, 100], [1.0] * 4), template([25.0, 100, 101, 150], [1.0] * 4), independent=False
    )
    nominal = [10.0, 100, 100, 100]
    np.testing.assert_allclose(large, expected_of([226 / 210] * 3 + [1.5], nominal, 376.0, 1), rtol=1e-10)


@pytest.mark.parametrize("word", ["NONE", "TWOSIDED", "ABSMEAN", "MAXIMUM", "ONESIDED"])
def test_options_of_a_systematic_and_of_the_job(word: str, folder: Path) -> None:
    """The option of a systematic takes the place of that of the job; sums stay whatever it is."""
    both = EXAMPLE.replace("%   HistoNameSufDown", "   HistoNameSufDown").replace("ONESIDED", word)
    specs = []
    for job, own in (("COMMONTOOLSMOOTHMONOTONIC", ""), ("MAXVARIATION", "COMMONTOOLSMOOTHMONOTONIC")):
        text = both.replace("  DebugLevel: 2\n", f"  SmoothingOption: {job}\n")
        text = text.replace(
            "Smoothing: 40\n", f"Smoothing: 40\n  SmoothingOption: {own}\n" if own else "Smoothing: 1\n"
        )
        specs.append(read_spec(written(text, folder)))
    assert specs[0] == specs[1]
    text = both.replace("Smoothing: 40\n", "Smoothing: 400\n  SmoothingOption: TTBARRESONANCE\n")
    resonance = read_spec(written(text, folder))
    unsmoothed = read_spec(written(both.replace("  Smoothing: 40\n", ""), folder))
    for spec in (specs[0], resonance):
        for sample in ("Bkg1", "Signal"):
            ours = found(spec, "SR_1", sample, "JES", "normsys")
            theirs = found(unsmoothed, "SR_1", sample, "JES", "normsys")
            assert ours["hi"] == pytest.approx(theirs["hi"], rel=1e-9)
    assert found(resonance, "SR_1", "Bkg1", "JES", "histosys") != found(unsmoothed, "SR_1", "Bkg1", "JES", "histosys")
