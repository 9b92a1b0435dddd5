import numpy as np
import pytest
from scipy import stats
from toy_models import dijet

from bumpfit import toys
from bumpfit.errors import BumpfitError
from bumpfit.toys import LogLinear


def test_tail_curve(spectrum: LogLinear) -> None:
    found = toys.throw(spectrum, 50_000)
    curve = toys.tail_curve(found, [1.0, 4.0, 1e6])
    assert curve.p[0] == found.p_value(1.0)[0]
    np.testing.assert_allclose(curve.formula[:2], 0.5 * stats.chi2.sf([1, 4], 1))
    assert curve.p[2] == found.floor
    assert curve.error[2] == pytest.approx(found.floor, rel=1e-3)
    tally = toys.run(toys.engine(spectrum), 50_000)
    np.testing.assert_array_equal(toys.tail_curve(tally, [1.0, 4.0, 1e6]).p, curve.p)
    both = toys.throw(spectrum, 100, statistic="tmu", mu=1.0)
    assert toys.tail_curve(both, [1.0]).formula[0] == pytest.approx(stats.chi2.sf(1, 1))
    assert toys.tail_curve(toys.throw(spectrum, 100, statistic="tmu", mu=1.0, test=0.0), [1.0]).formula is None


def test_convergence(spectrum: LogLinear) -> None:
    found = toys.throw(spectrum, 20_000)
    curve = toys.convergence(found, 2.0)
    assert (curve.x[0], curve.x[-1]) == (10, 20_000)
    assert curve.p[-1] == pytest.approx(found.p_value(2.0)[0])
    assert curve.error[-1] == pytest.approx(found.p_value(2.0)[1], rel=0.01)
    weighted = toys.tail(spectrum, 8000)
    assert toys.convergence(weighted, 16.0).p[-1] == pytest.approx(weighted.p_value(16.0)[0])
    with pytest.raises(BumpfitError, match="no p-value to follow"):
        toys.convergence(found)


def test_global_curve() -> None:
    model = dijet(60_000)
    signals = np.stack([dijet(60_000, peak=m).signal for m in np.linspace(3000, 6000, 12)])
    scans = toys.scan_toys(model.with_signal(signals), 4000)
    curve = toys.global_curve(scans, [1.0, 2.0, 3.0])
    assert (np.diff(curve.p) < 0).all()
    assert (curve.formula > curve.p - 4 * curve.error).all()
