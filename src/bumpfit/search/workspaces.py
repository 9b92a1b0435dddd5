"""The likelihoods of a search as HistFactory JSON, which plain pyhf loads and fits with its default settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.files import write_json
from bumpfit.search.findings import Findings
from bumpfit.workspace import read, write
from bumpfit.workspace.build import selection


def workspaces(findings: Findings) -> dict[str, dict[str, Any]]:
    """Name -> workspace: the best selection, the yield fit, the mass spectrum over the table, the usable spectra.

    selection   one bin, data against the background table; mu = signal events that pass
    yield       the bins of the template fit; mu = signal events before any selection, in the fitted mass window
    m_JJ, m_J1, m_J2   the peak fits with the shape at its best fit; mu = signal events under the peak
    spectrum_*  dijet function and Gaussian peak of a selected spectrum, with the background table in a second channel
                where there are no sidebands; mu = signal events
    """
    found: dict[str, dict[str, Any]] = {}
    if findings.test is not None:
        best = findings.test.selections[findings.test.best]
        tau = best.n_background / best.n_background_expected
        found["selection"] = selection([best.n_data], [best.n_background], tau, [1.0])
    final = findings.updated or findings.first
    fitted = findings.null_yield if final is None else final.yield_fit
    if fitted is not None:
        table, total = float(fitted.background.sum()), float(fitted.data.sum())
        found["yield"] = selection(
            fitted.data,
            fitted.background,
            table / (total - fitted.n_signal * fitted.share),
            fitted.signal,
            channel="score",
        )
    if final is not None:
        for peak in final.peaks:
            if peak.n_signal > 0:
                events = np.rint(peak.background * peak.tau)
                found[peak.name] = selection(
                    peak.data, events, peak.tau, peak.signal / peak.n_signal, channel=peak.name
                )
    for spectrum in findings.spectra:
        if spectrum.workspace is not None:
            found[f"spectrum_{spectrum.background_efficiency:g}"] = spectrum.workspace
    return found


def write_workspaces(findings: Findings, folder: Path) -> None:
    """Write every workspace as `folder`/NAME.json, a spectrum with its background table as NAME.hs3.json too."""
    for name, content in workspaces(findings).items():
        write_json(folder / f"{name}.json", content)
        if name.startswith("spectrum") and len(content["channels"]) > 1:
            write(read(content), folder / f"{name}.hs3.json", format="hs3")
