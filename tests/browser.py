"""A headless Chromium in which pages are looked at, in a thread of its own.

Playwright keeps an event loop running in the thread that starts it, where other tests need loops of theirs.
"""

import dataclasses
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (360, 420, 1280, 1600)
PAPER = 720
"""Pixels that A4 leaves between usual margins."""

FIGURES = """() => Promise.all([...document.querySelectorAll("figure > :is(img, svg)")].map(async one => {
  let image = one;
  if (one.tagName === "svg") {  // alone, as it would be in a file
    image = new Image(96, 96);
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(one));
    await image.decode();
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 96;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 96, 96);
  const pixels = new Uint32Array(context.getImageData(0, 0, 96, 96).data.buffer), box = one.getBoundingClientRect();
  return {alt: one.getAttribute("alt") ?? one.getAttribute("aria-label"), width: box.width, height: box.height,
          caption: one.parentElement.querySelector("figcaption").textContent, colours: new Set(pixels).size,
          white: pixels.filter(pixel => pixel === 0xffffffff).length / pixels.length,
          dangling: [...one.querySelectorAll("use")].filter(a => !one.querySelector(a.getAttribute("href"))).length};
}))"""
PAPER_COLOURS = """() => [...document.querySelectorAll("figure > :is(img, svg)")].map(one => {
  const look = getComputedStyle(one);
  return look.backgroundColor + " " + look.filter;
})"""
TABLE = """place => {
  const table = document.querySelectorAll("table.sorts")[place];
  return {sorts: [...table.tHead.rows[0].cells].map(cell => cell.getAttribute("aria-sort")),
          heads: [...table.tHead.rows[0].cells].map(cell => cell.textContent),
          rows: [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent)),
          values: [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.dataset.v ?? null))};
}"""
FACTS = """() => ({width: document.documentElement.scrollWidth, inside: window.innerWidth,
  anchors: [...document.querySelectorAll("a[href^='#']")].filter(a => !document.getElementById(a.hash.slice(1))).length,
  nav: getComputedStyle(document.querySelector("nav") ?? document.body).display,
  unnamed: [...document.querySelectorAll("button, a")].filter(one => !one.textContent.trim()).length})"""


@dataclasses.dataclass
class Seen:
    """What a browser shows of a page."""

    messages: list[str]
    figures: list[dict[str, Any]]
    dark: list[str]
    """Behind each figure in dark mode: colour, and what is done to it."""
    facts: dict[int, dict[str, Any]]
    printed: dict[str, Any]
    pdf: bytes
    tables: list[list[dict[str, Any]]]
    """Of each table that sorts: as given, after one, two and three presses of Enter on its last head."""


class Chromium:
    """One browser for all tests of a process."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.thread.submit(self._start).result()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])

    def close(self) -> None:
        self.thread.submit(lambda: (self.browser.close(), self.playwright.stop())).result()
        self.thread.shutdown()

    def see(self, path: Path, *, scripts: bool = True) -> Seen:
        return self.thread.submit(self._see, path, scripts).result()

    def _see(self, path: Path, scripts: bool) -> Seen:
        context = self.browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda one: messages.append(one.url) if one.url.startswith(("http", "ws")) else None)
        page.goto(path.as_uri())
        facts = {}
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            facts[width] = page.evaluate(FACTS)
        page.set_viewport_size({"width": 1280, "height": 900})
        figures = page.evaluate(FIGURES)
        page.emulate_media(color_scheme="dark")
        dark = page.evaluate(PAPER_COLOURS)
        page.emulate_media(color_scheme="light")
        tables = []
        for place in range(page.locator("table.sorts").count() if scripts else 0):
            states = [page.evaluate(TABLE, place)]
            for _ in range(3):
                page.locator("table.sorts").nth(place).locator("thead button").last.press("Enter")
                states.append(page.evaluate(TABLE, place))
            tables.append(states)
        page.emulate_media(media="print", color_scheme="dark")
        page.set_viewport_size({"width": PAPER, "height": 1000})
        printed = page.evaluate(FACTS)
        pdf = page.pdf(format="A4")
        context.close()
        return Seen(messages, figures, dark, facts, printed, pdf, tables)


def executable() -> str:
    """The Chromium of this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("there is no Chromium")


def started() -> Chromium:
    """A browser, or the test is skipped."""
    pytest.importorskip("playwright")
    executable()
    return Chromium()


def is_well_made(seen: Seen, figures: int) -> None:
    """No message, nothing fetched, every figure there and drawn, no page wider than the window or the paper."""
    assert seen.messages == []
    assert len(seen.figures) == figures
    for one in seen.figures:
        assert one["alt"] and one["alt"] not in one["caption"] and any(c.isdigit() for c in one["alt"]), one
        assert one["width"] > 200 and one["height"] > 40 and one["dangling"] == 0, one
        assert one["colours"] > 8 and 0.2 < one["white"] < 0.99, one  # drawn, on white
    assert set(seen.dark) <= {"rgb(255, 255, 255) brightness(0.92)"}  # what is drawn is dark: it needs its paper
    for width, facts in {**seen.facts, PAPER: seen.printed}.items():
        assert facts["width"] <= width and facts["anchors"] == 0 and facts["unnamed"] == 0, (width, facts)
    assert seen.printed["nav"] == "none" and seen.pdf.startswith(b"%PDF")
    for given, rising, falling, back in seen.tables:
        assert back == given and given["sorts"] == [None] * len(given["heads"])
        assert rising["sorts"][-1] == "ascending" and falling["sorts"][-1] == "descending"
        assert sorted(rising["rows"]) == sorted(falling["rows"]) == sorted(given["rows"])
        values = [row[-1] for row in rising["values"] if row[-1] is not None]
        assert values == sorted(values, key=float)
