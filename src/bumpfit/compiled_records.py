# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Records of arrays in compiled functions: one address each (`compiled.record`).

Numba passes a named tuple field by field, seven numbers an array, and copies all of them at each call and at each look
at one field; that was much of the time to compile the kernels of models with forty arrays. Here the numbers lie in
memory, written once by Python (`pack`), and compiled functions get the address.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numba.core.imputils
import numba.core.typing.templates
import numba.extending
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from bumpfit.types import Integers

extending: Any = numba.extending
templates: Any = numba.core.typing.templates
lower_getattr_generic: Any = numba.core.imputils.lower_getattr_generic

WORD = ir.IntType(64)
NUMBERS = (types.int64, types.float64, types.boolean)


class RecordType(types.Type):
    """Numba's type of a record: its class, the types of its fields, and where each begins, in words."""

    def __init__(self, made: type, kinds: tuple[Any, ...]) -> None:
        self.made, self.kinds = made, kinds
        self.fields: tuple[str, ...] = made._fields  # type: ignore[attr-defined]
        sizes = [1 if kind in NUMBERS else 2 + 2 * kind.ndim for kind in kinds]
        self.starts = [sum(sizes[:i]) for i in range(len(sizes))]
        digest = hashlib.sha256(f"{made.__module__} {kinds}".encode()).hexdigest()
        super().__init__(name=f"{made.__qualname__}_{digest[:16]}")  # short: the names of symbols hold it


def pack(record: Any) -> Integers:
    """What compiled functions read: of a number itself, of an array address, size, shape and strides."""
    words: list[int] = []
    for value in record:
        if isinstance(value, np.ndarray):
            words += [value.ctypes.data, value.size, *value.shape, *value.strides]
        elif isinstance(value, float):
            words.append(int(np.float64(value).view(np.int64)))
        else:
            words.append(int(value))
    return np.array(words, dtype=np.int64)


def register(made: type) -> None:
    """Let compiled functions take the instances of a class. They raise TypeError for fields of other types."""

    @extending.typeof_impl.register(made)
    def typeof(value: Any, context: Any) -> Any:
        kinds = tuple(extending.typeof_impl(item, context) for item in value)
        for name, kind in zip(value._fields, kinds, strict=True):
            if kind not in NUMBERS and not isinstance(kind, types.Array):
                raise TypeError(f"{made.__name__}.{name} is no array, whole number, float or bool of Python: {kind}")
        return RecordType(made, kinds)


@extending.register_model(RecordType)
class RecordModel(extending.models.PrimitiveModel):  # type: ignore[misc]
    """The address of the words."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.PointerType(WORD))


@extending.unbox(RecordType)
def unbox(kind: Any, value: Any, c: Any) -> Any:
    """Ask the record for its address."""
    found = c.pyapi.object_getattr_string(value, "record_address")
    number = c.unbox(types.intp, found)
    c.pyapi.decref(found)
    return extending.NativeValue(c.builder.inttoptr(number.value, ir.PointerType(WORD)), is_error=number.is_error)


@templates.infer_getattr
class RecordAttributes(templates.AttributeTemplate):  # type: ignore[misc]
    """Types of fields."""

    key = RecordType

    def generic_resolve(self, kind: Any, name: str) -> Any:
        """The type of a field; None where there is none of this name."""
        return kind.kinds[kind.fields.index(name)] if name in kind.fields else None


@lower_getattr_generic(RecordType)
def field(context: Any, builder: Any, kind: Any, words: Any, name: str) -> Any:
    """A field: a number, or an array that does not count its users, since Python keeps the record during the call."""
    i = kind.fields.index(name)
    wanted, start = kind.kinds[i], kind.starts[i]

    def word(k: int) -> Any:
        found = builder.load(builder.gep(words, [ir.Constant(WORD, start + k)], inbounds=True))
        found.set_metadata("invariant.load", builder.module.add_metadata([]))
        return found

    if wanted == types.float64:
        return builder.bitcast(word(0), ir.DoubleType())
    if wanted == types.boolean:
        return builder.trunc(word(0), ir.IntType(1))
    if wanted == types.int64:
        return word(0)
    array = context.make_array(wanted)(context, builder)
    n = wanted.ndim
    array.data = builder.inttoptr(word(0), array.data.type)
    array.nitems = word(1)
    array.itemsize = ir.Constant(WORD, context.get_abi_sizeof(context.get_data_type(wanted.dtype)))
    shape, strides = (numba.core.cgutils.pack_array(builder, [word(2 + k + j) for j in range(n)]) for k in (0, n))
    array.shape, array.strides = shape, strides
    array.meminfo = ir.Constant(array.meminfo.type, None)
    array.parent = ir.Constant(array.parent.type, None)
    return array._getvalue()
