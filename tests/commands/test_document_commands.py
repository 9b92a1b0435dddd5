"""Every block of commands and every example in Python of the README and docs/ is run, on small files of the same names.

A page is read from its beginning in a folder of its own. What cannot be run here is listed with the reason.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documents
import pytest
from command_line import Run
from document_inputs import SETUP

NOT_RUN = {
    "pip install": "the network",
    "make ": "makes an environment; `make test` is what runs this",
    "pytest ": "tests, which run anyway",
    "dask ": "a scheduler and its workers: tests/test_clusters.py starts some",
    "from dask_jobqueue": "a batch system",
    "bumpfit demo": "tests/test_end_to_end.py runs it, and looks at its answers",
    "python benchmarks/tagging.py": "events of HEP ML Lab that are not ours to give away",
}
"""Beginnings of all commands and examples that are not run, and what they would need or what runs them."""

ELSEWHERE = {"README.md": "test_readme.py", "docs/tutorials/spectrum.md": "test_site.py"}
"""Pages whose commands another test runs, and compares their numbers with the text."""

SLOW = {
    "docs/how-to/higgs-simulation.md", "docs/how-to/higgsml.md", "docs/how-to/likelihood.md", "docs/how-to/toys.md",
    "docs/how-to/long-runs.md", "docs/how-to/run.md", "docs/how-to/tagging.md", "docs/methods/inference.md",
    "docs/methods/higgsml.md", "docs/methods/simulate.md", "docs/methods/toys.md",
}  # fmt: skip
"""Pages that train, simulate, or ask for much."""

COMPILES = {
    "docs/how-to/likelihood.md": (0, 1), "docs/how-to/higgsml.md": (1, 0), "docs/methods/higgsml.md": (1, 1),
    "docs/how-to/higgs-simulation.md": (1, 2), "docs/how-to/toys.md": (1, 3),
}  # fmt: skip
"""Pages that need most of the kernels; their places among the tests."""

NEEDS = {
    "docs/how-to/higgs-simulation.md": ("pythia8mc",), "docs/how-to/likelihood.md": ("uproot", "yaml"),
    "docs/how-to/tagging.md": ("pythia8mc", "fastjet", "uproot"), "docs/methods/simulate.md": ("pythia8mc", "fastjet"),
    "docs/methods/higgsml.md": ("torch", "zuko"),
}  # fmt: skip
"""Optional packages of a page."""

MORE = {
    "bumpfit gof ": "--toys 40",
    "bumpfit fit hepdata.yaml": "--scan-masses 4000:6000:1000",
    "bumpfit metrics wtag.ds": "--bootstrap 5",
    "bumpfit sensitivity": "-n 20",
    "bumpfit run ": "--quick --iterations 0 --workers 1",
    "bumpfit simulate higgs": "-n 2 --scale 0.001 --workers 1",
    "bumpfit simulate dijet": "-n 2 --workers 1",
    "bumpfit simulate wtag": "-n 200 --workers 1",
    "bumpfit train wtag.ds --approach trees": "--set models=1 --set iterations=10 --bootstrap 0",
    "bumpfit higgsml train binned events.parquet --mode independent": "--luminosity 0.5 --set first_trees=12 "
    "--set trees=15 --set leaves=6 --set fine=6 --set bins=12 --set draws=2 --set loose=0.3 --calibrate 0 --workers 1",
    "bumpfit higgsml train binned": "--set first_trees=12 --set trees=15 --set leaves=6 --set fine=6 --set bins=12 "
    "--set draws=2 --set loose=0.3 --calibrate 0 --workers 1",
    "bumpfit higgsml train baseline": "--set points=7 --set degree=3 --set trees=20 --set leaves=6 "
    "--set draws=2 --calibrate 0 --workers 1",
    "bumpfit higgsml train unbinned": "--set hidden=[24] --set epochs=2 --set knots=5 --set enough=50 --set draws=2 "
    "--calibrate 0",
    "bumpfit higgsml train flow": "--set transforms=1 --set flow_hidden=[16] --set hidden=[24] --set epochs=3 "
    "--set mixtures=1 --set fine=6 --set bins=12 --set draws=2 --calibrate 0",
    "bumpfit higgsml train combined": "--calibrate 0 --set points=20 --set experiments=4",
    "bumpfit higgsml train aggregate": "--calibrate 0 --set points=24 --set experiments=12 --set trees=15 "
    "--set leaves=6 --set steps=25",
    "bumpfit higgsml coverage": "--calibrate 50",
    "bumpfit higgsml benchmark": "--points 2 --mu 1 --workers 1",
}
"""Options that make a command smaller, by its beginning."""

FEWER = {'simulate.higgsml("htautau"), 5000': 'simulate.higgsml("htautau", scale=0.001), 2',
         "workers=4": "workers=1", "--luminosity 1 --challenge-range": "--luminosity 1",
         "--dask tcp://scheduler:8786": "--workers 1"}  # fmt: skip
"""What is written otherwise, besides numbers of toys.

