# mypy: disable-error-code="no-untyped-call, attr-defined"
"""Functions that numba compiles: `njit` with a cache that knows all sources that went into a function.

A compiled function has what it calls compiled into it, also from other files, while numba's own cache looks at one file
only: after an edit, or an upgrade, old and new code would be mixed. Here every file of the cache bears a hash of the
module's source and of all compiled ones that it imports, and a process whose sources have changed under it neither
reads nor writes the cache.

Numba is imported when a function is first compiled: what is never compiled never waits for it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import multiprocessing
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

PACKAGE = Path(__file__).parent
MARKS = (b"numba", b"bumpfit.compiled")
"""A file of the package that holds one of these has a part in what is compiled."""
PATIENCE = 2.0
"""Seconds of compiling after which a word is said."""
R = TypeVar("R")


def source_times() -> tuple[tuple[str, int, int], ...]:
    """Path, time of change and size of all Python files of the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple((str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in paths)


@functools.cache
def _sources() -> dict[str, tuple[str, frozenset[str]]]:
    """By module that has a part in what is compiled: the hash of its source, and which others it imports."""
    found = {}
    for name, _, _ in _at_import:
        content = Path(name).read_bytes()
        if any(mark in content for mark in MARKS):
            parts = (PACKAGE.name, *Path(name).relative_to(PACKAGE).with_suffix("").parts)
            found[".".join(parts)] = (hashlib.sha256(content).hexdigest(), content.decode())
    wanted = {name: {n for n in found if _imports(text, n)} for name, (_, text) in found.items()}
    return {name: (digest, frozenset(wanted[name])) for name, (digest, _) in found.items()}


def _imports(text: str, module: str) -> bool:
    """Whether a source imports a module: `from a.b import`, `import a.b` or `from a import b`."""
    folder, _, last = module.rpartition(".")
    direct = rf"^\s*(from|import)\s+{re.escape(module)}\b"
    member = rf"^\s*from\s+{re.escape(folder)}\s+import\s+(\([^)]*|[^\n]*)\b{last}\b"
    return re.search(f"{direct}|{member}", text, re.MULTILINE) is not None


@functools.cache
def source_hash(module: str) -> str:
    """SHA-256 of the sources of a module and of all that it imports, directly or not, as far as they are compiled."""
    sources = _sources()
    known, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in known and name in sources:
            known.add(name)
            todo += sources[name][1]
    return hashlib.sha256(repr([(name, sources[name][0]) for name in sorted(known)]).encode()).hexdigest()


_at_import = source_times()


class _Progress:
    """What is being compiled, and what was said about it."""

    def __init__(self) -> None:
        self.depth = 0
        self.said: set[str] = set()
        self.timer: threading.Timer | None = None

    def say(self, text: str) -> None:
        """A sentence on standard error, once, and not from workers."""
        asked = sys.modules.get("bumpfit.progress")  # without it nobody has asked for silence
        if text not in self.said and not (asked and asked.is_silent()) and multiprocessing.parent_process() is None:
            self.said.add(text)
            print(f"bumpfit: {text}", file=sys.stderr, flush=True)

    def begin(self) -> None:
        """A function starts to be compiled, perhaps within another."""
        self.depth += 1
        if self.timer is None:
            self.timer = threading.Timer(PATIENCE, self.say, ["compiling, once"])
            self.timer.daemon = True
            self.timer.start()

    def end(self) -> None:
        """One of them is done."""
        self.depth -= 1
        if self.depth <= 0 and self.timer is not None:
            self.timer.cancel()
            self.timer = None


_progress = _Progress()


_alone = False


def start_alone() -> None:
    """For the command line, before numba is imported: keep it from importing what is not used here, which are other
    packages' extensions (awkward, vector and sympy: two seconds), and scipy.linalg, which it tries only to learn that
    the scipy we require is there.
    """
    global _alone
    _alone = True


@functools.cache
def _numba() -> Any:
    numba = importlib.import_module("numba")
    if _alone:  # there is no public switch: where names are missing the start is slower and nothing else changes
        entrypoints = importlib.import_module("numba.core.entrypoints")
        linalg = importlib.import_module("numba.np.linalg")
        if hasattr(entrypoints, "_already_initialized"):
            entrypoints._already_initialized = True
        if hasattr(linalg, "ensure_blas"):
            check, linalg.ensure_blas = linalg.ensure_blas, lambda: None
            importlib.import_module("numba.np.arraymath")
            linalg.ensure_blas = check
    for made in _records:
        _register(made)
    return numba


_records: list[type] = []


def _register(made: type) -> None:
    from bumpfit.compiled_records import register

    register(made)


def record(made: type[R]) -> type[R]:
    """Decorator of a `NamedTuple` of arrays and numbers that Python hands to compiled functions, which get one address:
    they compile in less time. They can look at its fields, and neither make a record nor give one or its arrays back.
    """

    def words(self: Any) -> Any:
        from bumpfit.compiled_records import pack

        return pack(self)

    def address(self: Any) -> int:
        return int(self.record_words.ctypes.data)

    def reduce(self: Any) -> Any:  # copies and other processes have addresses of their own
        return type(self), tuple(self)

    names = {name: getattr(made, name) for name in ("__doc__", "__module__", "__qualname__")}
    kept = {"record_words": functools.cached_property(words), "record_address": functools.cached_property(address)}
    result = type(made.__name__, (made,), {**names, **kept, "__reduce__": reduce})
    _records.append(result)
    if _numba.cache_info().currsize:
        _register(result)
    return result


@functools.cache
def _cache_class() -> Any:
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile

    class Names(CompileResultCacheImpl):
        """Names of the files of a function's cache."""

        def __init__(self, function: Callable[..., Any]) -> None:
            self.stamp = source_hash(function.__module__)
            super().__init__(function)

        def get_filename_base(self, fullname: str, abiflags: str) -> str:
            """The function, the hash of its sources, and the version of Python."""
            self.function = fullname.replace("<", "").replace(">", "")
            return f"{self.function}.{self.stamp[:20]}.py{sys.version_info[0]}{sys.version_info[1]}{abiflags}"

    class KernelCache(FunctionCache):
        """The cache of one function; a folder that cannot be written costs time and nothing else."""

        _impl_class = Names

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            name = self._impl.filename_base
            self._cache_file = IndexDataCacheFile(self._cache_path, name, self._impl.stamp)
            if not _unchanged():
                self.disable()

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            """The compiled function; None when it has to be compiled."""
            try:
                found = super().load_overload(signature, target_context)
            except (OSError, EOFError, ValueError):
                found = None  # a damaged file
            if found is None:
                _progress.begin()
            return found

        def save_overload(self, signature: Any, data: Any) -> None:
            """Keep what was compiled, and remove what older sources left."""
            _progress.end()
            if not self._enabled or source_times() != _at_import:
                return
            try:
                super().save_overload(signature, data)
                current = self._impl.filename_base
                for path in Path(self._cache_path).glob(f"{self._impl.function}.*.nb?"):
                    if not path.name.startswith(current):
                        path.unlink(missing_ok=True)
            except OSError as error:
                _progress.say(f"compiled code cannot be kept and will be compiled again at the next start: {error}")

    return KernelCache


@functools.cache
def _unchanged() -> bool:
    """Whether the sources were, when the first function was needed, those that this process has imported."""
    return source_times() == _at_import


def _without_constants(made: Any) -> Any:
    """A dispatcher that compiled callers see without the values of their constants: with them numba compiles a function
    once for `False`, once for `True` and once for a variable: the minimisers, 20 s, once more.
    """
    from numba.core.types import unliteral

    template = made.get_call_template

    def get_call_template(arguments: Any, named: Any) -> Any:
        return template(tuple(map(unliteral, arguments)), {name: unliteral(kind) for name, kind in named.items()})

    made.get_call_template = get_call_template
    return made


class Kernel:
    """A function that is compiled when it is first called, or when a compiled function calls it.

    With an equivalent for calls from Python (`from_python`) only the second: one world need not wait for a compiler.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self.options = options
        self.plain: Callable[..., Any] | None = None

    def from_python(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator of the function that runs, uncompiled, when Python calls."""
        self.plain = function
        return function

    @functools.cached_property
    def dispatcher(self) -> Any:
        """Numba's view of the function."""
        made = _numba().njit(**self.options)(self.py_func)
        try:
            made._cache = _cache_class()(self.py_func)
        except RuntimeError:  # numba's way to say that no folder can be written
            _progress.say(
                "no folder for compiled code can be written, so it is compiled again at each start; set "
                "NUMBA_CACHE_DIR to one"
            )
        return _without_constants(made)

    @functools.cached_property
    def kept(self) -> bool:
        """Whether a form of it that was compiled before lies on disk, as this process first saw it."""
        cache = self.dispatcher._cache
        if not isinstance(cache, _cache_class()) or not _unchanged():
            return False
        return any(Path(cache.cache_path).glob(f"{cache._impl.filename_base}*.nbi"))

    @property
    def _numba_type_(self) -> Any:
        """How compiled functions see it."""
        return self.dispatcher._numba_type_

    @property
    def targetoptions(self) -> Any:
        """Where numba looks whether it is to be inlined."""
        return self.dispatcher.targetoptions

    def __call__(self, *arguments: Any) -> Any:
        """The function's value; the first call compiles it or reads what was compiled."""
        return self.dispatcher(*arguments) if self.plain is None else self.plain(*arguments)


def njit(
    *, internal: bool = False, inline: bool = False, plain: bool = False, fastmath: set[str] | bool = False
) -> Callable[..., Any]:
    """Compile a function when it is needed, without Python's lock and with IEEE division.

    internal    only compiled functions call it: without an entry from Python, which takes most of the time to compile
    inline      copy it into its callers before types are known
    plain       run uncompiled when Python calls
    fastmath    rules of floating-point arithmetic that may be broken, as in LLVM
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath, "no_cfunc_wrapper": True}
    if internal:
        options["no_cpython_wrapper"] = True
    if inline:
        options["inline"] = "always"

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = Kernel(function, options)
        if plain:
            kernel.from_python(function)
        return kernel

    return decorate
