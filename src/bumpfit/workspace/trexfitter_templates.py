"""The template histograms that a TRExFitter configuration names: from ROOT histograms (HIST) or trees (NTUP).

A file is PATH + suffixes / FILE + suffixes .root, in it NAME + suffixes. Paths, files and names are those of the
systematic, else of the sample, else of the region, else of the job; suffixes of region, sample and systematic stand
behind one another. Several of them are added.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bumpfit.errors import InputError
from bumpfit.histograms import Histogram, from_counts
from bumpfit.types import Floats
from bumpfit.workspace.templates import RootHistograms, Template, filled
from bumpfit.workspace.trexfitter import Block
from bumpfit.workspace.trexfitter_lines import found_beside

ENDS = ("Up", "Down")


class TRExTemplates(RootHistograms):
    """Gives the template of a region and a sample, and of a systematic up or down."""

    def __init__(self, path: Path, job: Block) -> None:
        super().__init__("histograms of a TRExFitter configuration")
        self.job = job
        self.path = path
        self.trees = job.word("ReadFrom", "HIST", ("HIST", "NTUP")) == "NTUP"
        self.kind = "Ntuple" if self.trees else "Histo"
        self.with_flow = job.flag("MergeUnderOverFlow", self.trees)
        if self.with_flow and not self.trees:
            raise job.wrong(
                "MergeUnderOverFlow of histograms is not read; merge the bins beforehand", "MergeUnderOverFlow"
            )

    def template(self, region: Block, sample: Block, systematic: Block | None = None, end: str = "") -> Template:
        """The sum of the histograms, binned as the region says and scaled to the luminosity.

        Raises InputError for histograms that are missing, cannot be read, or have different bins.
        """
        where = f"region '{region.name}', sample '{sample.name}'"
        where += f", {end} of systematic '{systematic.name}'" if systematic else ""
        scales = [sample.finite(text, "LumiScales") for text in sample.names("LumiScales", "LumiScale")]
        found: list[Template] = []
        places = self._places(region, sample, systematic, end, where)
        for i, place in enumerate(places):
            part = (
                self._filled(place, region, sample, systematic, end, where) if self.trees else self._read(place, where)
            )
            part = self._binned(part, region, where)
            factor = scales[i] if len(scales) > i else scales[0] if len(scales) == 1 else 1.0
            if sample.text("Type").upper() != "DATA" and sample.flag("NormalizedByTheory", True):
                factor *= self.job.number("Lumi", 1.0) * self.job.number("LumiScale", 1.0)
            found.append(part.scaled(factor))
        first = found[0]
        if any(not np.array_equal(part.edges, first.edges) for part in found):
            raise InputError(f"the histograms of {where} have different edges")
        errors = np.sqrt(np.sum([np.nan_to_num(part.errors) ** 2 for part in found], axis=0))
        return Template(first.edges, np.sum([part.values for part in found], axis=0), errors)

    def varies(self, systematic: Block, end: str) -> bool:
        """Whether a systematic has something of its own up or down."""
        weights = ("Weight", "WeightSuf") if self.trees else ()
        ours = [key for key in systematic.settings if key.startswith(self.kind) and key.endswith(end)]
        return bool(ours) or any(f"{word}{end}" in systematic.settings for word in weights)

    # ------------------------------------------------------------ places

    def _places(
        self, region: Block, sample: Block, systematic: Block | None, end: str, where: str
    ) -> list[tuple[str, str]]:
        """File (below a base, without one) and name of each histogram or tree."""
        parts = [self._part(what, region, sample, systematic, end) for what in ("Path", "File", "Name")]
        for what, names in zip(("Path", "File", "Name"), parts, strict=True):
            if not names and what != "Path":
                raise InputError(f"{where} of '{self.job.path}': there is no {self.kind}{what}")
        return [
            (f"{folder}/{file}.root" if folder else f"{file}.root", name)
            for folder, file, name in itertools.product(parts[0] or [""], parts[1], parts[2])
        ]

    def _part(self, what: str, region: Block, sample: Block, systematic: Block | None, end: str) -> list[str]:
        key = f"{self.kind}{what}"
        own = systematic.names(f"{key}{end}", f"{key}s{end}") if systematic else []
        names = own or next(
            (names for block in (sample, region, self.job) if (names := block.names(f"{key}s", key))), []
        )
        suffixes = [block.names(f"{key}Suffs", f"{key}Suff") or [""] for block in (region, sample)]
        if systematic is not None:
            suffixes.append([systematic.text(f"{key}Suf{end}")])
        if what == "Path" and not names and any(any(words) for words in suffixes):
            names = [""]
        return [name + "".join(suffix) for name in names for suffix in itertools.product(*suffixes)]

    def _located(self, file: str, where: str) -> Path:
        found = found_beside(file, self.path)
        if found is not None:
            return found
        raise InputError(
            f"there is no file '{file}' of {where}, seen from '{Path(self.job.path).parent}', the folder above and the "
            "working folder"
        )

    # ------------------------------------------------------------ histograms

    def _read(self, place: tuple[str, str], where: str) -> Template:
        found = self.find(self._located(place[0], where), place[1], where, place[0])
        if found is None:
            raise InputError(f"the histogram '{place[1]}' of {where} is not in '{place[0]}'")
        return found

    def _filled(
        self, place: tuple[str, str], region: Block, sample: Block, systematic: Block | None, end: str, where: str
    ) -> Template:
        variable = region.names("Variable")
        if not variable:
            raise region.wrong(f"'{region.name}': trees need the setting Variable")
        if len(variable) == 4:
            number, low, high = (region.finite(text, "Variable") for text in variable[1:])
            if not (number >= 1 and number == int(number) and low < high):
                raise region.wrong(f"'{region.name}': expected NAME,BINS,LOW,HIGH", "Variable")
            edges = np.linspace(low, high, int(number) + 1)
        else:
            edges = np.array(self._edges(region, "Binning"))
        if len(edges) < 2:
            raise region.wrong(f"'{region.name}': trees need bins, as NAME,BINS,LOW,HIGH or Binning", "Variable")
        data = sample.text("Type").upper() == "DATA"
        cuts = [block.text("Selection") for block in (self.job, region, sample)]
        weights = [] if data else self._weights(region, sample, systematic, end)
        return filled(
            [f"{self._located(place[0], where)}:{place[1]}"], variable[0], edges,
            weight=" * ".join(f"({text})" for text in weights) or None,
            selection=" && ".join(f"({text})" for text in cuts if text not in ("", "1")) or None,
            with_flow=self.with_flow,
        )  # fmt: skip

    def _weights(self, region: Block, sample: Block, systematic: Block | None, end: str) -> list[str]:
        theory = sample.flag("NormalizedByTheory", True)
        own = sample.text("MCweight")
        if systematic is not None:
            instead, more = systematic.text(f"Weight{end}"), systematic.text(f"WeightSuf{end}")
            own = instead or " * ".join(f"({text})" for text in (own, more) if text)
        weights = [self.job.text("MCweight") if theory else "", region.text("MCweight"), own]
        return [text for text in weights if text not in ("", "1")]

    # ------------------------------------------------------------ bins

    def _edges(self, region: Block, key: str) -> Sequence[float]:
        words = region.names(key)
        if any(word.startswith("AutoBin") for word in words):
            raise region.wrong(f"'{region.name}': {key} chosen by an algorithm is not read; write the edges", key)
        edges = [region.finite(word, key) for word in words]
        if any(a >= b for a, b in itertools.pairwise(edges)):
            raise region.wrong(f"'{region.name}': the edges of {key} must increase", key)
        return edges

    def _binned(self, found: Template, region: Block, where: str) -> Template:
        edges: Floats = np.array(
            self._edges(region, "Rebinning") or ([] if self.trees else self._edges(region, "Binning"))
        )
        group = region.number("Rebin", 1.0)
        if edges.size == 0 and group == 1.0:
            return found
        if not (group >= 1 and group == int(group)):
            raise region.wrong(f"'{region.name}': Rebin must be a whole number from 1 on", "Rebin")
        if edges.size == 0:
            if len(found.values) % int(group):
                raise region.wrong(
                    f"'{region.name}': {len(found.values)} bins do not make groups of {group:g}", "Rebin"
                )
            edges = found.edges[:: int(group)]
        joined: Histogram = from_counts(found.edges, found.values, np.nan_to_num(found.errors) ** 2).rebin_to(edges)
        return Template(joined.edges, joined.counts, np.sqrt(joined.variances))
