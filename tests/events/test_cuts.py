"""Cut sentences against masks written by hand."""

from collections.abc import Callable
from functools import lru_cache

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import cuts, grammar
from bumpfit.events.source import Source

Hand = Callable[["Rows"], list[bool]]


class Rows:
    """Events as plain Python lists, for loops."""

    def __init__(self, path: str) -> None:
        tree = uproot.open(path)["Delphes"]
        get = lambda name: tree[name].array().to_list()  # noqa: E731
        self.pt, self.eta, self.phi, self.mass = (get(f"Jet.{name}") for name in ("PT", "Eta", "Phi", "Mass"))
        self.b = get("Jet.BTag")
        self.muon, self.muon_charge = get("Muon.PT"), get("Muon.Charge")
        self.electron = get("Electron.PT")
        self.met = [row[0] for row in get("MissingET.MET")]
        self.n = len(self.pt)

    def each(self, condition: Callable[[int], bool]) -> list[bool]:
        return [bool(condition(event)) for event in range(self.n)]


def delta_r(rows: Rows, event: int) -> float:
    gap = rows.phi[event][0] - rows.phi[event][1]
    gap = (gap + np.pi) % (2 * np.pi) - np.pi
    return float(np.hypot(rows.eta[event][0] - rows.eta[event][1], gap))


# the forms of cut sentences in section III.C of the HEP ML Lab paper and its code, and what bumpfit adds
SENTENCES: dict[str, Callable[[Rows, int], bool]] = {
    "jet.size > 1": lambda r, i: len(r.pt[i]) > 1,
    "jet.size > 0 and muon.size > 0": lambda r, i: len(r.pt[i]) > 0 and len(r.muon[i]) > 0,
    "jet.size > 2 or muon.size > 1": lambda r, i: len(r.pt[i]) > 2 or len(r.muon[i]) > 1,
    "jet0.pt > 50": lambda r, i: bool(r.pt[i]) and r.pt[i][0] > 50,
    "10 < jet0.pt < 50": lambda r, i: bool(r.pt[i]) and 10 < r.pt[i][0] < 50,
    "50 >= jet0.pt >= 10": lambda r, i: bool(r.pt[i]) and 10 <= r.pt[i][0] <= 50,
    "jet0.b_tag == 1": lambda r, i: bool(r.pt[i]) and r.b[i][0] == 1,
    "muon0.charge != muon1.charge": lambda r, i: len(r.muon[i]) > 1 and r.muon_charge[i][0] != r.muon_charge[i][1],
    "jet0,jet1.delta_r < 2.5": lambda r, i: len(r.pt[i]) > 1 and delta_r(r, i) < 2.5,
    "jet.pt > 30": lambda r, i: bool(r.pt[i]) and all(p > 30 for p in r.pt[i]),
    "jet.pt > 30 [all]": lambda r, i: bool(r.pt[i]) and all(p > 30 for p in r.pt[i]),
    "jet.pt > 60 [any]": lambda r, i: any(p > 60 for p in r.pt[i]),
    "any jet.pt > 60": lambda r, i: any(p > 60 for p in r.pt[i]),
    "all jet.pt > 30": lambda r, i: bool(r.pt[i]) and all(p > 30 for p in r.pt[i]),
    "veto jet.size > 2": lambda r, i: not len(r.pt[i]) > 2,
    "veto jet.b_tag == 1 [any]": lambda r, i: not any(b == 1 for b in r.b[i]),
    "veto any muon.pt > 10": lambda r, i: not any(p > 10 for p in r.muon[i]),
    "veto 80 < jet0,jet1.inv_mass < 100": lambda r, i: not (len(r.pt[i]) > 1 and 80 < mass(r, i) < 100),
    "jet.pt > 30 and -2 < jet.eta < 2 [any]": lambda r, i: any(
        p > 30 and -2 < e < 2 for p, e in zip(r.pt[i], r.eta[i], strict=True)
    ),
    "jet:2.pt > 30": lambda r, i: len(r.pt[i]) > 1 and all(p > 30 for p in r.pt[i][:2]),
    "jet1:.pt > 30 [any]": lambda r, i: any(p > 30 for p in r.pt[i][1:]),
    "(jet.size > 2 or muon.size > 0) and met0.met > 20": lambda r, i: (
        (len(r.pt[i]) > 2 or len(r.muon[i]) > 0) and r.met[i] > 20
    ),
    "jet.size > 2 or muon.size > 0 and met0.met > 20": lambda r, i: (
        len(r.pt[i]) > 2 or (len(r.muon[i]) > 0 and r.met[i] > 20)
    ),
    "not jet0.pt > 50": lambda r, i: not (r.pt[i] and r.pt[i][0] > 50),
    "jet0.pt>1e1*5&&!(muon.size==0)||jet.size<1": lambda r, i: (
        (bool(r.pt[i]) and r.pt[i][0] > 50 and len(r.muon[i]) > 0) or not r.pt[i]
    ),
    "jet0.pt > jet1.pt + jet2.pt": lambda r, i: len(r.pt[i]) > 2 and r.pt[i][0] > r.pt[i][1] + r.pt[i][2],
    "jet0.pt > met0.met > jet1.pt": lambda r, i: len(r.pt[i]) > 1 and r.pt[i][0] > r.met[i] > r.pt[i][1],
    "jet.pt > met.met [any]": lambda r, i: any(p > r.met[i] for p in r.pt[i]),
    "abs(jet0.eta) < 1.5": lambda r, i: bool(r.pt[i]) and abs(r.eta[i][0]) < 1.5,
    "max(jet0.pt,met0.met) > 60": lambda r, i: bool(r.pt[i]) and max(r.pt[i][0], r.met[i]) > 60,
    "min(jet0.pt, jet1.pt) > 30": lambda r, i: len(r.pt[i]) > 1 and min(r.pt[i][:2]) > 30,
    "max(jet.pt) > 60": lambda r, i: bool(r.pt[i]) and max(r.pt[i]) > 60,
    "sum(jet.pt) > 100": lambda r, i: sum(r.pt[i]) > 100,
    "count(jet.pt > 30) >= 2": lambda r, i: sum(p > 30 for p in r.pt[i]) >= 2,
    "any(jet.pt > 60) and all(jet.eta < 2)": lambda r, i: any(p > 60 for p in r.pt[i]) and all(e < 2 for e in r.eta[i]),
    "jet.pt > 60 [any] and jet.eta < 2 [all]": lambda r, i: (
        any(p > 60 for p in r.pt[i]) and all(e < 2 for e in r.eta[i])
    ),
    "muon.pt > 20 [any] or electron.pt > 20 [any] and jet.size > 1": lambda r, i: (
        any(p > 20 for p in r.muon[i]) or (any(p > 20 for p in r.electron[i]) and len(r.pt[i]) > 1)
    ),
    "jet.size > 1 and veto muon.pt > 10 [any]": lambda r, i: len(r.pt[i]) > 1 and not any(p > 10 for p in r.muon[i]),
    "jet0.pt**2 - jet0.mass^2 > 3e3": lambda r, i: bool(r.pt[i]) and r.pt[i][0] ** 2 - r.mass[i][0] ** 2 > 3e3,
    "-jet0.eta / 2 < +0.5": lambda r, i: bool(r.pt[i]) and -r.eta[i][0] / 2 < 0.5,
    "jet0.b_tag - 1 < 0": lambda r, i: bool(r.pt[i]) and r.b[i][0] == 0,
    "2 > 1": lambda r, i: True,
}


