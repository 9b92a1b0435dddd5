import os
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the published ATLAS sbottom likelihood (HEPData ins1748602); skips where the data are absent."""
    given = os.environ.get("BUMPFIT_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data"
    archive = folder / "likelihoods" / "atlas_sbottom_ins1748602.tar.gz"
    if not archive.exists():
        pytest.skip("the published ATLAS likelihood is not here (BUMPFIT_SHARED_DATA)")
    target = tmp_path_factory.mktemp("atlas")
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")
    return target


@pytest.fixture(autouse=True)
def quiet_pyhf() -> Iterator[None]:
    """pyhf warns about its own internals; that is not ours to fail on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
