"""Feynman diagrams of a MadGraph5_aMC process as files: PostScript from its folder, and PDF where Ghostscript is.

`output` leaves a file a matrix element, SubProcesses/P*/matrix*.ps; `display diagrams FOLDER` inside of the process
leaves diagrams_*.eps there (HEP ML Lab: Diagrams/). They are copied, not run; `pdf` hands them to Ghostscript in its
safe mode.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bumpfit.errors import BumpfitError, InputError
from bumpfit.files import atomic

PLACES = ("SubProcesses/P*/matrix*.ps", "Diagrams/*.eps")
HEAD = b"%!PS"
LARGEST = 100_000_000
"""Bytes of a file of diagrams: one takes some kB."""
TITLE = re.compile(r"50\s+770\s+moveto\s*\(([^()\n]*)\)\s*show")
LABEL = re.compile(r"\(\s*diagram\s+\d+")
GHOSTSCRIPT = ("gs", "gswin64c", "gswin32c")


@dataclasses.dataclass(frozen=True)
class Diagrams:
    """The diagrams of one matrix element: process as MadGraph titles them (empty: not found), their number, name of the
    new file, and where they are from.

    Examples:
        >>> from bumpfit.simulate.madgraph_diagrams import Diagrams
        >>> Diagrams("u d~ > w+ z", 4, "P1_qq_wpz_matrix1.ps", "wz").number
        4
    """

    process: str
    number: int
    name: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return dataclasses.asdict(self)


def find_diagrams(folder: str | Path) -> list[Diagrams]:
    """The files of diagrams in a process folder, in the order of their names.

    Raises:
        InputError: no such folder, it has no diagrams, a file of them is none, or two would have one name.

    Examples:
        >>> from bumpfit.simulate.madgraph_diagrams import find_diagrams
        >>> find_diagrams("wz")
        Traceback (most recent call last):
        bumpfit.errors.InputError: there is no folder wz; check the path
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"there is no folder {folder}; check the path")
    inside = place.resolve()
    files = [path for pattern in PLACES for path in sorted(place.glob(pattern), key=_order)]
    files = [path for path in files if path.is_file() and path.resolve().is_relative_to(inside)]  # no links elsewhere
    if not files:
        raise InputError(
            f"{folder} has no diagrams (SubProcesses/P*/matrix*.ps); expected the output folder of a MadGraph process "
            "that was made without --noeps=True"
        )
    found = [_read(path) for path in files]
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two files of diagrams of {folder} would be called '{twice}'; rename one of their folders")
    return found


def save_diagrams(folder: str | Path, out: str | Path, *, pdf: bool = False) -> list[Diagrams]:
    """Copy the diagrams of a process folder into a folder that is new or holds them already, as PDF if asked for.

    Raises:
        InputError: as `find_diagrams`, `out` holds other files, or Ghostscript is not installed.
        BumpfitError: Ghostscript cannot read a file.

    Examples:
        >>> from bumpfit.simulate.madgraph_diagrams import save_diagrams
        >>> save_diagrams("wz", "diagrams")
        Traceback (most recent call last):
        bumpfit.errors.InputError: there is no folder wz; check the path
    """
    found = find_diagrams(folder)
    program = _ghostscript() if pdf else ""
    made = [dataclasses.replace(one, name=str(Path(one.name).with_suffix(".pdf"))) if pdf else one for one in found]
    place = Path(out)

    def write(one: Diagrams, target: Path) -> None:
        if pdf:
            _convert(program, Path(one.source), target)
        else:
            shutil.copyfile(one.source, target)

    if place.is_dir():
        others = sorted({path.name for path in place.iterdir()} - {one.name for one in made})
        if others:
            raise InputError(f"{out} holds other files ('{others[0]}'); expected a new folder for the diagrams")
        for one in made:
            with atomic(place / one.name) as temporary:
                write(one, temporary)
        return made
    with atomic(out) as temporary:
        temporary.mkdir()
        for one in made:
            write(one, temporary / one.name)
    return made


def _order(path: Path) -> list[tuple[int, str]]:
    """matrix2 before matrix10."""
    words = re.split(r"(\d+)", f"{path.parent.name}/{path.name}")
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]


def _read(path: Path) -> Diagrams:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has {path.stat().st_size} bytes; expected the diagrams of a matrix element")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from error
    if not content.startswith(HEAD):
        raise InputError(f"{path} is no PostScript (empty or damaged); expected the diagrams of a matrix element")
    text = content.decode("latin-1")
    title = TITLE.search(text)
    name = re.sub(r"[^\w.+~-]", "_", f"{path.parent.name}_{path.name}" if path.suffix == ".ps" else path.name)
    return Diagrams(" ".join(title[1].split()) if title else "", len(LABEL.findall(text)), name, str(path))


def _ghostscript() -> str:
    program = next((found for name in GHOSTSCRIPT if (found := shutil.which(name)) is not None), None)
    if program is None:
        raise InputError(
            "Ghostscript is not installed: there is no program 'gs' that makes PDF of PostScript; install it, or leave "
            "out --pdf"
        )
    return program


def _convert(program: str, source: Path, target: Path) -> None:
    command = [program, "-dSAFER", "-dBATCH", "-dNOPAUSE", "-q", "-sDEVICE=pdfwrite", f"-sOutputFile={target}"]
    done = subprocess.run(
        [*command, str(source.resolve())], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True,
        errors="replace",
    )  # fmt: skip
    if done.returncode or not target.is_file():
        words = " ".join((done.stderr or done.stdout).split())[:200]
        raise BumpfitError(f"Ghostscript cannot make a PDF of {source} (code {done.returncode}): {words}")