def mass(rows: Rows, event: int) -> float:
    total = np.zeros(4)
    for j in range(2):
        pt, eta, phi, m = (getattr(rows, k)[event][j] for k in ("pt", "eta", "phi", "mass"))
        p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
        total += np.array([np.sqrt(p @ p + m * m), *p])
    return float(np.sqrt(max(total[0] ** 2 - total[1:] @ total[1:], 0)))


@pytest.fixture(scope="module")
def rows(flat: str) -> Rows:
    return Rows(flat)


@pytest.fixture(scope="module")
def source(flat: str) -> Source:
    return events.open(flat)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentences(sentence: str, rows: Rows, source: Source) -> None:
    ours = events.mask(sentence, source)
    assert ours.dtype == np.bool_ and ours.shape == (rows.n,)
    assert ours.tolist() == [bool(SENTENCES[sentence](rows, event)) for event in range(rows.n)]
    if sentence != "2 > 1":
        assert 0 < ours.sum() < rows.n, "the example decides nothing"


def test_the_rule_for_empty_lists(rows: Rows, source: Source) -> None:
    empty = np.array([not row for row in rows.pt])
    assert empty.any()
    strict, loose = events.mask("jet.pt > 30", source), events.mask("jet.pt > 30", source, empty=True)
    assert not strict[empty].any() and loose[empty].all()
    np.testing.assert_array_equal(strict[~empty], loose[~empty])
    assert not events.mask("jet.pt > 0 [any]", source, empty=True)[empty].any()


