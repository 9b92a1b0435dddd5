import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def delphes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a real Delphes file (see tests/data/README.md)."""
    path = tmp_path_factory.mktemp("delphes") / "pflow.root"
    path.write_bytes(lzma.decompress((DATA / "delphes_pflow.root.xz").read_bytes()))
    return str(path)


@pytest.fixture(scope="session")
def full_delphes() -> str:
    """Path of the whole Delphes file, where it is at hand."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("BUMPFIT_SHARED_DATA", beside)) / "delphes" / "pflow_jets.root"
    if not path.is_file():
        pytest.skip("the whole Delphes file is not at hand")
    return str(path)


def jagged(n: int, most: int, seed: int) -> ak.Array:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, n)
    pt = -np.sort(-rng.exponential(60.0, (n, most)) - 20, axis=1)
    keep = np.arange(most) < counts[:, None]
    flat = {
        "PT": pt[keep],
        "Eta": rng.normal(0, 1.5, keep.sum()),
        "Phi": rng.uniform(-np.pi, np.pi, keep.sum()),
        "Mass": rng.exponential(8.0, keep.sum()),
        "Charge": rng.choice([-1, 1], keep.sum()).astype(np.int32),
        "BTag": rng.integers(0, 2, keep.sum()).astype(np.uint32),
    }
    return ak.unflatten(ak.zip({k: v.astype("f4") if v.dtype == "f8" else v for k, v in flat.items()}), counts)


@pytest.fixture(scope="session")
def collections() -> dict[str, ak.Array]:
    """Jets, electrons and muons of 400 random events, some without any."""
    return {"Jet": jagged(400, 5, 1), "Electron": jagged(400, 2, 2), "Muon": jagged(400, 2, 3)}


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory, collections: dict[str, ak.Array]) -> str:
    """The same events in a flat ROOT file with Delphes-like names, missing energy included."""
    path = str(tmp_path_factory.mktemp("flat") / "flat.root")
    rng = np.random.default_rng(4)
    missing = ak.unflatten(
        ak.zip({"MET": rng.exponential(30, 400), "Eta": rng.normal(0, 3, 400), "Phi": rng.uniform(-3.1, 3.1, 400)}),
        np.ones(400, int),
    )
    everything = {**collections, "MissingET": missing}
    with uproot.recreate(path) as file:
        branches = {name: values.type.content for name, values in everything.items()}
        tree = file.mktree(
            "Delphes",
            branches,
            counter_name=lambda name: f"{name}_size",
            field_name=lambda outer, inner: f"{outer}.{inner}" if inner else outer,
        )
        tree.extend(everything)
    return path


def _compare(x: object, y: object, tolerance: float) -> None:
    if isinstance(x, list) and isinstance(y, list):
        assert len(x) == len(y)
        for p, q in zip(x, y, strict=True):
            _compare(p, q, tolerance)
    elif x is None or y is None:
        assert x is y
    else:
        assert x == pytest.approx(y, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """Asserts equal structure, None in the same places, values within a tolerance."""

    def check(ours: Any, theirs: Any, tolerance: float = 1e-9) -> None:
        _compare(ak.to_list(ours), ak.to_list(theirs), tolerance)

    return check
