"""A figure as SVG that can stand inside a page: letters as outlines, names of its own, nothing that runs.

What matplotlib writes is read and written anew with the elements and attributes of a list, so that neither a label nor
a later version of matplotlib brings in anything else.
"""

from __future__ import annotations

import contextlib
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bumpfit.report.style import DOTS_PER_INCH, as_texts, style

LARGEST = 300_000
"""Bytes up to which a page takes a figure as vectors and not as pixels."""
MANY = 2000
"""Points of one line or collection from which it is pixels inside of the vectors; so is every mesh."""
ELEMENTS = frozenset(("svg", "g", "defs", "path", "use", "rect", "circle", "clipPath", "pattern", "image"))
ATTRIBUTES = frozenset(
    ("id", "d", "style", "transform", "href", "x", "y", "width", "height", "cx", "cy", "r", "viewBox", "clip-path",
     "patternUnits", "opacity", "preserveAspectRatio", "fill")
)  # fmt: skip
DECLARATION = re.compile(r"\s*([a-z-]+)\s*:\s*((?:url\(#[\w-]+\)|[#\w.,% -]|rgba?\([\d., %]+\))+)\s*")
PLAIN = re.compile(r"[#\w.,+ ()-]+")
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold; matplotlib writes them in comments."""
INSIDE = re.compile(r"url\(#([\w-]+)\)")
PIXELS = "data:image/png;base64,"
LONG = re.compile(r"-?\d+\.\d{3,}")
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG, the same for the same figure; `name` begins every id inside, so that figures share a page."""
    stream = io.BytesIO()
    with style(), mpl.rc_context({"svg.fonttype": "path"}), _pixels_of_many(figure):
        as_texts(figure)
        figure.savefig(stream, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None})
    return clean(NO_XML.sub("", stream.getvalue().decode()), name)


def clean(text: str, name: str) -> str:
    """An SVG file with what is on the lists only, its ids beginning with `name`.

    Raises:
        xml.etree.ElementTree.ParseError: the text is no XML.
    """
    root = ElementTree.fromstring(text)
    prefix = re.sub(r"[\W_]", lambda sign: f"_{ord(sign[0]):x}_", name)  # other signs, other ids
    referred = dict.fromkeys(re.findall(r"(?:url\(|href=[\"'])#([^)\"']+)", text))
    names = {old: f"{prefix}-{number}" for number, old in enumerate(referred)}  # those of matplotlib are random
    # the default of matplotlib's style sheet, which in a page would be one for all figures
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    return _written(root, names).replace("<svg", f"<svg{NAMESPACE}", 1)


def _written(element: ElementTree.Element, names: Mapping[str, str]) -> str:
    tag = _local(element.tag)
    if tag not in ELEMENTS:
        return ""
    attributes = "".join(
        f" {key}={quoteattr(value)}"
        for key, value in ((_local(key), _value(_local(key), value, names)) for key, value in element.items())
        if value and key in ATTRIBUTES
    )
    inside = "".join(_written(child, names) for child in element)
    if tag in ("g", "defs") and not inside:
        return ""
    if tag == "g" and not attributes:
        return inside
    return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes}/>"


def _local(tag: str) -> str:
    """A name without its namespace."""
    return str(tag).rpartition("}")[2]


def _value(key: str, value: str, names: Mapping[str, str]) -> str:
    """An attribute as it is written; empty: it is left out."""
    match key:
        case "id":
            return names.get(value, "")
        case "href":
            return f"#{names[value[1:]]}" if value[:1] == "#" and value[1:] in names else _pixels(value)
        case "clip-path":
            return INSIDE.sub(lambda found: f"url(#{names[found[1]]})", value) if INSIDE.fullmatch(value) else ""
        case "style":
            parts = [DECLARATION.fullmatch(part) for part in value.split(";")]
            kept = ";".join(f"{part[1]}:{part[2].strip()}" for part in parts if part is not None)
            return INSIDE.sub(lambda found: f"url(#{names[found[1]]})", kept)
        case "d" | "x" | "y":
            shorter = LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
            return " ".join(shorter.split())
        case _:
            return value if PLAIN.fullmatch(value) else ""


def _pixels(address: str) -> str:
    return address if address.startswith(PIXELS) else ""


@contextlib.contextmanager
def _pixels_of_many(figure: Figure) -> Iterator[None]:
    """Inside the block, artists of many points are drawn as pixels."""
    chosen = [artist for artist in figure.findobj(_many) if not artist.get_rasterized()]
    for artist in chosen:
        artist.set_rasterized(True)
    try:
        yield
    finally:
        for artist in chosen:
            artist.set_rasterized(False)


def _many(artist: Artist) -> bool:
    if isinstance(artist, Line2D):
        return len(artist.get_xydata()) > MANY  # type: ignore[arg-type]
    if isinstance(artist, QuadMesh):
        return True
    return isinstance(artist, Collection) and max(np.shape(artist.get_offsets())[0], len(artist.get_paths())) > MANY
