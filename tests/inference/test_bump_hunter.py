"""BumpHunter against pyBumpHunter, and against closed forms."""

import numpy as np
import pytest
from scipy import stats

from bumpfit import inference
from bumpfit.errors import InputError
from bumpfit.inference.bump_hunter import _Hunter, _log_lower_tail, _log_tail

EDGES = np.linspace(0.0, 20.0, 21)
MEAN = 100.0 * np.exp(-EDGES[:-1] / 8.0)


def spectrum(extra: float = 40.0) -> np.ndarray:
    counts = np.random.default_rng(5).poisson(MEAN).astype(float)
    counts[6:9] += extra * np.array([0.25, 0.5, 0.25])
    return counts.round()


@pytest.mark.parametrize(("sidebands", "deficits"), [(False, False), (True, False), (False, True)])
def test_windows_and_global_p_value_are_those_of_pybumphunter(sidebands: bool, deficits: bool) -> None:
    theirs = pytest.importorskip("pyBumpHunter")
    for extra in (0.0, 20.0):
        counts = spectrum(extra)
        hunter = theirs.BumpHunter1D(
            width_min=2, width_max=6, width_step=1, scan_step=1, npe=600, nworker=1, seed=1, bins=EDGES,
            use_sideband=sidebands, mode="deficit" if deficits else "excess",
        )  # fmt: skip
        hunter.bump_scan(counts, MEAN, is_hist=True)
        found = inference.bump_hunter(
            (counts, EDGES), (MEAN, EDGES), narrowest=2, widest=6, sidebands=sidebands, deficits=deficits, toys=2000
        )
        assert found.t == pytest.approx(hunter.t_ar[0], rel=1e-9)
        assert (found.low, found.bins) == (EDGES[hunter.min_loc_ar[0]], hunter.min_width_ar[0])
        assert found.data - found.background == pytest.approx(hunter.signal_eval, rel=1e-9)
        error = np.hypot(found.error, np.sqrt(hunter.global_Pval * (1 - hunter.global_Pval) / 600))
        assert abs(found.p - hunter.global_Pval) < 4 * error + 1e-3


def test_tails_are_those_of_the_poisson_law() -> None:
    d, b = np.array([3.0, 50.0, 200.0, 0.0, 4.0, 5.0]), np.array([1.0, 20.0, 90.0, 1.0, 4.0, 9.0])
    np.testing.assert_allclose(_log_tail(d, b)[:3], stats.poisson.logsf(d[:3] - 1, b[:3]), rtol=1e-12)
    assert (_log_tail(d, b)[3:] == 0).all()
    # far out: the terms of the sum themselves
    d, b = 600.0, 20.0
    terms = stats.poisson.logpmf(np.arange(d, d + 60), b)
    assert _log_tail(np.array([d]), np.array([b]))[0] == pytest.approx(np.logaddexp.reduce(terms), rel=1e-12)


def test_lower_tails_are_those_of_the_poisson_law() -> None:
    d, b = np.array([3.0, 20.0, 0.0, 4.0, 5.0]), np.array([9.0, 50.0, 2.0, 4.0, 1.0])
    np.testing.assert_allclose(_log_lower_tail(d, b)[:3], stats.poisson.logcdf(d[:3], b[:3]), rtol=1e-12)
    assert (_log_lower_tail(d, b)[3:] == 0).all()
    terms = stats.poisson.logpmf(np.arange(0, 101), 1200.0)
    assert _log_lower_tail(np.array([100.0]), np.array([1200.0]))[0] == pytest.approx(
        np.logaddexp.reduce(terms), rel=1e-12
    )


@pytest.mark.parametrize("deficits", [False, True])
@pytest.mark.parametrize("extra", [-20.0, 0.0, 40.0])
def test_toys_that_are_counted_are_those_that_are_scanned(extra: float, deficits: bool) -> None:
    """The critical numbers of events say the same as the p-values of all windows."""
    mean = np.r_[MEAN / 3.0, 0.0, 0.02]
    hunter = _Hunter(mean, range(1, 8), sidebands=False, deficits=deficits)
    t = float(hunter.scan(np.r_[spectrum(extra).clip(0) // 3, 0.0, 0.0][None, :])[0][0])
    thrown = np.random.default_rng([7, 0]).poisson(mean, (700, len(mean))).astype(float)
    assert hunter.exceeding(t, 700, 7) == int((hunter.scan(thrown)[0] >= t).sum())


def test_a_window_needs_expected_events_only_where_there_are_some() -> None:
    mean, counts = np.r_[MEAN, 0.0, 0.5], np.r_[spectrum(), 1.0, 0.0]
    edges = np.arange(len(mean) + 1.0)
    assert inference.bump_hunter((counts, edges), (mean, edges), narrowest=2, toys=10).bins >= 2
    with pytest.raises(InputError, match="no events are expected from 20 to 21"):
        inference.bump_hunter((counts, edges), (mean, edges), narrowest=1, toys=10)


def test_one_window_has_no_trials() -> None:
    """A window of all bins: the global p-value is the local one, within the error of the toys."""
    counts = np.array([30.0, 20.0])
    found = inference.bump_hunter((counts, [0, 1, 2]), ([22.0, 18.0], [0, 1, 2]), narrowest=2, widest=2, toys=4000)
    assert found.p_local == pytest.approx(stats.poisson.sf(49, 40.0), rel=1e-12)
    assert abs(found.p - found.p_local) < 4 * found.error
    assert found.z_local == pytest.approx(stats.norm.isf(found.p_local), rel=1e-9)


def test_p_values_are_uniform_under_the_background_and_never_zero() -> None:
    rng = np.random.default_rng(9)
    p = [
        inference.bump_hunter((rng.poisson(MEAN), EDGES), (MEAN, EDGES), narrowest=2, widest=3, toys=200, seed=i).p
        for i in range(60)
    ]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    found = inference.bump_hunter((spectrum(4000), EDGES), (MEAN, EDGES), toys=100)
    assert found.p == 1 / 101 and found.exceeding == 0 and np.isfinite(found.z_local)
    assert found == inference.bump_hunter((spectrum(4000), EDGES), (MEAN, EDGES), toys=100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background": (MEAN, EDGES + 1)}, "different edges"),
        ({"background": (np.r_[0.0, MEAN[1:]], EDGES)}, "no events are expected from 0 to 1, but some are there"),
        ({"background": (np.r_[np.zeros(12), MEAN[12:]], EDGES), "narrowest": 4, "widest": 9, "sidebands": True},
         "no events are expected from 0 to 4"),
        ({"data": (spectrum() + 0.5, EDGES)}, "no whole numbers"),
        ({"narrowest": 0}, "expected 1 or more"), ({"narrowest": 5, "widest": 4}, "windows of 5 to 4"),
        ({"widest": 21}, "at most the 20"), ({"widest": 20, "sidebands": True}, "leaves none"),
        ({"toys": 0}, "at least 1 toy"), ({"seed": -1}, "a seed of 0 or more"),
    ],
)  # fmt: skip
def test_wrong_use(change: dict, message: str) -> None:  # type: ignore[type-arg]
    given = {"data": (spectrum(), EDGES), "background": (MEAN, EDGES), **change}
    with pytest.raises(InputError, match=message):
        inference.bump_hunter(**given)
