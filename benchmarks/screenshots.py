"""Screenshots for docs/gallery.md: the site, a report, a fit in the terminal, a cell of a notebook.

    python benchmarks/screenshots.py           # all five, into docs/figures
    python benchmarks/screenshots.py terminal  # one of site, report, report_narrow, terminal, notebook

They are taken by a headless Chromium (`pip install '.[dev,browser]'`). Those of the site need a built one: `make site`.
"""

import html
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bumpfit.report.paper import browser
from bumpfit.report.style import GREY

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
WORKSPACE = "multi_channel.json"
PAGE = """<!DOCTYPE html><meta charset="utf-8"><style>
body { margin: 0; padding: 20px; background: %s; font: 15px/1.4 "DejaVu Sans", sans-serif; }
pre { margin: 0; white-space: pre-wrap; font: 14px/1.25 "DejaVu Sans Mono", monospace; } img { max-width: 100%%; }
.cell { background: #f5f5f5; border: 1px solid #ddd; padding: 8px; } .out { padding: 10px 8px; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 3px 10px; text-align: right; }
</style>%s"""


def shot(page: str, name: str, width: int, height: int, whole: str = "") -> None:
    """A picture of a page, or of the element `whole` of it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        view = chromium.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        view.goto(page)
        view.wait_for_timeout(500)
        place = FIGURES / f"screenshot_{name}.png"
        if whole:
            view.locator(whole).screenshot(path=place)
        else:
            view.screenshot(path=place)
        chromium.close()
    print(place, place.stat().st_size // 1000, "kB")


def made(body: str, name: str, width: int, paper: str = "#fff") -> None:
    """A picture of a page that is made here."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE % (paper, f"<main>{body}</main>"))
        shot(page.as_uri(), name, width, 100, "body")


def site() -> None:
    shot((ROOT / "site" / "index.html").as_uri(), "site", 1280, 900)


def fitted(*options: str) -> str:
    """What `bumpfit fit` prints of a workspace of this repository, with its colours."""
    words = ["fit", str(ROOT / "workspaces" / WORKSPACE), *options]
    asked = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "bumpfit", *words], env=asked, capture_output=True, text=True, check=True
    )
    return done.stdout


def report(name: str = "report", width: int = 1280) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "fit.html"
        fitted("--report", str(page))
        shot(page.as_uri(), name, width, 900)


def report_narrow() -> None:
    report("report_narrow", 420)


def terminal() -> None:
    from rich.console import Console
    from rich.text import Text

    with open(os.devnull, "w") as nowhere:
        screen = Console(record=True, width=80, file=nowhere)
        screen.print(Text.from_ansi(f"$ bumpfit fit workspaces/{WORKSPACE}\n{fitted()}"), soft_wrap=True)
    code = screen.export_html(inline_styles=True, code_format="<pre style='color: #222'>{code}</pre>")
    made(code, "terminal", 760, "#fafafa")


def notebook() -> None:
    """The first cell of a notebook that shows a table, and the first that draws."""
    cells = json.loads((ROOT / "notebooks" / "likelihood.ipynb").read_text())["cells"]
    body = ""
    for kind in ("text/html", "image/png"):
        for cell in cells:
            found = [one["data"] for one in cell.get("outputs", []) if kind in one.get("data", {})]
            if found:
                value = "".join(found[0][kind])
                drawn = value if kind == "text/html" else f'<img src="data:image/png;base64,{value}">'
                source = html.escape("".join(cell["source"]))
                body += (
                    f'<p style="color: {GREY}">In:</p><pre class="cell">{source}</pre><div class="out">{drawn}</div>'
                )
                break
    made(body, "notebook", 760)


SHOTS: dict[str, Callable[[], None]] = {
    "site": site, "report": report, "report_narrow": report_narrow, "terminal": terminal, "notebook": notebook,
}  # fmt: skip

if __name__ == "__main__":
    for chosen in sys.argv[1:] or SHOTS:
        SHOTS[chosen]()
