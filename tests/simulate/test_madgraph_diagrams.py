"""Diagrams of a MadGraph process, as MadGraph5_aMC leaves them (madgraph/iolibs/drawing_eps.py)."""

import json
import os
import stat
from pathlib import Path

import pytest

from bumpfit.cli import main
from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate.madgraph_diagrams import find_diagrams, save_diagrams

EPS = """%!PS-Adobe-2.0
%%BoundingBox: -20 -20 600 800
%%DocumentFonts: Helvetica
%%Pages:     1
/bottom 12 def
%%Page:       1       1
%%PageBoundingBox:-20 -20 600 800
%%PageFonts: Helvetica
/Helvetica findfont 9 scalefont setfont
 50         770  moveto
 ({title}) show
 525         770  moveto
 (page 1/1) show
 260         50  moveto
 (Diagrams made by MadGraph5_aMC@NLO) show
{drawn}showpage
%%trailer
"""
DRAWN = " 62.0 600.0 moveto\n (     diagram {number}\tQCD=0, QED=2) show\n 45.0 640.0 70.0 660.0 Ffermion\n"


def eps(path: Path, title: str, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = "".join(DRAWN.format(number=place + 1) for place in range(number))
    path.write_text(EPS.format(title=title, drawn=drawn))


@pytest.fixture
def process(tmp_path: Path) -> Path:
    folder = tmp_path / "wz"
    for number in (1, 2, 10):
        eps(folder / "SubProcesses" / "P1_qq_wpz" / f"matrix{number}.ps", f"u d~ > w+ z  WEIGHTED<={number}", number)
    eps(folder / "SubProcesses" / "P2_gq_wpzq" / "matrix1.ps", "g u > w+ z d", 8)
    eps(folder / "Diagrams" / "diagrams_0_qq_wmz.eps", "d u~ > w- z", 3)
    return folder


def test_diagrams_are_copied_and_named_by_their_process(process: Path, tmp_path: Path) -> None:
    found = save_diagrams(process, tmp_path / "new" / "diagrams")
    assert [(one.name, one.number) for one in found] == [
        ("P1_qq_wpz_matrix1.ps", 1), ("P1_qq_wpz_matrix2.ps", 2), ("P1_qq_wpz_matrix10.ps", 10),
        ("P2_gq_wpzq_matrix1.ps", 8), ("diagrams_0_qq_wmz.eps", 3),
    ]  # fmt: skip
    assert found[0].process == "u d~ > w+ z WEIGHTED<=1"
    for one in found:
        assert (tmp_path / "new" / "diagrams" / one.name).read_text() == Path(one.source).read_text()
    (tmp_path / "new" / "diagrams" / "P1_qq_wpz_matrix1.ps").unlink()
    assert save_diagrams(process, tmp_path / "new" / "diagrams") == found
    assert len(list((tmp_path / "new" / "diagrams").iterdir())) == len(found)
    (tmp_path / "new" / "diagrams" / "mine.txt").write_text("")
    with pytest.raises(InputError, match=r"holds other files \('mine.txt'\)"):
        save_diagrams(process, tmp_path / "new" / "diagrams")


def test_folders_without_diagrams(process: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        find_diagrams(tmp_path / "none")
    (tmp_path / "empty" / "SubProcesses" / "P1_x").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no diagrams .*noeps"):
        find_diagrams(tmp_path / "empty")
    (process / "SubProcesses" / "P1_qq_wpz" / "matrix1.ps").write_bytes(b"")
    with pytest.raises(InputError, match="no PostScript"):
        save_diagrams(process, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_to_other_places_are_left_out(process: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("%!PS secret")
    os.symlink(tmp_path / "secret", process / "SubProcesses" / "P1_qq_wpz" / "matrix3.ps")
    os.symlink(
        process / "SubProcesses" / "P2_gq_wpzq" / "matrix1.ps", process / "SubProcesses" / "P2_gq_wpzq" / "matrix2.ps"
    )
    names = [one.name for one in find_diagrams(process)]
    assert "P1_qq_wpz_matrix3.ps" not in names and "P2_gq_wpzq_matrix2.ps" in names


def code(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command(process: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eps(process / "SubProcesses" / "P3_\x1b[31m" / "matrix1.ps", "g g > \x1b]0;evil\x07 z", 1)
    words = ["simulate", "madgraph", "--read", str(process), "--diagrams"]
    assert code(*words, tmp_path / "a", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == [] and len(told["diagrams"]) == 6
    assert {path.name for path in (tmp_path / "a").iterdir()} == {one["name"] for one in told["diagrams"]}
    assert code(*words, tmp_path / "b") == 0
    shown = capsys.readouterr().out
    assert "u d~ > w+ z" in shown and "\x1b]0" not in shown and "\x1b[31m" not in shown
    assert code("simulate", "madgraph", "p p > z", "--dry", "--diagrams", tmp_path / "c") == 2
    assert code("simulate", "madgraph", "--read", process, "--pdf") == 2
    assert "--diagrams FOLDER" in capsys.readouterr().err


def ghostscript(folder: Path, body: str) -> None:
    path = folder / "gs"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_pdf_by_ghostscript(process: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="Ghostscript is not installed"):
        save_diagrams(process, tmp_path / "a", pdf=True)
    ghostscript(
        tmp_path, 'for word in "$@"; do case $word in -sOutputFile=*) echo "$*" > "${word#-sOutputFile=}";; esac; done'
    )
    found = save_diagrams(process, tmp_path / "a", pdf=True)
    assert [one.name for one in found][:2] == ["P1_qq_wpz_matrix1.pdf", "P1_qq_wpz_matrix2.pdf"]
    assert "-dSAFER" in (tmp_path / "a" / found[0].name).read_text()
    ghostscript(tmp_path, "echo undefined in Ffermion >&2; exit 1")
    with pytest.raises(BumpfitError, match=r"Ghostscript cannot make a PDF .* undefined in Ffermion"):
        save_diagrams(process, tmp_path / "b", pdf=True)
    assert not (tmp_path / "b").exists()


def test_files_that_would_have_one_name_are_refused(process: Path, tmp_path: Path) -> None:
    eps(process / "SubProcesses" / "P1 qq_wpz" / "matrix1.ps", "u d~ > w+ z", 1)
    with pytest.raises(InputError, match=r"two files of diagrams of .* would be called 'P1_qq_wpz_matrix1.ps'"):
        save_diagrams(process, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_of_many_beginnings_of_a_title_is_read_at_once(tmp_path: Path) -> None:
    """Each of them was compared with the whole rest of the line: more than a minute for 1 MB."""
    path = tmp_path / "SubProcesses" / "P1" / "matrix1.ps"
    path.parent.mkdir(parents=True)
    path.write_text("%!PS " + "50 770 moveto (" * 60_000)
    assert [one.process for one in find_diagrams(tmp_path)] == [""]
