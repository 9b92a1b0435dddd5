"""A figure made ready for a document: as pixels, as vectors where they are few enough, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from matplotlib.figure import Figure

from bumpfit.files import atomic, write_text
from bumpfit.report.document import Picture
from bumpfit.report.spoken import spoken
from bumpfit.report.style import png
from bumpfit.report.vector import LARGEST, svg

FOLDER = "figures"


def embedded(name: str, figure: Figure, caption: str) -> Picture:
    """A figure of a document, which lies in the folder of figures as NAME.png and NAME.svg.

    The page shows the vectors, where they are no larger than `vector.LARGEST` bytes.
    """
    content = png(figure)
    drawn = svg(figure, name)
    vector = drawn if len(drawn) <= LARGEST else ""
    return Picture(name, caption, str(PurePosixPath(FOLDER) / f"{name}.png"), content, vector, spoken(figure))


def write(pictures: Sequence[Picture], out: Path) -> list[Path]:
    """Write the files of all figures into `out` and return their paths; each appears complete or not at all."""
    written = []
    for picture in pictures:
        path = out / picture.path
        with atomic(path) as temporary:
            temporary.write_bytes(picture.content)
        written.append(path)
        if picture.vector:
            written.append(path.with_suffix(".svg"))
            write_text(written[-1], picture.vector)
    return written
