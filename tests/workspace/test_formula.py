"""Formulas: the grammar reads what Python reads, derivatives are exact, what is wrong is said."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.workspace import build, kernels, read
from bumpfit.workspace.formula import Expression, evaluate, names_in, parse, resolve, written
from bumpfit.workspace.formula_slopes import derivative
from bumpfit.workspace.model import Model

VALUES = {"a": 0.7, "b": 1.9, "c.d": 0.31, "sf[1]": 1.2}

numbers = st.sampled_from(["1", "0.5", "2.", ".25", "3e-1", "7"])
names = st.sampled_from(list(VALUES))


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger formulas from smaller ones; arguments that stay within the functions' domains."""
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"{t[0]} {t[1]} ({t[2]})"),
        st.tuples(inner, st.sampled_from(["2", "3", "-1", "0.5"])).map(lambda t: f"abs({t[0]})**{t[1]}"),
        inner.map(lambda t: f"exp(tanh({t}))"),
        inner.map(lambda t: f"log(1 + ({t})**2)"),
        inner.map(lambda t: f"sqrt(2 + cos({t}))"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]}, -0.3)"),
        st.tuples(inner, inner).map(lambda t: f"min({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"pow(1 + abs({t[0]}), sin({t[1]}))"),
    )


formulas = st.recursive(numbers | names, grown, max_leaves=8)


def python_value(text: str) -> float:
    """Python's own reading; only for texts that this test made."""
    scope = {name: getattr(math, name) for name in ("exp", "log", "sqrt", "tanh", "cos", "sin", "pow")}
    scope |= {"abs": abs, "min": min, "max": max}
    for name, value in VALUES.items():
        text = text.replace(name, repr(value)) if len(name) > 1 else text
    code = compile(text, "formula", "eval")
    return float(eval(code, {"__builtins__": {}}, {**scope, "a": VALUES["a"], "b": VALUES["b"]}))


@given(formulas)
@settings(max_examples=300, deadline=None)
def test_values_are_pythons(text: str) -> None:
    try:
        expected = python_value(text)
    except (ZeroDivisionError, OverflowError):
        return
    assert evaluate(parse(text), VALUES) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(formulas)
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_back(text: str) -> None:
    tree = parse(text)
    again = parse(written(tree))
    first, second = evaluate(tree, VALUES), evaluate(again, VALUES)
    assert first == pytest.approx(second, rel=1e-13) or (math.isnan(first) and math.isnan(second))
    assert set(names_in(again)) == set(names_in(tree))


