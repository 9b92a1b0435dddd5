"""Tables in LaTeX: the numbers of the terminal, and characters that LaTeX reads otherwise."""

import re

import pytest

from bumpfit import inference
from bumpfit.pages import likelihood as show
from bumpfit.pages.latex import escaped, latex
from bumpfit.pages.terminal import measured, pairs, stacked, table
from bumpfit.workspace import Model, build, read


@pytest.fixture(scope="module")
def model() -> Model:
    samples = {
        channel: [
            build.sample("signal_1", [size], build.modifier("normfactor", "mu")),
            build.sample(name, [10 * size], build.modifier("normsys", "rate", (0.9, 1.1))),
        ]
        for channel, size, name in (("SR", 5.0, "t&t"), ("CR", 1.0, "w%"))
    }
    return read(build.workspace(samples, {"SR": [58], "CR": [9]}, "mu", {"mu": {"bounds": [[-4, 10]]}}))


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("a_b & 5% #1 {x} ~ ^ $", r"a\_b \& 5\% \#1 \{x\} \textasciitilde{} \textasciicircum{} \$"),
        ("C:\\x", r"C:\textbackslash{}x"),
        ("-0.5 to 1.2", "$-$0.5 to 1.2"),
        ("lep-jet 1-2", "lep-jet 1-2"),
        ("p < 1e-300, -2.5e+06", r"p $<$ $1\times10^{-300}$, $-2.5\times10^{6}$"),
        ("1.59 ± 0.66 σ", r"1.59 $\pm$ 0.66 $\sigma$"),
        ("e2e-05x", "e2e-05x"),
    ],
)
def test_characters(text: str, there: str) -> None:
    assert escaped(text) == there


def test_yields_have_a_row_a_sample_and_a_column_a_channel(model: Model) -> None:
    made = latex(show.yields_table(inference.postfit(model)))
    lines = [line.removesuffix(r" \\").split(" & ") for line in made.splitlines() if line.endswith(r"\\")]
    assert lines[0][0] == "sample" and [line[0] for line in lines[-2:]] == ["total", "data"]
    assert {line[0] for line in lines[1:-2]} == {"signal\\_1", r"w\%", r"t\&t"}
    assert lines[0][1:] == ["CR", "SR"] and lines[-1][1:] == ["9", "58"]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in made.splitlines() if line.endswith(r"\\"))
    assert made.count(r"\begin{tabular}{lrr}") == made.count(r"\end{tabular}") == 1
    total = inference.postfit(model).channels[1]
    assert lines[-2][2] == escaped(measured(total.sum, total.sum_error))


def test_everything_below_one_another_and_sentences_are_comments() -> None:
    parts = table("A, 50%", ["x", "y"], [["1", "2"]]), pairs([("", "and 3 more")]), "said\n", pairs([("k", "v")])
    made = latex(stacked(*parts))
    assert made.splitlines()[0] == "% A, 50%"
    assert "% and 3 more" in made and "% said" in made and r"k & v \\" in made