def test_lists_of_lists(delphes: str) -> None:
    source = events.open(delphes)
    pt = events.observable("jet.constituents.pt", source)
    some = events.mask("jet.constituents.pt > 20 [any]", source)
    np.testing.assert_array_equal(some, ak.any(ak.any(pt > 20, axis=2), axis=1))
    both = events.mask("jet.pt > 40 and jet.constituents.pt > 20 [any]", source)
    hand = ak.any(ak.any((events.observable("jet.pt", source) > 40) & (pt > 20), axis=2), axis=1)
    np.testing.assert_array_equal(both, hand)
    assert events.mask("abs(jet0,jet1.delta_phi) > 2 and max(jet0.constituents.pt) > 1", source).sum() > 0


def test_names_that_a_text_replacement_would_break(source: Source) -> None:
    events.register("score", lambda jet: jet.pt)  # contains "or"
    events.register("landing", lambda jet: jet.pt)  # contains "and"
    np.testing.assert_array_equal(events.mask("jet0.score > 50", source), events.mask("jet0.pt > 50", source))
    np.testing.assert_array_equal(events.mask("jet0.landing > 50", source), events.mask("jet0.pt > 50", source))


ERRORS = [
    ("", "the cut is empty", 0),
    ("jet0.pt", "a value, not a condition", 0),
    ("jet0.pt >", "the cut ends here", 9),
    ("jet0.pt > 100 and", "the cut ends here", 17),
    ("(jet0.pt > 100", "this bracket is not closed", 0),
    ("jet0.pt > 100)", "this bracket closes nothing", 13),
    ("jet0.pt = 100", "write '==' for equal", 8),
    ("jet0.pt >> 100", "'>' stands where", 9),
    ("jet0.pt > 1o0", "neither a number nor a name", 10),
    ("jet0.pt > 100 jet1.pt > 3", "missing 'and'", 14),
    ("jet0.pt > 3 $", "not part of the cut language; a name that holds it goes between backticks", 12),
    ("`a`b` > 3", "this backtick begins no name", 4),
    (
        "1 > `a``",
        "this backtick begins no name; expected one more behind the name (its own are doubled)",
        4,
    ),
    ("`` > 3", "this backtick begins no name", 0),
    ("jet0.pt and jet1.pt > 3", "'and' needs a condition", 0),
    ("jet.pt [any]", "'any' needs a condition", 0),
    ("jet.pt > 3 [any] [all]", "two quantifiers", 17),
    ("abs(jet.pt, 3) > 2", "abs takes 1 argument, got 2", 0),
    ("f(jet.pt) > 2", "'f' is not a function; those are abs", 0),
    ("count(jet.pt) > 2", "count takes a condition", 0),
    ("min(jet0.pt) > 3", "takes a list", 0),
    ("jet0.pt < 3 < (jet.pt > 3)", "a condition is compared", 15),
    ("1 + (jet.pt > 3) > 2", "where a value is expected", 5),
    ("jet.size > 1 and any jet.pt > 3", "inside a sentence", 17),
    ("jet0,jet1 > 3", "names no observable", 0),
    ("foo.pt > 3", "no branch 'foo'; the file has Electron, Jet", 0),
    ("jet0.pt > 3 and jet0.foo > 3", "no observable 'foo'", 16),
    ("jet.pt > muon.pt", "lists of Jet and of Muon cannot be combined", 7),
    ("jet.pt > 3 and muon.pt > 3", "cannot be combined", 15),
    ("jet:3.pt > 3 and jet.pt > 2", "lists of Jet:3 and of Jet", 17),
    ("__import__('os').system('true') > 1", "not part of the cut language", 11),
    ("(" * 300 + "1 < 2" + ")" * 300, "brackets inside each other", 60),
    ("not " * 3000 + "1 < 2", "one inside the other", 240),
    ("-" * 3000 + "1 < 2", "signs in a row", 60),
    ("2" + "**2" * 3000 + " > 1", "powers in a row", 180),
    ("jet.size > 1 and " + "veto " * 3000 + "jet.size > 2", "one inside the other", 317),
    ("jet0.pt => 100", "'=>' is written '>='", 8),
    ("jet0.pt =< 100", "'=<' is written '<='", 8),
    ('jet0.pt > "3"', "'\"' is not part", 10),
    ("jet99999999999999999999.pt > 3", "expected at most 2147483647", 0),
    ("jet:2000000000.pt > 3", "longer than 10000; leave its end open: 0:", 0),
    ("jet.size > 1 and jet5:3.pt > 3", "the range 5:3 of Jet holds nothing", 17),
    ("jet:0.pt > 3", "holds nothing", 0),
    ("jet0.min_delta_phi > 1", "no pair", 0),
    ("jet0,jet1.pt > 1", "pt takes 1 object, got 2", 0),
    ("jet0.delta_r > 1", "delta_r takes 2 objects, got 1: separate them by commas", 0),
]


