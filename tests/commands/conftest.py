import json
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from command_line import EXAMPLES, Done, Run
from writing_commands import Commands, Inputs, Make

from bumpfit.cli import main


@pytest.fixture
def bumpfit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Done(int(done.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The multi-channel example."""
    path = tmp_path_factory.mktemp("multi") / "multi.json"
    before = sys.argv
    sys.argv = ["multi_channel.py", str(path)]
    try:
        runpy.run_path(str(EXAMPLES / "multi_channel.py"), run_name="__main__")
    finally:
        sys.argv = before
    return path


@pytest.fixture(scope="session")
def tables() -> dict[str, pd.DataFrame]:
    """Scored tables with 40 signal events at 3000 GeV, and background alone, as the examples simulate them."""
    table = runpy.run_path(str(EXAMPLES / "simulate_scores.py"))["table"]
    return {
        "data": table(5, 4000, 40, 3000.0, 2400.0, 3800.0),
        "background": table(6, 8000, 0, 3000.0, 2400.0, 3800.0),
    }


@pytest.fixture(scope="session")
def scored(tables: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scored") / "scores.csv"
    tables["data"].to_csv(path)
    return path


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bin: 9 events, 4 expected from background, exactly known."""
    spec = {
        "channels": [
            {
                "name": "bin",
                "samples": [
                    {"name": "background", "data": [4.0], "modifiers": []},
                    {
                        "name": "signal",
                        "data": [1.0],
                        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
                    },
                ],
            }
        ],
        "observations": [{"name": "bin", "data": [9.0]}],
        "measurements": [
            {
                "name": "m",
                "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[0, 50]], "inits": [1.0]}]},
            }
        ],
        "version": "1.0.0",
    }
    path = tmp_path_factory.mktemp("counting") / "counting.json"
    path.write_text(json.dumps(spec))
    return path


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, scored: Path) -> Inputs:
    """Small inputs by name."""
    return Inputs(tmp_path_factory.mktemp("inputs"), {"scored": scored})


@pytest.fixture
def commands(bumpfit: Run, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Command lines in an empty folder of their own."""
    import sklearn.ensemble  # noqa: F401  (joblib asks the system for a semaphore, and warns where there is no room)

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda case: Commands(case, bumpfit, inputs, tmp_path / "here")


@pytest.fixture(autouse=True)
def quiet_pyhf() -> Iterator[None]:
    """pyhf warns about its own internals; that is not ours to fail on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pyhf")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
