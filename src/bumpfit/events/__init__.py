"""Event tables and files: reading, checking, observables, cuts, representations and data sets.

    source = events.open("run.root")
    events.observable("jet0,jet1.delta_r", source)
    events.mask("jet0.pt > 100 and jet.size > 2", source)

`events.tables` reads the table of a resonance search and needs no optional package; everything by name needs the extra
`root` (awkward, and uproot for ROOT files).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["mask", "observable", "open", "register"]


def open(path: Any, *, tree: str | None = None, key: str | None = None) -> Any:
    """Open events of ROOT, table, LHE, HepMC or LHCO files; see `bumpfit.events.opening.open`.

    Examples:
        >>> from pathlib import Path
        >>> Path("jets.csv").write_text("mass,score\\n91.0,0.2\\n80.4,0.9\\n") > 0
        True
        >>> events = bumpfit.events.open("jets.csv")
        >>> bumpfit.events.mask("score > 0.5", events).tolist()
        [False, True]
    """
    from bumpfit.events.opening import open as open_source

    return open_source(path, tree=tree, key=key)


def observable(name: str, source: Any, **parameters: Any) -> Any:
    """The values of an observable for all events, an awkward array; see `bumpfit.events.observables.observable`.

    Examples:
        >>> bumpfit.events.observable("pt", {"pt": [12.0, 45.0]}).tolist()
        [12.0, 45.0]
    """
    from bumpfit.events.observables import observable as values

    return values(name, source, **parameters)


def mask(cut: str, source: Any, *, empty: bool = False) -> Any:
    """Which events pass a cut sentence, a boolean array (n,); see `bumpfit.events.cuts.mask`.

    Examples:
        >>> table = {"pt": [12.0, 45.0, 80.0], "mass": [91.0, 88.0, 124.0]}
        >>> bumpfit.events.mask("pt > 30 and mass < 100", table).tolist()
        [False, True, False]
    """
    from bumpfit.events.cuts import mask as passes

    return passes(cut, source, empty=empty)


def register(name: str, function: Callable[..., Any], *, objects: int | None = 1) -> None:
    """Add an observable under a name; see `bumpfit.events.observables.register`.

    Examples:
        >>> half = lambda events: bumpfit.events.observable("mass", events) / 2
        >>> bumpfit.events.register("half_mass", half, objects=0)
        >>> bumpfit.events.observable("half_mass", {"mass": [90.0]}).tolist()
        [45.0]
    """
    from bumpfit.events.observables import register as add

    add(name, function, objects=objects)
