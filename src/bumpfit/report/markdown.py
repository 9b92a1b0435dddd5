"""A document as Markdown (the dialect of GitHub and pandoc), with links to the figures' files."""

from __future__ import annotations

import re

from bumpfit.console import printable
from bumpfit.report.document import (
    Block,
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
    inline,
)

SPECIAL = re.compile(r"([\\*<>\[\]#|])")


def render(document: Document) -> str:
    """The whole text."""
    numbers = document.numbers()
    parts = [f"# {_text(document.title, numbers)}", _text(document.subtitle, numbers)]
    parts += [_block(block, numbers) for block in document.blocks]
    return printable("\n\n".join(parts) + "\n", lines=True)


def _text(text: str, numbers: dict[str, str]) -> str:
    return inline(
        text,
        lambda plain: SPECIAL.sub(r"\\\1", plain),
        lambda code: f"`{code}`",
        lambda strong: f"**{strong}**",
        lambda name: numbers[name],
    )


def _block(block: Block, numbers: dict[str, str]) -> str:
    match block:
        case Heading(text, name):
            return f"## {numbers[name].removeprefix('Section ')} {_text(text, numbers)}"
        case Subheading(text):
            return f"### {_text(text, numbers)}"
        case Paragraph(text):
            return _text(text, numbers)
        case Items(entries):
            return "\n".join(f"- {_text(entry, numbers)}" for entry in entries)
        case Listing(text, caption):
            return (f"{_text(caption, numbers)}\n\n" if caption else "") + f"```\n{text.rstrip()}\n```"
        case Verdict(title, text, _, facts):
            lines = [f"> **{_text(title, numbers)}**", ">", f"> {_text(text, numbers)}", ">"]
            lines += [
                f"> - {_text(label, numbers)}: **{_text(value, numbers)}**"
                + (f" ({_text(remark, numbers)})" * bool(remark))
                for label, value, remark in facts
            ]
            return "\n".join(lines)
        case Table():
            return _table(block, numbers)
        case Picture():
            return _picture(block, numbers)
        case Gallery(pictures):
            return "\n\n".join(_picture(picture, numbers) for picture in pictures)


def _table(block: Table, numbers: dict[str, str]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    # a | inside `code` would end a cell even there
    rows = [
        [_text(cell, numbers).replace("\\|", "|").replace("|", "\\|") for cell in row]
        for row in (block.header, *block.rows)
    ]
    rows[1:] = [
        [f"**{cell}**" if i in block.strong and cell else cell for cell in row] for i, row in enumerate(rows[1:])
    ]
    rule = ["---:" if i in block.numeric else "---" for i in range(len(block.header))]
    caption = f"**{numbers[block.name]}.** {_text(block.caption, numbers)}"
    return "\n".join([caption, "", line(rows[0]), line(rule), *map(line, rows[1:])])


def _picture(block: Picture, numbers: dict[str, str]) -> str:
    caption = _text(block.caption, numbers)
    said = SPECIAL.sub(r"\\\1", block.alternative) or numbers[block.name]
    return f"![{said}]({block.path})\n\n**{numbers[block.name]}.** {caption}"