@pytest.mark.parametrize(("sentence", "message", "place"), ERRORS)
def test_errors_show_the_place(sentence: str, message: str, place: int, source: Source) -> None:
    with pytest.raises(grammar.CutError) as failure:
        events.mask(sentence, source)
    said, shown, caret = str(failure.value).split("\n")
    assert message in said
    if len(sentence) <= 100:
        assert shown == f"  {sentence}" and caret.index("^") == place + 2
    else:  # a part of it, around the place
        assert len(shown) <= 108 and shown.strip().strip(".") in sentence
        assert shown[caret.index("^")] == sentence[place]
    assert isinstance(failure.value, InputError) and failure.value.exit_code == 2


def test_the_caret_stands_under_its_place_behind_tabs_and_line_ends(source: Source) -> None:
    with pytest.raises(grammar.CutError) as failure:
        events.mask("jet0.pt\t>\n\t\x07> 1", source)
    _, shown, caret = str(failure.value).split("\n")
    assert "\t" not in shown and "\x07" not in shown and shown[caret.index("^")] == "?"


def test_long_sentences(source: Source) -> None:
    one = events.mask("jet0.pt > 50", source)
    np.testing.assert_array_equal(events.mask(" and ".join(["jet0.pt > 50"] * 500), source), one)
    np.testing.assert_array_equal(events.mask("jet0.pt" + " + 1" * 2000 + " > 2050", source), one)
    np.testing.assert_array_equal(events.mask("jet0.pt" + " * 1" * 2000 + " > 50", source), one)


def test_long_sentences_of_different_terms(source: Source) -> None:
    sentence = " and ".join(f"jet0.pt > {bound % 50} and jet.size >= {bound % 2}" for bound in range(2000))
    np.testing.assert_array_equal(events.mask(sentence, source), events.mask("jet0.pt > 49 and jet.size >= 1", source))


def test_what_is_not_finite_passes_no_comparison(source: Source) -> None:
    there = events.mask("jet0.pt > 0", source)
    for sentence in (
        "jet0.pt / 0 > 1",
        "jet0.pt > 1 / 0",
        "log(0 * jet0.pt) < 0",
        "exp(1000 * jet0.pt) > 1",
        "0/0 == 0/0",
    ):
        assert not events.mask(sentence, source).any(), sentence
    assert not events.mask("jet.pt / 0 > 1 [any]", source).any()
    np.testing.assert_array_equal(events.mask("not jet0.pt / 0 > 1", source), np.ones(len(there), bool))
    mixed = events.open({"x": [[1.0, 2.0], [0.0]]})
    assert events.mask("1 / x > 0.4", mixed).tolist() == [True, False]


@pytest.mark.parametrize("values", [[1 + 2j, 3], np.array(["2020-01-01"] * 2, "M8[D]"), ["a", "b"]])
def test_only_numbers_are_compared(values: object) -> None:
    with pytest.raises(grammar.CutError, match="'x' holds no numbers"):
        events.mask("x > 1", {"x": values})


COLUMNS = ("jet0.pt", "jet1.eta", "met0.met", "jet0,jet1.delta_r", "jet.size", "muon0.charge")
names = st.sampled_from(COLUMNS)
numbers = st.floats(0, 200, allow_nan=False).map(lambda x: f"{x:.3g}")
values = st.recursive(
    names | numbers,
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda v: f"abs({v})")
    ),
    max_leaves=4,
)
comparisons = st.tuples(values, st.sampled_from(grammar.COMPARISONS), values).map(" ".join)
sentences = st.recursive(
    comparisons,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})")
        | inner.map(lambda s: f"not ({s})")
    ),
    max_leaves=4,
)


def by_python(sentence: str, columns: dict[str, list[float | None]], n: int) -> NDArray[np.bool_]:
    """Python's own grammar, event by event, comparisons of None being False (in a test only)."""

    class Missing:
        """Spreads through arithmetic; every comparison with it is False."""

        def __getattr__(self, name: str) -> object:
            raise AttributeError(name)

        def _same(self, *_: object) -> "Missing":
            return self

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __abs__ = _same

        def _false(self, _: object) -> bool:
            return False

        __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _false  # type: ignore[assignment]
        __hash__ = object.__hash__

    text = sentence
    keys = {}
    for place, name in enumerate(sorted(columns, key=len, reverse=True)):
        text = text.replace(name, f"v{place}")
        keys[f"v{place}"] = columns[name]
    code = compile(text, "cut", "eval")
    result = []
    for event in range(n):
        scope = {key: Missing() if (x := column[event]) is None else float(x) for key, column in keys.items()}
        result.append(bool(eval(code, {"abs": abs}, scope)))
    return np.array(result)


