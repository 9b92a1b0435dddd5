"""A document as one HTML file: style and figures inside, nothing fetched; light, dark and on paper.

The contents stand at the side where the page is wide enough. Rows of tables come in the order that matters; the page's
one script (`report.sorting`) lets a reader sort them otherwise, and no other script can run.
"""

from __future__ import annotations

import base64
import html
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
from bumpfit.report.sorting import FEWEST, POLICY, SCRIPT, worths
from bumpfit.report.vector import NAMESPACE

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6167; --page: #ffffff; --card: #f4f5f7; --line: #d5d9de;
  --link: #0b5cad; --yes: #0a7a4b; --no: #4c5a67; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --soft: #a2a9b1; --page: #16181b; --card: #212429;
  --line: #3a3f46; --link: #7fb8f0; --yes: #3ecb8c; --no: #9fb0c0; --paper: #ffffff; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --page: #fff; --card: #f6f6f6; --line: #bbb;
  --link: #000; --yes: #0a7a4b; --no: #4c5a67; --paper: #fff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 "Source Serif 4", "Source Serif Pro", Georgia, "Times New Roman", serif; }
main { max-width: 980px; margin: 0 auto; padding: 2.2rem 1.4rem 4rem; }
h1, h2, h3, nav, table, figcaption, caption, .facts, .verdict h2 { font-family: system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.85rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
p { margin: .6rem 0; max-width: 46rem; }
ul { margin: .5rem 0; padding-left: 1.3rem; max-width: 46rem; } li { margin: .3rem 0; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
sub, sup { line-height: 0; font-size: .76em; }
.subtitle { color: var(--soft); margin: 0 0 1rem; max-width: none; }
nav { font-size: .86rem; margin: 1.2rem 0 0; } nav a { margin-right: 1.05rem; display: inline-block; }
code, pre { font: .84em/1.45 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  white-space: pre-wrap; }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: 6px solid var(--no); border-radius: 8px;
  padding: 1rem 1.2rem 1.1rem; margin: 1.3rem 0 1rem; break-inside: avoid; }
.verdict.positive { border-left-color: var(--yes); }
.verdict h2 { border: 0; margin: 0; padding: 0; font-size: 1.25rem; color: var(--no); }
.verdict.positive h2 { color: var(--yes); }
.facts { display: grid; grid-template-columns: repeat(var(--columns), 1fr); gap: .7rem 1.2rem;
  margin: .9rem 0 0; }
@media (max-width: 46rem) { .facts { grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); } }
.facts dt { font-size: .78rem; color: var(--soft); } .facts dd { margin: 0; font-size: 1.16rem; font-weight: 600; }
.facts dd small { display: block; font-size: .78rem; font-weight: 400; color: var(--soft); }
.wide { overflow-x: auto; margin: 1.1rem 0; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; min-width: 55%; }
td code { overflow-wrap: break-word; }
caption { position: sticky; left: 0; max-width: calc(100vw - 2.8rem);
  text-align: left; color: var(--soft); padding-bottom: .45rem; font-size: .86rem; line-height: 1.4; }
