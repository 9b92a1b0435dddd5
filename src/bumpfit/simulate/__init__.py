"""Simulated events: Pythia 8, a parametric detector and jets (extra `simulate`); MadGraph5_aMC command scripts.

from bumpfit import simulate

simulate.events(simulate.dijet(simulate.resonance(3500, 500, 100)), 10_000, "signal.parquet", seed=1, workers=4)
simulate.events(simulate.wtag("background"), 10_000, "background.root")
"""

from bumpfit.simulate.card import Card, read_card
from bumpfit.simulate.higgs import HiggsJob, higgsml
from bumpfit.simulate.processes import (
    Process,
    boosted_w,
    from_file,
    from_lines,
    qcd_dijets,
    qcd_jets,
    resonance,
)
from bumpfit.simulate.run import Summary, events, run_card
from bumpfit.simulate.task import Job, dijet, general, wtag

__all__ = [
    "Card",
    "HiggsJob",
    "Job",
    "Process",
    "Summary",
    "boosted_w",
    "dijet",
    "events",
    "from_file",
    "from_lines",
    "general",
    "higgsml",
    "qcd_dijets",
    "qcd_jets",
    "read_card",
    "resonance",
    "run_card",
    "wtag",
]
