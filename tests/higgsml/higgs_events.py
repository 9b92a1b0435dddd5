"""Small tables of the challenge's form, made from a seed."""

import numpy as np
import pandas as pd

from bumpfit.higgsml.columns import PRIMARY, PROCESSES, UNDEFINED

YIELDS = {"htautau": 1015.0, "ztautau": 1_002_395.0, "ttbar": 44_192.0, "diboson": 3_783.0}


def table(n: int = 2000, seed: int = 0, total: float | None = None) -> pd.DataFrame:
    """Events with jets of falling momenta, signal harder than background; weights expected events, or a sum `total`."""
    rng = np.random.default_rng(seed)
    process = rng.choice(len(PROCESSES), n, p=[0.35, 0.45, 0.15, 0.05])
    hard = np.array([1.6, 1.0, 1.9, 1.4])[process]
    jets = np.minimum(rng.poisson(0.9 * hard), 7)
    there = np.arange(7)[:, None] < jets
    momenta = np.where(there, 20.0 + rng.exponential(12.0 * hard, (7, n)), 0.0)
    momenta = np.sort(momenta, axis=0)[::-1]
    eta, phi = rng.normal(0.0, 1.8, (2, n)), rng.uniform(-np.pi, np.pi, (2, n))
    c = {
        "PRI_lep_pt": 20.0 + rng.exponential(14.0 * hard), "PRI_lep_eta": rng.normal(0, 1.2, n),
        "PRI_lep_phi": rng.uniform(-np.pi, np.pi, n), "PRI_had_pt": 23.0 + rng.exponential(18.0 * hard),
        "PRI_had_eta": rng.normal(0, 1.2, n), "PRI_had_phi": rng.uniform(-np.pi, np.pi, n),
        "PRI_n_jets": jets, "PRI_jet_all_pt": (momenta * there).sum(axis=0),
        "PRI_met": rng.exponential(18.0 * hard), "PRI_met_phi": rng.uniform(-np.pi, np.pi, n),
    }  # fmt: skip
    for k, name in enumerate(("leading", "subleading")):
        for part, values in (("pt", momenta[k]), ("eta", eta[k]), ("phi", phi[k])):
            c[f"PRI_jet_{name}_{part}"] = np.where(there[k], values, UNDEFINED)
    result = pd.DataFrame({name: np.round(c[name].astype(np.float32), 3) for name in PRIMARY})
    counts = np.bincount(process, minlength=4)
    weights = np.array([YIELDS[name] for name in PROCESSES])[process] / counts[process]
    if total is not None:
        weights *= total / weights.sum()
    result["weights"] = weights.astype(np.float32)
    result["detailed_labels"] = np.array(PROCESSES)[process]
    result["labels"] = (process == 0).astype(np.float32)
    return result


def strong() -> pd.DataFrame:
    """16 000 simulated events for as many expected ones, a tenth of them signal."""
    events = table(16000, 1)
    wanted = {"htautau": 1500.0, "ztautau": 9000.0, "ttbar": 4500.0, "diboson": 1000.0}
    sums = events.groupby("detailed_labels")["weights"].sum()
    factor = events["detailed_labels"].map({name: value / sums[name] for name, value in wanted.items()})
    return events.assign(weights=(events["weights"] * factor).astype(np.float32))
