"""Scoring: approaches, forward and cross-fitted scores, and figures of merit."""

from bumpfit.scoring.approaches import APPROACHES, Approach, BoostedTrees, Ensemble, RandomForest, approach, train
from bumpfit.scoring.crossfit import cross_fit, deal_folds, survival
from bumpfit.scoring.forward import ForwardPlan, Job, ScoredBlock, forward_scores, train_and_score
from bumpfit.scoring.metrics import Merit, rejection, significance_improvement

__all__ = [
    "APPROACHES",
    "Approach",
    "BoostedTrees",
    "Ensemble",
    "ForwardPlan",
    "Job",
    "Merit",
    "RandomForest",
    "ScoredBlock",
    "approach",
    "cross_fit",
    "deal_folds",
    "forward_scores",
    "rejection",
    "significance_improvement",
    "survival",
    "train",
    "train_and_score",
]
