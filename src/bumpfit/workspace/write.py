"""Write workspaces as HistFactory JSON, HS3 JSON, HistFactory XML, datacards of Combine, or their histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from bumpfit.errors import InputError
from bumpfit.files import write_json
from bumpfit.words import Format
from bumpfit.workspace.datacard_write import write_card
from bumpfit.workspace.effects import DEFAULT_INTERPOLATION
from bumpfit.workspace.hs3_write import to_hs3
from bumpfit.workspace.model import Model
from bumpfit.workspace.uhi import to_uhi
from bumpfit.workspace.xml_write import write_xml


def histfactory(model: Model) -> dict[str, Any]:
    """The model as a HistFactory JSON workspace.

    Raises InputError when the format cannot hold it: no data, no parameter of interest, or other interpolation codes
    than the default ones (the format has no place for them).
    """
    if dict(model.interpolation) != DEFAULT_INTERPOLATION:
        raise InputError(
            "HistFactory cannot say which interpolation codes a model uses; only the default codes "
            f"({', '.join(f'{k}: {v}' for k, v in DEFAULT_INTERPOLATION.items())}) can be written, try format='hs3'"
        )
    if "measurements" in model.spec and model.observed is not None:
        return model.spec
    if model.observed is None:
        raise InputError("the model has no observed data, which a workspace needs")
    raise InputError("the model has no measurement, which a workspace needs")


def write(model: Model, path: str | Path, format: Format = "histfactory") -> None:
    """Write the model; the file appears complete or not at all.

    "datacard" is what users of Combine would write, "datacard-exact" keeps HistFactory's interpolation: counting
    channels and formulas; "uhi" are the histograms alone.

    Raises InputError for an unknown format, or when the format cannot hold the model.

    Examples:
        >>> bumpfit.workspace.write(model, "model.json")
        >>> bumpfit.workspace.read("model.json").names
        ('mu', 'norm')
    """
    if format == "histfactory":
        write_json(path, histfactory(model))
    elif format == "hs3":
        write_json(path, to_hs3(model))
    elif format == "xml":
        write_xml(histfactory(model), path)
    elif format in ("datacard", "datacard-exact"):
        write_card(model, path, exact=format == "datacard-exact")
    elif format == "uhi":
        write_json(path, to_uhi(model))
    else:
        raise InputError(f"unknown format {format!r}; choose {', '.join(map(repr, get_args(Format)))}")
