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
# # Toys, and the look-elsewhere effect
# A peak of three standard deviations somewhere in a spectrum is not a three-sigma effect: there were many places to
# look at. Toys say how often background alone shows such a peak anywhere.

# %% tags=["parameters"]
TOYS = 20_000
MASSES = 30

# %%
import numpy as np

import bumpfit
from bumpfit import shapes

# %% [markdown]
# ## A spectrum
# A falling dijet spectrum in bins as wide as the mass resolution, 3 %, with 60 events of a peak at 3.4 TeV.

# %%
shape = shapes.dijet(3, reference=3000.0)
edges = 2000.0 * 1.03 ** np.arange(40)
truth = shape.integrate(edges, [1.2, 9.0, 5.0]) + shapes.gaussian().integrate(edges, [60.0, 3400.0, 100.0])
data = bumpfit.histograms.from_counts(edges, np.random.default_rng(5).poisson(truth))
data.plot(axis_label="Dijet mass [GeV]")

# %% [markdown]
# Background alone, fitted by maximum likelihood, and its pulls.

# %%
fit = shapes.fit(shape, data)
bumpfit.report.spectrum(data, shape.integrate(edges, fit.values), None, "Dijet mass [GeV]")

# %% [markdown]
# ## One likelihood a mass
# The strength counts signal events. The workspaces share background and data, only the signal differs.


# %%
def model(mass):
    signal = shapes.gaussian().integrate(edges, [1.0, mass, 0.03 * mass])
    return bumpfit.workspace.read(bumpfit.workspace.build.spectrum_of(data, shape, fit.values, signal))


models = {float(mass): model(mass) for mass in np.geomspace(2300.0, 5500.0, MASSES)}
scan = bumpfit.inference.discoveries(models)
scan.plot()

# %% [markdown]
# ## Local: is the formula right here?
# Toys of the mass with the smallest p-value. The asymptotic formula holds where many events lie under the peak.

# %%
mass, best = max(zip(scan.masses, scan.discoveries, strict=True), key=lambda pair: pair[1].q0)
toys = bumpfit.toys.throw(models[mass], TOYS, seed=1)
p, error = toys.p_value(best.q0)
print(f"{mass:.0f} GeV: p = {best.p:.1e} by formula, {p:.1e} +- {error:.0e} from {TOYS} toys")
toys.plot()

# %% [markdown]
# ## Global: anywhere in the scan
# Each toy is fitted at every mass, and its largest q0 is compared with that of the data. The bound of Gross and Vitells
# needs fewer toys, and is good where p is small.

# %%
scans = bumpfit.toys.scan_toys(list(models.values()), TOYS, seed=2)
p_global, error = scans.p_value()
bound, _ = scans.gross_vitells()
print(f"local p = {best.p:.1e}; global p = {p_global:.3f} +- {error:.3f}, bound of Gross and Vitells {bound:.3f}")
scans.plot()
