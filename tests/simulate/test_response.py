from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate.response import build, calibrated, peak


def test_the_peak_of_a_skewed_distribution_is_its_mode() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(1.0, 0.05, 4000), rng.exponential(1.0, 4000)])
    assert peak(values) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(BumpfitError, match="too few"):
        peak(np.array([1.0]))


def test_one_scale_for_all_masses() -> None:
    frames = [
        pd.DataFrame({"resonance": np.full(10, value), "m_B": np.full(10, 0.9), "m_C": np.full(10, 1.1)})
        for value in (0.8, 0.5, 1.6)
    ]
    made = calibrated(frames)
    assert made.resonance.iloc[0] == pytest.approx(1.0)
    assert made.m_B.unique() == pytest.approx([0.9 / 0.8])
    assert made.m_C.unique() == pytest.approx([1.1 / 0.8])


@pytest.mark.parametrize("grid", [(), (0.0, 0.1), (1.7,)])
def test_grids_that_cannot_be_made(grid: tuple[float, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="grid"):
        build(tmp_path / "x.parquet", grid)


def test_a_small_library(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    path = tmp_path / "library.parquet"
    made = build(path, (0.3,), n=60, seed=1)
    table = pd.read_parquet(path)
    packaged = pd.read_parquet(Path(__file__).parents[2] / "src/bumpfit/data/jet_response.parquet")
    assert dict(table.dtypes) == dict(packaged.dtypes)
    assert (made.points, made.generated, made.events) == (2, 120, len(table))
    same = packaged[(packaged.x_B.round(3) == 0.3) & (packaged.x_C.round(3) == 0.3)]
    for name in ("resonance", "m_B", "m_C", "tau21_B", "tau21_C"):
        ours, theirs = table[name].to_numpy(), same[name].to_numpy()
        # error of a median: 1.25 sigma / sqrt(n), with the width of the middle of the distribution
        width = (np.quantile(theirs, 0.84) - np.quantile(theirs, 0.16)) / 2
        assert abs(np.median(ours) - np.median(theirs)) < 5 * 1.25 * width / np.sqrt(ours.size)
