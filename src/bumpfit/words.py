"""Words that options of commands and arguments of functions are chosen from, each set in one place.

It is here, and imports nothing, because a command's help has them without loading what does the work.
"""

from __future__ import annotations

from typing import Literal

Format = Literal["histfactory", "hs3", "xml", "datacard", "datacard-exact", "uhi"]
"""What workspaces are written as."""
By = Literal["channel", "sample"]
"""What a parameter is split by."""
Smoothing = Literal["353qh", "lowess", "trexfitter"]
"""How a systematic shape is smoothed."""
Symmetry = Literal["twosided", "onesided", "absmean", "maximum"]
"""How a systematic is made symmetric."""
Minimiser = Literal["newton", "minuit"]
"""The minimiser that a fit begins with."""
Side = Literal["both", "low", "high"]
"""Ends of an interval."""
Fitness = Literal["saturated", "chi2", "ks", "ad"]
"""Statistics of a goodness of fit."""
Exclusive = Literal["qtilde", "q"]
"""Statistics of an upper limit."""
Prior = Literal["flat", "jeffreys"]
"""Priors of a parameter of interest."""
System = Literal["slurm", "htcondor"]
"""Batch systems."""
