"""Files and frames of other kinds: the same table gives the same values, whatever holds it."""

import gzip
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import uproot

from bumpfit import events
from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events import locations
from bumpfit.events.formats import pandas_of, read_frame
from bumpfit.events.suffixes import is_table, split_tree
from bumpfit.events.tables import read
from bumpfit.files import sha256

NAMES = ("m_J1", "delta_m_J")


def frame(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"m_JJ": 3000 + 500 * rng.random(n), "m_J1": 100 * rng.random(n), "delta_m_J": 50 * rng.random(n)}
    )


def write_tree(path: Path, name: str = "Events", **more: object) -> Path:
    with uproot.recreate(path) as file:
        content = {column: values.to_numpy() for column, values in frame().items()}
        tree = file.mktree(name, {column: values.dtype for column, values in content.items()})
        tree.extend(content)
        other = file.mktree("other", {"x": np.dtype("f8")})
        other.extend({"x": np.arange(3.0)})
    return path


def write(path: Path) -> Path:
    """The frame in the format that the suffix says."""
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    if ".root" in path.suffixes:
        tree = write_tree(path.with_name("plain.root"))
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(tree.read_bytes()))
        else:
            tree.rename(path)
    elif ".tsv" in path.suffixes:
        frame().to_csv(path, sep="\t", index=False)
    elif path.name == "stream.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".ipc":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pyarrow.feather.write_feather(table, str(path))
    return path


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("a.tsv", "a.tsv"), ("a.tsv.gz", "a.tsv.gz"), ("a.feather", "a.feather"), ("a.arrow", "a.arrow"),
        ("stream.arrow", "stream.arrow"), ("a.ipc", "a.ipc"), ("a.root", "a.root:Events"),
        ("a.root.gz", "a.root.gz:Events"), ("a.root", "a.root"),
    ],
)  # fmt: skip
def test_the_same_table(tmp_path: Path, file: str, asked: str) -> None:
    write(tmp_path / file)
    found = read(tmp_path / asked, features=NAMES)
    plain = read(frame(), features=NAMES)
    np.testing.assert_array_equal(found.mass, plain.mass)
    np.testing.assert_array_equal(found.features, plain.features)
    assert found.content == plain.content
    assert len(found.sha256) == 64
    np.testing.assert_array_equal(events.observable("m_J1", tmp_path / asked), frame().m_J1)
    assert is_table(tmp_path / asked)


def test_frames_of_other_libraries() -> None:
    polars = pytest.importorskip("polars")
    made = polars.from_pandas(frame())
    assert read(made, features=NAMES).content == read(frame(), features=NAMES).content
    assert read(pa.Table.from_pandas(frame()), features=NAMES).content == read(frame(), features=NAMES).content
    np.testing.assert_array_equal(events.observable("m_JJ", made), frame().m_JJ)
    with pytest.raises(InputError, match=r"LazyFrame; expected .* collect it first"):
        read(made.lazy(), features=NAMES)
    with pytest.raises(InputError, match="got int; expected"):
        read(3, features=NAMES)  # type: ignore[arg-type]


def test_records_of_awkward() -> None:
    ak = pytest.importorskip("awkward")
    given = frame()
    records = ak.Array({str(name): given[name].to_numpy() for name in given})
    assert pandas_of(records).equals(given.reset_index(drop=True))
    some = pandas_of(ak.Array([{"m": 1, "n": 2}, {"m": None, "n": 3}]))
    assert np.isnan(some["m"][1]) and some["m"][0] == 1.0 and some["n"].tolist() == [2, 3]
    for wrong, said in (
        (ak.Array([1.0, 2.0]), "has no fields"),
        (ak.Array([{"pt": [1.0]}, {"pt": [1.0, 2.0]}]), "field 'pt' of the awkward array is no column"),
        (ak.Record({"pt": 1.0}), "is a single record"),
        (ak.Array([{"pt": "a"}, {"pt": None}]), "field 'pt' of the awkward array lacks values and holds no numbers"),
        (ak.Array([{"jet": {"pt": 1.0}}]), "field 'jet' of the awkward array"),
        (ak.to_regular(ak.Array([{"p": [1.0, 2.0]}, {"p": [3.0, 4.0]}])), "field 'p' of the awkward array"),
    ):
        with pytest.raises(InputError, match=said):
            pandas_of(wrong)


def test_trees_are_named(tmp_path: Path) -> None:
    write_tree(tmp_path / "a.root", "first")
    assert split_tree("x/a.root:dir/first") == ("x/a.root", "dir/first")
    assert split_tree("root://host:1094//a.root") == ("root://host:1094//a.root", None)
    assert split_tree("C:/a.root") == ("C:/a.root", None)
    with pytest.raises(InputError, match="several trees: first, other; choose one"):
        read(tmp_path / "a.root", features=NAMES)
    with pytest.raises(InputError, match="no tree 'nope'; it has first, other"):
        read(tmp_path / "a.root:nope", features=NAMES)
    with pytest.raises(InputError, match="no column 'm_J1'"):
        read(tmp_path / "a.root:other", mass="x", features=("m_J1",))
    with pytest.raises(InputError, match="there is no file"):
        read(tmp_path / "b.root:other", features=NAMES)
    pattern = events.open(str(tmp_path / "*.root") + ":first")
    assert len(pattern) == len(frame())
    with pytest.raises(InputError, match="several trees: first, other; expected one"):
        events.open([f"{tmp_path / 'a.root'}:first"], tree="other")


