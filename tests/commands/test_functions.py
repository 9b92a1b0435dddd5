"""`bumpfit spurious` and `bias` against the same tests in Python and closed forms."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit import histograms, shapes

EDGES = histograms.mass_edges(2900.0, 7000.0)
SIGNAL = shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))
MIDDLE = float(np.sqrt(EDGES[0] * EDGES[-1]))


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """Ten times the luminosity of the data, weighted, of a function of four parameters."""
    content = shapes.dijet(4).integrate(EDGES, [0.05, 8.0, 6.0, 1.2])
    mean = 60000.0 * content / content.sum()
    tree = {
        "uhi_schema": 1,
        "axes": [{"type": "variable", "edges": EDGES.tolist(), "underflow": False, "overflow": False,
                  "circular": False}],
        "storage": {"type": "weighted", "values": (10 * mean).tolist(), "variances": (10 * mean).tolist()},
    }  # fmt: skip
    (tmp_path / "mc.json").write_text(json.dumps(tree))
    counts = np.random.default_rng(5).poisson(mean)
    rows = "\n".join(
        f"{a!r},{b!r},{n}" for a, b, n in zip(EDGES[:-1].tolist(), EDGES[1:].tolist(), counts, strict=True)
    )
    (tmp_path / "data.csv").write_text("low,high,count\n" + rows)
    return tmp_path


def test_spurious_signal_of_two_functions(bumpfit: Run, simulated: Path) -> None:
    words = ("--function", "dijet:2", "--function", "dijet:4", "--signal", "gauss:3%", "--scale", "0.1")
    found = bumpfit(
        "spurious", simulated / "mc.json", *words, "--scan-masses", "3500:5500:500", "--json"
    ).json["tests"]  # fmt: skip
    mc = histograms.as_histogram(simulated / "mc.json")
    for one, n in zip(found, (2, 4), strict=True):
        direct = shapes.spurious_signal(
            mc, shapes.dijet(n, reference=MIDDLE), SIGNAL, [3500.0, 4000.0, 4500.0, 5000.0, 5500.0], scale=0.1
        )
        assert one["n_spurious"] == pytest.approx(direct.n_spurious.tolist(), rel=1e-3, abs=1e-2)
        assert one["passed"] == direct.passed
    # the function that made the spectrum leaves none, one with two parameters does
    assert found[1]["passed"] and not found[0]["passed"]
    assert np.abs(found[1]["ratio"]).max() < 0.01
    assert "no" in bumpfit("spurious", simulated / "mc.json", *words).out


def test_bias_is_that_of_the_functions(bumpfit: Run, simulated: Path) -> None:
    words = ("--function", "dijet:2", "--function", "dijet:4", "--truth", "dijet:4", "--signal", "gauss:3%",
             "--mass", "4000", "--inject", "0", "--inject", "300", "--toys", "300", "--seed", "3")  # fmt: skip
    tests = bumpfit("bias", simulated / "data.csv", *words, "--json").json["tests"]
    assert [(t["function"], t["injected"]) for t in tests] == [
        ("dijet:2", 0.0), ("dijet:4", 0.0), ("dijet:2", 300.0), ("dijet:4", 300.0)
    ]  # fmt: skip
    for one in tests:
        true = one["function"] == "dijet:4"
        assert (abs(one["mean_pull"]) < 4 * one["mean_pull_error"] + 0.1) == true
        assert one["width"] == pytest.approx(1.0, abs=0.2) and one["failed"] == 0
    assert tests[3]["mean_fitted"] == pytest.approx(300.0, abs=4 * tests[3]["mean_error"] / np.sqrt(300))
    same = bumpfit("bias", simulated / "data.csv", *words, "--json").json["tests"]
    assert same == tests


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("spurious", "mc.json", "--function", "dijet", "--signal", "gauss:3%"), "expected FAMILY:N, as dijet:3"),
        (("spurious", "mc.json", "--function", "x:3", "--signal", "gauss:3%"), "unknown family 'x'"),
        (("spurious", "mc.json", "--function", "ua2:4", "--signal", "3"), "expected gauss:3%"),
        (("spurious", "mc.json", "--function", "ua2:4", "--signal", "gauss:3%", "--scale", "0"), "positive, got 0"),
        (("spurious", "no.json", "--function", "ua2:4", "--signal", "gauss:3%"), "no.json"),
        (("bias", "data.csv", "--function", "ua2:4", "--truth", "ua2:4", "--signal", "gauss:3%", "--mass", "100"),
         "the masses must lie in the spectrum"),
        (("bias", "data.csv", "--function", "ua2:9", "--truth", "ua2:4", "--signal", "gauss:3%", "--mass", "4000"),
         "parameters"),
        (("bias", "data.csv", "--function", "ua2:4", "--truth", "ua2:4", "--signal", "gauss:3%", "--mass", "4000",
          "--inject", "-1e9"), "expectation negative"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(bumpfit: Run, simulated: Path, words: tuple[str, ...], message: str) -> None:
    assert message in refused(bumpfit(words[0], simulated / words[1], *words[2:]))


def test_too_few_bins_are_one_sentence_everywhere(bumpfit: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("low,high,count\n1000,1300,900\n1300,1600,400\n1600,2000,150\n")
    peak, at = ("--signal", "gauss:100"), ("--scan-masses", "1500:1500:1")
    for words in (
        ("fit", path, "--family", "dijet", "--order", "2", *peak, *at),
        ("fit", path, "--family", "dijet,ua2", "--envelope", "--order", "2", *peak, *at),
        ("fit", path, "--family", "dijet", "--order", "3"),
        ("spurious", path, "--function", "dijet:2", *peak, *at),
        ("bias", path, "--function", "dijet:2", "--truth", "ua2:2", *peak, "--mass", "1500"),
    ):
        assert "only 3 bins; expected 4 or more" in refused(bumpfit(*words))