The range of the challenge needs methods calibrated for it, which takes minutes; tests/higgsml/test_higgsml_commands.py
asks for it. With a scheduler tests/commands/test_dask.py gives the same bits.
"""


PAGES = [page for page in documents.pages() if any(block.language != "text" for block in documents.blocks(page))]


def name_of(page: Path) -> str:
    return page.relative_to(documents.ROOT).as_posix()


def beginning(text: str, known: dict[str, str]) -> str | None:
    """The entry that a command or an example begins with."""
    return next((start for start in known if text.startswith(start)), None)


def added(command: str) -> list[str]:
    start = beginning(command, MORE)
    return MORE[start].split() if start else []


def parameters() -> Iterator[Any]:
    """Pages, those of SLOW and COMPILES with the markers."""
    for page in PAGES:
        if (name := name_of(page)) not in ELSEWHERE:
            marks = [pytest.mark.slow] if name in SLOW else []
            marks += [pytest.mark.compiles(*COMPILES[name])] if name in COMPILES else []
            yield pytest.param(page, id=name, marks=marks)


@pytest.mark.parametrize("page", list(parameters()))
def test_a_page_is_read_from_its_beginning(
    page: Path, tmp_path: Path, bumpfit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in NEEDS.get(name_of(page), ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    reader = documents.Reader(bumpfit, added, FEWER, lambda text: beginning(text, NOT_RUN) is not None)
    heading = None
    for block in documents.blocks(page):
        if block.heading != heading:
            heading = block.heading
            SETUP.get((page.name, heading), lambda folder: None)(tmp_path)
        reader.read(block)


def test_no_block_is_overlooked() -> None:
    """Every block is of a kind that the reader runs, or is text that holds no command; API pages have no block.

    What is not run is in NOT_RUN alone, with the reason: whole pages are run here, or by the tests of ELSEWHERE.
    """
    for page in documents.ROOT.joinpath("docs").rglob("*.md"):
        if page not in documents.pages():
            assert not list(documents.blocks(page)), page
    for page in documents.pages():
        text = page.read_text(encoding="utf-8")
        assert text.count("\n```") % 2 == 0 and not re.search(
            r"^ {5,}(bumpfit|python) ", without(page), re.MULTILINE
        ), page
        for block in documents.blocks(page):
            assert block.language in ("shell", "python", "toml", "text"), (page, block.language)
            if block.language == "text":
                assert not re.search(
                    r"^\s*(bumpfit|python|pip|make|from \w+ import|import \w+) ", block.text, re.MULTILINE
                )


def without(page: Path) -> str:
    """The text of a page without its blocks."""
    text = page.read_text(encoding="utf-8")
    for block in documents.blocks(page):
        for line in block.text.splitlines():
            text = text.replace(f"    {line}\n", "\n", 1)
    return text


def test_lists_hold_nothing_that_is_gone() -> None:
    """Each entry of the lists begins something in a document, and each other test names the page that it runs."""
    texts = []
    for page in PAGES:
        for block in documents.blocks(page):
            texts += list(documents.commands(block.text)) if block.language == "shell" else [block.text]
    for start in (*NOT_RUN, *MORE):
        assert any(text.startswith(start) for text in texts), f"{start!r} is in no document"
    for part in FEWER:
        assert any(part in text for text in texts), f"{part!r} is in no document"
    for page, test in ELSEWHERE.items():
        assert (documents.ROOT / page).is_file() and Path(page).name in (documents.ROOT / "tests" / test).read_text()
    assert {*SLOW, *COMPILES, *NEEDS} <= {name_of(page) for page in PAGES}
    headings = {(page.name, block.heading) for page in PAGES for block in documents.blocks(page)}
    assert set(SETUP) <= headings
