"""Mean log ranks: scales of the sources do not matter, ties share their place."""

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.scoring.ranks import log_rank, mean_log_rank


def test_log_rank_is_that_of_the_fraction_above() -> None:
    assert np.allclose(np.exp(-log_rank(np.array([3.0, 1.0, 2.0, 4.0]))), [0.375, 0.875, 0.625, 0.125])
    assert np.allclose(np.exp(-log_rank(np.zeros(4))), 0.5)


def test_no_source_outvotes_another_by_its_scale() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50))
    assert np.allclose(mean_log_rank([a, b]), mean_log_rank([a, np.exp(100 * b / np.abs(b).max())]))


def test_sources_of_different_events_are_refused() -> None:
    with pytest.raises(InputError, match="same events"):
        mean_log_rank([np.zeros(3), np.zeros(4)])
    with pytest.raises(InputError, match="same events"):
        mean_log_rank([])
