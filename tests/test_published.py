"""Published spectra in all formats give the same counts; faulty files end in a sentence."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from bumpfit import published, shapes
from bumpfit.commands.spectra import Published
from bumpfit.errors import BumpfitError, InputError
from bumpfit.published import events_of, roundest

CMS = Path(__file__).parent / "data" / "cms_dijet_137fb.csv"

EDGES = np.array([1000.0, 1200.0, 1500.0, 1900.0, 2500.0])
COUNTS = np.array([250.0, 90.0, 12.0, 0.0])


def garwood(n: float) -> tuple[float, float]:
    """Errors downwards and upwards of n events."""
    tail = 0.15865525393145707
    low = 0.5 * chi2.ppf(tail, 2 * n) if n > 0 else 0.0
    return n - low, 0.5 * chi2.isf(tail, 2 * n + 2) - n


def yaml_table(scale: float = 1.0, width: bool = False, **changes: Any) -> dict[str, Any]:
    cells = []
    for n, w in zip(COUNTS, np.diff(EDGES), strict=True):
        factor = scale / (w if width else 1.0)
        down, up = garwood(n)
        error = {"asymerror": {"plus": float(f"{up * factor:.5g}"), "minus": float(f"{-down * factor:.5g}")}}
        cells.append({"value": float(f"{n * factor:.5g}"), "errors": [{"label": "stat", **error}]})
    axis = {
        "header": {"name": "mass", "units": "TeV"},
        "values": [{"low": float(a) / 1000, "high": float(b) / 1000} for a, b in itertools.pairwise(EDGES)],
    }
    found = {"header": {"name": "events", "units": "fb/GeV"}, "values": cells}
    return {"independent_variables": [axis], "dependent_variables": [found], **changes}


def written(folder: Path, content: Any, name: str = "t.yaml") -> Path:
    yaml = pytest.importorskip("yaml")
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_cms_dijet_spectrum() -> None:
    """Deviances of the published spectrum of 137 fb-1, and the order that the F-test chooses."""
    found = published.read(CMS)
    assert "137.5" in found.how
    deviances = []
    for number in (3, 4, 5):
        shape = shapes.dijet(number)
        best = shapes.fit(shape, found.histogram)
        expected = shape.integrate(found.histogram.edges, best.values)
        deviances.append(float(shapes.likelihood_chi2(found.histogram.counts, expected)))
    assert deviances == pytest.approx([41.3936, 41.3920, 41.0062], abs=2e-4)
    assert shapes.order_by_f_test(found.histogram).n_parameters == 3


def test_luminosity_gives_the_same_counts() -> None:
    assert np.array_equal(published.read(CMS, luminosity=137.5).histogram.counts, published.read(CMS).histogram.counts)


@pytest.mark.parametrize(("scale", "width"), [(1.0, False), (0.0317, False), (2.5e-4, True), (17.3, True)])
def test_errors_tell_the_counts(tmp_path: Path, scale: float, width: bool) -> None:
    found = published.read(written(tmp_path, yaml_table(scale, width)))
    assert found.histogram.counts.tolist() == COUNTS.tolist()
    assert found.histogram.edges == pytest.approx(EDGES)


def test_symmetric_errors_are_roots(tmp_path: Path) -> None:
    values = np.array([16.0, 9.0, 4.0])
    assert events_of(values * 0.1, np.sqrt(values) * 0.1, np.sqrt(values) * 0.1) == pytest.approx(values)
    for n in (1.0, 2.0, 7.0, 150.0):
        down, up = garwood(n)
        assert events_of(np.array([n * 3]), np.array([down * 3]), np.array([up * 3])) == pytest.approx([n], rel=1e-9)
    assert math.isnan(events_of(np.array([1.0]), np.array([np.nan]), np.array([np.nan]))[0])


def test_the_roundest_number() -> None:
    assert roundest(137.5012, 1e-5) == 137.5
    assert roundest(137.5012, 1e-9) == 137.5012
    assert roundest(0.0012345, 0.5) == 0.001


def test_every_format_gives_the_same_counts(tmp_path: Path) -> None:
    """HEPData YAML and CSV, plain CSV with and without a header, YODA 1 and 2, UHI JSON, ROOT."""
    uproot, hist = pytest.importorskip("uproot"), pytest.importorskip("hist")
    bins = list(zip(EDGES[:-1], EDGES[1:], COUNTS, strict=True))
    files = {"t.yaml": yaml_table()}
    for name, content in files.items():
        written(tmp_path, content, name)
    (tmp_path / "hep.csv").write_text(
        "#: name: Table 1\nm [TeV],m [TeV] LOW,m [TeV] HIGH,N\n"
        + "".join(f"{(a + b) / 2000},{a / 1000},{b / 1000},{n}\n" for a, b, n in bins)
    )
    (tmp_path / "plain.csv").write_text("low,high,count\n" + "".join(f"{a},{b},{n}\n" for a, b, n in bins))
    (tmp_path / "bare.csv").write_text("".join(f"{a},{b},{n}\n" for a, b, n in bins))
    rows = "".join(f"{a}\t{b}\t{n}\t{n}\t0\t0\t{n}\n" for a, b, n in bins)
    (tmp_path / "one.yoda").write_text(
        f"BEGIN YODA_HISTO1D_V2 /A/m\nPath: /A/m\n---\n# ID\nTotal\tTotal\t1\t1\t0\t0\t1\n{rows}END YODA_HISTO1D_V2\n"
    )
    ends = ", ".join(f"{e:e}" for e in EDGES)
    inner = "".join(f"{n}\t{n}\t0\t0\t{n}\n" for n in (0.0, *COUNTS, 0.0))
    (tmp_path / "two.yoda").write_text(
        f"BEGIN YODA_HISTO1D_V3 /A/m\nPath: /A/m\n---\nEdges(A1): [{ends}]\n# sumW\n{inner}END YODA_HISTO1D_V3\n"
    )
    h = hist.Hist(hist.axis.Variable(EDGES))
    h.view()[...] = COUNTS
    with uproot.recreate(tmp_path / "f.root") as file:
        file["dir/m"] = h
    axis = {"type": "variable", "edges": EDGES.tolist(), "underflow": False, "overflow": False, "circular": False}
    (tmp_path / "u.json").write_text(
        json.dumps({"uhi_schema": 1, "axes": [axis], "storage": {"type": "double", "values": COUNTS.tolist()}})
    )
    for name in ("t.yaml", "hep.csv", "plain.csv", "bare.csv", "one.yoda", "two.yoda", "f.root", "u.json"):
        found = published.read(tmp_path / name)
        assert found.histogram.counts.tolist() == COUNTS.tolist(), name
        assert found.histogram.edges == pytest.approx(EDGES), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "is no table of HEPData"),
        ("a: [1", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ({**yaml_table(), "independent_variables": []}, "has 0 independent variables"),
        ({**yaml_table(), "independent_variables": ["m"]}, "a variable that is no object"),
        ({**yaml_table(), "independent_variables": [{"values": 3}]}, "values that are no list"),
        ({**yaml_table(), "dependent_variables": yaml_table()["dependent_variables"] * 2}, "name one with --object"),
    ],
)  # fmt: skip
def test_faulty_yaml(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        published.read(written(tmp_path, content))


def test_faulty_tables(tmp_path: Path) -> None:
    def refused(change: Any, message: str, **options: Any) -> None:
        content = yaml_table(0.0317)
        change(content["independent_variables"][0]["values"], content["dependent_variables"][0]["values"])
        with pytest.raises(InputError, match=message):
            published.read(written(tmp_path, content), **options)

    refused(lambda a, v: a[1].pop("low"), "has no low and high end")
    refused(lambda a, v: a[1].update(low=1.3), "do not touch")
    refused(lambda a, v: a[1].update(low=9.0), "goes from|do not touch")
    refused(lambda a, v: v.pop(), "4 bins but 3 values")
    refused(lambda a, v: v[0].update(value=-1.0), "negative values")
    refused(lambda a, v: v[0].update(value=math.inf), "must be finite")
    refused(lambda a, v: v[0].update(value=10**308 * 9), "must be finite")
    refused(lambda a, v: (a.clear(), v.clear()), "has no bins")
    refused(lambda a, v: v[0].update(value="-"), "has no value")
    refused(lambda a, v: [c.pop("errors") for c in v], "no errors that tell how many events")
    refused(
        lambda a, v: [c.update(errors=[{"symerror": 1e-5}]) for c in v],
        "not those of Poisson counts|no errors that tell",
    )
    refused(lambda a, v: v[0].update(errors=[{"asymerror": {"plus": 1.0}}]), "without symerror")
    refused(lambda a, v: v[1].update(value=v[1]["value"] * 1.004), "no whole number|not those of Poisson")
    refused(lambda a, v: None, "must be positive", luminosity=-1.0)
    refused(lambda a, v: None, "expected GeV or TeV", unit="keV")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("a,b\n1,2\n", "no low and high edges"),
        ("1,2\n2,3\n", "2 columns of numbers"),
        ("1,2,3\n2,3\n", "another number of columns"),
        ("low,high,thing\n1,2,3\n", "no column"),
        ("m,m LOW,m HIGH\n1.5,1,2\n", "no spectrum"),
        ("low,high,count\n1,2,x\n", "expected a number"),
        ("low,high,count\n1,2,nan\n", "must be finite"),
        ("low,high,count\n1,2,3\n5,6,7\n", "do not touch"),
        ("low,high,count\n1,2,0\n", "has no events"),
        ("low,high,count\n1,2,0.5\n", "no errors that tell"),
    ],
)  # fmt: skip
def test_faulty_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        published.read(path)


def test_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    yaml = pytest.importorskip("yaml")
    whole = {"t.csv": CMS.read_bytes(), "t.yaml": yaml.safe_dump(yaml_table(0.03)).encode()}
    for name, content in whole.items():
        for _ in range(40):
            data = bytearray(content)
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(1, 255)
            (tmp_path / name).write_bytes(data[: rng.integers(1, len(data))])
            try:
                published.read(tmp_path / name)
            except BumpfitError as error:
                assert str(error)
    for name in ("t.root", "t.yoda", "t.json"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(BumpfitError):
            published.read(tmp_path / name)


def test_options_of_tables_are_refused_for_histograms(tmp_path: Path) -> None:
    axis = {"type": "variable", "edges": EDGES.tolist(), "underflow": False, "overflow": False, "circular": False}
    source = tmp_path / "u.json"
    source.write_text(
        json.dumps({"uhi_schema": 1, "axes": [axis], "storage": {"type": "double", "values": COUNTS.tolist()}})
    )
    with pytest.raises(InputError, match="--unit and --luminosity belong to tables"):
        published.read(source, unit="TeV")
    with pytest.raises(InputError, match="--unit and --luminosity belong to tables"):
        published.read(source, luminosity=1.0)
    assert published.read(source, unit="GeV").histogram.counts.tolist() == COUNTS.tolist()


def test_a_root_file_without_options_of_a_spectrum_is_a_table(tmp_path: Path) -> None:
    assert not Published().wanted(tmp_path / "scores.root")
    assert Published(object="dir/m").wanted(tmp_path / "f.root") and Published().wanted(tmp_path / "t.yaml")
