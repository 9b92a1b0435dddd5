import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bumpfit import events
from bumpfit.errors import InputError
from bumpfit.events import formats, tables
from bumpfit.events.pairs import check_pair

COLUMNS = (tables.MASS, *tables.FEATURES)


def table(n: int = 6, unit: float = 1.0, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    high = rng.uniform(0.01, 0.9, (n, 4)) * [300.0 * unit, 300.0 * unit, 1.0, 1.0]
    return pd.DataFrame(np.column_stack([rng.uniform(3000, 3500, n) * unit, high]), columns=list(COLUMNS))


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.name.endswith((".csv", ".csv.gz")):
        frame.to_csv(path)
    elif path.suffix in (".parquet", ".pq"):
        frame.to_parquet(path)
    else:
        frame.to_hdf(path, key="df", mode="w", format="table" if path.suffix == ".hdf5" else "fixed")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".pq", ".h5", ".hdf5", ".hdf"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    n = data.draw(st.integers(1, 20))
    numbers = st.floats(0, 1e4, allow_subnormal=False)
    frame = pd.DataFrame(
        {name: data.draw(st.lists(numbers, min_size=n, max_size=n)) for name in COLUMNS},
        index=data.draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n, unique=True)),
    )
    frame[tables.MASS] += 1e4
    events = tables.read(save(frame, tmp_path / f"t{suffix}"))
    assert events.unit == "GeV" and events.index.tolist() == frame.index.tolist()
    pd.testing.assert_frame_equal(events.frame(), frame, rtol=4e-16, atol=0, check_index_type=False)


