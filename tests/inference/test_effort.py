"""Fits of small models that a question needs in thousands run compiled, to the same minima."""

from typing import Any

import numpy as np
import pytest
from test_hostile_models import hostile

from bumpfit.inference import effort, newton, prepare


class Compiled:
    """Stands for the compiled minimiser."""

    def __init__(self, kept: bool) -> None:
        self.kept, self.calls = kept, 0

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        assert all(a.flags.c_contiguous and a.flags.writeable for a in given[:6])
        return newton.minimise(*given)


@pytest.mark.parametrize(("kept", "after"), [(True, 30), (False, 60)])
def test_a_question_of_many_fits_goes_over(kept: bool, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly = Compiled(kept)
    monkeypatch.setattr(effort, "_quickly", quickly)
    monkeypatch.setattr(effort, "LOAD_AFTER", 30)
    monkeypatch.setattr(effort, "COMPILE_AFTER", 60)
    problem = prepare(hostile(4))
    answers, plain = [], 0
    while not quickly.calls:
        plain = problem.effort.evaluations
        answers.append(problem.at("mu", 1.0)._newton(problem.start, "newton").value)
    assert plain >= after > plain - 30
    assert len(set(answers)) == 1
    quickly.calls = 0
    problem.asimov(problem.start)._newton(problem.start, "newton")  # of the same question
    assert quickly.calls == 1
    for other in (problem.facing(problem.main, problem.aux), prepare(hostile(4))):
        other._newton(problem.start, "newton")
        assert quickly.calls == 1


def test_large_models_and_toys_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    quickly = Compiled(True)
    monkeypatch.setattr(effort, "_quickly", quickly)
    problem = prepare(hostile(4))
    given = (problem.start, problem.free, problem.low, problem.high, problem.main, problem.aux, problem.model.compiled)
    effort.Effort(10**6, alone=True).minimise(*given, 1e-8, 200)
    monkeypatch.setattr(effort, "SMALL", 1.0)
    effort.Effort(10**6).minimise(*given, 1e-8, 200)
    assert quickly.calls == 0


@pytest.mark.slow
@pytest.mark.compiles(0, 0)
@pytest.mark.parametrize("seed", range(6))
def test_both_forms_reach_the_same_minima(seed: int) -> None:
    problem = prepare(hostile(seed))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        start = np.clip(problem.start + rng.normal(size=problem.start.size), problem.low, problem.high)
        given = (start, problem.free, problem.low, problem.high, problem.main, problem.aux, problem.model.compiled)
        plain, quick = (
            newton.minimise(*given, 1e-8, 200),
            effort._quickly(*map(np.array, given[:6]), *given[6:], 1e-8, 200),
        )
        assert plain[5] == quick[5]
        assert quick[1] == pytest.approx(plain[1], abs=1e-6)
