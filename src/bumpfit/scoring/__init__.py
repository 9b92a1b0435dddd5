"""Scoring: approaches, forward and cross-fitted scores, and figures of merit.

Every approach is `CutAndCount(...).fit(X, y, sample_weight)` and `.predict_proba(X)`, likewise `BoostedTrees`,
`RandomForest`, `ExtraTrees`, `Average`, `MLP` and `CNN` (the last two need the extra `deep`); `registry` knows them by
name. `models.train` makes one from a data set, `models.read` from a file.
"""

from bumpfit.scoring.approaches import BoostedTrees, Ensemble, train
from bumpfit.scoring.classifier import Classifier, balanced
from bumpfit.scoring.crossfit import cross_fit, deal_folds, survival
from bumpfit.scoring.cuts import Cut, CutAndCount
from bumpfit.scoring.forests import ExtraTrees, RandomForest
from bumpfit.scoring.forward import ForwardPlan, Job, ScoredBlock, forward_scores, train_and_score
from bumpfit.scoring.hml import hml_rejection, hml_significance
from bumpfit.scoring.merits import Measure, Merits, accuracy, auc, evaluate, max_significance
from bumpfit.scoring.metrics import Merit, rejection, significance_improvement
from bumpfit.scoring.networks import CNN, MLP
from bumpfit.scoring.registry import APPROACHES, RANKING, Average, approach

__all__ = [
    "APPROACHES",
    "CNN",
    "MLP",
    "RANKING",
    "Average",
    "BoostedTrees",
    "Classifier",
    "Cut",
    "CutAndCount",
    "Ensemble",
    "ExtraTrees",
    "ForwardPlan",
    "Job",
    "Measure",
    "Merit",
    "Merits",
    "RandomForest",
    "ScoredBlock",
    "accuracy",
    "approach",
    "auc",
    "balanced",
    "cross_fit",
    "deal_folds",
    "evaluate",
    "forward_scores",
    "hml_rejection",
    "hml_significance",
    "max_significance",
    "rejection",
    "significance_improvement",
    "survival",
    "train",
    "train_and_score",
]
