"""A document as data: headings, paragraphs, tables and figures, independent of the format that they are written in.

Texts may hold `code`, **strong** words, `_{sub}` and `^{super}` scripts, and references `{@name}` to a figure, table
or section by name, which become "Figure 3". Texts of users (paths, messages) go through `verbatim`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Heading:
    """Title of a section; `name` can be referred to."""

    text: str
    name: str


@dataclasses.dataclass(frozen=True)
class Subheading:
    """Title of a part of a section."""

    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer in a frame: `positive` says whether something was found; `facts` are (label, value, remark)."""

    title: str
    text: str
    positive: bool
    facts: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Items:
    """A list with bullets."""

    entries: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns with a caption; `numeric` columns (positions) are aligned right; `strong` rows are emphasised."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        name: can be referred to.
        caption: below the figure, with markup.
        path: where the PNG file lies relative to the document; one of vectors lies beside it.
        content: the PNG file.
        vector: the same as SVG (`report.vector.svg`); empty where the page shall show pixels.
        alternative: what the figure shows, in plain words; empty: the caption is read instead.
    """

    name: str
    caption: str
    path: str
    content: bytes = dataclasses.field(repr=False)
    vector: str = dataclasses.field(default="", repr=False)
    alternative: str = ""


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Figures that stand side by side where the page is wide enough."""

    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class Listing:
    """Text that keeps its lines (a command, a configuration)."""

    text: str
    caption: str = ""


Block = Heading | Subheading | Paragraph | Verdict | Items | Table | Picture | Gallery | Listing


@dataclasses.dataclass(frozen=True)
class Document:
    """A title and blocks in order.

    Examples:
        >>> page = bumpfit.report.Document("Fit", "of a workspace", ())
        >>> page.title
        'Fit'
    """

    title: str
    subtitle: str
    blocks: tuple[Block, ...]

    def numbers(self) -> dict[str, str]:
        """What a reference to each name is written as: "Figure 3", "Table 1", "Section 2"."""
        found: dict[str, str] = {}
        counts = {"Section": 0, "Figure": 0, "Table": 0}
        for block in self.blocks:
            named: Sequence[Heading | Table | Picture]
            if isinstance(block, Gallery):
                named = block.pictures
            elif isinstance(block, Heading | Table | Picture):
                named = (block,)
            else:
                continue
            for item in named:
                kind = {Heading: "Section", Table: "Table", Picture: "Figure"}[type(item)]
                counts[kind] += 1
                if item.name in found:
                    raise ValueError(f"two parts of the document are named {item.name!r}")
                found[item.name] = f"{kind} {counts[kind]}"
        return found

    def pictures(self) -> tuple[Picture, ...]:
        """All figures in order."""
        return tuple(
            picture
            for block in self.blocks
            for picture in (
                block.pictures if isinstance(block, Gallery) else (block,) if isinstance(block, Picture) else ()
            )
        )


def verbatim(text: object) -> str:
    """A user's text as `code`, so that nothing in it is taken for markup."""
    return "`" + str(text).replace("`", "'").replace("\n", " ") + "`"


PARTS = re.compile(r"(`[^`]*`)|\*\*(.+?)\*\*|_\{([^{}]*)\}|\^\{([^{}]*)\}|\{@([\w.]+)\}")


def inline(
    text: str,
    plain: Callable[[str], str],
    code: Callable[[str], str],
    strong: Callable[[str], str],
    reference: Callable[[str], str],
) -> str:
    """Replace the markup of a text: `plain` escapes what is no markup, the others dress the inside of theirs."""
    pieces: list[str] = []
    end = 0
    for match in PARTS.finditer(text):
        pieces.append(plain(text[end : match.start()]))
        end = match.end()
        in_code, in_strong, below, above, name = match.groups()
        if in_code is not None:
            pieces.append(code(in_code[1:-1]))
        elif in_strong is not None:
            pieces.append(strong(inline(in_strong, plain, code, strong, reference)))
        elif below is not None:
            pieces.append(f"<sub>{plain(below)}</sub>")
        elif above is not None:
            pieces.append(f"<sup>{plain(above)}</sup>")
        else:
            pieces.append(reference(name))
    return "".join([*pieces, plain(text[end:])])
