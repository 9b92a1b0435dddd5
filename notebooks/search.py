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
# # A search from two tables
# The packaged example: 20 400 simulated two-jet events, some of them signal, and 12 000 background events.

# %%
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import bumpfit

data = files("bumpfit") / "data" / "example_data.parquet"
background = files("bumpfit") / "data" / "example_background.parquet"
folder = TemporaryDirectory()
out = Path(folder.name) / "out"
answers = bumpfit.run(data, background, out, quick=True, seed=1)
print(f"global p = {answers.p_value.overall:.1e}, Z = {answers.p_value.z_global:.1f}, claim: {answers.claim}")

# %% [markdown]
# ## What was found
# Peak positions, and the number of signal events before any selection.

# %%
print(f"resonance {answers.resonance_mass.value:.0f} +- {answers.resonance_mass.error:.0f} GeV")
for daughter in answers.daughter_masses:
    print(f"{daughter.name}: {daughter.value:.0f} +- {daughter.error:.0f} GeV")
n = answers.n_signal
print(f"signal events: {n.value:.0f} +{n.error_high:.0f} -{n.error_low:.0f}")

# %% [markdown]
# ## The likelihood of the best selection, by hand
# The same workspace loads in plain pyhf.

# %%
model = bumpfit.workspace.read(out / "workspaces" / "selection.json")
found = bumpfit.inference.discovery(model)
interval = bumpfit.inference.interval(model, "mu")
print(f"q0 = {found.q0:.1f}, Z = {found.z:.2f}, mu = {found.mu:.0f} in [{interval.low:.0f}, {interval.high:.0f}]")
assert answers.claim and found.z > 3

# %%
folder.cleanup()
