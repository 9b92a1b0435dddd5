"""Tables for the terminal."""

import json
from typing import Any

import pytest
from rich.console import Console

from bumpfit.errors import InputError
from bumpfit.pages.search_terminal import flat, summary, upper_bound

ANSWERS: dict[str, Any] = {
    "p_value": {
        "local": 2e-13,
        "global": 1e-12,
        "z_local": 7.2,
        "z_global": 7.03,
        "method": "union bound [5 x p]",
        "floor": 5e-5,
    },
    "claim": True,
    "resonance_mass": {"value": 3489.2, "error": 36.8},
    "daughter_masses": [{"name": "J1", "value": 105.5, "error": 1.72}, {"name": "J2", "value": 499.2, "error": 6.0}],
    "decay": "A -> B + C",
    "n_signal": {"value": 621.0, "error_low": 85.2, "error_high": 83.8, "method": "templates"},
    "n_signal_upper_limit_95": 760.4,
    "signal_percent": 2.43,
    "selections": [
        {
            "name": f"[bold]{i}% of background",
            "n_data": 372,
            "n_background_expected": 154.2,
            "background_error": 15.9,
            "p_local": 0.5 / (i + 1),
            "z_local": 0.1 * i,
        }
        for i in range(12)
    ],
    "checks": [
        {"name": "shape", "passed": True, "detail": "p = 0.2"},
        {"name": "yield", "passed": False, "detail": "[2]"},
    ],
    "iterations": [
        {
            "task": "templates [x]",
            "before": {"m_JJ": {"value": 3483.0, "error": 38.0}, "z_global": 1.23456},
            "after": {"n_signal": {"value": 621.0, "error_low": 85.0, "error_high": 84.0}, "deep": {"a": 1e-9}},
        },
    ],
}


def shown(answers: dict[str, Any]) -> str:
    console = Console(width=130, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(summary(answers))
        return console.export_text()


def test_masses_that_are_not_searched_are_said() -> None:
    given = {**ANSWERS, "searched": {"low": 3249.1, "high": 5987.3, "below": 37815, "above": 10, "given": False}}
    assert "masses from 3249 to 5987 GeV; 37\u202f815 events below and 10 above" in shown(given)
    assert "searched" not in shown(ANSWERS)


def test_answer_is_complete() -> None:
    text = shown(json.loads(json.dumps(ANSWERS)))
    for part in (
        "New physics is claimed",
        "p < 1.0 × 10⁻¹²",
        "Z > 7.03",
        "p = 2.0 × 10⁻¹³",
        "Z = 7.20",
        "union bound [5 x p]",
        "3489 ± 37 GeV",
        "105.5 ± 1.7 GeV",
        "499.2 ± 6.0 GeV",
        "621 +84 −85",
        "2.4%",
        "760",
        "A -> B + C",
        "[bold]11% of background",
        "154 ± 16",
        "8 of 12",
        "FAILED",
        "[2]",
        "templates [x]",
        "resonance mass",
        "1.23",
        "deep, a",
        "1.00 × 10⁻⁹",
    ):
        assert part in text, part
    assert "[bold]0% of background" not in text


def test_further_particles_are_told() -> None:
    one = {
        "p_value": {"global": 6.3e-25, "z_global": 10.24, "method": "toys", "floor": 0.0},
        "resonance_mass": {"value": 4667.0, "error": 62.0},
        "daughter_masses": [{"name": "J1", "value": 338.5, "error": 3.8}, {"name": "J2", "value": 753, "error": 13}],
        "n_signal": {"value": 332.0, "error_low": 39.0, "error_high": 92.0},
    }
    text = shown({**ANSWERS, "particles": [one, one]})
    assert "2 new particles are claimed; the leading one:" in text and "New physics is claimed" not in text
    for part in ("particle 2", "4667 ± 62 GeV", "to 338.5 ± 3.8 and 753 ± 13", "Z = 10.24", "332 +92 −39 events"):
        assert part in text.replace("\n", " "), part


def test_no_claim() -> None:
    p = {"local": 0.3, "global": 0.8, "z_local": 0.5, "z_global": -0.84, "method": "shuffles", "floor": 5e-5}
    bare = {"p_value": p, "claim": False, "n_signal": {"value": 0.0, "error_low": 0.0, "error_high": 41.2},
            "n_signal_upper_limit_95": None}  # fmt: skip
    text = shown(bare)
    assert "No new physics is claimed" in text
    assert "p = 0.80   Z = −0.84" in text
    assert "0 +41 −0" in text
    assert "mass" not in text


def test_significance_beyond_floating_point_is_null_in_json() -> None:
    p = {"local": 0.0, "global": 0.0, "z_local": None, "z_global": None, "method": "union bound", "floor": 0.0}
    text = shown({**ANSWERS, "p_value": p})
    assert "p < 10⁻³⁰⁰   Z > 37" in text


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ({"global": 1e-9, "method": "global by union bound", "floor": 1e-4}, True),
        ({"global": 1.0, "method": "global by union bound", "floor": 1e-4}, False),
        ({"global": 1e-4, "method": "shuffles", "floor": 1e-4}, True),
        ({"global": 2e-4, "method": "shuffles", "floor": 1e-4}, False),
        ({"global": 0.01, "method": "exact law", "floor": 0.0}, False),
        ({"global": None, "method": "", "floor": None}, False),
    ],
)
def test_upper_bounds(p: dict[str, Any], expected: bool) -> None:
    assert upper_bound(p) is expected


def test_other_json_is_refused() -> None:
    with pytest.raises(InputError, match="n_signal"):
        summary({"p_value": {}, "claim": False})


def test_flat() -> None:
    assert flat({"a": None, "b": True, "c": 3, "d": {"value": None, "x": 2.5}, "z_local": -0.001}) == {
        "a": "—", "b": "yes", "c": "3.00", "d, value": "—", "d, x": "2.50", "z_local": "0.00",
    }  # fmt: skip


def test_an_excess_in_one_table_is_no_difference_of_tables() -> None:
    changed = ANSWERS | {"verdict": "difference", "claim": False, "iterations": []}
    for number, title in ((1, "An excess, but not of a resonance"), (2, "The tables differ")):
        assert title in shown(changed | {"inputs": [{}] * number})


def test_a_difference_has_no_signal_events() -> None:
    """The tables differ in another way: what differs is said, and not how many signal events that would be."""
    checks = [
        {"name": "equality [m]", "passed": False, "decisive": True, "detail": "m_J1 is 3% lower"},
        {"name": "localisation", "passed": True, "decisive": True, "detail": "at 3.1 TeV"},
    ]
    text = shown(ANSWERS | {"verdict": "difference", "claim": False, "checks": checks, "iterations": []})
    head = text.partition("Selections")[0]
    assert "equality [m]: m_J1 is 3% lower" in head and "at 3.1 TeV" not in head
    assert "621" not in head and "760" not in head and "signal events" not in head
    assert "621" in shown(ANSWERS | {"verdict": "nothing", "claim": False})
