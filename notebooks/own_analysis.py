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
# # Your first own analysis, from a CSV
# A table with one row an event, a mass, and a variable to cut on. Here it is simulated: 4000 muon pairs of falling
# mass, and 90 from a narrow particle at 125 GeV whose muons are harder. Put your own file in its place.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

import bumpfit
from bumpfit import shapes
from bumpfit.events import cutflow

folder = TemporaryDirectory()
file = Path(folder.name) / "events.csv"
rng = np.random.default_rng(3)
mass = np.concatenate([100.0 + rng.exponential(35.0, 4000), rng.normal(125.0, 2.0, 90)])
pt = np.concatenate([rng.exponential(25.0, 4000), rng.exponential(80.0, 90)])
pd.DataFrame({"mass": mass, "pt": pt}).to_csv(file)

# %% [markdown]
# ## Look at the table, cut

# %%
table = pd.read_csv(file, index_col=0)
flow = cutflow.cutflow(table, ["mass < 180", "pt > 25"], name="data")
flow

# %%
kept = table[(table["mass"] < 180.0) & (table["pt"] > 25.0)]
data = bumpfit.histograms.fill(kept["mass"], np.linspace(100.0, 180.0, 41), name="mass")
data.plot(axis_label="Dimuon mass [GeV]")

# %% [markdown]
# ## A function for the background
# How many parameters does it take? Successive F-tests compare polynomials in the exponent; the guard against
# over-fitting asks for a prediction at the mass that is searched.

# %%
order = shapes.order_by_f_test(data, shapes.exponential, (2, 3, 4), mass=125.0)
background, fit = order.shape, order.fit
print(f"{order.n_parameters} parameters: {order.reason}")
bumpfit.report.spectrum(data, background.integrate(data.edges, fit.values), None, "Dimuon mass [GeV]")

# %% [markdown]
# ## A signal, a likelihood
# The signal is a Gaussian at 125 GeV with the resolution of the detector, one event at strength 1: `mu` counts events.

# %%
signal = shapes.gaussian().integrate(data.edges, [1.0, 125.0, 2.0])
spec = bumpfit.workspace.build.spectrum_of(data, background, fit.values, signal)
model = bumpfit.workspace.read(spec)
found = bumpfit.inference.discovery(model)
found

# %%
bumpfit.inference.postfit(model).plot(signals=["signal"])

# %% [markdown]
# ## How many events, how many at most

# %%
interval = bumpfit.inference.interval(model, "mu")
limit = bumpfit.inference.limit(model)
print(f"{interval.best:.0f} events, 68.27 % interval {interval.low:.0f} to {interval.high:.0f}")
limit.plot(label="CMS Private", lumi=10, com=13)

# %% [markdown]
# ## Keep it
# The workspace is HistFactory JSON: pyhf, cabinetry and the commands `bumpfit fit`, `limit`, `toys` read it.

# %%
bumpfit.workspace.write(model, Path(folder.name) / "dimuon.json")
again = bumpfit.workspace.read(Path(folder.name) / "dimuon.json")
print(f"q0 = {found.q0:.3f}, of the file {bumpfit.inference.discovery(again).q0:.3f}")
folder.cleanup()
