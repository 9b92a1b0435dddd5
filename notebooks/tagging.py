# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tagging study, from events to a p-value
# Jets of W bosons against jets of quarks and gluons. The events here are drawn from simple shapes, so that the page
# runs in seconds; `bumpfit simulate wtag` makes real ones, and docs/methods/tagging.md has the table for them.
# Names of observables and cuts need the extra `root`; the network needs `deep` and is left out without it.

# %%
import importlib.util
import sys

import numpy as np

if importlib.util.find_spec("awkward") is None:
    sys.exit("this notebook needs: pip install 'bumpfit[root]'")

rng = np.random.default_rng(1)
n = 3000
qcd = {"mass": rng.gamma(2.0, 30.0, n), "tau21": rng.beta(5, 3, n), "delta_r": rng.normal(2.6, 0.7, n)}
w = {"mass": rng.normal(81, 12, n), "tau21": rng.beta(3, 5, n), "delta_r": np.abs(rng.normal(0.8, 0.5, n))}

# %% [markdown]
# ## A data set
# Classes, cuts, observables; 70 % of each class for training. It remembers where it came from.

# %%
from bumpfit.events import cutflow, dataset

cuts = ["mass > 20", "delta_r < 4"]
data = dataset.build({"background": qcd, "signal": w}, ["mass", "tau21", "delta_r"], cuts=cuts).split(0.7, 0.3, seed=1)
print(cutflow.text([cutflow.cutflow(qcd, cuts, name="background"), cutflow.cutflow(w, cuts, name="signal")]))

# %% [markdown]
# ## Approaches
# All have scikit-learn's interface. Cut-and-count comes as HEP ML Lab searches for cuts, and as a better search.

# %%
from bumpfit.scoring import MLP, BoostedTrees, CutAndCount, evaluate, models

approaches = {
    "cuts as hml": CutAndCount(search="hml"),
    "cuts": CutAndCount(signal=100, background=5000, min_background=50),
    "trees": BoostedTrees(models=2),
}
if importlib.util.find_spec("torch") is not None:
    approaches["MLP"] = MLP(epochs=15)
test = data.get("test")
trained = {}
for name, approach in approaches.items():
    trained[name] = models.train(approach, data, seed=1)
    merits = evaluate(test.targets, trained[name].probabilities(test), test.classes, bootstrap=50)
    print(f"{name:12} accuracy {merits.accuracy.value:.3f}  AUC {merits.auc.value:.3f} +- {merits.auc.error:.3f}")
print(approaches["cuts"].sentence(data.features))

# %% [markdown]
# ## On to a likelihood
# The score of the test events in bins, 100 signal over 5000 background events, luminosity and cross-section
# uncertainties and the statistical errors of the simulation: a HistFactory workspace, and what can be expected of it.

# %%
from bumpfit.tagging import Setup, prospects

setup = Setup(events={"background": 5000, "signal": 100}, background_error=0.1)
reach = {}
for name, model in trained.items():
    found = prospects(data, model.probabilities(data)[:, 1], setup)
    reach[name] = found.expected.z
    print(f"{name:12} expected significance {found.expected.z:.2f}, limit on mu {found.limit.expected[2]:.3f}")
assert reach["trees"] > reach["cuts as hml"]
assert 1 < reach["trees"] < 20
