# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Eight toys in one SIMD register: a numba type for a vector of doubles, with arithmetic, exp and log.

`Lanes` values live in registers. Arrays that hold them have 8 doubles a row: `load(a, i)` reads row i of an array of
shape (rows, 8), `store(a, i, v)` writes it. Every operation is done on all lanes alike, and products are only fused
where `fma` says so, so a lane's result depends neither on the other lanes nor on the processor. LLVM turns the vectors
into whatever registers there are (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numba.core.typing.templates
import numba.extending
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

# numba's decorators are not typed
intrinsic: Any = numba.extending.intrinsic
lower_builtin: Any = numba.extending.lower_builtin
register_model: Any = numba.extending.register_model
templates: Any = numba.core.typing.templates

WIDTH = 8
DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)
BITS = ir.VectorType(ir.IntType(64), WIDTH)

# exp: argument reduction x = k ln 2 + r with ln 2 in two parts (the first ends in zero bits), Taylor series to r^12
EXP_SERIES = tuple(
    1.0 / factorial for factorial in (479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1)
)
EXP_LIMIT = 700.0  # arguments are clamped here: e^700 is finite and far above any event count
LOG2E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# log: fdlibm e_log.c, log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))) with s = f / (2 + f); R without its first factor
# s^2
LOG_SERIES = (
    1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
    2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01,
)  # fmt: skip
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to a whole number, which then sits in the lowest bits
ROUND_BITS = 0x4338000000000000
ONE_BITS = 0x3FF0000000000000
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


class LanesType(types.Type):
    """Numba's type of a vector of `WIDTH` doubles."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes_type: Any = LanesType()


@register_model(LanesType)
class LanesModel(numba.extending.models.PrimitiveModel):
    """A `Lanes` value is one LLVM vector."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, DOUBLES)


def constant(value: float) -> ir.Constant:
    """The same number in all lanes."""
    return ir.Constant(DOUBLES, [value] * WIDTH)


def whole(value: int) -> ir.Constant:
    """The same 64-bit whole number in all lanes."""
    return ir.Constant(BITS, [value] * WIDTH)


def emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """A fused a * b + c."""
    name = f"llvm.fma.v{WIDTH}f64"
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(DOUBLES, [DOUBLES] * 3), name)
    return builder.call(function, [a, b, c])


def emit_series(builder: Any, x: Any, coefficients: Sequence[float]) -> Any:
    """A polynomial in x by Horner's rule, highest power first."""
    value = constant(coefficients[0])
    for c in coefficients[1:]:
        value = emit_fma(builder, value, x, constant(c))
    return value


def emit_exp(builder: Any, x: Any) -> Any:
    """e^x to two units in the last place for |x| <= 700."""
    x = builder.select(builder.fcmp_ordered("<", x, constant(EXP_LIMIT)), x, constant(EXP_LIMIT))
    x = builder.select(builder.fcmp_ordered(">", x, constant(-EXP_LIMIT)), x, constant(-EXP_LIMIT))
    shifted = emit_fma(builder, x, constant(LOG2E), constant(ROUND))
    k = builder.fsub(shifted, constant(ROUND))
    r = emit_fma(builder, k, constant(-LN2_LOW), emit_fma(builder, k, constant(-LN2_HIGH), x))
    power = builder.add(builder.shl(builder.bitcast(shifted, BITS), whole(52)), whole(ONE_BITS))
    return builder.fmul(emit_series(builder, r, EXP_SERIES), builder.bitcast(power, DOUBLES))


def emit_log(builder: Any, x: Any) -> Any:
    """ln x to two units in the last place for positive normal x; NaN for x <= 0 and for NaN."""
    positive = builder.fcmp_ordered(">", x, constant(0.0))
    bits = builder.bitcast(x, BITS)
    # exponent of x / sqrt(1/2), kept positive by the bias so that the shift needs no sign
    biased = builder.lshr(builder.add(builder.sub(bits, whole(SQRT_HALF_BITS)), whole(1023 << 52)), whole(52))
    power = builder.shl(builder.sub(biased, whole(1023)), whole(52))
    f = builder.fsub(builder.bitcast(builder.sub(bits, power), DOUBLES), constant(1.0))
    k = builder.fsub(builder.bitcast(builder.add(biased, whole(ROUND_BITS)), DOUBLES), constant(ROUND + 1023.0))
    s = builder.fdiv(f, builder.fadd(f, constant(2.0)))
    z = builder.fmul(s, s)
    half = builder.fmul(builder.fmul(f, constant(0.5)), f)
    inner = builder.fadd(half, builder.fmul(z, emit_series(builder, z, LOG_SERIES)))
    tail = emit_fma(builder, k, constant(LN2_LOW), builder.fmul(s, inner))
    value = emit_fma(builder, k, constant(LN2_HIGH), builder.fsub(f, builder.fsub(half, tail)))
    return builder.select(positive, value, constant(float("nan")))


def _operator(function: Callable[..., Any], instruction: str) -> None:
    @templates.infer_global(function)
    class Template(templates.AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            return templates.signature(lanes_type, *args) if args == (lanes_type, lanes_type) else None

    @lower_builtin(function, LanesType, LanesType)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


def _row(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    start = builder.gep(data, [builder.mul(index, ir.Constant(index.type, WIDTH))])
    return builder.bitcast(start, DOUBLES.as_pointer())


@intrinsic
def load(typingctx: Any, array: Any, row: Any) -> Any:
    """Row `row` of an array of shape (rows, 8)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(_row(context, builder, sig.args[0], *args), align=8)

    return lanes_type(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, row: Any, value: Any) -> Any:
    """Write row `row` of an array of shape (rows, 8)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _row(context, builder, sig.args[0], *args[:2]), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes_type), codegen


def _spread(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(DOUBLES, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(DOUBLES, ir.Undefined), zeros)


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """The same number in all lanes."""

    return lanes_type(types.float64), lambda context, builder, sig, args: _spread(builder, args[0])


@intrinsic
def spread(typingctx: Any, array: Any, index: Any) -> Any:
    """Element `index` of a contiguous array of doubles, counted through all its axes, in all lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return _spread(builder, builder.load(builder.gep(data, [args[1]])))

    return lanes_type(array, types.intp), codegen


def _unary(emit: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def typer(typingctx: Any, x: Any) -> Any:
        return lanes_type(lanes_type), lambda context, builder, sig, args: emit(builder, args[0])

    return typer


def _sqrt(builder: Any, x: Any) -> Any:
    name = f"llvm.sqrt.v{WIDTH}f64"
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(DOUBLES, [DOUBLES]), name
    )
    return builder.call(function, [x])


exp = intrinsic(_unary(emit_exp))
log = intrinsic(_unary(emit_log))
sqrt = intrinsic(_unary(_sqrt))


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """A fused a * b + c."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_fma(builder, *args)

    return lanes_type(lanes_type, lanes_type, lanes_type), codegen


@intrinsic
def where_less(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` in the lanes with a < b, else `no` (also where a or b is NaN)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered("<", a, b), yes, no)

    return lanes_type(lanes_type, lanes_type, lanes_type, lanes_type), codegen
