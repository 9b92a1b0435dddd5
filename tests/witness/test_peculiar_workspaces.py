"""What published workspaces are known to hold, each peculiarity alone, against pyhf.

Zero yields and errors, one-sided and negative shapes, held parameters, settings of the measurement, parameters shared
by samples and channels, names of any characters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyhf
import pytest

from bumpfit.inference import cls, fit
from bumpfit.workspace import read

Spec = dict[str, Any]


def mod(name: str, kind: str, data: Any = None) -> Spec:
    return {"name": name, "type": kind, "data": data}


def smp(name: str, data: list[float], *modifiers: Spec) -> Spec:
    return {"name": name, "data": data, "modifiers": list(modifiers)}


def ws(
    channels: Mapping[str, Sequence[Spec]],
    observed: Mapping[str, Sequence[float]],
    settings: Sequence[Spec] = (),
    poi: str = "mu",
) -> Spec:
    return {
        "channels": [{"name": k, "samples": list(v)} for k, v in channels.items()],
        "observations": [{"name": k, "data": list(v)} for k, v in observed.items()],
        "measurements": [{"name": "m", "config": {"poi": poi, "parameters": list(settings)}}],
        "version": "1.0.0",
    }


MU = mod("mu", "normfactor")
LUMI = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.017], "bounds": [[0.915, 1.085]], "inits": [1.0]}
SEEN = {"SR": [57.0, 63.0]}
K = mod("k", "normsys", {"lo": 0.9, "hi": 1.1})


def sig(*modifiers: Spec) -> Spec:
    return smp("sig", [5.0, 6.0], MU, *modifiers)


def bkg(*modifiers: Spec) -> Spec:
    return smp("bkg", [50.0, 60.0], *modifiers)


def shape(lo: list[float], hi: list[float]) -> Spec:
    return mod("h", "histosys", {"lo_data": lo, "hi_data": hi})


CASES: dict[str, Spec] = {}
CASES["uncorrelated"] = ws(
    {
        "singlechannel": [
            smp("signal", [12.0, 11.0], MU),
            smp("background", [50.0, 52.0], mod("uncorr_bkguncrt", "shapesys", [3.0, 7.0])),
        ]
    },
    {"singlechannel": [51.0, 48.0]},
)
CASES["correlated"] = ws(
    {
        "singlechannel": [
            smp("signal", [12.0, 11.0], MU),
            smp(
                "background",
                [50.0, 52.0],
                mod("correlated_bkg_uncertainty", "histosys", {"hi_data": [55.0, 65.0], "lo_data": [45.0, 40.0]}),
            ),
        ]
    },
    {"singlechannel": [58.0, 48.0]},
)
CASES["2bin2ch coupledshapefactor"] = ws(
    {
        "signal": [smp("sig", [20.0, 20.0], MU), smp("bkg1", [100.0, 70.0], mod("coupled_shapefactor", "shapefactor"))],
        "control": [smp("bkg1", [100.0, 100.0], mod("coupled_shapefactor", "shapefactor"))],
    },
    {"signal": [220.0, 230.0], "control": [200.0, 300.0]},
)
CASES["2bin2ch coupledhisto"] = ws(
    {
        "signal": [
            smp("sig", [20.0, 20.0], MU),
            smp("bkg1", [100.0, 70.0], mod("c", "histosys", {"lo_data": [50.0, 40.0], "hi_data": [150.0, 100.0]})),
            smp("bkg2", [5.0, 5.0], mod("c2", "histosys", {"lo_data": [3.0, 3.0], "hi_data": [9.0, 9.0]})),
        ],
        "control": [
            smp("bkg1", [100.0, 100.0], mod("c", "histosys", {"lo_data": [90.0, 90.0], "hi_data": [180.0, 150.0]}))
        ],
    },
    {"signal": [105.0, 60.0], "control": [200.0, 300.0]},
)
CASES["1bin normsys"] = ws(
    {"s": [smp("sig", [20.0], MU), smp("b", [100.0], mod("k", "normsys", {"lo": 0.7, "hi": 1.2}))]}, {"s": [120.0]}
)
CASES["1bin lumi"] = ws(
    {"s": [smp("sig", [20.0], MU, mod("lumi", "lumi")), smp("b", [100.0], mod("lumi", "lumi")), smp("b2", [10.0])]},
    {"s": [120.0]},
    [LUMI],
)
CASES["statex"] = ws(
    {
        "s": [
            smp("sig", [20.0, 10.0], MU, mod("st", "staterror", [2.0, 1.0])),
            smp("b1", [100.0, 0.0], mod("st", "staterror", [5.0, 0.0])),
            smp("b2", [0.0, 100.0], mod("st", "staterror", [0.0, 10.0])),
        ]
    },
    {"s": [122.0, 112.0]},
)
CASES["no bounds/inits given"] = ws(
    {"s": [smp("sig", [20.0], MU), smp("b", [100.0], mod("k", "normsys", {"lo": 0.7, "hi": 1.2}))]},
    {"s": [120]},
    [{"name": "mu"}, {"name": "k"}],
)
CASES["integers"] = ws(
    {"s": [smp("sig", [20], MU), smp("b", [100], mod("k", "normsys", {"lo": 1, "hi": 1.2}))]},
    {"s": [120]},
    [{"name": "mu", "bounds": [[0, 10]], "inits": [1]}],
)
CASES["normsys lo=hi=1"] = ws({"SR": [sig(), bkg(mod("k", "normsys", {"lo": 1.0, "hi": 1.0}))]}, SEEN)
CASES["normsys same side"] = ws({"SR": [sig(), bkg(mod("k", "normsys", {"lo": 1.1, "hi": 1.2}))]}, SEEN)
CASES["normsys lo>1>hi"] = ws({"SR": [sig(), bkg(mod("k", "normsys", {"lo": 1.3, "hi": 0.8}))]}, SEEN)
CASES["normsys huge"] = ws({"SR": [sig(), bkg(mod("k", "normsys", {"lo": 0.01, "hi": 5.0}))]}, SEEN)
CASES["normsys tiny lo"] = ws({"SR": [sig(), bkg(mod("k", "normsys", {"lo": 1e-6, "hi": 2.0}))]}, SEEN)
CASES["histosys negative bins"] = ws({"SR": [sig(), bkg(shape([-3.0, 70.0], [80.0, 40.0]))]}, SEEN)
CASES["histosys one sided"] = ws({"SR": [sig(), bkg(shape([50.0, 60.0], [55.0, 62.0]))]}, SEEN)
CASES["histosys same side both"] = ws({"SR": [sig(), bkg(shape([52.0, 63.0], [55.0, 62.0]))]}, SEEN)
CASES["histosys on zero yield"] = ws({"SR": [sig(), bkg(), smp("z", [0.0, 0.0], shape([0.0, 0.0], [2.0, 1.0]))]}, SEEN)
CASES["histosys on small sample going neg"] = ws(
    {"SR": [sig(), bkg(), smp("z", [1.0, 1.0], shape([-4.0, -3.0], [8.0, 1.0]))]}, SEEN
)
CASES["empty bin zero data"] = ws(
    {"SR": [smp("sig", [5.0, 0.0, 6.0], MU), smp("bkg", [50.0, 0.0, 60.0], mod("st", "staterror", [3.0, 0.0, 3.0]))]},
    {"SR": [57.0, 0.0, 63.0]},
)
CASES["bkg zero, signal not, data 0"] = ws(
    {"SR": [smp("sig", [5.0, 2.0, 6.0], MU), smp("bkg", [50.0, 0.0, 60.0], mod("st", "staterror", [3.0, 0.0, 3.0]))]},
    {"SR": [57.0, 0.0, 63.0]},
)
CASES["tiny yields"] = ws(
    {"SR": [smp("sig", [5.0, 2.0, 6.0], MU), smp("bkg", [50.0, 1e-6, 60.0], mod("st", "staterror", [3.0, 1e-6, 3.0]))]},
    {"SR": [57.0, 0.0, 63.0]},
)
CASES["poi bounds start 0.5"] = ws({"SR": [sig(), bkg()]}, SEEN, [{"name": "mu", "bounds": [[-5, 5]], "inits": [0.5]}])
CASES["poi negative bounds, deficit"] = ws(
    {"SR": [sig(), bkg(K)]}, {"SR": [41.0, 50.0]}, [{"name": "mu", "bounds": [[-5, 5]]}]
)
CASES["poi narrow range [0,1]"] = ws(
    {"SR": [sig(), bkg(K)]}, {"SR": [71.0, 80.0]}, [{"name": "mu", "bounds": [[0, 1]]}]
)
CASES["nuisance fixed at value"] = ws({"SR": [sig(), bkg(K)]}, SEEN, [{"name": "k", "fixed": True, "inits": [0.7]}])
CASES["staterror fixed"] = ws(
    {"SR": [sig(), bkg(mod("st", "staterror", [3.0, 4.0]))]}, SEEN, [{"name": "st", "fixed": True, "inits": [1.0, 1.0]}]
)
CASES["lumi fixed"] = ws({"SR": [sig(mod("lumi", "lumi")), bkg()]}, SEEN, [{**LUMI, "fixed": True}])
CASES["auxdata/inits/bounds of alpha"] = ws(
    {"SR": [sig(), bkg(K)]}, SEEN, [{"name": "k", "auxdata": [0.3], "inits": [0.1], "bounds": [[-2, 3]]}]
)
CASES["sigmas of staterror"] = ws(
    {"SR": [sig(), bkg(mod("st", "staterror", [3.0, 4.0]))]}, SEEN, [{"name": "st", "sigmas": [0.5, 0.1]}]
)
CASES["auxdata of staterror"] = ws(
    {"SR": [sig(), bkg(mod("st", "staterror", [3.0, 4.0]))]}, SEEN, [{"name": "st", "auxdata": [1.01, 0.98]}]
)
CASES["factors of shapesys"] = ws(
    {"SR": [sig(), bkg(mod("u", "shapesys", [3.0, 4.0]))]},
    SEEN,
    [{"name": "u", "factors": [100.0, 200.0], "auxdata": [100.0, 200.0]}],
)
CASES["poi inits 0"] = ws(
    {"SR": [sig(), bkg(mod("u", "shapesys", [3.0, 4.0]))]}, SEEN, [{"name": "mu", "inits": [0.0], "bounds": [[0, 10]]}]
)
CASES["settings of unknown parameter"] = ws(
    {"SR": [sig(), bkg()]}, SEEN, [{"name": "never", "fixed": True}, {"name": "mu", "bounds": [[0, 5]]}]
)
CASES["staterror zero yields"] = ws(
    {"SR": [sig(), smp("a", [0.0, 0.0], mod("st", "staterror", [0.0, 0.0])), bkg(mod("st", "staterror", [3.0, 4.0]))]},
    SEEN,
)
CASES["staterror zero yield with error"] = ws(
    {"SR": [sig(), smp("a", [0.0, 3.0], mod("st", "staterror", [1.2, 1.0])), bkg()]}, SEEN
)
CASES["staterror all zero"] = ws({"SR": [sig(), bkg(mod("st", "staterror", [0.0, 0.0]))]}, SEEN)
CASES["shapesys zero"] = ws({"SR": [sig(), bkg(mod("u", "shapesys", [0.0, 4.0]))]}, SEEN)
CASES["shapesys zero yields"] = ws(
    {
        "SR": [
            smp("sig", [5.0, 6.0, 3.0], MU),
            smp("b", [50.0, 60.0, 0.0], mod("u", "shapesys", [3.0, 4.0, 1.0])),
            smp("c", [1.0, 1.0, 1.0]),
        ]
    },
    {"SR": [57.0, 63.0, 3.0]},
)
CASES["channel with zero sample only CR"] = ws(
    {"SR": [sig(), bkg()], "CR": [smp("sig", [0.0, 0.0], MU), bkg(K)]}, {**SEEN, "CR": [44.0, 66.0]}
)
CASES["normfactor shared samples"] = ws(
    {
        "SR": [sig(mod("n", "normfactor")), bkg(mod("n", "normfactor"))],
        "CR": [smp("x", [100.0, 10.0], mod("n", "normfactor"))],
    },
    {**SEEN, "CR": [104.0, 11.0]},
)
CASES["two normfactors one sample"] = ws(
    {"SR": [sig(mod("br", "normfactor")), bkg(K)]}, SEEN, [{"name": "br", "fixed": True, "inits": [0.5]}]
)
CASES["poi constrained normsys"] = ws(
    {"SR": [smp("sig", [5.0, 6.0], mod("mu", "normsys", {"lo": 0.5, "hi": 1.5})), bkg()]}, SEEN
)
CASES["poi in all channels but one"] = ws(
    {"SR": [sig(), bkg(mod("n", "normfactor"))], "CR1": [bkg(mod("n", "normfactor"))], "CR2": [smp("q", [1000.0], K)]},
    {**SEEN, "CR1": [44.0, 66.0], "CR2": [1010.0]},
)
CASES["unusual names"] = ws(
    {
        "SR (≥2 b), 0ℓ/a[1] 'x' \"y\"": [
            smp("sig µ", [5.0, 6.0], mod("µ_SIG [pb]", "normfactor")),
            smp(
                "bkg\\t",
                [50.0, 60.0],
                mod("α/β %s {0} [0]", "normsys", {"lo": 0.9, "hi": 1.1}),
                mod("st [SR]", "staterror", [3.0, 4.0]),
            ),
        ]
    },
    {"SR (≥2 b), 0ℓ/a[1] 'x' \"y\"": [57.0, 63.0]},
    poi="µ_SIG [pb]",
)
CASES["name with spaces, empty names"] = ws({"": [smp("", [5.0, 6.0], MU), smp(" ", [50.0, 60.0])]}, {"": [57.0, 63.0]})
CASES["same name normsys+histosys"] = ws(
    {
        "SR": [
            sig(mod("k", "normsys", {"lo": 0.95, "hi": 1.02})),
            bkg(K, mod("k", "histosys", {"lo_data": [48.0, 62.0], "hi_data": [53.0, 57.0]})),
        ]
    },
    SEEN,
)
CASES["channel order differs"] = ws(
    {"Z": [sig(), bkg(K)], "A": [smp("x", [100.0, 10.0, 3.0], mod("k", "normsys", {"lo": 0.8, "hi": 1.3}))]},
    {"Z": [57.0, 63.0], "A": [99.0, 11.0, 2.0]},
)
CASES["observation of a further channel"] = ws({"SR": [sig(), bkg()]}, {**SEEN, "VR": [3.0, 4.0]})
CASES["staterror shared over channels"] = ws(
    {"SR": [sig(), bkg(mod("st", "staterror", [3.0, 4.0]))], "CR": [bkg(mod("st", "staterror", [5.0, 2.0]))]},
    {**SEEN, "CR": [44.0, 66.0]},
)
CASES["staterror shared, different bins"] = ws(
    {
        "SR": [sig(), bkg(mod("st", "staterror", [3.0, 4.0]))],
        "CR": [smp("bkg", [100.0], mod("st", "staterror", [5.0]))],
    },
    {**SEEN, "CR": [104.0]},
)
CASES["shapefactor over channels different bins"] = ws(
    {"SR": [sig(), bkg(mod("f", "shapefactor"))], "CR": [smp("bkg", [100.0, 110.0, 120.0], mod("f", "shapefactor"))]},
    {**SEEN, "CR": [104.0, 105.0, 106.0]},
)
CASES["shapefactor CR"] = ws(
    {"SR": [sig(), bkg(mod("f", "shapefactor"))], "CR": [smp("bkg", [500.0, 600.0], mod("f", "shapefactor"))]},
    {**SEEN, "CR": [520.0, 610.0]},
)
CASES["shapefactor sorted SR first"] = ws(
    {"A_SR": [sig(), bkg(mod("f", "shapefactor"), K)], "CR": [smp("bkg", [500.0, 600.0], mod("f", "shapefactor"))]},
    {"A_SR": [57.0, 63.0], "CR": [520.0, 610.0]},
)
CASES["non-integer data"] = ws({"SR": [sig(), bkg(K)]}, {"SR": [57.3, 61.8]})
CASES["zero data everywhere"] = ws({"SR": [sig(), bkg(K)]}, {"SR": [0.0, 0.0]})
CASES["few events"] = ws(
    {
        "SR": [
            smp("sig", [2.5], MU, mod("ks", "normsys", {"lo": 0.8, "hi": 1.2})),
            smp("b", [0.3], mod("k", "normsys", {"lo": 0.5, "hi": 1.7}), mod("st", "staterror", [0.1])),
        ]
    },
    {"SR": [2.0]},
)
CASES["alpha only in signal"] = ws({"SR": [sig(K), bkg()]}, SEEN)
CASES["alpha without effect histosys"] = ws({"SR": [sig(), bkg(shape([50.0, 60.0], [50.0, 60.0]))]}, SEEN)
CASES["lumi with bounds [0,10]"] = ws(
    {"SR": [sig(mod("lumi", "lumi")), bkg(mod("lumi", "lumi"))]},
    SEEN,
    [{"name": "lumi", "auxdata": [1.0], "sigmas": [0.02], "bounds": [[0, 10]], "inits": [1.0]}],
)
CASES["multi dof: bounds [0,0.?] touching init"] = ws(
    {"SR": [sig(), bkg(K)]},
    SEEN,
    [{"name": "mu", "bounds": [[0, 10]], "inits": [0.0]}, {"name": "k", "bounds": [[0, 5]]}],
)
CASES["equal bounds"] = ws({"SR": [sig(), bkg(K)]}, SEEN, [{"name": "k", "bounds": [[0, 0]]}])


@pytest.mark.parametrize("name", CASES)
def test_likelihood(name: str) -> None:
    spec = CASES[name]
    model = read(spec)
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    data = workspace.data(theirs)
    assert list(model.names) == theirs.config.par_names
    assert model.poi is None or model.names.index(model.poi) == theirs.config.poi_index
    np.testing.assert_array_equal(model.inits, theirs.config.suggested_init())
    np.testing.assert_array_equal(np.column_stack([model.lower, model.upper]), theirs.config.suggested_bounds())
    held = np.array([p.fixed for p in model.parameters])
    width = model.upper > model.lower  # pyhf leaves it to the minimiser that a range without width holds
    np.testing.assert_array_equal(held[width], np.array(theirs.config.suggested_fixed())[width])
    rng = np.random.default_rng(1)
    for _ in range(6):
        # not towards zero rates, where a difference of rounding errors has no bound
        x = np.where(held, model.inits, np.clip(model.inits + rng.normal(0, 0.2, model.inits.size), 0.5, 2.0))
        assert model.twice_nll(x) == pytest.approx(float(-2 * theirs.logpdf(x, data)[0]), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_answers(name: str) -> None:
    """The fit lies nowhere above pyhf's; where pyhf finds the same minima, CLs and limits agree."""
    spec = CASES[name]
    model = read(spec)
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    data = workspace.data(theirs)
    best = fit(model)
    assert best.valid, best.status
    assert float(-2 * theirs.logpdf(best.array, data)[0]) == pytest.approx(best.twice_nll, rel=1e-9)
    try:
        _, free = pyhf.infer.mle.fit(data, theirs, return_fitted_val=True)
        tested, band = pyhf.infer.hypotest(1.0, data, theirs, return_expected_set=True)
    except (pyhf.exceptions.FailedMinimization, ValueError):
        pytest.skip("pyhf's minimiser gives no answer")
    assert best.twice_nll <= float(free) + 1e-6
    if best.twice_nll < float(free) - 1e-4:
        pytest.skip("pyhf's minimiser stops above the minimum")
    if name == "poi negative bounds, deficit":
        pytest.skip("pyhf applies the formulae of q-tilde to q there; q-tilde compares with a strength of 0")
    found = cls(model, 1.0)
    assert found.observed == pytest.approx(float(tested), rel=1e-3)
    assert found.expected == pytest.approx([float(v) for v in band], rel=1e-3)
