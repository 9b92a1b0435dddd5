"""Documents: numbering, references, escaping, and the two formats."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit.report import html, markdown, rounding, sorting
from bumpfit.report.document import (
    Document,
    Gallery,
    Heading,
    Items,
    Listing,
    Paragraph,
    Picture,
    Subheading,
    Table,
    Verdict,
    verbatim,
)

SHOT = Picture("shot", "What one sees: 10^{-5} & <more>.", "figures/shot.png", b"\x89PNG")


def document(*blocks: object) -> Document:
    return Document("Title", "below", tuple(blocks))  # type: ignore[arg-type]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def body(page: str) -> Text:
    found = Text()
    found.feed(page.split("</header>")[1])
    found.close()
    return found


def test_numbers_and_references() -> None:
    page = document(
        Heading("First", "one"),
        Paragraph("See {@shot} and {@list} in {@two}."),
        Gallery((SHOT,)),
        Heading("Second", "two"),
        Table("list", "Things.", ("a", "b"), (("1", "2"),), numeric=(1,), strong=(0,)),
    )
    assert page.numbers() == {"one": "Section 1", "shot": "Figure 1", "two": "Section 2", "list": "Table 1"}
    assert page.pictures() == (SHOT,)
    assert 'See <a href="#shot">Figure 1</a> and <a href="#list">Table 1</a>' in html.render(page)
    assert "See Figure 1 and Table 1 in Section 2." in markdown.render(page)


def test_a_name_used_twice_and_a_reference_to_nothing_are_mistakes() -> None:
    with pytest.raises(ValueError, match="shot"):
        html.render(document(SHOT, SHOT))
    for render in (html.render, markdown.render):
        with pytest.raises(KeyError):
            render(document(Paragraph("{@nowhere}")))


def test_markup() -> None:
    page = document(Paragraph("m_{JJ} is **p < 10^{-5}** in `a_{b} <c>` & more"))
    assert (
        "<p>m<sub>JJ</sub> is <strong>p &lt; 10<sup>-5</sup></strong> in <code>a_{b} &lt;c&gt;</code> &amp; more</p>"
        in html.render(page)
    )
    assert "m<sub>JJ</sub> is **p \\< 10<sup>-5</sup>** in `a_{b} <c>` & more" in markdown.render(page)


def test_every_block_in_both_formats() -> None:
    page = document(
        Heading("Head", "head"),
        Subheading("Sub"),
        Verdict("Found", "Text.", True, (("label", "value", "remark"), ("other", "1", ""))),
        Items(("one", "two")),
        Listing("a = 1\nb < 2\n", "Settings:"),
        Table("t", "Cap.", ("x | y",), (("`a|b`",), ("c",)), strong=(1,)),
        SHOT,
    )
    text = markdown.render(page)
    for part in (
        "# Title",
        "## 1 Head",
        "### Sub",
        "> **Found**",
        "> - label: **value** (remark)",
        "> - other: **1**\n",
        "- one\n- two",
        "Settings:\n\n```\na = 1\nb < 2\n```",
        "| x \\| y |\n| --- |\n| `a\\|b` |\n| **c** |",
        "![Figure 1](figures/shot.png)",
        "**Figure 1.** What one sees: 10<sup>-5</sup> & \\<more\\>.",
    ):
        assert part in text, part
    page_text = html.render(page)
    for part in (
        "<h3>Sub</h3>",
        '<section class="verdict positive">',
        "<li>one</li><li>two</li>",
        "<pre>a = 1\nb &lt; 2\n</pre>",
        "<tr class=strong><td",
        'src="data:image/png;base64,iVBORw=="',
        'alt="What one sees: 10-5 &amp; &lt;more&gt;."',
    ):
        assert part in page_text, part


def test_users_text_is_not_markup() -> None:
    assert verbatim("a`b\nc") == "`a'b c`"
    assert "<code>**x** _{y} {@z}</code>" in html.render(document(Paragraph(verbatim("**x** _{y} {@z}"))))


@given(st.text(alphabet=st.characters(exclude_characters="`*_^{}@\r\x00", exclude_categories=("Cs", "Cc"))))
def test_plain_text_comes_out_as_it_went_in(text: str) -> None:
    found = body(html.render(document(Paragraph(text))))
    assert "".join(found.parts).strip("\n") == text.strip("\n")
    assert found.tags == ["p"]


@given(st.text(alphabet="ab`*_^{}@<>&\"'|", max_size=40))
def test_no_text_can_make_other_elements(text: str) -> None:
    """Whatever the markup, only the elements of the markup come out, and nothing fails but unknown references."""
    try:
        page = html.render(document(Paragraph(text)))
    except KeyError:
        assert "{@" in text
        return
    assert set(body(page).tags) <= {"p", "code", "strong", "sub", "sup"}


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e9))
def test_what_a_cell_is_worth(value: float, error: float) -> None:
    """Every form of `report.rounding` is read back to its own digits."""
    shown = sorting.worth(rounding.significant(value, 3))
    assert shown is not None and abs(shown - value) <= 0.0051 * abs(value)
    places = rounding.decimals(error)
    for text in (rounding.measured(value, error, "GeV"), rounding.interval(value, error, error)):
        assert sorting.worth(text) == pytest.approx(round(value, places), rel=1e-12, abs=1e-300)
    assert sorting.worth(rounding.count(value)) == round(value)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (rounding.probability(0.0), 1e-300), (rounding.probability(3.2e-9), 3.2e-9), ("(3.2 ± 0.1) × 10^{−9}", 3.2e-9),
        ("> 37", 37.0), ("∞", float("inf")), ("−∞", float("-inf")), ("95 %", 95.0), ("**12\u202f345**", 12345.0),
        ("640 +81 −75", 640.0), ("0.5 to 2", 0.5), ("e4", None), ("—", None), ("", None), ("`jet1`", None),
        ("1e-05", 1e-5), ("-3.5", -3.5),
    ],
)  # fmt: skip
def test_cells(cell: str, value: float | None) -> None:
    assert sorting.worth(cell) == value


def test_a_column_with_a_word_is_sorted_as_texts() -> None:
    assert sorting.worths(("2", "—", "10")) == [2.0, None, 10.0] and sorting.worths(("2", "b", "")) == [None] * 3
    assert sorting.worths(("—", "")) == [None, None]


def test_tables_that_sort() -> None:
    rows = (("a", "2"), ("b", "∞"), ("c", "—"))
    page = html.render(document(Table("t", "Cap.", ("x", "y"), rows, (1,))))
    assert page.count("<script>") == 1 and sorting.POLICY in page and 'class="sorts"' in page
    assert '<td class="n" data-v="2.0">2</td>' in page and 'data-v="Infinity"' in page
    assert "<script" not in html.render(document(Table("t", "Cap.", ("x", "y"), rows[:2], (1,))))
