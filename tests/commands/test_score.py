"""`bumpfit score`: every event gets the place of its rank in the background."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run, refused

SMALL = 'folds = 2\n[scoring]\napproach = "trees"\n[trees]\nmodels = 1\niterations = 20\n'


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Data with 150 signal events at the end, background, and small settings."""
    rng = np.random.default_rng(5)

    def table(n: int) -> pd.DataFrame:
        return pd.DataFrame({"m_JJ": rng.uniform(2900, 3300, n), "x": rng.normal(size=n), "y": rng.normal(size=n)})

    data, background = table(1500), table(1500)
    data.loc[1350:, ["x", "y"]] = rng.normal(2.5, 0.2, (150, 2))
    for name, frame in (("data", data), ("background", background)):
        frame.to_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path / "data.parquet", tmp_path / "background.parquet", tmp_path / "small.toml"


def test_scores_are_ranks_in_the_background(bumpfit: Run, tables: tuple[Path, Path, Path], tmp_path: Path) -> None:
    data, background, config = tables
    words = ("score", data, "--background", background, "--features", "x,y", "--config", config, "--workers", 1)
    assert bumpfit(*words, "-o", tmp_path / "s.csv").code == 0
    found = pd.read_csv(tmp_path / "s.csv", index_col=0)
    assert found.index.tolist() == list(range(1500)) and found.score.between(0, 1).all()
    assert found.score.nunique() == 1500
    assert found.score[1350:].median() > 0.97 and found.score[:1350].mean() == pytest.approx(0.5, abs=0.06)
    assert np.allclose(found.m_JJ, pd.read_parquet(data).m_JJ)


def test_outputs_that_cannot_be_are_told_first(bumpfit: Run, tables: tuple[Path, Path, Path], tmp_path: Path) -> None:
    data, background, _ = tables
    before = data.read_bytes()
    words = ("score", data, "--background", background, "--features", "x,y")
    assert "is an input of this command" in refused(bumpfit(*words, "-o", data))
    assert "is a folder" in refused(bumpfit(*words, "-o", tmp_path))
    assert data.read_bytes() == before
