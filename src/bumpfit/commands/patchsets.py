"""`bumpfit patchset ...`: look into a patchset, take a patch out, verify and apply it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bumpfit.commands.options import grouped
from bumpfit.commands.output import Output, Target, check_outputs, provenance, written
from bumpfit.commands.parts import Background
from bumpfit.errors import BumpfitError, InputError
from bumpfit.pages.terminal import table

app = typer.Typer(no_args_is_help=True, help="Look into a patchset, take a patch out, verify and apply it.")

Patchset = Annotated[Path, typer.Argument(help="Patchset.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the patch.")]


def _patchset(path: Path) -> dict[str, Any]:
    from bumpfit.files import require
    from bumpfit.foreign import read_json

    content = read_json(require(path))
    if not isinstance(content, dict):
        raise InputError(f"{path} is no patchset: expected an object with 'patches'")
    return content


@app.command()
@grouped
def inspect(patchset: Patchset, output: Output) -> None:
    """The patches of a patchset with their values.

    Example: bumpfit patchset inspect patchset.json
    """
    from bumpfit.workspace.patchsets import described

    check_outputs([patchset], output.out)
    content = _patchset(patchset)
    rows = described(content)
    metadata = content.get("metadata", {})
    labels = [str(label) for label in metadata.get("labels", [])] if isinstance(metadata, dict) else []
    result = {
        **provenance("patchset inspect", [patchset]),
        "metadata": metadata, "patches": [{"name": name, "values": list(values)} for name, values in rows],
    }  # fmt: skip
    head = ["patch", *(labels or [f"value {i + 1}" for i in range(max((len(v) for _, v in rows), default=0))])]
    output.give(
        result, lambda: table("", head, [[name, *map(str, values)] for name, values in rows]), [f"{len(rows)} patches"]
    )


@app.command()
def extract(
    patchset: Patchset,
    name: Name,
    with_metadata: Annotated[bool, typer.Option("--with-metadata", help="With its name and values.")] = False,
    out: Target = None,
) -> None:
    """Take one patch out.

    Example: bumpfit patchset extract patchset.json --name sbottom_1300_205_60 -o patch.json
    """
    from bumpfit.workspace.patchsets import patch_of

    content = _patchset(patchset)
    patch = patch_of(content, name)
    chosen: Any = patch["patch"]
    if with_metadata:
        metadata = {**patch["metadata"], **{k: v for k, v in content.get("metadata", {}).items() if k != "labels"}}
        chosen = {"metadata": metadata, "patch": patch["patch"]}
    written(chosen, out, [patchset])


@app.command()
def verify(workspace: Background, patchset: Patchset) -> None:
    """Whether a patchset was made for this workspace: exit code 2 if not.

    Example: bumpfit patchset verify w.json p.json
    """
    from bumpfit.files import require
    from bumpfit.foreign import read_json
    from bumpfit.workspace.patchsets import check_digests, digests_of, patches_of

    content = _patchset(patchset)
    patches_of(content)
    if not digests_of(content):
        raise BumpfitError(f"{patchset} states no digest, so nothing can be verified")
    check_digests(content, read_json(require(workspace)))
    typer.echo("the digests of the patchset are those of the workspace")


@app.command()
def apply(
    workspace: Background,
    patchset: Patchset,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the patch.")] = None,
    out: Target = None,
) -> None:
    """The workspace with a patch applied.

    Example: bumpfit patchset apply w.json patchset.json --name A -o signal.json
    """
    from bumpfit.files import require
    from bumpfit.foreign import read_json
    from bumpfit.workspace.patchsets import apply_patch
    from bumpfit.workspace.validate import check_schema

    result = apply_patch(read_json(require(workspace)), require(patchset), name)
    check_schema(result)
    written(result, out, [workspace, patchset])


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.add_typer(app, name="patchset")
