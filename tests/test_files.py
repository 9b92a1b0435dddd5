import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bumpfit import files
from bumpfit.errors import BumpfitError, InputError


def test_output_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "scores.csv.gz"
    with files.atomic(target) as temporary:
        assert temporary.name.endswith(".csv.gz") and temporary.parent == target.parent
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), files.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["scores.csv.gz"]


def test_a_folder_can_be_an_output(tmp_path: Path) -> None:
    with files.atomic(tmp_path / "out") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("1")
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_wrong_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a folder"), files.atomic(tmp_path):
        raise AssertionError("not reached")
    with pytest.raises(InputError, match="cannot make the folder"), files.atomic(tmp_path / "file" / "x"):
        raise AssertionError("not reached")
    with pytest.raises(BumpfitError, match="nothing was written"), files.atomic(tmp_path / "x"):
        pass


def test_a_device_is_written_as_it_is() -> None:
    files.write_text("/dev/null", "gone")
    assert not Path("/dev/null").is_file()


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_json(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"x": np.arange(2), "y": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [0, 1], "y": None}


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bump")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"bump").hexdigest()
    with pytest.raises(InputError, match=r"standard input \(-\) is not read"):
        files.require("-")
    with pytest.raises(InputError, match="there is no file"):
        files.sha256(tmp_path / "b")
    with pytest.raises(InputError, match="is a folder"):
        files.sha256(tmp_path)