def test_derivatives_are_sympys() -> None:
    sympy = pytest.importorskip("sympy")
    for text in (
        "a*b**3 - a/b + 2", "exp(-a*b)*log(b)", "sqrt(a + b**2)", "pow(a, b)", "tanh(a)*cos(b) + sin(a*b)",
        "log10(a) * abs(a - b)", "min(a, b) * a + max(a**2, b)",
    ):  # fmt: skip
        tree = parse(text)
        theirs = sympy.sympify(
            text.replace("min(", "Min(").replace("max(", "Max(").replace("log10(a)", "log(a)/log(10)"),
            locals={name: sympy.Symbol(name, real=True) for name in "ab"},
        )
        for first in "ab":
            for second in "ab":
                mine = evaluate(derivative(derivative(tree, first), second), VALUES)
                expected = theirs.diff(sympy.Symbol(first, real=True), sympy.Symbol(second, real=True))
                values = {sympy.Symbol(name, real=True): VALUES[name] for name in "ab"}
                assert mine == pytest.approx(float(expected.subs(values)), rel=1e-10, abs=1e-12), (text, first, second)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an expression"), ("a +", "the end"), ("a b", "unexpected 'b'"), ("(a", "expected ')'"),
        ("a ? b", "unexpected '?'"), ("foo(a)", "no function 'foo'"), ("exp(a, b)", "takes 1"), ("pow(a)", "takes 2"),
        ("1e999", "too large"), ("__import__('os')", "no function"), ("a.__class__()", "no function"),
        ("(" * 80 + "a" + ")" * 80, "nested"), ("a" * 200_000, "100000 characters"),
        ("+".join("a" * 11_000), "shorter"), ("*".join("a" * 900), "shorter"),
        ("a; b", "unexpected ';'"), ("lambda: 1", "unexpected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_rubbish_is_refused_or_read(text: str) -> None:
    try:
        tree = parse(text)
    except InputError:
        return
    evaluate(tree, dict.fromkeys(names_in(tree), 1.0))


def test_loops_are_refused() -> None:
    def formulas_of(**texts: str) -> dict[str, Expression]:
        return {name: parse(text) for name, text in texts.items()}

    found = resolve(formulas_of(f="g + 1", g="2 * a"))
    assert evaluate(found["f"], {"a": 3.0}) == 7.0
    for bad in ({"f": "f + 1"}, {"f": "g", "g": "h", "h": "2 * f"}):
        with pytest.raises(InputError, match="loop"):
            resolve(formulas_of(**bad))


def model_of(formula: str, *, poi: str = "mu") -> Model:
    samples = [
        build.sample("signal", [5.0, 9.0], build.modifier("normfactor", "mu")),
        build.sample(
            "background",
            [50.0, 40.0],
            build.modifier("normformula", "f", formula),
            build.modifier("normsys", "k", (0.9, 1.2)),
            build.modifier("staterror", "s", [3.0, 2.0]),
        ),
    ]
    wanted = {"t": {"inits": [0.9], "bounds": [[0.1, 3.0]]}, "mu": {"bounds": [[0.0, 9.0]]}}
    return read(build.workspace({"SR": samples}, {"SR": [58, 47]}, poi, wanted))


@pytest.mark.parametrize(
    "formula", ["t", "t * exp(0.1 * k) + 0.05 * mu", "t**2 / (1 + 0.2 * mu)", "max(t, 0.5) * s[0]"]
)
def test_derivatives_through_a_formula(formula: str) -> None:
    """Rates are those written out; gradient and Hessian are numerical derivatives of -2 ln L."""
    model = model_of(formula)
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = np.clip(model.inits + 0.2 * rng.normal(size=model.inits.size), np.maximum(model.lower, -2), model.upper)
        values = dict(zip(model.names, x.tolist(), strict=True))
        factor = evaluate(parse(formula), values)
        plain = model.expected_by_sample(values)["SR"]["background"]
        bare = model_of("1 + t - t").expected_by_sample(values)["SR"]["background"]
        assert plain == pytest.approx(bare * factor, rel=1e-12)
        steps = 1e-5 * np.eye(x.size)
        slope = [(model.twice_nll(x + h) - model.twice_nll(x - h)) / 2e-5 for h in steps]
        assert model.gradient(x) == pytest.approx(np.array(slope), rel=1e-5, abs=1e-5)
        bend = [(model.gradient(x + h) - model.gradient(x - h)) / 2e-5 for h in steps]
        assert model.hessian(x) == pytest.approx(np.array(bend), rel=1e-5, abs=1e-4)


def test_a_formula_that_is_a_parameter_is_that_parameter() -> None:
    free, direct = model_of("t"), model_of("1 + t - t")
    assert free.expected({"t": 1.0}) == pytest.approx(direct.expected({}), rel=1e-14)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("nope * 2", "names 'nope', which is no parameter"),
        ("log(t - 5)", "must be finite there"),
        ("1 / (mu - 1)", "must be finite there"),
        ("sqrt(mu - 1)", "has no slope by 'mu' at the start"),
        ("f + 1", "loop"),
        ("t +", "cannot read the formula"),
    ],
)
def test_formulas_in_workspaces_that_are_wrong(formula: str, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("+", r"\+")):
        model_of(formula)


def test_the_kernel_knows_the_same_operations() -> None:
    """Every operation, by the kernel's programs and by the tree."""
    text = (
        "exp(t) + log(t) * log10(t) - sqrt(t) / abs(-t) + sin(t) * cos(t) + tanh(t) + min(t, 0.3) + max(t, 0.2) + "
        "t**1.5 + -t"
    )
    model = model_of(text)
    for value in (0.4, 0.9, 2.2):
        x = model.array({"t": value})
        assert kernels.inputs(x, model.compiled)[-1] == pytest.approx(evaluate(parse(text), {"t": value}), rel=1e-14)
