"""`bumpfit fit` of a published spectrum."""

from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit import inference, published, shapes

CMS = Path(__file__).parents[1] / "data" / "cms_dijet_137fb.csv"


def test_the_cms_spectrum_in_one_command(bumpfit: Run, tmp_path: Path) -> None:
    figure, limits = tmp_path / "s.png", tmp_path / "l.png"
    found = bumpfit("fit", CMS, "--family", "dijet", "--order", "auto", "--signal", "gauss:3%", "--scan-masses",
                    "3000:7000:2000", "--limits", "--figure", figure, "--limits-figure", limits,
                    "--json").json  # fmt: skip
    assert found["n_parameters"] == 3
    deviances = {t["n_parameters"]: t["deviance"] for t in found["trials"]}
    assert [deviances[3], deviances[4]] == pytest.approx([41.3936, 41.3920], abs=2e-4)
    assert figure.exists() and limits.exists()
    assert found["scan"]["masses"] == [3000.0, 5000.0, 7000.0]
    spectrum = published.read(CMS).histogram
    peak = shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))
    both = shapes.add(shapes.dijet(3, reference=3500.0), peak)
    direct = shapes.likelihood(both, spectrum, fixed={"mass": 5000.0}, limits={"n_signal": (0, None)})
    assert found["scan"]["discoveries"][1]["q0"] == pytest.approx(inference.discovery(direct).q0, rel=1e-3)
    limit = inference.limit(direct)
    assert found["limits"]["limits"][1]["observed"] == pytest.approx(limit.observed, rel=1e-3)
    assert found["limits"]["limits"][1]["expected"] == pytest.approx(limit.expected, rel=1e-3)


def test_another_family_and_order(bumpfit: Run) -> None:
    found = bumpfit("fit", CMS, "--family", "ua2", "--order", "4", "--json").json
    assert found["n_parameters"] == 4 and found["scan"] is None
    spectrum = published.read(CMS).histogram
    direct = shapes.fit(shapes.ua2(4, reference=float(np.sqrt(1530.0 * 8752.0))), spectrum)
    assert found["fit"]["twice_nll"] == pytest.approx(direct.twice_nll, abs=1e-6)


def test_the_envelope_of_families_is_the_lowest_of_direct_fits(bumpfit: Run, tmp_path: Path) -> None:
    figure = tmp_path / "envelope.png"
    found = bumpfit("fit", CMS, "--family", "dijet,power_law", "--envelope", "--order", "3", "--penalty", "2",
                    "--signal", "gauss:3%", "--scan-masses", "5000:5000:1", "--figure", figure,
                    "--json").json  # fmt: skip
    spectrum, peak = published.read(CMS).histogram, shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))
    middle = float(np.sqrt(1530.0 * 8752.0))
    rows = {}
    for made in (shapes.dijet(3, reference=middle), shapes.power_law(3, reference=middle)):
        both = shapes.add(made, peak)
        least = [shapes.fit(both, spectrum, fixed={"mass": 5000.0, **more}) for more in ({}, {"n_signal": 0.0})]
        rows[made.name] = [fit.twice_nll + 2 * 3 for fit in least], least[0]
    best = min(rows, key=lambda name: rows[name][0][0])
    one = found["peaks"][0]
    assert found["functions"] == list(rows) and one["family"] == best
    assert one["interval"]["best"] == pytest.approx(rows[best][1].values["n_signal"], rel=1e-4)
    wanted = min(values[1] for values, _ in rows.values()) - rows[best][0][0]
    assert one["q0"] == pytest.approx(wanted, abs=1e-4) and one["z"] == pytest.approx(np.sqrt(wanted), abs=1e-4)
    assert figure.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--family", "gothic"), "unknown family"),
        (("--family", "dijet", "--order", "some"), "expected auto or a number"),
        (("--family", "dijet", "--order", "²"), "expected auto or a number"),
        (("--family", "dijet", "--order", "9"), "has 2 to 6 parameters"),
        (("--family", "dijet", "--signal", "3"), "expected gauss:3%"),
        (("--family", "dijet", "--limits"), "need the form of the peak"),
        (("--family", "dijet", "--signal", "gauss:3%", "--scan-masses", "1:2"), "expected LOW:HIGH:STEP"),
        (("--family", "dijet", "--signal", "gauss:3%", "--scan-masses", "100:200:50"), "must lie in the spectrum"),
        (("--family", "dijet", "--keep", "0.1"), "belongs to a table of scored events"),
        (("--family", "dijet", "--sqrt-s", "8000"), "between 0 and sqrt"),
        (("--order", "3"), "belongs to a published spectrum"),
        (("--family", "all"), "--family all needs --envelope"),
        (("--family", "all", "--envelope"), "--envelope needs --signal"),
        (("--family", "dijet", "--envelope", "--signal", "gauss:3%"), "two or more different families, got dijet"),
        (("--family", "dijet,ua2", "--envelope", "--signal", "gauss:3%", "--penalty", "-1"), "must be 0 or more"),
        (("--family", "dijet", "--limits-figure", "x.png"), "needs --limits"),
    ],
)
def test_wrong_use_is_one_sentence(bumpfit: Run, words: tuple[str, ...], message: str) -> None:
    assert message in refused(bumpfit("fit", CMS, *words))
