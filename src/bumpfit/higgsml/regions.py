"""Regions of HEPHY's analysis: three whose events are measured one by one, the others counted.

Two hard jets (leading above 50 GeV, subleading above 30) and the transverse mass of lepton and missing momentum (70
GeV) make four groups; of those without two hard jets the ones with low transverse mass are split by the transverse
momentum of the Higgs candidate (100 GeV), those with high transverse mass by a classifier of diboson against ttbar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bumpfit.higgsml import kernel as k

UNBINNED = ("low_mt_vbf", "low_mt_boosted", "high_mt_vbf")
COUNTED = ("low_mt_soft", "high_mt_diboson", "high_mt_ttbar")
REGIONS = UNBINNED + COUNTED
HIGH_MT, LEADING, SUBLEADING, BOOSTED = 70.0, 50.0, 30.0, 100.0
M_T, PT_H = k.PRI, k.PRI + 2
"""Rows of the transverse mass and of the candidate's transverse momentum."""


def group(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Place of each event (28, N) in `REGIONS`; high transverse mass without two hard jets is `high_mt_diboson`."""
    x = features
    vbf = (x[k.J1_PT] > LEADING) & (x[k.J2_PT] > SUBLEADING)
    low = x[M_T] < HIGH_MT
    boosted = x[PT_H] > BOOSTED
    return np.where(vbf, np.where(low, 0, 2), np.where(low, np.where(boosted, 1, 3), 4)).astype(np.int64)
