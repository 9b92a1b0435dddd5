"""The biasing in the arithmetic of the official code: whole columns in the table's type (float32), oddities included.

Written from the description of the challenge's tools; `kernel` is what everything else uses. The oddity here: with
three jets or more and a soft subleading one, the derived quantities are computed from a jet of -25 GeV (because n_jets
still says two). Columns are numpy arrays by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.higgsml.columns import PRIMARY, UNDEFINED
from bumpfit.higgsml.kernel import CENTRALITY_EPS, HAD_THRESHOLD, JET_THRESHOLD, LEP_THRESHOLD

Columns = dict[str, NDArray[Any]]
JETS = ("PRI_jet_leading", "PRI_jet_subleading")
DECIMALS = 3


def shifted(c: Columns, tes: float, jes: float, noise: NDArray[np.float64]) -> Columns:
    """Primary quantities after the shifts, rounded; noise (2, N) or (2, 0)."""
    c = dict(c)
    mx, my = c["PRI_met"] * np.cos(c["PRI_met_phi"]), c["PRI_met"] * np.sin(c["PRI_met_phi"])
    if tes != 1.0:
        c["PRI_had_pt"] = c["PRI_had_pt"] * tes
        back = (1.0 - tes) / tes
        mx = mx + c["PRI_had_pt"] * np.cos(c["PRI_had_phi"]) * back
        my = my + c["PRI_had_pt"] * np.sin(c["PRI_had_phi"]) * back
    if jes != 1.0:
        back = (1.0 - jes) / jes
        jets = c["PRI_n_jets"]
        c["PRI_jet_all_pt"] = c["PRI_jet_all_pt"] * jes
        for number, jet in enumerate(JETS):
            there = jets > number
            c[f"{jet}_pt"] = np.where(there, c[f"{jet}_pt"] * jes, c[f"{jet}_pt"])
            pt, phi = (np.where(there, c[f"{jet}_{name}"], 0) for name in ("pt", "phi"))
            mx = mx + pt * np.cos(phi) * back
            my = my + pt * np.sin(phi) * back
    if noise.shape[1]:
        mx, my = mx + noise[0], my + noise[1]
    c["PRI_met"], c["PRI_met_phi"] = np.sqrt(mx**2 + my**2), np.arctan2(my, mx)
    return {name: c[name] if name == "PRI_n_jets" else np.round(c[name], DECIMALS) for name in PRIMARY}


def selected(c: Columns) -> tuple[Columns, NDArray[np.int64]]:
    """Primary quantities of the events that pass, soft jets taken away, and the rows they come from."""
    rows = np.flatnonzero(~(c["PRI_had_pt"] < HAD_THRESHOLD))
    c = {name: c[name][rows] for name in PRIMARY}
    for jet in reversed(JETS):
        pt = c[f"{jet}_pt"]
        soft = (pt >= 0) & (pt <= JET_THRESHOLD)
        c["PRI_jet_all_pt"] = np.where(soft, c["PRI_jet_all_pt"] - pt, c["PRI_jet_all_pt"])
        c["PRI_n_jets"] = np.where(soft, c["PRI_n_jets"] - 1, c["PRI_n_jets"])
        for name in ("pt", "eta", "phi"):
            c[f"{jet}_{name}"] = np.where(soft, np.asarray(UNDEFINED, c[f"{jet}_{name}"].dtype), c[f"{jet}_{name}"])
    passing = ~(c["PRI_lep_pt"] < LEP_THRESHOLD)
    return {name: c[name][passing] for name in PRIMARY}, rows[passing]


def derived(c: Columns) -> Columns:
    """The twelve derived quantities, float32."""
    parts = {name: _momentum(c, name) for name in ("PRI_lep", "PRI_had", *JETS)}
    lep, had = parts["PRI_lep"], parts["PRI_had"]
    one, two = (parts[jet] * (c["PRI_n_jets"] >= n) for n, jet in enumerate(JETS, 1))
    met, jets = c["PRI_met"], c["PRI_n_jets"]
    mx, my = met * np.cos(c["PRI_met_phi"]), met * np.sin(c["PRI_met_phi"])
    e1, e2, lep_eta = c["PRI_jet_leading_eta"], c["PRI_jet_subleading_eta"], c["PRI_lep_eta"]
    pair, none = jets >= 2, -25 * (jets < 2)
    square = (met + c["PRI_lep_pt"]) ** 2 - (mx + lep[0]) ** 2 - (my + lep[1]) ** 2
    turn = np.abs(np.mod(c["PRI_lep_phi"] - c["PRI_had_phi"] + 3 * np.pi, 2 * np.pi) - np.pi)
    gap, middle = (e1 - e2) ** 2, (e1 + e2) / 2
    gap = np.where(gap == 0, gap + CENTRALITY_EPS, gap)
    with np.errstate(under="ignore"):
        centrality = np.exp(-4 / gap * (lep_eta - middle) ** 2)
    result = {
        "DER_mass_transverse_met_lep": np.sqrt(square * (square >= 0)),
        "DER_mass_vis": _mass(lep, had),
        "DER_pt_h": np.sqrt((had[0] + lep[0] + mx) ** 2 + (had[1] + lep[1] + my) ** 2),
        "DER_deltaeta_jet_jet": np.abs(e2 - e1) * pair + none,
        "DER_mass_jet_jet": _mass(one, two) * pair + none,
        "DER_prodeta_jet_jet": e1 * e2 * pair + none,
        "DER_deltar_had_lep": np.sqrt((lep_eta - c["PRI_had_eta"]) ** 2 + turn**2),
        "DER_pt_tot": np.sqrt(
            (had[0] + lep[0] + mx + one[0] + two[0]) ** 2 + (had[1] + lep[1] + my + one[1] + two[1]) ** 2
        ),
        "DER_sum_pt": c["PRI_had_pt"] + c["PRI_lep_pt"] + c["PRI_jet_all_pt"],
        "DER_pt_ratio_lep_had": c["PRI_lep_pt"] / c["PRI_had_pt"],
        "DER_met_phi_centrality": _met_centrality(c["PRI_met_phi"], c["PRI_lep_phi"], c["PRI_had_phi"]),
        "DER_lep_eta_centrality": centrality * pair + none,
    }
    return {name: np.asarray(values, dtype=np.float32) for name, values in result.items()}


def _momentum(c: Columns, name: str) -> NDArray[Any]:
    """px, py, pz, p, shape (4, N)."""
    pt, eta, phi = c[f"{name}_pt"], c[f"{name}_eta"], c[f"{name}_phi"]
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)])


def _mass(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    square = (a[3] + b[3]) ** 2 - (a[0] + b[0]) ** 2 - (a[1] + b[1]) ** 2 - (a[2] + b[2]) ** 2
    return np.asarray(np.sqrt(square * (square >= 0)))


def _met_centrality(met: NDArray[Any], lep: NDArray[Any], had: NDArray[Any]) -> NDArray[Any]:
    result = np.full(len(met), UNDEFINED, dtype=met.dtype)
    open_ = np.ones(len(met), dtype=bool)
    for shift in (0.0, CENTRALITY_EPS):
        side = np.sign(np.sin(had - (lep + shift)))
        a, b = np.sin(met - (lep + shift)) * side, np.sin(had - met) * side
        size = np.sqrt(a**2 + b**2)
        found = open_ & (size != 0)
        result[found] = ((a + b)[found] / size[found]).astype(result.dtype)
        open_ &= size == 0
    return result
