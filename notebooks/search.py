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
# # The search in ten minutes
# Two tables of simulated two-jet events come with the package: 20 400 events of data, some of them signal, and 12 000
# that are background only. Is there a new particle, where, and how many events of it?

# %%
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import bumpfit

# %% tags=["parameters"]
ROWS = None  # so many rows of each table; None: all

# %%
data, background = (
    pd.read_parquet(files("bumpfit") / "data" / f"example_{name}.parquet")[:ROWS] for name in ("data", "background")
)
data.head()

# %% [markdown]
# ## One call
# `quick` makes fewer and smaller trainings: a first look. With a folder everything that was found is written there, the
# report as one page.

# %%
folder = TemporaryDirectory()
out = Path(folder.name) / "out"
answers = bumpfit.run(data, background, out, quick=True, seed=1)
answers

# %% [markdown]
# The global p-value holds for everything that was tried: mass windows, selections, training. What it rests on are the
# significances of the selections; each was fixed before the data were seen.

# %%
answers.plot()

# %% [markdown]
# ## What was found
# Masses, and the number of signal events before any selection. Where nothing is claimed there are no masses, and an
# upper limit on the number.

# %%
n = answers.n_signal
if answers.claim:
    print(f"resonance at {answers.resonance_mass.value:.0f} +- {answers.resonance_mass.error:.0f} GeV, {answers.decay}")
    print(f"signal events: {n.value:.0f} +{n.error_high:.0f} -{n.error_low:.0f}")
print(f"fewer than {answers.n_signal_upper_limit_95:.0f} at 95 %")

# %% [markdown]
# ## The likelihood of the best selection, by hand
# The run keeps its likelihoods as HistFactory workspaces, which plain pyhf loads too.

# %%
model = bumpfit.workspace.read(out / "workspaces" / "selection.json")
found = bumpfit.inference.discovery(model)
found

# %%
bumpfit.inference.scan(model, "mu").plot()

# %% [markdown]
# ## Scores
# Every event has a score, the probability that it is signal. They can be cut on: `bumpfit build scores_updated.csv`
# makes a workspace of the events that pass.

# %%
scores = pd.read_csv(out / "scores_updated.csv", index_col=0)
scores.sort_values("score", ascending=False).head()

# %%
folder.cleanup()
