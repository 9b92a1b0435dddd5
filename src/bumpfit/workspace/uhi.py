"""The histograms of a workspace as UHI JSON (schema 1), which hist and boost-histogram read.

A workspace knows no edges: bins are counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.model import Model


def to_uhi(model: Model) -> dict[str, Any]:
    """Histograms by name: `CHANNEL/data`, `CHANNEL/SAMPLE`, and `CHANNEL/SAMPLE/NAME/up` and `down` of a shape.

    A sample with a staterror has its variances; other templates have no errors to tell.
    """
    from bumpfit import __version__  # read from the metadata: not at every start

    found: dict[str, Any] = {}
    counts = None if model.observed is None else model.split(None)[0]
    for channel in model.channels:
        (spec,) = (entry for entry in model.spec["channels"] if entry["name"] == channel.name)
        if counts is not None:
            found[f"{channel.name}/data"] = _histogram(counts[channel.first : channel.last].tolist())
        for sample in spec["samples"]:
            name = f"{channel.name}/{sample['name']}"
            errors = next((m["data"] for m in sample["modifiers"] if m["type"] == STATERROR.kind), None)
            found[name] = _histogram(sample["data"], errors)
            found |= _shapes(name, sample["modifiers"])
    writer = {"bumpfit": {"version": __version__}}
    return {name: {"writer_info": writer, **histogram} for name, histogram in found.items()}


def _shapes(sample: str, modifiers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sides = {"up": "hi_data", "down": "lo_data"}
    return {
        f"{sample}/{modifier['name']}/{side}": _histogram(modifier["data"][key])
        for modifier in modifiers
        if modifier["type"] == HISTOSYS.kind
        for side, key in sides.items()
    }


def _histogram(values: Sequence[float], errors: Sequence[float] | None = None) -> dict[str, Any]:
    storage: dict[str, Any] = {"type": "double", "values": [float(value) for value in values]}
    if errors is not None:
        storage |= {"type": "weighted", "variances": [float(error) ** 2 for error in errors]}
    axis = {
        "type": "regular", "lower": 0.0, "upper": float(len(values)), "bins": len(values), "underflow": False,
        "overflow": False, "circular": False,
    }  # fmt: skip
    return {"uhi_schema": 1, "axes": [axis], "storage": storage}
