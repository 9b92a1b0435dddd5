"""Parts of the error by groups: closed form, the data's own part, and groups that do not fit."""

from typing import Any

import numpy as np
import pytest

from bumpfit import inference, workspace
from bumpfit.errors import InputError
from bumpfit.inference.breakdown import breakdown
from bumpfit.workspace import Model, build


def model(**settings: Any) -> Model:
    stat = build.modifier("staterror", "st", [3.0, 3.0])
    channels = {
        "a": [
            build.sample("s", [10.0, 20.0], build.modifier("normfactor", "mu"),
                         build.modifier("normsys", "xs", (0.9, 1.1))),
            build.sample("b", [50.0, 40.0], build.modifier("normsys", "bn", (0.8, 1.2)),
                         build.modifier("normsys", "jes", (0.95, 1.05)), stat),
        ]
    }  # fmt: skip
    return workspace.read(build.workspace(channels, {"a": [62, 61]}, "mu", {"mu": {"bounds": [[-5, 10]]}, **settings}))


GROUPS = {"theory": ["xs"], "experiment": ["j*", "bn"]}


def test_parts_by_auxiliary_measurements_are_those_of_shifted_measurements() -> None:
    """Each auxiliary measurement and each count is moved, and the strength fitted again."""
    m = model()
    found = breakdown(m, groups=GROUPS)
    best = inference.fit(m)
    counts, aux = m.split()
    rates = m.expected(np.array([best.values[n] for n in m.names]))

    def moved(k: int, step: float, *, of_data: bool) -> float:
        values = [inference.fit(m, np.concatenate([counts, aux]) + sign * step * np.eye(counts.size + aux.size)[
            k + (0 if of_data else counts.size)]).values["mu"] for sign in (1, -1)]  # fmt: skip
        return (values[0] - values[1]) / (2 * step)

    names = [p.name for p in m.parameters if p.constraint != "none"]
    widths = {p.name: p.width for p in m.parameters}
    shift = {n: moved(k, 0.01, of_data=False) * float(widths[n] or 0.0) for k, n in enumerate(names)}
    for part in found.parts:
        assert part.auxiliary == pytest.approx(np.sqrt(sum(shift[n] ** 2 for n in part.parameters)), rel=1e-3)
    from_data = np.sqrt(sum(moved(b, 0.01, of_data=True) ** 2 * rates[b] for b in range(counts.size)))
    assert found.statistical_auxiliary == pytest.approx(from_data, rel=0.02)  # equal where the fit meets the data
    whole = found.statistical_auxiliary**2 + sum(p.auxiliary**2 for p in found.parts)
    assert whole == pytest.approx(found.error**2, rel=1e-9)


def test_parts_by_freezing_are_those_of_held_fits() -> None:
    m = model()
    found = breakdown(m, groups=GROUPS)
    best = inference.fit(m)
    assert found.error == pytest.approx(best.errors["mu"])
    for part in found.parts:
        held = inference.fit(m, fixed={n: best.values[n] for n in part.parameters})
        assert part.freezing == pytest.approx(np.sqrt(best.errors["mu"] ** 2 - held.errors["mu"] ** 2), rel=1e-5)
    constrained = [p.name for p in m.parameters if p.constraint != "none"]
    alone = inference.fit(m, fixed={n: best.values[n] for n in constrained}).errors["mu"]
    assert found.statistical_freezing == pytest.approx(alone, rel=1e-5)
    parts = sum(p.freezing**2 for p in found.parts)
    assert found.remainder == pytest.approx(found.error**2 - alone**2 - parts, abs=1e-12)
    assert {p.group for p in found.parts} == {"theory", "experiment", "template statistics"}


def test_groups_of_the_workspace_are_taken() -> None:
    m = model()
    m.spec["measurements"][0]["config"]["groups"] = {"theory": ["xs"]}
    assert {p.group for p in breakdown(m).parts} == {"theory", "template statistics", "other systematics"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["xs"], "b": ["x*"]}, "share the parameter 'xs'"),
        ({"a": ["nobody"]}, "has no free constrained parameter"),
    ],
)
def test_groups_that_do_not_fit(groups: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        breakdown(model(), groups=groups)
