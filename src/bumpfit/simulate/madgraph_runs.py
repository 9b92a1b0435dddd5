"""Finished MadGraph5_aMC runs: cross section, events, seed and event files from the folder of a process.

A process has Events/run_01/ with a banner a tag (`run_01_tag_1_banner.txt`: run card, cross section), event files, and
crossx.html with a row a run, which alone has the statistical error besides the event file (`<init>`). `multi_run N`
makes run_01_0 ... run_01_(N-1) and joins them in run_01, whose banner lies in the folder or beside it
(`Events/run_01_banner.txt`), and whose folder may not be there.
"""

from __future__ import annotations

import dataclasses
import gzip
import html
import math
import re
import zlib
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError

EVENT_FILES = (".lhe", ".lhe.gz", ".hepmc", ".hepmc.gz", ".root", ".lhco", ".lhco.gz")
NUMBER = r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w.])"
WEIGHT = re.compile(r"#[ \t]*(Matched )?Integrated weight \(pb\)[ \t]*:[ \t]*(\S*)")
EVENTS = re.compile(r"#\s*Number of Events\s*:\s*(\d+)")
SETTING = re.compile(r"^[ \t]*(\S+)[ \t]*=[ \t]*(\w+)", re.MULTILINE)
ROW = re.compile(
    r"HTML/(?P<run>[^/\"]+)/results\.html[\"']?\s*>\s*"
    rf"(?P<cross>{NUMBER})\s*(?:<font[^>]*>)?\s*±\s*(?:</font>)?\s*(?P<error>{NUMBER})"
    r".*?<td[^>]*>(?:\s|<center>)*(?P<events>\d+)",
    re.DOTALL | re.IGNORECASE,
)
BEAMS = {"1": "p", "-1": "p~", "0": "e", "2": "a", "3": "e-", "-3": "e+", "4": "mu-", "-4": "mu+"}


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: name, last tag, collider, cross section and its error in pb (None: not found), cross section after
    matching (None: none), events, seed, event files, and the runs that were joined in it.
    """

    name: str
    tag: str
    collider: str
    cross_section: float | None
    error: float | None
    matched: float | None
    events: int | None
    seed: int | None
    files: tuple[str, ...]
    parts: tuple[Run, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return dataclasses.asdict(self)


def read_runs(folder: str | Path) -> list[Run]:
    """The runs of a process folder in the order of their names; parts of a multi_run inside the run that joins them.

    Raises:
        InputError: no such folder, it is not one of MadGraph's, it has no finished run, or a file of a run is damaged.
    """
    place = Path(folder)
    events = place / "Events"
    if not place.is_dir():
        raise InputError(f"there is no folder {folder}; check the path")
    if not events.is_dir():
        raise InputError(f"{folder} has no folder Events; expected the output folder of a MadGraph process")
    rows = _rows(place)
    found = _with_banner(events)
    if not found:
        raise InputError(f"{folder} has no finished run: no banner in the folders of {events}")
    runs = []
    for name, path in found.items():
        owner = re.sub(r"_\d+$", "", name)
        if owner != name and owner in found:
            continue
        own = re.compile(re.escape(name) + r"_(\d+)")
        numbered = sorted((int(match[1]), other) for other in found if (match := own.fullmatch(other)))
        parts = tuple(_run(found[other], rows) for _, other in numbered)
        runs.append(dataclasses.replace(_run(path, rows), parts=parts))
    return runs


def has_runs(folder: str | Path) -> bool:
    """Whether a process folder has a finished run.

    Examples:
        >>> from bumpfit.simulate.madgraph_runs import has_runs
        >>> has_runs("no_such_folder")
        False
    """
    events = Path(folder) / "Events"
    return events.is_dir() and bool(_with_banner(events))


def _with_banner(events: Path) -> dict[str, Path]:
    """Runs by name, sorted, with their folders (which a joined run may lack)."""
    names = {path.name for path in events.iterdir() if path.is_dir()}
    names |= {path.name.removesuffix("_banner.txt") for path in events.glob("*_banner.txt")}
    return {name: events / name for name in sorted(names) if _banners(events / name)}


def _run(path: Path, rows: dict[str, tuple[float, float, int]]) -> Run:
    banner = _banners(path)[-1]
    try:
        text = banner.read_text(errors="replace")
    except OSError as wrong:
        raise InputError(f"cannot read {banner} ({wrong.strerror})") from wrong
    settings = {name: value for value, name in SETTING.findall(text)}
    weights = {bool(matched): _number(value, banner) for matched, value in WEIGHT.findall(text)}
    if not settings and not weights:
        raise InputError(
            f"{banner} is no banner of MadGraph (empty or damaged): it holds neither a run card nor weights"
        )
    asked = EVENTS.search(text)
    cross, error, events = rows.get(path.name, (None, None, None))
    there = path.iterdir() if path.is_dir() else path.parent.glob(f"{path.name}_*")
    files = sorted(file for file in there if file.is_file() and file.name.endswith(EVENT_FILES))
    if error is None:
        cross, error = _init(files)
    return Run(
        name=path.name,
        tag=banner.name.removeprefix(f"{path.name}_").removesuffix("banner.txt").removesuffix("_"),
        collider=_collider(settings, banner),
        cross_section=weights.get(False, cross),
        error=error,
        matched=weights.get(True),
        events=events if events is not None else int(asked[1]) if asked else None,
        seed=_whole(settings.get("iseed")),
        files=tuple(str(file) for file in files),
    )


def _banners(path: Path) -> list[Path]:
    """Banners of a run, the last tag last (tag_10 after tag_9); where its folder has none, the one beside it."""

    def order(banner: Path) -> list[tuple[int, str]]:
        return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", banner.name)]

    inside = sorted(path.glob(f"{path.name}_*_banner.txt"), key=order)
    beside = path.with_name(f"{path.name}_banner.txt")
    return inside or ([beside] if beside.is_file() else [])


def _rows(folder: Path) -> dict[str, tuple[float, float, int]]:
    """Cross section, error and events by run from crossx.html (the row of the last tag wins)."""
    page = folder / "crossx.html"
    if not page.is_file():
        return {}
    text = html.unescape(page.read_text(errors="replace"))
    # the head of the page has the current run, without a number of events in a cell of its own
    body = text[text.find("Available Results") :] if "Available Results" in text else text
    return {m["run"]: (float(m["cross"]), float(m["error"]), int(m["events"])) for m in ROW.finditer(body)}


def _init(files: list[Path]) -> tuple[float | None, float | None]:
    """Cross section and error from the <init> block of an event file: sums over its processes."""
    for file in files:
        if ".lhe" not in file.suffixes:
            continue
        inside: list[str] = []
        try:
            with gzip.open(file, "rt") if file.suffix == ".gz" else open(file) as stream:
                started = False
                for line in stream:
                    if started and line.lstrip().startswith("<"):
                        break
                    if started:
                        inside.append(line)
                    started = started or line.strip() == "<init>"
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise InputError(f"{file} cannot be read as an event file (cut off or damaged): {error}") from error
        processes = [[_number(word, file) for word in line.split()[:2]] for line in inside[1:] if line.strip()]
        if any(len(process) < 2 for process in processes):
            raise InputError(f"{file} is damaged: a line of <init> has no cross section with an error")
        if processes:
            return sum(x for x, _ in processes), sum(e**2 for _, e in processes) ** 0.5
    return None, None


def _number(text: str, file: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{file} is damaged: '{text[:40]}' stands where a number is expected")
    return value


def _collider(settings: dict[str, str], banner: Path) -> str:
    if not {"lpp1", "lpp2", "ebeam1", "ebeam2"} <= settings.keys():
        return ""
    names = " ".join(BEAMS.get(settings[beam], settings[beam]) for beam in ("lpp1", "lpp2"))
    energies = " x ".join(f"{_number(settings[beam], banner):g}" for beam in ("ebeam1", "ebeam2"))
    return f"{names} {energies} GeV"


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d+", text) else None