def test_frame_in_memory_is_not_changed_and_extra_columns_are_ignored() -> None:
    frame = table().assign(label="signal")
    before = frame.copy()
    events = tables.read(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert events.names == tables.FEATURES and len(events) == 6 and events.path is None


def test_units_are_found_and_kept() -> None:
    gev, tev = tables.read(table()), tables.read(table(unit=1e-3))
    assert (gev.unit, tev.unit) == ("GeV", "TeV")
    np.testing.assert_allclose(tev.mass, gev.mass, rtol=1e-12)
    np.testing.assert_allclose(tev.features, gev.features, rtol=1e-12)
    np.testing.assert_allclose(tev.frame("TeV"), table(unit=1e-3), rtol=1e-12)
    assert tables.read(table(unit=1e-3), unit="GeV").mass.max() < 4
    with pytest.raises(InputError, match="unit is 'eV'"):
        tables.read(table(), unit="eV")


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_rounding_of_massless_jets_is_zero(unit: float) -> None:
    frame = table(unit=unit)
    frame.loc[2, "m_J1"] = -2.6e-5 * unit
    frame.loc[3, "delta_m_J"] = -2.6e-5 * unit
    events = tables.read(frame)
    assert events.rounded == 2 and events.column("m_J1")[2] == 0 and events.column("delta_m_J")[3] == 0
    frame.loc[2, "m_J1"] = -0.1 * unit
    with pytest.raises(InputError, match=r"1 events with negative m_J1 .* first at index 2"):
        tables.read(frame)
    assert tables.read(frame.astype(np.float32)).rounded == 2


def test_wrong_masses() -> None:
    with pytest.raises(InputError, match="m_JJ not above 0; first at index 1"):
        tables.read(table().assign(m_JJ=[3e3, 0, 3e3, 3e3, -1, 3e3]))
    with pytest.raises(InputError, match="J1 the lighter jet"):
        tables.read(table().assign(delta_m_J=-5.0))
    with pytest.raises(InputError, match="same unit"):
        tables.read(table().assign(m_JJ=lambda t: t["m_JJ"] / 1e3))


def test_other_names() -> None:
    frame = table().rename(columns={"m_JJ": "mjj", "m_J1": "light"}).assign(extra=1.5)
    events = tables.read(frame, mass="mjj", features={"m_J1": "light", "delta_m_J": "delta_m_J", "x": "extra"})
    assert events.names == ("m_J1", "delta_m_J", "x") and events.mass_name == "mjj"
    np.testing.assert_array_equal(events.column("m_J1"), frame["light"])
    np.testing.assert_array_equal(events.column("mjj"), frame["mjj"])
    with pytest.raises(InputError, match="no column 'y'; it has 'mjj', 'm_J1'"):
        events.column("y")


def test_columns_that_are_no_numbers() -> None:
    for wrong in (True, 1j, "x", pd.Timestamp("2024-01-01")):
        with pytest.raises(InputError, match=r"m_J1: 6 not a number"):
            tables.read(table().assign(m_J1=wrong))
    assert tables.read(table().convert_dtypes()).mass.dtype == np.float64
    with pytest.raises(InputError, match="both the mass that is searched and a feature"):
        tables.read(table(), features=["m_JJ", "m_J1"])
    with pytest.raises(InputError, match="got dict; expected a file or a table"):
        tables.read({"m_JJ": [1.0]})  # type: ignore[arg-type]


@pytest.mark.parametrize("huge", [1e31, -1e39, 1e308])
def test_numbers_beyond_those_of_32_bits_are_told(huge: float) -> None:
    wrong = table()
    wrong.loc[wrong.index[2], "m_J1"] = huge
    with pytest.raises(InputError, match=r"m_J1: 1 beyond 1e\+30"):
        tables.read(wrong)
    assert len(tables.read(wrong, on_bad="drop")) == len(wrong) - 1


def test_missing_column_lists_those_there() -> None:
    with pytest.raises(InputError, match="no column 'm_J1'; it has 'm_JJ', 'delta_m_J'"):
        tables.read(table().drop(columns="m_J1"))


def test_bad_cells_are_counted_and_dropped_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    rows = ["7,3000,1,2,.5,.5", "3,inf,1,2,.5,.5", "4,3000,,2,.5,.5", "5,3000,1,2,abc,.5", "1,3000,1,2,.5,.5"]
    path.write_text("\n".join(["," + ",".join(COLUMNS), *rows]))
    with pytest.raises(InputError) as failure:
        tables.read(path)
    assert "in 3 of 5 events (m_JJ: 1 infinite; m_J1: 1 NaN or empty; tau_2_over_tau_1_J1: 1 not a number)" in str(
        failure.value
    )
    assert "first at index 3, 4, 5" in str(failure.value) and "on_bad='drop'" in str(failure.value)
    events = tables.read(path, on_bad="drop")
    assert events.index.tolist() == [7, 1] and events.dropped.tolist() == [3, 4, 5]
    with pytest.raises(InputError, match="no event left"):
        tables.read(table().assign(m_JJ=np.nan), on_bad="drop")
    with pytest.raises(InputError, match="on_bad is 'skip'"):
        tables.read(path, on_bad="skip")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, 2, 2, 2, 5], r"2 repeated values of the event index \(first: 2, 2\)"),
        ([0, 1, 2.5, 3, 4, np.nan], "not a whole number in 2 rows"),
        (list("abcdef"), "not a whole number in 6 rows"),
        ([True, False, True, False, True, False], "not a whole number in 6 rows"),
        (pd.date_range("2024-01-01", periods=6), "not a whole number in 6 rows"),
        (pd.MultiIndex.from_product([[0, 1], [0, 1, 2]]), "2 levels"),
    ],
)
def test_bad_index(index: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tables.read(table().set_axis(index, axis=0))  # type: ignore[arg-type]


def test_index_rules(tmp_path: Path) -> None:
    frame = table(3)
    (tmp_path / "a.csv").write_text(frame.set_axis([2.0, 0.0, 9.0]).to_csv())
    assert tables.read(tmp_path / "a.csv").index.tolist() == [2, 0, 9]
    (tmp_path / "b.csv").write_text(frame.to_csv(index=False))
    assert tables.read(tmp_path / "b.csv").index.tolist() == [0, 1, 2]
    frame.insert(2, "event", [5, 3, 4])
    assert tables.read(frame, index="event").index.tolist() == [5, 3, 4]
    with pytest.raises(InputError, match="no column 'number' for the event index"):
        tables.read(frame, index="number")
    frame.insert(0, "Unnamed: 0", [8, 7, 6])
    frame.to_parquet(tmp_path / "c.parquet")
    assert tables.read(tmp_path / "c.parquet").index.tolist() == [8, 7, 6]


def test_plain_hdf5(tmp_path: Path) -> None:
    import tables as pytables

    frame = table(4)
    with pytables.open_file(str(tmp_path / "columns.h5"), "w") as file:
        group = file.create_group("/", "events")
        for name in COLUMNS:
            file.create_array(group, name, frame[name].to_numpy(">f8"))
        file.create_array(group, "index", np.array([4, 3, 2, 1]))
    with pytables.open_file(str(tmp_path / "record.h5"), "w") as file:
        file.create_table("/", "events", frame.to_records(index=False))
        file.create_table("/", "other", frame.to_records(index=False))
    with pytables.open_file(str(tmp_path / "matrix.h5"), "w") as file:
        file.create_array("/", "values", frame.to_numpy()).attrs["columns"] = list(COLUMNS)
    for name, key in (("columns", None), ("record", "events"), ("matrix", None)):
        events = tables.read(tmp_path / f"{name}.h5", key=key)
        np.testing.assert_array_equal(events.frame(), frame)
        assert events.index.tolist() == ([4, 3, 2, 1] if name == "columns" else [0, 1, 2, 3])
    with pytest.raises(InputError, match="several tables: '/events', '/other'"):
        tables.read(tmp_path / "record.h5")
    with pytest.raises(InputError, match="no table 'x'; it has '/events', '/other'"):
        tables.read(tmp_path / "record.h5", key="x")
    with pytables.open_file(str(tmp_path / "none.h5"), "w"):
        pass
    with pytest.raises(InputError, match="holds no table"):
        tables.read(tmp_path / "none.h5")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.h5", "a.txt"])
def test_unreadable(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        tables.read(tmp_path / name)
    for content in (b"", b"\x89HDF\r\n\x1a\n broken", b"\xff\xfe,m_JJ\n\x00", bytes(range(256)) * 20):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as failure:
            tables.read(tmp_path / name)
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",m_JJ\n", "no events"),
        (",a,b\n0,1,2\n1,1,2,3,4\n", "cannot be read as CSV"),
        (",m_JJ,m_JJ\n0,1,2\n", "more than one column called 'm_JJ'"),
        (";m_JJ;m_J1\n0;1;2\n", "separated by commas"),
    ],
)
def test_bad_csv(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        tables.read(tmp_path / "a.csv")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120) | st.text(alphabet=',"\n0123456789.eE-+nainfm_JJ \r;', max_size=120).map(str.encode))
def test_rubbish_csv_is_a_table_or_an_input_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(content)
        try:
            assert len(formats.read_frame(path))
        except InputError as error:
            assert "\n" not in str(error)


