"""The commands and the Python example of the README do what they say, on a small part of the packaged example."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


QUICK = ("--quick", "--iterations", "0", "--workers", "1")
"""What a whole run on two workers does more is seen in tests/test_end_to_end.py."""


@pytest.mark.slow
def test_readme(tmp_path: Path) -> None:
    for name, rows in (("data", 1200), ("background", 1000)):
        pd.read_parquet(files("bumpfit") / "data" / f"example_{name}.parquet").iloc[:rows].to_csv(
            tmp_path / f"{name}.csv"
        )
    commands = re.findall(r"^    (bumpfit .*)$", README, re.MULTILINE)
    assert commands
    for command in commands:
        words = [sys.executable, "-m", *command.split(), *QUICK]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out" / "report.html").exists()
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    code = example.group(1).replace("10_000", "500")
    code = code.replace('"out", seed=1', '"again", seed=1, quick=True, iterations=0, workers=1')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
