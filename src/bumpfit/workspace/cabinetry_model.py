"""From a cabinetry configuration to the HistFactory workspace that cabinetry builds of it.

Names, order and arithmetic are those of `cabinetry.workspace.build` 0.6.0, so that both workspaces are equal to the
last digit. A template uncertainty (NormPlusShape) is a `normsys` of the sums and a `histosys` of templates that are
scaled to the nominal sum; one bin has no shape. A symmetrised Down is 2 - norm and 2 nominal - up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError
from bumpfit.workspace.cabinetry import Entry, chosen, read_cabinetry
from bumpfit.workspace.cabinetry_templates import CabinetryTemplates
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.templates import Template

Spec = dict[str, Any]


def from_cabinetry(path: str | Path) -> Spec:
    """The HistFactory workspace of a configuration.

    Relative paths in it start at its folder, the folder above or the working folder. Raises InputError with the place
    of the first fault; MissingExtraError without pyyaml, and without uproot where histograms are made of ROOT files.
    """
    content = read_cabinetry(path)
    with CabinetryTemplates(Path(path), content) as templates:
        return _Builder(content, templates, str(path)).workspace()


class _Builder:
    """Puts the workspace together."""

    def __init__(self, content: Mapping[str, Any], templates: CabinetryTemplates, path: str) -> None:
        self.content, self.templates, self.path = content, templates, path
        self.general: Entry = content["General"]

    def workspace(self) -> Spec:
        data = next(sample for sample in self.content["Samples"] if sample.get("Data", False))
        return {
            "channels": [self._channel(region) for region in self.content["Regions"]],
            "measurements": [
                {
                    "name": self.general["Measurement"],
                    "config": {"parameters": self._parameters(), "poi": self.general.get("POI", "")},
                }
            ],
            "observations": [
                {"name": region["Name"], "data": self.templates.template(region, data).values.tolist()}
                for region in self.content["Regions"]
            ],
            "version": "1.0.0",
        }

    def _channel(self, region: Entry) -> Spec:
        samples = [
            self._sample(region, sample)
            for sample in self.content["Samples"]
            if not sample.get("Data", False) and chosen(region["Name"], sample, "Regions")
        ]
        if not samples:
            raise InputError(f"region '{region['Name']}' of the cabinetry configuration '{self.path}' has no samples")
        return {"name": region["Name"], "samples": samples}

    def _sample(self, region: Entry, sample: Entry) -> Spec:
        nominal = self.templates.template(region, sample)
        modifiers: list[Spec] = []
        if not sample.get("DisableStaterror", False):
            name = f"staterror_{region['Name'].replace(' ', '-')}"
            modifiers.append({"name": name, "type": STATERROR.kind, "data": nominal.errors.tolist()})
        for kind in ("NormFactors", "Systematics"):
            for entry in self.content[kind]:
                if chosen(region["Name"], entry, "Regions") and chosen(sample["Name"], entry, "Samples"):
                    modifiers += (
                        [{"name": entry["Name"], "type": NORMFACTOR.kind, "data": None}]
                        if kind == "NormFactors"
                        else self._systematic(region, sample, entry, nominal)
                    )
        return {"name": sample["Name"], "data": nominal.values.tolist(), "modifiers": modifiers}

    def _systematic(self, region: Entry, sample: Entry, entry: Entry, nominal: Template) -> list[Spec]:
        name = entry.get("ModifierName", entry["Name"])
        if entry["Type"] == "Normalization":
            hi, lo = (1 + entry[end]["Normalization"] for end in ("Up", "Down"))
            return [{"name": name, "type": NORMSYS.kind, "data": {"hi": hi, "lo": lo}}]
        where = f"systematic '{entry['Name']}' of sample '{sample['Name']}' in region '{region['Name']}'"
        up = self.templates.template(region, sample, entry, "Up")
        symmetrised = entry["Down"].get("Symmetrize", False)
        down = up if symmetrised else self.templates.template(region, sample, entry, "Down")
        if not nominal.total or not up.total or not down.total:
            raise InputError(f"{where}: a template has no events, so it has no relative effect")
        if not len(nominal.values) == len(up.values) == len(down.values):
            raise InputError(
                f"{where}: its templates have {len(up.values)} and {len(down.values)} bins, the nominal one "
                f"{len(nominal.values)}"
            )
        high, low = up.total / nominal.total, down.total / nominal.total
        shapes = up.values / high, down.values / low
        if symmetrised:
            low, shapes = 2 - high, (shapes[0], 2 * nominal.values - shapes[0])
        norm = {"name": name, "type": NORMSYS.kind, "data": {"hi": high, "lo": low}}
        if len(nominal.values) == 1:
            return [norm]
        data = {"hi_data": shapes[0].tolist(), "lo_data": shapes[1].tolist()}
        return [norm, {"name": name, "type": HISTOSYS.kind, "data": data}]

    def _parameters(self) -> list[Spec]:
        """Settings of normalisations, and of systematics that are held; the first entry of a name in `Fixed` counts."""
        held: dict[str, float] = {}
        for fixed in self.general.get("Fixed", []):
            held.setdefault(fixed["Name"], fixed["Value"])
        found = []
        for entry in self.content["NormFactors"]:
            setting: Spec = {"name": entry["Name"]}
            start = entry.get("Nominal", held.get(entry["Name"]))
            if start is not None:
                setting["inits"] = [start]
            if "Bounds" in entry:
                setting["bounds"] = [entry["Bounds"]]
            if entry["Name"] in held:
                setting["fixed"] = True
            found.append(setting)
        names = [entry["Name"] for entry in self.content["Systematics"]]
        return found + [{"name": name, "inits": [held[name]], "fixed": True} for name in names if name in held]