caption b, figcaption b { color: var(--ink); }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom: 2px solid var(--line); font-weight: 600; }
thead th { border-top: 1px solid var(--line); } .n { text-align: right; } .n, .k { white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:hover { text-decoration: underline; }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
th button::after { content: "\\2195"; color: var(--soft); font-size: .8em; padding-left: .25em; opacity: .55; }
th[aria-sort] button::after { opacity: 1; color: var(--link); }
th[aria-sort=ascending] button::after { content: "\\2191"; }
th[aria-sort=descending] button::after { content: "\\2193"; }
tr.strong td { font-weight: 650; background: var(--card); }
figure { margin: 1.3rem 0; break-inside: avoid; max-width: 600px; }
figure.broad { max-width: none; overflow-x: auto; } figure.broad :is(img, svg) { min-width: 38rem; }
figure > :is(img, svg) { display: block; width: 100%; height: auto; background: var(--paper); border-radius: 6px;
  border: 1px solid var(--line); padding: .5rem; }
figcaption { color: var(--soft); font-size: .86rem; line-height: 1.45; margin-top: .45rem; }
.gallery { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.4rem; }
@media (max-width: 46rem) { .gallery { grid-template-columns: 1fr; } }
.gallery figure { margin: .8rem 0; max-width: none; }
@media screen and (min-width: 76rem) {
  main { margin-left: max(16rem, 50vw - 490px); }
  nav { position: fixed; top: 2.4rem; bottom: 1rem; left: max(1.4rem, 50vw - 490px - 15rem); width: 13.5rem; margin: 0;
    overflow-y: auto; } nav a { display: block; margin: 0 0 .5rem; line-height: 1.35; } }
@media (prefers-color-scheme: dark) { figure > :is(img, svg) { filter: brightness(.92); } }
@media print { html { font-size: 12px; } body { font-size: 10pt; }
  main { max-width: none; padding: 0; } nav { display: none; }
  figure > :is(img, svg) { filter: none; border: 0; padding: 0; }
  h2, h3 { break-after: avoid; } table { break-inside: auto; }
  tr { break-inside: avoid; } td code { overflow-wrap: anywhere; } caption { max-width: none; }
  .wide { overflow: visible; }
  th:not([aria-sort]) button::after { content: none; } .gallery { grid-template-columns: 1fr 1fr; } }
"""

BROAD = 2.0
"""Width over height from which a figure, of panels side by side, takes the width of the page."""
SHORT = 32
"""Characters of a table's cell up to which it is not broken into lines."""


def render(document: Document) -> str:
    """The whole page."""
    numbers = document.numbers()
    contents = "\n".join(
        f'<a href="#{block.name}">{_text(block.text, numbers)}</a>'
        for block in document.blocks
        if isinstance(block, Heading)
    )
    body = "\n".join(_block(block, numbers) for block in document.blocks)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(document.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><h1>{_text(document.title, numbers)}</h1>\n<p class="subtitle">{_text(document.subtitle, numbers)}'
        f"</p>\n<nav>{contents}</nav></header>\n{body}\n</main>\n"
    )
    if 'class="sorts"' in body:
        page += f"<script>{SCRIPT}</script>\n"
    page += "</body>\n</html>\n"
    return printable(page, lines=True)


def _text(text: str, numbers: dict[str, str]) -> str:
    return inline(
        text,
        html.escape,
        lambda code: f"<code>{html.escape(code)}</code>",
        lambda strong: f"<strong>{strong}</strong>",
        lambda name: f'<a href="#{name}">{numbers[name]}</a>',
    )


def _block(block: Block, numbers: dict[str, str]) -> str:
    match block:
        case Heading(text, name):
            number = numbers[name].removeprefix("Section ")
            return f'<h2 id="{name}">{number}&ensp;{_text(text, numbers)}</h2>'
        case Subheading(text):
            return f"<h3>{_text(text, numbers)}</h3>"
        case Paragraph(text):
            return f"<p>{_text(text, numbers)}</p>"
        case Items(entries):
            return "<ul>" + "".join(f"<li>{_text(entry, numbers)}</li>" for entry in entries) + "</ul>"
        case Listing(text, caption):
            return (f"<p>{_text(caption, numbers)}</p>" if caption else "") + f"<pre>{html.escape(text)}</pre>"
        case Verdict():
            return _verdict(block, numbers)
        case Table():
            return _table(block, numbers)
        case Picture():
            return _picture(block, numbers)
        case Gallery(pictures):
            return '<div class="gallery">' + "\n".join(_picture(p, numbers) for p in pictures) + "</div>"


def _verdict(block: Verdict, numbers: dict[str, str]) -> str:
    facts = "".join(
        f"<div><dt>{_text(label, numbers)}</dt><dd>{_text(value, numbers)}<small>{_text(remark, numbers)}</small></dd>"
        "</div>"
        for label, value, remark in block.facts
    )
    columns = 4 if len(block.facts) % 4 == 0 else 3
    kind = "verdict positive" if block.positive else "verdict"
    return (
        f'<section class="{kind}"><h2>{_text(block.title, numbers)}</h2><p>{_text(block.text, numbers)}</p>'
        f'<dl class="facts" style="--columns: {columns}">{facts}</dl></section>'
    )


def _table(block: Table, numbers: dict[str, str]) -> str:
    sorts = len(block.rows) >= FEWEST
    columns = [worths(column) for column in zip(*block.rows, strict=True)] if sorts else []

    def cells(row: tuple[str, ...], tag: str, place: int | None = None) -> str:
        return "".join(
            f"<{tag}{_cell_class(cell, i in block.numeric)}"
            f"{_value(columns[i][place]) if columns and place is not None else ''}>{_text(cell, numbers)}</{tag}>"
            for i, cell in enumerate(row)
        )

    rows = "\n".join(
        f"<tr{' class=strong' if i in block.strong else ''}>{cells(row, 'td', i)}</tr>"
        for i, row in enumerate(block.rows)
    )
    kind = ' class="sorts"' if sorts else ""
    return (
        f'<div class="wide" id="{block.name}"><table{kind}><caption><b>{numbers[block.name]}.</b> '
        f"{_text(block.caption, numbers)}</caption>\n<thead><tr>{cells(block.header, 'th')}</tr></thead>\n"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _value(worth: float | None) -> str:
    """What a cell is sorted by; JavaScript has another word for inf."""
    if worth is None:
        return ""
    return f' data-v="{worth!r}"'.replace("inf", "Infinity")


def _cell_class(cell: str, numeric: bool) -> str:
    """Numbers to the right; short words stay on one line."""
    if numeric:
        return ' class="n"'
    return ' class="k"' if len(cell) < SHORT and "`" not in cell else ""


def _picture(block: Picture, numbers: dict[str, str]) -> str:
    said = block.alternative or inline(block.caption, str, str, str, lambda name: numbers[name])
    alternative = html.escape(re.sub("</?su[bp]>", "", said), quote=True)
    width, height = (int.from_bytes(block.content[k : k + 4]) for k in (16, 20))  # the first chunk of every PNG file
    kind = " class=broad" if width > BROAD * height else ""
    if block.vector:
        drawn = block.vector.replace(f"<svg{NAMESPACE}", f'<svg role="img" aria-label="{alternative}"', 1)
    else:
        content = base64.b64encode(block.content).decode("ascii")
        drawn = f'<img alt="{alternative}" src="data:image/png;base64,{content}">'
    return (
        f'<figure id="{block.name}"{kind}>{drawn}'
        f"<figcaption><b>{numbers[block.name]}.</b> {_text(block.caption, numbers)}</figcaption></figure>"
    )
