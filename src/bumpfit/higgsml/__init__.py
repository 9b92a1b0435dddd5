"""Measure a signal strength under systematic bias: the FAIR Universe HiggsML uncertainty challenge.

`bias`, `pseudo_experiment`, `draw_nuisances` and `score` are the challenge itself; see docs/methods/higgsml.md.
"""

from bumpfit.higgsml.bias import bias
from bumpfit.higgsml.derived import derived
from bumpfit.higgsml.nuisances import Nuisances, draw_nuisances
from bumpfit.higgsml.pseudo import PseudoExperiment, Settings, experiment, pseudo_experiment
from bumpfit.higgsml.score import Score, Scores, score, scores

__all__ = [
    "Nuisances",
    "PseudoExperiment",
    "Score",
    "Scores",
    "Settings",
    "bias",
    "derived",
    "draw_nuisances",
    "experiment",
    "pseudo_experiment",
    "score",
    "scores",
]
