"""HistFactory XML with ROOT histograms: pyhf writes, bumpfit reads."""

from pathlib import Path

import pytest

from bumpfit.errors import InputError
from bumpfit.workspace import read

pytest.importorskip("uproot")


def spec() -> dict[str, object]:
    background = [
        {"name": "scale", "type": "normsys", "data": {"lo": 0.9, "hi": 1.1}},
        {"name": "shape", "type": "histosys", "data": {"lo_data": [48.0, 62.0], "hi_data": [53.0, 57.0]}},
        {"name": "staterror_SR", "type": "staterror", "data": [3.0, 4.0]},
    ]
    samples = [
        {"name": "signal", "data": [5.0, 6.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "bkg", "data": [50.0, 60.0], "modifiers": background},
    ]
    parameters = [{"name": "mu", "bounds": [[0.0, 10.0]], "inits": [1.0]}]
    return {
        "channels": [{"name": "SR", "samples": samples}],
        "observations": [{"name": "SR", "data": [55.0, 63.0]}],
        "measurements": [{"name": "meas", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }


@pytest.mark.filterwarnings("ignore")
def test_xml_and_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyhf.writexml

    (tmp_path / "config").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    document = pyhf.writexml.writexml(spec(), "config", "data", "result")
    top = tmp_path / "config" / "result.xml"
    top.write_bytes(document)
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        model, direct = read(top), read(spec())  # type: ignore[arg-type]
        assert sorted(model.names) == sorted(direct.names)
        values = {"mu": 1.7, "scale": 0.4, "shape": -1.3, "staterror_SR[1]": 1.04}
        assert model.expected(values) == pytest.approx(direct.expected(values), rel=1e-6)
        assert model.twice_nll(values) == pytest.approx(direct.twice_nll(values), rel=1e-6)
    (tmp_path / "data" / "data.root").unlink(missing_ok=True)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="cannot read the workspace"):
        read(top)


def test_xml_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "top.xml"
    with pytest.raises(InputError, match="cannot read"):
        read(path)
    path.write_text("<Combination")
    with pytest.raises(InputError, match="not valid XML"):
        read(path)
    path.write_text("<Combination></Combination>")
    with pytest.raises(InputError, match="no Input"):
        read(path)
    path.write_text("<Combination><Input>./config/SR.xml</Input></Combination>")
    with pytest.raises(InputError, match="is in none of"):
        read(path)
