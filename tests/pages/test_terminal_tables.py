"""Tables on terminals of any width: nothing is folded in the middle of a name or a number."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from bumpfit.pages import likelihood
from bumpfit.pages.terminal import like, measured, number, rounded_pair, table
from bumpfit.results import Interval

COLUMNS = ("parameter", "value", "error before the fit", "impact of one sigma", "pull")
ROWS = [
    ("staterror_of_the_signal_region[12]", "1.0213", "± 0.0231", "-12.310 ± 0.004", "—"),
    ("mu", "73", "14", "1.2 ± 0.1", "0.33"),
]


def drawn(width: int, columns: tuple[str, ...] = COLUMNS, rows: list[tuple[str, ...]] = ROWS) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table("Title", columns, rows))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [50, 60, 72, 80, 100, 200])
def test_names_and_numbers_stay_whole(width: int) -> None:
    lines = drawn(width)
    text = "\n".join(lines)
    assert all(len(line) <= width for line in lines)
    for row in ROWS:
        assert all(cell in text for cell in row)
    assert all(word in text for column in COLUMNS for word in column.split())
    assert sum("mu" in line.split()[:1] for line in lines) == sum("Title" in x or "parameter" in x for x in lines) - 1


def test_a_wide_terminal_has_one_table() -> None:
    assert sum("─" in line for line in drawn(120)) == 1
    assert sum("─" in line for line in drawn(60)) > 1


def test_names_of_files_in_headers_are_texts() -> None:
    """The table of yields has the names of channels on top, which may look like marks of rich."""
    text = "\n".join(drawn(120, ("[b]name", "SR[/]", "[red]CR[/red]"), [("a", "1", "2")]))
    assert all(word in text for word in ("[b]name", "SR[/]", "[red]CR[/red]"))


def test_names_longer_than_the_terminal_are_folded() -> None:
    lines = drawn(40, ("name", "value"), [("x" * 300, "1"), ("a few words that go on for a while", "2")])
    assert all(len(line) <= 40 for line in lines)
    assert sum(line.count("x") for line in lines) == 300 and "words" in "\n".join(lines)


def test_a_table_of_one_column_or_without_rows() -> None:
    assert any("name" in line for line in drawn(40, ("name",), [("a",)]))
    assert any("name" in line for line in drawn(40, ("name", "value"), []))


def test_no_digit_is_written_that_a_number_does_not_have() -> None:
    assert rounded_pair(123456.7, 1e-12) == ("123456.7", "1e-12")
    assert rounded_pair(1e300, 0.004) == ("1e+300", "0.004")
    assert like(1e-300, 99.96, 0.0, -0.0) == ["99.96", "0", "0"]
    assert number(-0.0) == "0" and measured(-0.0, 0.0) == "0 ± 0"


def test_values_and_errors_are_rounded_together() -> None:
    source = Path(__file__).parents[2] / "src" / "bumpfit"
    apart = re.compile(r"± \{[^{}]*:[+]?\.\d[efg%]\}")  # an error by a format of its own
    found = [path.name for part in ("commands", "pages") for path in (source / part).glob("*.py")
             if apart.search(path.read_text())]  # fmt: skip
    assert not found, f"{found}: use measured()"


def test_ends_of_intervals_share_the_places_of_their_half_width() -> None:
    one = Interval("mu", 0.268091, 1.06806, 0.655539, 0.6827, low_at_bound=True)
    assert likelihood.bounds(one) == "0.27 (end of the range) to 1.07"
    assert likelihood.bounds(Interval("mu", 0.0213, 3.52, 1.7, 0.6827)) == "0.021 to 3.5"  # zero is outside
    assert likelihood.bounds(Interval("mu", 0.0, 3.52, 1.7, 0.6827)) == "0.0 to 3.5"
    assert likelihood.bounds(Interval("mu", None, 1.2345, 0.0, 0.9)) == "below 1.2"
    assert like(likelihood.half(one), one.best, 3e-17, None) == ["0.66", "0.00", "—"]
