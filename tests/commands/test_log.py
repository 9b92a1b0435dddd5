"""What commands tell of themselves: `--log FILE` and `--verbose`."""

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run, refused

from bumpfit import caches, logs, progress

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 (INFO|DEBUG) bumpfit\.\w+: .+")


def test_log_and_verbose(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "run.log", tmp_path / "fit.json"
    done = bumpfit("fit", counting, "-o", out, f"--log={log}")
    assert done.code == 0 and not done.err
    lines = log.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert str(counting) in lines[0] and re.search(r"done after \d+\.\d s", lines[-1])
    assert any(f"read {counting}, SHA-256" in line for line in lines)
    assert any(f"wrote {out}" in line for line in lines)
    again = bumpfit("--verbose", "--log", log, "fit", tmp_path / "none.json")  # goes on at the end
    assert again.code == 2 and "ended after" in again.err and "Traceback" not in again.err
    text = log.read_text()
    assert text.startswith(lines[0]) and "Traceback" in text and "there is no file" in text
    assert not logging.getLogger("bumpfit").handlers


def test_a_file_that_is_no_log_is_kept(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    before = counting.read_text()
    assert "is no log" in refused(bumpfit("fit", counting, "--log", counting))
    assert counting.read_text() == before
    assert "cannot write the log" in refused(bumpfit("fit", counting, "--log", tmp_path / "no" / "run.log"))
    assert "--log needs" in refused(bumpfit("fit", counting, "--log"))
    assert "contradict" in refused(bumpfit("fit", counting, "--quiet", "--verbose"))


def test_work_is_told_and_names_stay_on_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.log"
    with logs.told(str(path), verbose=True), progress.bar("fits\n2026-11-29T", 3) as advance:
        advance(3)
    lines = path.read_text().splitlines()
    assert lines[0].partition("progress: ")[2] == "fits\\n2026-11-29T begins, 3 steps"
    assert re.search(r"took \d\.\d s", lines[1]) and len(lines) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_cache_of_fonts_that_cannot_be_written_is_not_told(counting: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLCONFIGDIR": str(tmp_path / "file" / "none")}
    command = [sys.executable, "-m", "bumpfit", "fit", str(counting), "--figure", str(tmp_path / "fit.png")]
    done = subprocess.run(command, env=there, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert (tmp_path / "fit.png").stat().st_size > 10_000
    with logs.told():
        assert logging.getLogger("matplotlib").filter(logging.makeLogRecord({"msg": "a label has no glyph"}))
    assert not logging.getLogger("matplotlib").filters


FONTS = """<fontconfig><dir>/usr/share/fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fc-list") is None, reason="fontconfig is not there")
def test_fontconfig_does_not_speak_where_no_cache_can_be_written(counting: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "fonts.conf").write_text(FONTS)
    nowhere = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file" / "none")}
    there = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "FONTCONFIG_FILE": str(tmp_path / "fonts.conf"),
        **nowhere,
    }
    told = subprocess.run(["fc-list"], env=there, capture_output=True, text=True, check=True).stderr
    if "No writable cache directories" not in told:
        pytest.skip("this fontconfig says nothing")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "bumpfit", "fit", str(counting), "--figure", str(tmp_path / "fit.png")]
    done = subprocess.run(
        command, env={**there, "TMPDIR": str(temporary)}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert (tmp_path / "fit.png").stat().st_size > 10_000
    assert not list(temporary.glob("bumpfit-*"))


def test_the_users_own_caches_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))
    with caches.somewhere():
        assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "not" / "yet")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "none"))
    with caches.somewhere():
        assert Path(os.environ["XDG_CACHE_HOME"]).is_dir()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "file" / "none")
