"""JSON, TOML and YAML that others wrote: the one door, which bounds size and depth and refuses what is ambiguous."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.files import require

DEPTH = 100
"""Levels of lists and tables inside one another."""
DIGITS = 308
"""Digits of a whole number: the largest number of double precision has 309."""
EXPANSION = 10
"""Bytes of memory that a byte of text can become."""

SCALAR = 10_000
"""Characters of a number or date in YAML, whose forms take more than linear time to read."""

HEAD = 1_000_000
"""Bytes of a file by which its format is recognised."""

GZIP = b"\x1f\x8b"
"""First bytes of files that are compressed with gzip."""

TEXTS = re.compile(r'"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'")
JSON_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
LONG = re.compile(rf"(?<![\d.])\d{{{DIGITS + 1},}}")
BRACKETS = re.compile(r"[^\[\]{}]+")


def head_of(path: str | os.PathLike[str], suffixes: Collection[str]) -> str:
    """The beginning of a text file by which its format is recognised; empty without a file, and for another ending."""
    source = Path(path)
    if source.suffix.lower() not in suffixes or not source.is_file():
        return ""
    with source.open("rb") as file:
        return file.read(HEAD).decode("utf-8", errors="replace")


def read_json(path: str | os.PathLike[str], what: str = "") -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32.

    Args:
        path: the file.
        what: what it should be, for the message ("a workspace").

    Raises:
        InputError: no such file, no JSON (with the line), nested deeper than `DEPTH`, whole numbers of more than
            `DIGITS` digits, the same key twice in one object, more than memory holds.
    """
    return parse_json(_content(path), str(path), what)


def parse_json(content: bytes | str, label: str, what: str = "") -> Any:
    """JSON in memory; `label` is what messages call it. Raises InputError as `read_json`."""
    wanted = f"; expected {what}" if what else ""
    if isinstance(content, bytes) and content.startswith(GZIP):
        raise InputError(f"'{label}' is compressed with gzip; unpack it first, with gunzip{wanted}")
    try:
        text = content if isinstance(content, str) else content.decode(json.detect_encoding(content), "surrogatepass")
    except UnicodeDecodeError as error:
        raise InputError(f"'{label}' is not a text file in UTF-8 or UTF-16, so not JSON{wanted}") from error
    _bounded(text, label, wanted, JSON_TEXTS)
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=lambda pairs: _object(pairs, label))
    except json.JSONDecodeError as error:
        raise InputError(
            f"'{label}' is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}{wanted}"
        ) from error


def read_toml(path: str | os.PathLike[str], what: str = "") -> dict[str, Any]:
    """The content of a TOML file; raises InputError as `read_json`."""
    wanted = f"; expected {what}" if what else ""
    try:
        text = _content(path).decode("utf-8")
        _bounded(text, str(path), wanted, TEXTS)
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}{wanted}") from error


def read_yaml(path: str | os.PathLike[str], what: str = "") -> Any:
    """The plain data of a YAML file of one document; the safe loader makes no objects.

    Raises InputError as `read_json`, for tags of objects too, and for aliases that expand the text to more than
    `EXPANSION` values a character; MissingExtraError without pyyaml.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("pyyaml", "hepdata", "reading YAML") from error
    wanted = f"; expected {what}" if what else ""
    try:
        text = _content(path).decode("utf-8-sig")
        _bounded_yaml(yaml, text, str(path), wanted)
        loader = _yaml_loader(yaml, str(path))(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not a text file in UTF-8, so not YAML{wanted}") from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid YAML: {' '.join(str(error).split())[:200]}{wanted}") from error


def _yaml_loader(yaml: Any, label: str) -> Any:
    """The safe loader, in C where it is there, that refuses the same key twice in one table."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            if len(set(map(str, keys))) != len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise InputError(f"'{label}' has the key '{twice}' twice in one table; leave one of them out")
            return super().construct_mapping(node, deep=deep)

    return Loader


def _bounded_yaml(yaml: Any, text: str, label: str, wanted: str) -> None:
    """Raise InputError for what is nested too deeply, expands too far, or has too long numbers, before it is built."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
            if event.implicit[0] and len(event.value) > SCALAR and not event.value[:1].isalpha():
                raise InputError(f"'{label}' holds a value of {len(event.value)} characters without quotes{wanted}")
        elif isinstance(event, yaml.CollectionStartEvent):
            values += 1
            open_nodes.append((event.anchor, values))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = values - before + 1
        if len(open_nodes) > DEPTH:
            raise InputError(f"'{label}' is nested more than {DEPTH} levels deep{wanted}")
        if values > EXPANSION * len(text):
            raise InputError(f"the aliases of '{label}' expand it to more than {values} values{wanted}")


def _content(path: str | os.PathLike[str]) -> bytes:
    file = require(path)
    try:
        check_memory(EXPANSION * file.stat().st_size)
        return file.read_bytes()
    except ValueError as error:
        raise InputError(f"'{path}' is too large: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read '{path}' ({error.strerror})") from error


def check_memory(size: float) -> None:
    """Raise ValueError when so many bytes would not fit into the memory of this machine."""
    known = {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", {}))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 1 << 34
    if size > memory / 2:  # there is a moment with two copies
        raise ValueError(
            f"unpacked it has {size / 1e9:.4g} GB, too much for the {memory / 1e9:.3g} GB of memory of this machine"
        )


def _bounded(text: str, label: str, wanted: str, texts: re.Pattern[str]) -> None:
    """Raise InputError for what is nested too deeply or holds too long numbers, before anything is parsed."""
    if text.count("[") + text.count("{") > DEPTH or (len(text) > DIGITS and LONG.search(text)):
        bare = texts.sub("", text)
        long = LONG.search(bare)
        if long:
            raise InputError(
                f"'{label}' holds a number of {len(long.group())} digits, larger than any number of double "
                f"precision{wanted}"
            )
        brackets = np.frombuffer(BRACKETS.sub("", bare).encode("ascii"), dtype=np.uint8)
        depth = np.cumsum(np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1))
        if depth.size and depth.max() > DEPTH:
            raise InputError(f"'{label}' is nested {int(depth.max())} levels deep, more than {DEPTH}{wanted}")


def _object(pairs: list[tuple[str, Any]], label: str) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InputError(f"'{label}' has the key '{twice}' twice in one object; leave one of them out")
    return made
