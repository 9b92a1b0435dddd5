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
# # A signal strength under systematic bias
# The HiggsML uncertainty challenge on the packaged sample. It has fifteen thousand simulated events, so that one is
# worth many expected ones: everything here is a closure (experiments are drawn from the events of the templates), which
# shows how a method works and nothing about real data.

# %% tags=["parameters"]
SETTINGS = {"trees": 30, "first_trees": 15, "fine": 8, "bins": 16, "draws": 2}  # {} takes the usual ones
N = 1200  # experiments of the calibration and of the coverage
POINTS = 40  # of the nuisances

# %%
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bumpfit import higgsml
from bumpfit.events.formats import read_frame
from bumpfit.higgsml.dataset import packaged

table = read_frame(packaged())
print(table.groupby("detailed_labels").weights.agg(["size", "sum"]).round(0))

# %% [markdown]
# ## The challenge
# Six nuisances, drawn anew in every pseudo-experiment, bias the events; the selection moves with the tau energy scale.

# %%
nuisances = higgsml.draw_nuisances(31415)
print({name: round(value, 4) for name, value in nuisances.items()})
for tes in (0.98, 1.0, 1.02):
    moved = higgsml.bias(table, tes=tes)
    print(f"tes {tes}: {moved.weights.sum():,.0f} expected events, mean visible mass {moved.DER_mass_vis.mean():.2f}")

# %% [markdown]
# The score wants narrow intervals that hold the true value in 68.27 % of the experiments, not more and not less.

# %%
rng = np.random.default_rng(0)
middle = rng.normal(1.0, 0.2, 2000)
for half in (0.15, 0.2, 0.3):
    one = higgsml.score(1.0, middle - half, middle + half)
    print(f"half width {half}: coverage {one.coverage:.3f}, penalty {one.penalty:.3g}, score {one.score:.2f}")

# %% [markdown]
# ## What nuisances cost
# Counts in HEPHY's six regions are a complete likelihood, and cannot measure mu.

# %%
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.counting import read_regions

names, regions = read_regions()
limit = bound(regions, 1.0)
print(f"{len(names)} regions: error of mu {limit.known:.2f} with the nuisances known, {limit.profiled:.2f} profiled")

# %% [markdown]
# ## A trained method
# `binned`: boosted trees in two stages on half of the generated events, bins placed by information and exact templates
# from the other half. Its report says that this simulation is too small: imperfect responses shift mu.

# %%
from bumpfit.higgsml.method import load, method, save

binned = method("binned", **SETTINGS).fit(table, seed=1)
print(json.dumps(binned.simulation, indent=1))
with TemporaryDirectory() as folder:
    save(binned, Path(folder) / "binned.zip")
    binned = load(Path(folder) / "binned.zip")

# %% [markdown]
# ## Calibration and coverage
# The 68.27 % quantile of the likelihood-ratio statistic as a function of mu, from experiments at event level with the
# nuisances drawn from the prior. It makes up for imperfect responses: the interval gets wider. Other experiments, at
# other points of the nuisances, show the coverage with the calibration and without it.

# %%
from bumpfit.higgsml.population import Asked, event_calibration, worlds
from bumpfit.higgsml.split import parts

_, events = parts(table)
mus = np.resize([0.5, 1.0, 2.0, 3.0], N)
plain = worlds(binned, events, mus, seed=5, asked=Asked(ends=True), points=POINTS + 1)
binned.calibration = event_calibration(binned, events, N, seed=1, points=POINTS)
tuned = worlds(binned, events, mus, seed=5, asked=Asked(ends=True), points=POINTS + 1)
for name, found in (("asymptotic", plain), ("calibrated", tuned)):
    covers = np.mean((found.low <= mus) & (mus <= found.high))
    print(f"{name}: coverage {covers:.3f}, mean width {np.mean(found.high - found.low):.2f}")

# %% [markdown]
# ## A measurement
# Experiments with a true mu of 1.5, without bias and with that of above. Where the simulation is this small the bias
# moves mu by several units, and only the calibrated interval says how little is known: about a third of such intervals
# miss the truth, and this biased one does.

# %%
measured = {}
for name, bias in (("no bias", {}), ("biased", nuisances)):
    data = higgsml.experiment(events, 1.5, bias, seed=7)
    found = measured[name] = binned.predict(data.table)
    print(f"{name}: {len(data.table)} events, mu = {found.mu_hat:.2f}, interval [{found.low:.2f}, {found.high:.2f}]")

# %% [markdown]
# The rise of -2 ln L with all nuisances profiled, and the calibrated critical value: the interval is where it is below.

# %%
from bumpfit.report.style import panels, style

mu = np.linspace(0.0, 1.2 * max(found.high for found in measured.values()), 200)
critical = binned.calibration.at(mu)
with style():
    figure, (axis,) = panels()
    for name, found in measured.items():
        axis.plot(mu, found.twice_nll.at(mu), label=f"profile likelihood, {name}")
    axis.plot(mu, critical, linestyle="--", label="critical value, 68.27 %")
    axis.axvline(1.5, linestyle=":", color="grey", label="true strength")
    axis.set(xlabel=r"$\mu$", ylabel=r"Rise of $-2\,\ln L$", ylim=(0, 2.5 * float(critical.max())))
    axis.legend(fontsize="small", frameon=True, framealpha=1.0)
figure
