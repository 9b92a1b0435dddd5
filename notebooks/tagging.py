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
# Boosted W bosons against jets of quarks and gluons: the W-tagging study of HEP ML Lab on a smaller scale. With
# `N = 10_000` and `MPI = True` it is the table of docs/methods/tagging.md, which `benchmarks/tagging.py` prints.
# Needs the extra `simulate`; networks need `deep` and are left out without it.

# %% tags=["parameters"]
N = 1000
MPI = False  # multi-parton interactions: more soft particles, and seven times the time
EPOCHS = 24

# %%
import importlib.util
import sys
from tempfile import TemporaryDirectory

missing = [name for name in ("pythia8mc", "fastjet", "awkward") if importlib.util.find_spec(name) is None]
if missing:
    sys.exit("this notebook needs: pip install 'bumpfit[simulate]'")
folder = TemporaryDirectory()
deep = importlib.util.find_spec("torch") is not None

# %% [markdown]
# ## Events
# W Z with W -> q q' and Z -> nu nu, and QCD dijets, pT 250 to 300 GeV, in ROOT files with collections named as by
# Delphes.

# %%
from bumpfit import simulate

files = {name: f"{folder.name}/{name}.root" for name in ("background", "signal")}
for name, file in files.items():
    made = simulate.events(simulate.wtag(name, mpi=MPI), N, file, seed=1, show=False)
    print(f"{name}: {made.events} events, cross-section {made.cross_section.value:.4g} pb")

# %% [markdown]
# ## Data sets
# Classes, cuts, observables; 70 % of each class for training. A data set remembers where it came from.

# %%
from bumpfit.events import cutflow, dataset
from bumpfit.events.representations import Image

cuts = ["fatjet.size > 0", "jet.size > 1"]
names = ["fatjet0.mass", "fatjet0.tau21", "jet0,jet1.delta_r"]
data = dataset.build(files, names, cuts=cuts).split(0.7, 0.3, seed=1)
flows = [cutflow.cutflow(file, cuts, name=name) for name, file in files.items()]
print(cutflow.text(flows))

# %% [markdown]
# Figures: the cut flow beside N-1, and the observables.

# %%
from bumpfit import report

report.cut_flow(flows)

# %%
data.plot()

# %% [markdown]
# Images of what is inside the leading fat jet: the hardest subjet in the middle, the second below.

# %%
image = Image("constituent.phi", "constituent.eta", "constituent.pt").with_subjets("constituent", "kt", 0.3)
image = image.translate("SubJet0").rotate("SubJet1").pixelate((33, 33), ((-1.6, 1.6), (-1.6, 1.6)))
images = dataset.build(files, image, cuts=cuts).split(0.7, 0.3, seed=1)
images.plot()

# %% [markdown]
# ## Approaches
# All have scikit-learn's interface. Cut-and-count comes as HEP ML Lab searches for cuts, and as a better search.
# Networks train for a few epochs only here.

# %%
from bumpfit.scoring import CNN, MLP, BoostedTrees, CutAndCount, evaluate, models

approaches = {
    "cuts, parallel": (CutAndCount(search="hml", topology="parallel"), data),
    "cuts, sequential": (CutAndCount(search="hml", topology="previous"), data),
    "cuts, significance": (CutAndCount(), data),
    "trees": (BoostedTrees(models=2), data),
}
if deep:
    approaches["MLP"] = (MLP(epochs=EPOCHS), data)
    approaches["CNN, max"] = (CNN(normalisation="max", epochs=max(1, EPOCHS // 3)), images)
    approaches["CNN, log"] = (CNN(normalisation="log", epochs=max(1, EPOCHS // 3)), images)
trained, merits = {}, {}
for name, (approach, events) in approaches.items():
    trained[name] = models.train(approach, events, seed=1)
    test = events.get("test")
    merits[name] = evaluate(test.targets, trained[name].probabilities(test), test.classes, bootstrap=50)
    found = merits[name]
    print(f"{name:20} accuracy {found.accuracy.value:.3f}  AUC {found.auc.value:.3f} +- {found.auc.error:.3f}")
print(approaches["cuts, significance"][0].sentence(data.features))

# %% [markdown]
# Score, significance over the threshold, ROC curve.

# %%
from bumpfit.scoring.curves import curves

test = data.get("test")
lines = curves(test.targets, trained["trees"].probabilities(test)[:, 1], test.classes)
best = {"significance": merits["trees"].significance, "asimov": merits["trees"].asimov}
report.performance(lines, best, f"AUC {merits['trees'].auc.value:.3f}")

# %% [markdown]
# ## On to a likelihood
# The score of the test events in bins, 300 W over 20 000 QCD jets, luminosity and cross-section uncertainties, the
# statistical errors of the simulation, and a jet mass known to 3 %: a HistFactory workspace, and what it can say.

# %%
from bumpfit.tagging import Setup, Variation, Varied, prospects, scaled

setup = Setup(events={"background": 20_000, "signal": 300}, background_error=0.1)
for name in ("cuts, parallel", "trees"):

    def score(events, model=trained[name]):
        return Varied(events, model.probabilities(events)[:, 1])

    mass = Variation(score(scaled(data, "fatjet0.mass", 1.03)), score(scaled(data, "fatjet0.mass", 0.97)))
    found = prospects(data, score(data).values, setup, variations={"jet_mass": mass})
    print(f"{name:20} expected significance {found.expected.z:.2f}, limit on mu {found.limit.expected[2]:.3f}")
report.templates(found.edges, found.yields, found.errors, found.signal, "score of the trees", variations=found.totals())

# %%
folder.cleanup()