@lru_cache
def small() -> tuple[Source, dict[str, list[float | None]]]:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, 30)
    jets = {k: ak.unflatten(rng.uniform(0, 150, counts.sum()), counts) for k in ("PT", "Mass")}
    jets |= {k: ak.unflatten(rng.uniform(-3, 3, counts.sum()), counts) for k in ("Eta", "Phi")}
    met = ak.unflatten(ak.zip({"MET": rng.uniform(0, 100, 30), "Phi": rng.uniform(-3, 3, 30)}), np.ones(30, int))
    muon = ak.zip({"Charge": ak.unflatten(rng.choice([-1, 1], counts.sum()), counts)})
    memory = events.open({"Jet": ak.zip(jets), "MissingET": met, "Muon": muon})
    return memory, {name: ak.to_list(events.observable(name, memory)) for name in COLUMNS}


@settings(max_examples=40, deadline=None)
@given(sentence=sentences)
def test_the_grammar_agrees_with_pythons(sentence: str) -> None:
    memory, columns = small()
    np.testing.assert_array_equal(events.mask(sentence, memory), by_python(sentence, columns, 30), sentence)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40) | st.text(alphabet="jet0.ptandorv <>=()[]!&|,*-+1.e", max_size=40))
def test_any_text_is_a_cut_or_an_input_error(text: str) -> None:
    try:
        grammar.parse(text)
    except InputError as error:
        assert "^" in str(error)


def test_a_compiled_cut_serves_many_sources(source: Source, flat: str) -> None:
    cut = cuts.compile("jet0.pt > 50")
    np.testing.assert_array_equal(cut(source), cut(flat))
    np.testing.assert_array_equal(events.mask(cut, source), cut(source))  # type: ignore[arg-type]


def test_of_many_bounds_the_tightest_decides() -> None:
    rng = np.random.default_rng(7)
    x = np.r_[rng.normal(0, 2, 300), [np.nan, 3.0, -1.0]]
    source = events.open({"x": x, "y": rng.normal(0, 2, len(x))})
    y = np.asarray(events.observable("y", source))
    both = [("x > 1 and x > 0.5 and y < 2 and x > 1.5 and y < 1", (x > 1.5) & (y < 1)),
            ("x > 1 or x > 0.5 or y < -2 or y <= -1 or y < -1.5", (x > 0.5) | (y <= -1)),
            ("x >= -1 and x > -1 and x != 3", (x > -1) & (x != 3)),
            ("not (x > 1 and x > 2) and (x>-1.5)", ~(x > 2) & (x > -1.5))]  # fmt: skip
    for cut, wanted in both:
        np.testing.assert_array_equal(events.mask(cut, source), wanted)
    many = " and ".join(f"x > {-i}.5 and y < {i + 1}" for i in range(5000))
    np.testing.assert_array_equal(events.mask(many, source), (x > 0.5) & (y < 1))


@pytest.mark.parametrize(
    "cut", ["x > 1 and 3", "x > 1 < and y < 2", "and > 3", "x > 1.5.2", "x > 1x", "a,b > 3 and x > 1"]
)
def test_places_of_mistakes_next_to_simple_conditions(cut: str) -> None:
    with pytest.raises(InputError, match=r"\^"):
        events.mask(cut, {"x": np.ones(3), "y": np.ones(3)})


def test_values_of_an_expression_are_those_of_numpy() -> None:
    table = {"pt": np.array([1.0, 4.0, 9.0]), "n": np.array([1, 2, 3])}
    assert cuts.values("0.7 * pt / n + sqrt(pt)", table) == pytest.approx(0.7 * table["pt"] / table["n"] + [1, 2, 3])
    assert cuts.values("2", table).tolist() == [2.0, 2.0, 2.0]
    assert np.isnan(cuts.values("pt / (n - 2)", table)).tolist() == [False, True, False]
    for text, message in {
        "pt > 2": "a condition",
        "": "is empty",
        "pt n": "not expected here",
        "q": "no column",
    }.items():
        with pytest.raises(InputError, match=message):
            cuts.values(text, table)
