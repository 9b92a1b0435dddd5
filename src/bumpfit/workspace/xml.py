"""Read HistFactory's XML with ROOT histograms, through pyhf's reader."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError, MissingExtraError


def read_xml(path: str | Path, folder: str | Path | None = None) -> dict[str, Any]:
    """The HistFactory JSON workspace of a top-level XML file.

    `folder`: where relative file names in it start, by default the first of the XML file's folder, the folder above
    and the working folder that has the channel files. Raises MissingExtraError without uproot, InputError for files
    that are missing or cannot be read.
    """
    try:
        import uproot  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("uproot", "root", "reading XML workspaces") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pyhf's own use of jsonschema
        from pyhf import readxml

        source = Path(path)
        root = _folder(source, folder)
        try:
            result: dict[str, Any] = dict(readxml.parse(str(source), str(root)))
        except Exception as error:  # the reader passes on whatever uproot, the XML parser and jsonschema raise
            reason = str(error).strip().splitlines()
            raise InputError(
                f"cannot read the workspace '{path}': {reason[0] if reason else type(error).__name__}"
            ) from error
        finally:
            readxml.clear_filecache()
    return result


def _folder(source: Path, folder: str | Path | None) -> Path:
    """Where the names in the XML file start."""
    try:
        inputs = [element.text for element in ElementTree.parse(source).findall("Input") if element.text]
    except OSError as error:
        raise InputError(f"cannot read '{source}': {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise InputError(f"'{source}' is not valid XML: {error}") from error
    if not inputs:
        raise InputError(f"'{source}' is not a top-level HistFactory file: it has no Input elements")
    candidates = [Path(folder)] if folder is not None else [source.parent, source.parent.parent, Path()]
    for candidate in candidates:
        if all((candidate / name.strip()).exists() for name in inputs):
            return candidate
    raise InputError(
        f"the channel file '{inputs[0].strip()}' of '{source}' is in none of {', '.join(map(str, candidates))}"
    )
