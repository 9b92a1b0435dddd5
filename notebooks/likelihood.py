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
# # From a histogram to a limit
# Two regions: a signal region with a peak, and a control region that knows how much background there is. Every record
# shows itself as a table; `plot()` draws it.

# %% tags=["parameters"]
TOYS = 100_000

# %%
import numpy as np

import bumpfit
from bumpfit.workspace import build

rng = np.random.default_rng(7)
edges = np.linspace(100.0, 200.0, 11)
masses = np.concatenate([rng.exponential(120.0, 3000), rng.normal(150.0, 6.0, 40)])
data = bumpfit.histograms.fill(masses, edges, name="mass")
data

# %%
data.plot(axis_label="mass [GeV]")

# %% [markdown]
# ## The workspace
# Expected events a bin, with a 10 % uncertainty of the background's norm that the control region constrains, and a
# shape that may tilt. What is written is HistFactory JSON, which plain pyhf reads too.

# %%
centres = data.centres
background = 2900.0 * np.diff(-np.exp(-edges / 120.0))
signal = 40.0 * np.exp(-0.5 * ((centres - 150.0) / 6.0) ** 2)
signal *= 40.0 / signal.sum()
tilt = 0.05 * (centres - 150.0) / 50.0
norm = build.modifier("normsys", "norm", (0.9, 1.1))
shape = build.modifier("histosys", "tilt", (list(background * (1 - tilt)), list(background * (1 + tilt))))
channels = {
    "signal_region": [
        build.sample("signal", signal, build.modifier("normfactor", "mu")),
        build.sample("background", background, norm, shape),
    ],
    "control_region": [build.sample("background", [5000.0], norm)],
}
counts = {"signal_region": list(data.counts), "control_region": [float(rng.poisson(5150))]}
model = bumpfit.workspace.read(build.workspace(channels, counts, "mu"))
model

# %% [markdown]
# ## Fit, pulls, yields

# %%
fit = bumpfit.inference.fit(model)
fit

# %%
bumpfit.inference.postfit(model).plot(signals=["signal"])

# %%
bumpfit.inference.impacts(model).plot()

# %% [markdown]
# ## Is there a signal, and how large is it at most?

# %%
found = bumpfit.inference.discovery(model)
found

# %%
limit = bumpfit.inference.limit(model)
limit.plot(label="CMS Private", lumi=138, com=13)

# %%
bumpfit.inference.scan(model, "mu").plot()

# %% [markdown]
# ## The same without formulae
# Worlds without signal; the p-value has its statistical error.

# %%
toys = bumpfit.toys.throw(model, TOYS, seed=1)
p, error = toys.p_value(found.q0)
print(f"p = {p:.1e} +- {error:.0e} from toys, {found.p:.1e} by formula")
toys.plot()
