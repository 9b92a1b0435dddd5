"""Text on the terminal and in documents: what came from a file is text there, and never a command to the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.segment import Segment

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters but tab and newline, marks of writing direction and width, halves of characters."""
LINES = re.compile(f"[\t\n]|{CONTROL.pattern}")


def printable(text: str, *, lines: bool = False) -> str:
    """The text with everything that a terminal or browser would act on shown as an escape: `\\x1b`, `\\u202e`.

    Args:
        text: of any origin.
        lines: keep tabs and line ends, which inside a name could fake a line.
    """
    return (CONTROL if lines else LINES).sub(lambda found: _shown(found.group()), text)


def _shown(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class Console(RichConsole):
    """A terminal on which the texts of all renderables are printable; only styles of our own reach it."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """As of rich, with the texts of its segments made printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, lines=True))
