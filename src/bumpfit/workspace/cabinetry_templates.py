"""The template histograms of a cabinetry configuration.

They are those that cabinetry wrote to `HistogramFolder` (`templates.build` or `collect`, and `postprocess`). Where it
wrote none, they are made as it would make them: filled from the trees of `InputPath`, or read from its ROOT histograms,
with undefined errors set to 0 and smoothed where that is asked for.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.archives import DAMAGE
from bumpfit.errors import InputError, InputWarning
from bumpfit.foreign_histograms import check_contents
from bumpfit.workspace.cabinetry import Entry, chosen
from bumpfit.workspace.smoothing import smooth_353qh_twice
from bumpfit.workspace.templates import RootHistograms, Template, filled

MODIFIED = "_modified"
"""What cabinetry adds to the names of histograms that were postprocessed."""


class CabinetryTemplates(RootHistograms):
    """Gives the template of a region, a sample and (for one that varies) a systematic and `Up` or `Down`."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        super().__init__("histograms of a cabinetry configuration")
        self.path, self.content = path, content
        self.bases = (path.parent, path.parent.parent, Path.cwd())
        self.trees = any("Tree" in sample for sample in content["Samples"])
        self.folder = self._folder()

    def template(self, region: Entry, sample: Entry, systematic: Entry | None = None, end: str = "") -> Template:
        """The histogram as cabinetry has it after its postprocessing.

        Raises InputError for histograms that are missing or cannot be read.
        """
        where = f"region '{region['Name']}', sample '{sample['Name']}'"
        where += f", {end} of systematic '{systematic['Name']}'" if systematic else ""
        if self.folder is not None:
            found = self._stored(self.folder, _name(region, sample, systematic, end), where, systematic)
        else:
            found = self._made(region, sample, systematic, end, where)
            if systematic is not None and _smoothed(region, sample, systematic):
                found = _smooth(found, self._made(region, sample, None, "", where), where)
        edges = region.get("Binning")
        if edges is not None and not np.array_equal(found.edges, edges):
            raise InputError(f"the histogram of {where} of '{self.path}' has other edges than its region's Binning")
        return Template(found.edges, found.values, np.nan_to_num(found.errors, nan=0.0))

    # ------------------------------------------------------------ what cabinetry wrote

    def _folder(self) -> Path | None:
        """The folder with histograms of this configuration, None where there are none."""
        names = [
            _name(region, sample, None, "") for region in self.content["Regions"] for sample in self.content["Samples"]
        ]
        for base in self.bases:
            folder: Path = base / self.content["General"]["HistogramFolder"]
            if any(os.path.isfile(folder / f"{name}{end}.npz") for name in names for end in ("", MODIFIED)):
                return folder
        return None

    def _stored(self, folder: Path, name: str, where: str, systematic: Entry | None) -> Template:
        file = folder / f"{name}{MODIFIED}.npz"
        if not os.path.isfile(file):
            file = folder / f"{name}.npz"
            if systematic is not None and "Smoothing" in systematic and os.path.isfile(file):
                warnings.warn(
                    f"the histogram of {where} was not postprocessed by cabinetry, so it is not smoothed",
                    InputWarning,
                    stacklevel=2,
                )
        if not os.path.isfile(file):
            raise InputError(
                f"there is no histogram {file} of {where}; make it with cabinetry, or remove {folder} to have all of "
                "them made here"
            )
        try:
            with np.load(file, allow_pickle=False) as content:
                edges, values, errors = (np.asarray(content[k], np.float64) for k in ("bins", "yields", "stdev"))
        except DAMAGE as error:
            raise InputError(f"cannot read the histogram {file} of {where}: {str(error)[:200]}") from error
        if edges.ndim != 1 or values.shape != (len(edges) - 1,) or errors.shape != values.shape:
            raise InputError(f"the histogram {file} has {values.size} bins with {edges.size} edges")
        # cabinetry has errors of NaN where contents are negative or there are none
        check_contents(values, np.nan_to_num(errors, nan=0.0, posinf=np.inf), f"{file} ({where})")
        return Template(edges, values, errors)

    # ------------------------------------------------------------ what it would write

    def _made(self, region: Entry, sample: Entry, systematic: Entry | None, end: str, where: str) -> Template:
        varied: Entry = {} if systematic is None else systematic[end]
        if self.trees:
            return self._filled(region, sample, varied, where)
        if "RegionPath" in varied or isinstance({**sample, **varied}.get("SamplePath"), list):
            raise InputError(
                f"{where} of '{self.path}': histograms have one SamplePath, and no RegionPath of templates"
            )
        variation = varied.get("VariationPath", self.content["General"].get("VariationPath", ""))
        path = self._placed(region, {**sample, **varied}, where)[0].replace("{VariationPath}", variation)
        file, colon, name = path.rpartition(":")
        if not colon:
            raise InputError(f"{where} of '{self.path}': '{path}' names no histogram; expected FILE.root:NAME")
        found = self.find(Path(self._located(file, where)), name, where, file)
        if found is None:
            raise InputError(f"the histogram '{name}' of {where} is not in '{file}'")
        return found

    def _filled(self, region: Entry, sample: Entry, varied: Entry, where: str) -> Template:
        taken = {**sample, **varied}
        for key, there in (("Tree", taken), ("Variable", region), ("Binning", region)):
            if key not in there:
                raise InputError(f"{where} of '{self.path}': histograms of trees need the key {key}")
        files = self._placed({**region, **varied}, taken, where)
        return filled(
            [f"{self._located(file, where)}:{taken['Tree']}" for file in files],
            varied.get("Variable", region["Variable"]), np.asarray(region["Binning"], dtype=np.float64),
            weight=taken.get("Weight"), selection=taken.get("Filter", region.get("Filter")),
        )  # fmt: skip

    def _placed(self, region: Entry, sample: Entry, where: str) -> list[str]:
        """InputPath with what stands for its places, once for each SamplePath."""
        path: str = self.content["General"]["InputPath"]
        for key, entry in (("RegionPath", region), ("SamplePath", sample)):
            if f"{{{key}}}" in path and key not in entry:
                raise InputError(f"{where} of '{self.path}': InputPath asks for a {key}, which is missing")
            if f"{{{key}}}" not in path and key in entry:
                raise InputError(f"{where} of '{self.path}' has a {key}, but InputPath has no place for it ({{{key}}})")
        path = path.replace("{RegionPath}", region.get("RegionPath", ""))
        parts: str | Sequence[str] = sample.get("SamplePath", "")
        return [path.replace("{SamplePath}", part) for part in ([parts] if isinstance(parts, str) else parts)]

    def _located(self, file: str, where: str) -> str:
        """The path of a file: relative ones start at the configuration, the folder above, or the working folder."""
        if "://" in file:
            return file
        for base in self.bases:
            if os.path.isfile(base / file) or glob.glob(str(base / file)):
                return str(base / file)
        raise InputError(
            f"there is no file '{file}' of {where}, seen from '{self.path.parent}'; the configuration has neither "
            f"histograms in '{self.content['General']['HistogramFolder']}' nor inputs"
        )


def _name(region: Entry, sample: Entry, systematic: Entry | None, end: str) -> str:
    """The name under which cabinetry stores a histogram."""
    name = f"{region['Name']}_{sample['Name']}" + (f"_{systematic['Name']}_{end}" if systematic else "")
    return name.replace(" ", "-")


def _smoothed(region: Entry, sample: Entry, systematic: Entry) -> bool:
    smoothing = systematic.get("Smoothing")
    return smoothing is not None and chosen(region["Name"], smoothing, "Regions") and chosen(
        sample["Name"], smoothing, "Samples"
    )  # fmt: skip


def _smooth(varied: Template, nominal: Template, where: str) -> Template:
    """The ratio to the nominal template is smoothed; the sum of the contents stays."""
    if not (nominal.values != 0).all():
        raise InputError(f"{where}: the nominal histogram has empty bins, so the ratio to it cannot be smoothed")
    smooth = smooth_353qh_twice(varied.values / nominal.values) * nominal.values
    return Template(varied.edges, smooth * sum(varied.values) / sum(smooth), varied.errors)
