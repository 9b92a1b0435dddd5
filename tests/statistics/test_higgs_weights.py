"""Rows with strata, importance and early vetoes against rows of plain decays of all events: no mean may differ."""

import dataclasses
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

from bumpfit.simulate import higgs, higgs_veto
from bumpfit.simulate.tau_pairs import ONE, Acceptance, choose
from study_size import FULL

pytestmark = pytest.mark.statistics

TRIES_PLAIN, TRIES = (800, 3000) if FULL else (150, 500)


def moments(process: str, tries: int) -> tuple[Any, Any]:
    """Sums a try of w, w MET, w pT(lep), w pT(had), w n_jets, w MET^2, with errors."""
    table = higgs.simulate_chunk(process, 3, 0, tries).table
    w = table["weights"].to_numpy()
    met, lep, had, jets = (table[f"PRI_{n}"].to_numpy() for n in ("met", "lep_pt", "had_pt", "n_jets"))
    columns = np.array([np.ones(w.size), met, lep, had, jets, met**2])
    return (columns @ w) / tries, np.sqrt(columns**2 @ w**2) / tries


@pytest.mark.parametrize("process", ["ztautau", "htautau"])
def test_means_are_those_of_plain_decays(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, error = moments(process, TRIES)
    with monkeypatch.context() as patch:
        plain = dataclasses.replace(ONE, level=1.0)
        everywhere = Acceptance(0.0, 0.0, 12.0)

        def one_pair(taus: Any, charges: Any, pool: Any, strata: Any, rng: Any, **given: Any) -> Any:
            return choose(taus, charges, pool, plain, rng, **given | {"draws": 1, "accept": everywhere})

        patch.setattr(higgs_veto, "choose", one_pair)
        wanted, wanted_error = moments(process, TRIES_PLAIN)
    pull = (mean - wanted) / np.hypot(error, wanted_error)
    print(process, "efficiency", mean[0], "plain", wanted[0], "pulls", pull.round(2))
    assert np.all(np.abs(pull) < 4)