def test_pairs() -> None:
    data, background = tables.read(table(seed=1)), tables.read(table(seed=2))
    check_pair(data, background)
    with pytest.raises(InputError, match=r"background is in TeV and the data in GeV \(median"):
        check_pair(data, tables.read(table(unit=1e-3)))
    with pytest.raises(InputError, match="same table"):
        check_pair(data, tables.read(table(seed=1)))
    with pytest.raises(InputError, match=r"do not overlap: data .* GeV, background .* GeV"):
        check_pair(data, tables.read(table().assign(m_JJ=lambda t: t["m_JJ"] + 1000)))
    with pytest.raises(InputError, match="expected the same"):
        check_pair(data, tables.read(table(), features=tables.FEATURES[:2]))


def test_take_and_hash() -> None:
    events = tables.read(table(seed=3))
    assert events.take(np.array([2, 0])).index.tolist() == [2, 0]
    assert events.take(events.mass > 0).mass.tolist() == events.mass.tolist()
    changed = table(seed=3)
    changed.loc[0, "m_J1"] += 1e-9
    assert formats.sha256_frame(table(seed=3)) == events.sha256 != formats.sha256_frame(changed)


def test_bom_and_blanks_in_the_header(tmp_path: Path) -> None:
    text = io.StringIO()
    table(2).to_csv(text)
    (tmp_path / "a.csv").write_text("\ufeff" + text.getvalue().replace(",m_J1", ", m_J1 "), encoding="utf-8")
    assert tables.read(tmp_path / "a.csv").index.tolist() == [0, 1]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".feather", ".arrow"])
def test_two_columns_of_one_name_are_refused_by_both_readers(tmp_path, ending: str) -> None:
    """A table of Parquet ended in 'Column pt does not exist in schema' as events, Feather in a traceback."""
    path = tmp_path / f"twice{ending}"
    table = pa.table([pa.array([1.0, 4.0]), pa.array([2.0, 5.0])], names=["pt", "pt"])
    if ending in (".csv", ".tsv"):
        path.write_text("pt,pt\n1,2\n4,5\n".replace(",", "\t" if ending == ".tsv" else ","))
    elif ending == ".parquet":
        pq.write_table(table, path)
    else:
        feather.write_feather(table, path)
    for read in (events.open, formats.read_frame):
        with pytest.raises(InputError, match=r"more than one column called 'pt'"):
            read(path)
