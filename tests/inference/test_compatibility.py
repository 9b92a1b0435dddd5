"""Compatibility of channels against closed forms, sums over all outcomes and pyhf."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from bumpfit import inference
from bumpfit.errors import BumpfitError, InputError
from bumpfit.toys import Toys
from bumpfit.workspace import build, read
from bumpfit.workspace.decorrelate import decorrelate
from bumpfit.workspace.model import Model

COUNTS = {"A": (10.0, 50.0, 58), "B": (5.0, 20.0, 31), "C": (3.0, 10.0, 8)}
"""Signal, background and events of each channel."""


def counting(*, systematics: bool = False, counts: dict[str, tuple[float, float, int]] = COUNTS) -> Model:
    shared = [build.modifier("normsys", "lumi", (0.9, 1.1))] if systematics else []
    channels = {
        name: [
            build.sample("signal", [s], build.modifier("normfactor", "mu"), *shared),
            build.sample("bkg", [b], *([build.modifier("normsys", "xs", (0.8, 1.2))] if systematics else [])),
        ]
        for name, (s, b, _) in counts.items()
    }  # fmt: skip
    observed = {name: [n] for name, (_, _, n) in counts.items()}
    return read(build.workspace(channels, observed, "mu", {"mu": {"bounds": [[-2.5, 20]]}}))


def ratio(events: tuple[int, ...], s: tuple[float, ...], b: tuple[float, ...], low: float) -> float:
    """t of independent counts: sums of deviances, the best strength of a channel being (n - b) / s."""

    def deviance(mu: tuple[float, ...]) -> float:
        rates = [m * x + y for m, x, y in zip(mu, s, b, strict=True)]
        return sum(
            2 * (r - n + (n * math.log(n / r) if n else 0.0)) if r > 0 or n == 0 else math.inf
            for n, r in zip(events, rates, strict=True)
        )

    own = tuple(max((n - y) / x, low) for n, x, y in zip(events, s, b, strict=True))
    common = optimize.minimize_scalar(
        lambda mu: deviance((mu,) * len(s)), bounds=(low, 60), method="bounded", options={"xatol": 1e-9}
    )
    return float(common.fun) - deviance(own)


def test_counts_are_those_of_the_closed_form() -> None:
    found = inference.compatibility(counting())
    s, b, n = zip(*COUNTS.values(), strict=True)
    assert found.statistic == pytest.approx(ratio(n, s, b, -2.5), abs=1e-6)
    assert found.degrees_of_freedom == 2
    assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 2), rel=1e-9)
    for row, x, y, events in zip(found.channels, s, b, n, strict=True):
        assert row.strength == pytest.approx((events - y) / x, abs=1e-5)
        assert row.low is not None and row.high is not None and row.pull is not None

        def rise(mu: float, x: float = x, y: float = y, events: int = events) -> float:
            return 2 * (mu * x + y - events + events * math.log(events / (mu * x + y))) - 1.0

        assert row.high == pytest.approx(optimize.brentq(rise, row.strength, 20), abs=2e-3)
        assert row.low == pytest.approx(optimize.brentq(rise, max(-2.5, -y / x + 1e-6), row.strength), abs=2e-3)
        side = row.high if found.strength > row.strength else row.low
        assert row.pull == pytest.approx((row.strength - found.strength) / abs(side - row.strength))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_shared_nuisance_parameters_are_those_of_pyhf() -> None:
    pyhf = pytest.importorskip("pyhf")
    model = counting(systematics=True)
    found = inference.compatibility(model)
    value = {}
    for label, spec in (("one", model.spec), ("each", decorrelate(model.spec, "mu"))):
        workspace = pyhf.Workspace(spec)
        theirs = workspace.model()
        with np.errstate(all="ignore"):
            pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4))
            value[label] = float(pyhf.infer.mle.fit(workspace.data(theirs), theirs, return_fitted_val=True)[1])
    assert found.statistic == pytest.approx(value["one"] - value["each"], abs=1e-4)


def test_channels_of_a_group_share_their_strength() -> None:
    found = inference.compatibility(counting(), groups={"AB": ["A", "B"]})
    assert [(row.name, row.channels) for row in found.channels] == [("AB", ("A", "B")), ("C", ("C",))]
    assert found.degrees_of_freedom == 1
    best = inference.fit(counting(counts={k: COUNTS[k] for k in "AB"})).values["mu"]
    assert found.channels[0].strength == pytest.approx(best, abs=1e-5)


def test_toys_have_the_law_of_all_outcomes() -> None:
    """Two channels of few events: the probability is a sum over all pairs of counts."""
    counts = {"A": (2.0, 1.0, 7), "B": (2.0, 2.0, 2)}
    model = counting(counts=counts)
    model = dataclasses.replace(model, parameters=tuple(dataclasses.replace(p, low=0.0) for p in model.parameters))
    found = inference.compatibility(model, law=Toys(80, seed=2))
    exact = 0.0
    rates = [found.strength * s + b for s, b, _ in counts.values()]
    for events in itertools.product(range(25), repeat=2):
        if ratio(events, (2.0, 2.0), (1.0, 2.0), 0.0) >= found.statistic - 1e-6:
            exact += float(np.prod(stats.poisson.pmf(events, rates)))
    assert found.toys == 80 and found.p_error is not None
    assert abs(found.p - exact) < 4 * math.sqrt(exact * (1 - exact) / 80)
    # chi2, for comparison, is not its law here
    assert inference.compatibility(model).p != pytest.approx(exact, rel=0.05)


def test_what_a_strength_is_not_determined_by_is_said() -> None:
    model = counting()
    with pytest.raises(InputError, match="changes only 'A'"):
        inference.compatibility(counting(counts={"A": COUNTS["A"]}))
    with pytest.raises(InputError, match="has a constraint"):
        inference.compatibility(counting(systematics=True), parameter="xs")
    with pytest.raises(InputError, match="in the groups 'G' and 'H'"):
        inference.compatibility(model, groups={"G": ["A", "B"], "H": ["B", "C"]})
    channels = {
        "A": [build.sample("s", [9.0], build.modifier("normfactor", "mu")),
              build.sample("b", [9.0], build.modifier("normfactor", "norm"))],
        "B": [build.sample("s", [9.0], build.modifier("normfactor", "mu")), build.sample("b", [9.0])],
    }  # fmt: skip
    with pytest.raises(BumpfitError, match="do not determine mu_A each for itself"):
        inference.compatibility(read(build.workspace(channels, {"A": [19], "B": [16]}, "mu")))


def test_strengths_at_an_end_of_the_range_are_told() -> None:
    found = inference.compatibility(counting(), ranges={"mu": (0.0, 20.0)})
    assert found.channels[2].strength == 0.0 and found.channels[2].at_bound and "mu_C" in found.at_bounds
    assert "chi2 is no law" in found.notes[0]
    held = inference.compatibility(counting(systematics=True), fixed={"xs": 0.0, "lumi": 0.0})
    assert held.statistic == pytest.approx(inference.compatibility(counting()).statistic, abs=1e-6)
