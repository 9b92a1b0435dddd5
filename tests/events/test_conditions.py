"""Cuts on flags and large integers, on lists that do not fit, and sums of weights of either sign."""

import operator
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import cutflow, grammar, observables

FLAGS = {
    "HLT_Mu": np.array([True, False, True]),
    "x": np.array([1.0, 2.0, 3.0]),
    "Jet": ak.Array([[{"pt": 1.0, "tight": True}, {"pt": 2.0, "tight": False}], [{"pt": 5.0, "tight": False}], []]),
}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("HLT_Mu", [True, False, True]),
        ("not HLT_Mu", [False, True, False]),
        ("veto HLT_Mu", [False, True, False]),
        ("HLT_Mu and x > 2", [False, False, True]),
        ("x > 2 or hlt.mu", [True, False, True]),
        ("(HLT_Mu) & (x < 3)", [True, False, False]),
        ("HLT_Mu == 1", [True, False, True]),
        ("jet.tight [any]", [True, False, False]),
        ("jet0.tight", [True, False, False]),
        ("not jet0.tight", [False, True, True]),
        ("jet0.tight == 0", [False, True, False]),
        ("any(jet.tight and jet.pt < 2)", [True, False, False]),
        ("count(jet.tight) == 1 and count(HLT_Mu and jet.tight) == 1", [True, False, False]),
    ],
)
def test_booleans_are_conditions(sentence: str, expected: list[bool]) -> None:
    assert events.mask(sentence, FLAGS).tolist() == expected


@pytest.mark.parametrize(("sentence", "place"), [("x", 0), ("HLT_Mu and x", 7), ("x > 1 and (jet.pt) [any]", 10)])
def test_numbers_are_no_conditions(sentence: str, place: int) -> None:
    with pytest.raises(grammar.CutError, match="value"):
        events.mask(sentence, FLAGS)


WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3) | st.integers(-5, 5)


@given(
    values=st.lists(WHOLE, min_size=1, max_size=5),
    bound=WHOLE,
    kind=st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
)
def test_integers_are_compared_exactly(values: list[int], bound: int, kind: str) -> None:
    compare = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq}.get(
        kind, operator.ne
    )
    expected = [compare(value, bound) for value in values]
    assert events.mask(f"x {kind} {bound}", {"x": np.array(values, np.int64)}).tolist() == expected
    lists = ak.Array([[], *([value] for value in values)])
    assert events.mask(f"x {kind} {bound} [any]", {"x": lists}).tolist() == [False, *expected]
    jets = {"Jet": ak.zip({"id": lists})}
    assert events.mask(f"jet0.id {kind} {bound}", jets).tolist() == [False, *expected]


def test_unsigned_integers_are_compared_exactly() -> None:
    top = 2**64 - 1
    source = events.open({"x": np.array([top, top - 1, 1], np.uint64), "y": np.array([-1, 5, 1])})
    assert events.mask(f"x == {top}", source).tolist() == [True, False, False]
    assert events.mask(f"x >= {top - 1}", source).tolist() == [True, True, False]
    assert events.mask("x == y", source).tolist() == [False, False, True]
    assert events.mask("x > -1", source).tolist() == [True] * 3
    small = events.open({"x": np.array([200, 3], np.uint8), "l": ak.values_astype(ak.Array([[200], [3]]), np.uint8)})
    assert events.mask("x < 300 and l < 300 and l > -1", small).tolist() == [True, True]


def test_lists_of_different_lengths_are_told() -> None:
    source = events.open({"nJet": [1, 2], "Jet_pt": [[30.0], [40.0]], "Jet_eta": [[0.0], [1.0, 2.0]], "x": [1, 2]})
    for sentence in (
        "jet.pt > 10 and jet.eta < 5 [any]",
        "jet.pt > jet.eta",
        "x > 0 and jet.pt * jet.eta > 3",
        "max(jet.pt, jet.eta) > 3",
    ):
        with pytest.raises(grammar.CutError, match=r"jet.pt and of jet.eta have different lengths in event 1"):
            events.mask(sentence, source)
    source = events.open({"Jet_pt": [[30.0], [40.0]], "Jet_eta": [[0.0], [1.0, 2.0]], "Jet_phi": [[0.0], [1.0]]})
    with pytest.raises(InputError, match=r"'jet.pz' cannot be formed"):
        events.observable("jet.pz", source)


def test_errors_inside_registered_functions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observables, "_COMPUTED", dict(observables._COMPUTED))
    events.register("broken", lambda jet: 1 / 0)
    events.register("nonsense", lambda jet: jet.pt["a"])
    for name, said in {"broken": "ZeroDivisionError: division by zero", "nonsense": "cannot be formed"}.items():
        with pytest.raises(InputError, match=rf"'jet0.{name}' .*{said}") as failure:
            events.observable(f"jet0.{name}", FLAGS)
        assert "\n" not in str(failure.value)


def test_branches_without_a_form_as_arrays_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "a.root")
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": "f8", "y": "f8"}).extend({"x": np.ones(3), "y": np.ones(3)})
    for error in (uproot.interpretation.objects.CannotBeAwkward("no"), NotImplementedError("no")):
        source = events.open(path)

        def fails(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(uproot.TBranch, "array", fails)
        with pytest.raises(InputError, match="branch 'x'"):
            events.observable("x", source)
        monkeypatch.undo()


def test_weights_of_either_sign() -> None:
    source = events.open({"x": np.array([1.0, 2, 3, 4]), "w": np.array([2.0, -1, 2, 2])})
    flow = cutflow.cutflow(source, {"a": "x > 1.5", "b": "x < 2.5"}, weights="w")
    assert (flow.weighted, flow.error) == (5.0, pytest.approx(np.sqrt(13)))
    assert [step.weighted for step in flow.steps] == [3.0, -1.0]
    assert flow.steps[1].error == 1.0 and flow.steps[1].efficiency == pytest.approx(-1 / 3)
    scaled = cutflow.cutflow(source, ["x > 1.5"], weights="w", cross_section=1.0, luminosity=1.0)
    assert scaled.steps[0].weighted == pytest.approx(600.0)
    with pytest.raises(InputError, match="sum to -5; expected a positive sum"):
        cutflow.cutflow(source, ["x > 1.5"], weights=np.array([-2.0, 1, -2, -2]), cross_section=1.0, luminosity=1.0)
