"""Pages on paper: the PDF of an HTML page, printed by a Chromium of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bumpfit.errors import BumpfitError
from bumpfit.files import atomic

PROGRAMS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)  # fmt: skip
OF_PLAYWRIGHT = ("chrome-linux*/chrome", "chrome-mac*/*.app/Contents/MacOS/*", "chrome-win*/chrome.exe")
ALONE = (
    b"<!DOCTYPE html><meta charset=utf-8><meta http-equiv=Content-Security-Policy "
    b"content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
)
"""What stands before a page that is printed: it may be from someone else, so no script runs, and nothing is fetched."""
SECONDS = 120
"""Time after which a browser that has not printed is ended."""


def browser() -> str:
    """The program that prints: a Chromium of playwright, or an installed one.

    Raises:
        BumpfitError: there is none.
    """
    for folder in _of_playwright():
        for pattern in OF_PLAYWRIGHT:
            there = folder.glob(f"chromium-*/{pattern}")
            newest = max(there, key=lambda path: (len(str(path)), str(path)), default=None)  # 1000 after 999
            if newest is not None:
                return str(newest)
    for name in PROGRAMS:
        if (program := shutil.which(name)) is not None:
            return program
    raise BumpfitError(
        "a PDF is printed by Chromium or Google Chrome, and there is none here; install one (apt install chromium, or "
        "pip install playwright and playwright install chromium), or leave --pdf out and print the page from a browser"
    )


def _of_playwright() -> list[Path]:
    """Folders in which playwright keeps its browsers."""
    given = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    home = Path.home()
    places = (home / ".cache", home / "Library" / "Caches", home / "AppData" / "Local")
    return [Path(given)] if given else [place / "ms-playwright" for place in places]


def pdf(page: Path, program: str | None = None) -> Path:
    """Print an HTML file to a PDF file of the same name beside it, and return its path.

    Args:
        page: the HTML file.
        program: the browser; found by `browser` where none is given.

    Raises:
        BumpfitError: there is no browser, or it does not print.
    """
    program = program or browser()
    target = page.with_suffix(".pdf")
    with atomic(target) as temporary, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run",
                   "--no-pdf-header-footer", f"--print-to-pdf={temporary}"]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium refuses root otherwise
        alone = Path(profile) / page.name
        alone.write_bytes(ALONE + page.read_bytes())
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            subprocess.run([*command, alone.resolve().as_uri()], capture_output=True, timeout=SECONDS, check=False)
        if not temporary.is_file() or not temporary.read_bytes().startswith(b"%PDF"):
            raise BumpfitError(f"{program} printed no PDF of {page}; print the page from a browser instead")
    return target
