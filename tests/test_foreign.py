"""JSON, TOML and YAML of others: bounded, unambiguous, one sentence for each fault."""

import gzip
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit import foreign
from bumpfit.errors import InputError

BAD = {
    "deep": b"[" * 100_000, "deep closed": b"[" * 5000 + b"]" * 5000, "mixed": b'[{"a":' * 60 + b"1" + b"}]" * 60,
    "deep objects": b'{"a":' * 3000 + b"1" + b"}" * 3000, "huge": b'{"a": ' + b"9" * 320 + b"}",
    "huge negative": b"[-" + b"9" * 5000 + b"]",
    "twice": b'{"a": 1, "b": {"c": 1, "c": 2}}', "binary": b"\xff\xfe\x00", "latin": b'"\xe9"', "empty": b"",
    "text": b"hello", "half": b'{"a": ', "zeros": bytes(40), "comma": b"[1,]",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_json_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.json").write_bytes(BAD[name])
    with pytest.raises(InputError) as refusal:
        foreign.read_json(tmp_path / "a.json", "a workspace")
    assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "a = " + "9" * 400, "a = ", "[a]\nb=1\nb=2", "\0"])
def test_bad_toml_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError):
        foreign.read_toml(tmp_path / "a.toml")


def test_brackets_and_digits_in_texts_are_texts(tmp_path: Path) -> None:
    content = {"a" + "[" * 500: "9" * 400, 'quote " [': ["\\", "{" * 300]}
    assert foreign.parse_json(json.dumps(content), "x") == content
    wide = [[1.5, 2]] * 10_000
    assert foreign.parse_json(json.dumps(wide), "x") == wide
    (tmp_path / "a.toml").write_text('a = "' + "[" * 300 + '"\nb = [1, 2]\n')
    assert foreign.read_toml(tmp_path / "a.toml")["b"] == [1, 2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.json").write_text('{"é": 1}', encoding=encoding)
    assert foreign.read_json(tmp_path / "a.json") == {"é": 1}


def test_large_files_are_read_in_time() -> None:
    text = json.dumps([[float(i) / 7 for i in range(500)] for _ in range(400)])
    begin = time.process_time()
    plain = json.loads(text)
    middle = time.process_time()
    assert foreign.parse_json(text, "x") == plain
    assert time.process_time() - middle < 20 * (middle - begin) + 0.5


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20,
)  # fmt: skip


@given(json_like)
def test_any_json_is_what_it_was(content: object) -> None:
    assert foreign.parse_json(json.dumps(content), "x") == content


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        foreign.parse_json(text, "x")
    except InputError as error:
        assert str(error)


LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_YAML = {
    "deep": "[" * 3000 + "]" * 3000, "blocks": "".join(" " * k + f"a{k}:\n" for k in range(200)), "laughs": LAUGHS,
    "twice": "a: 1\nb: {c: 1, c: 2}\n", "object": "a: !!python/object/apply:os.getcwd []\n",
    "sexagesimal": "a: " + ":".join(["1"] * 30_000), "digits": "a: " + "9" * 20_000, "date": "a: 2020-99-99\n",
    "documents": "---\na: 1\n---\nb: 2\n", "key": "? [a]\n: 1\n", "half": "a: [1,\n", "tab": "a:\n\t- 1\n",
    "itself": "a: &a [*a]\nb: *nobody\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml_is_one_sentence(tmp_path: Path, name: str) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "a.yaml").write_text(BAD_YAML[name])
    begun = time.perf_counter()
    with pytest.raises(InputError) as refusal:
        foreign.read_yaml(tmp_path / "a.yaml", "a table")
    assert len(str(refusal.value)) < 400 + len(str(tmp_path)) and "\n" not in str(refusal.value)
    assert time.perf_counter() - begun < 1


def test_yaml_with_anchors_is_read(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    nines = "9" * 20_000
    text = f"base: &base {{x: 1, y: [1, 2.5]}}\nother:\n  <<: *base\n  x: 3\nlist: [*base, 'a: b', '{nines}']\n"
    (tmp_path / "a.yaml").write_text(text)
    base = {"x": 1, "y": [1, 2.5]}
    assert foreign.read_yaml(tmp_path / "a.yaml") == {
        "base": base, "other": {"x": 3, "y": [1, 2.5]}, "list": [base, "a: b", nines],
    }  # fmt: skip


def test_compressed_json_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(InputError, match="is compressed with gzip; unpack it first, with gunzip; expected a workspace"):
        foreign.read_json(tmp_path / "w.json", "a workspace")
