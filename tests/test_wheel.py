"""The source archive and the wheel pass what a package index asks for, and hold what they should and no more.

`make wheel` does the same, and runs the demo from the wheel alone in an environment of its own.
"""

import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "bumpfit"
TOOLS = ("build", "hatchling", "twine", "check_wheel_contents")

pytestmark = pytest.mark.slow


def run(*words: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The archive and the wheel that is built from it."""
    missing = [name for name in TOOLS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (extra release)")
    place: Path = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", place)
    return next(place.glob("*.tar.gz")), next(place.glob("*.whl"))


def test_what_a_package_index_asks_for(built: tuple[Path, Path]) -> None:
    assert run("twine", "check", "--strict", *built).count("PASSED") == 2
    assert "OK" in run("check_wheel_contents", built[1])


def test_what_they_hold(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        held = {name for name in wheel.namelist() if not name.endswith("/")}
        about = next(name for name in held if name.endswith(".dist-info/METADATA"))
        assert "Description-Content-Type: text/markdown" in wheel.read(about).decode()
    ours = {name for name in held if ".dist-info/" not in name}
    there = {
        f"bumpfit/{path.relative_to(SOURCES).as_posix()}"
        for path in SOURCES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours == there  # data and py.typed too, and neither tests nor benchmarks
    assert {f"bumpfit/data/example_{name}.parquet" for name in ("data", "background")} < ours
    assert any(name.endswith("licenses/LICENSE") for name in held)
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "src/bumpfit/py.typed", "tests/test_wheel.py"} < names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "demo/", "out/", "site/"))]