def test_a_branch_of_lists_is_no_column(flat: str) -> None:
    with pytest.raises(InputError, match=r"the branch 'Jet\.PT' of .* expected one number an event"):
        read(flat, mass="Jet.PT", features=())
    assert "Jet.PT" not in read_frame(flat).columns


@pytest.mark.parametrize("file", ["a.feather", "a.arrow", "a.tsv", "a.root", "a.root.gz", "a.lhe", "a.hepmc", "a.lhco"])
def test_damaged_files(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    for content in (b"", b"\x00" * 300, b"nonsense, of no kind\n\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=file.replace(".", r"\.")):
            read(path, features=NAMES)
        with pytest.raises(InputError):
            events.observable("m_JJ", path)
    if file.startswith("a.root"):
        whole = write(tmp_path / file).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError):
            read(path, features=NAMES)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of the files in the temporary folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_addresses(server: str, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    write(tmp_path / "a.tsv")
    write(tmp_path / "a.root.gz")
    found = read(f"{server}/a.tsv", features=NAMES)
    assert found.content == read(frame(), features=NAMES).content
    assert found.sha256 == read(tmp_path / "a.tsv", features=NAMES).sha256
    assert read(f"{server}/a.root.gz:Events", features=NAMES).content == found.content
    with pytest.raises(InputError, match=r"nope\.csv cannot be read"):
        read(f"{server}/nope.csv", features=NAMES)
    with pytest.raises(InputError, match=r"nope\.root cannot be read"):
        events.open(f"{server}/nope.root")
    frame().to_parquet(tmp_path / "a.parquet")
    source = events.open(f"{server}/a.parquet")
    assert source.label == f"{server}/a.parquet"
    assert source.sha256() == {f"{server}/a.parquet": sha256(tmp_path / "a.parquet")}
    for name in ("b.parquet", "b.h5", "b.arrow", "b.tsv"):  # what was fetched is never named
        (tmp_path / name).write_bytes(b"\xff\xfe no table")
        for opened in (events.open, read):
            with pytest.raises(InputError, match=rf"^{server}/{name} cannot be read as"):
                opened(f"{server}/{name}")


def test_parquet_files_whose_columns_have_other_kinds_are_refused(tmp_path: Path) -> None:
    def made(name: str, values: object) -> Path:
        pq.write_table(pa.table({"x": values}), tmp_path / name)
        return tmp_path / name

    one = made("a.parquet", pa.array([1, 2], pa.int32()))
    both = events.open([one, made("b.parquet", pa.array([0.5], pa.float64()))])
    assert events.observable("x", both).tolist() == [1.0, 2.0, 0.5]
    for name, other in (("lists", [[1.0], []]), ("texts", ["1"]), ("records", [{"x": 1}])):
        with pytest.raises(InputError, match=rf"the column 'x' holds .* in .*{name}\.parquet and int32 in"):
            events.open([one, made(f"{name}.parquet", other)])


def test_a_server_that_is_not_there_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XRD_CONNECTIONWINDOW", raising=False)
    monkeypatch.setenv("XRD_CONNECTIONRETRY", "7")  # the user's own

    def open_(*arguments: object, **options: object) -> None:
        assert int(os.environ["XRD_CONNECTIONWINDOW"]) <= 30 and os.environ["XRD_CONNECTIONRETRY"] == "7"
        raise OSError("no route")

    monkeypatch.setattr("uproot.open", open_)
    with pytest.raises(InputError, match=r"root://host//a\.root cannot be read \(OSError: no route\); check"):
        events.open("root://host//a.root")


def test_addresses_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"nothing://here/a\.csv cannot be read"):
        read("nothing://here/a.csv", features=NAMES)
    assert "bumpfit[xrootd]" in str(locations.refusal("root://host//a.root", ImportError("no")))
    assert isinstance(locations.refusal("https://host/a.root", ImportError("no")), MissingExtraError)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("a.csv", gzip.compress(b"m_JJ,x\n1,2\n", mtime=0), "its content is gzip"),
     ("a.csv.gz", b"m_JJ,x\n1,2\n", "leave out .gz"),
     ("a.csv", "m_JJ,x\n1,2\n".encode("utf-16"), "UTF-16"), ("a.parquet", b"\x89HDF\r\n\x1a\n", "its content is HDF5"),
     ("a.feather", b"root" + bytes(60), "its content is a ROOT file")],
)  # fmt: skip
def test_what_a_file_is_whose_name_says_something_else(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)):
        read_frame(tmp_path / name)
