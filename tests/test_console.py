"""Control characters of foreign texts never reach a terminal or a document."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from bumpfit.console import Console, printable
from bumpfit.pages import terminal
from bumpfit.report import html, markdown
from bumpfit.report.document import Document, Items, Paragraph, Table

EVIL = "n\x1b[2J\x1b]0;title\x07\r\x9b31m\u202eabc\u2066\u200b\x00\x7f\ud800"
BAD = set(EVIL) - set("n[2J]0;title31mabc")


def test_printable() -> None:
    assert printable("é ∑ 中 α̂ text") == "é ∑ 中 α̂ text"
    assert printable("a\x1b[2J\nb\u202e") == r"a\x1b[2J\nb\u202e"
    assert printable("a\tb\nc\r", lines=True) == "a\tb\nc\\r"
    assert not BAD & set(printable(EVIL))


@given(st.text())
def test_no_text_is_a_command(text: str) -> None:
    shown = printable(text, lines=True)
    assert all(c in "\t\n" or c.isprintable() or c.isspace() for c in shown if c < "\x7f")
    assert not BAD & set(shown)
    assert printable(shown, lines=True) == shown


@pytest.mark.parametrize("text", [EVIL, Text(EVIL), terminal.table(EVIL, [EVIL, "x"], [[EVIL, "1"]]),
                                  terminal.pairs([(EVIL, EVIL)])])  # fmt: skip
def test_nothing_reaches_a_terminal(text: object) -> None:
    stream = io.StringIO()
    Console(file=stream, force_terminal=False, width=200).print(text)
    assert not (BAD - {"\n"}) & set(stream.getvalue())
    assert "abc" in stream.getvalue()


def test_names_of_any_length_fit_a_narrow_terminal() -> None:
    stream = io.StringIO()
    Console(file=stream, width=60).print(terminal.table("t", ["name", "x"], [["long" * 75, "1.5"]]))
    assert "1.5" in stream.getvalue()
    assert stream.getvalue().count("l") >= 75


@pytest.mark.parametrize("render", [html.render, markdown.render])
def test_nothing_reaches_a_document(render) -> None:  # type: ignore[no-untyped-def]
    table = Table(header=(EVIL, "x"), rows=((EVIL, "1"),), caption=EVIL, name="tables")
    page = render(Document(EVIL, EVIL, (Paragraph(EVIL), Items((EVIL,)), table)))
    assert not BAD & set(page)
