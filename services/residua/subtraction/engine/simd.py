"""The inner loop of every filter, as explicit vector instructions.

LLVM does not keep accumulators in registers across the taps of a plain numba loop. These
intrinsics do; they use fused multiply-adds on 16 lanes in a fixed order, without reductions,
so the bits do not depend on the vector width of the machine.
"""

# ruff: noqa: ARG001 - numba matches the arguments of intrinsics by name.

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "TILE_COLUMNS", "TILE_ROWS", "add_taps", "set_taps"]

LANES = 16
TILE_ROWS = 4
TILE_COLUMNS = 32
"""Rows and columns done by one call: eight accumulators hide the latency of the FMA."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = ir.IntType(64)
_VECTORS = TILE_COLUMNS // LANES


def _data(context: Any, builder: Any, array_type: Any, value: Any) -> Any:
    return context.make_array(array_type)(context, builder, value=value).data


def _pointer(builder: Any, base: Any, index: Any, element: Any) -> Any:
    """Pointer to element ``index`` of float32 data, as a pointer to ``element``."""
    return builder.bitcast(builder.gep(base, [index]), element.as_pointer())


def _load(builder: Any, base: Any, index: Any, element: Any) -> Any:
    value = builder.load(_pointer(builder, base, index, element))
    value.align = 4
    return value


def _broadcast(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def _taps_codegen(*, accumulate: bool) -> Callable[..., Any]:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, o, out_stride, source, s, row_stride, tap_stride, taps, t, n_taps = args
        out = _data(context, builder, signature.args[0], out)
        source = _data(context, builder, signature.args[3], source)
        taps = _data(context, builder, signature.args[7], taps)

        def index(base: Any, stride: Any, row: int, vector: int) -> Any:
            moved = builder.add(base, builder.mul(stride, _INDEX(row)))
            return builder.add(moved, _INDEX(vector * LANES))

        cells = [(r, c) for r in range(TILE_ROWS) for c in range(_VECTORS)]
        sums = []
        for r, c in cells:
            if accumulate:
                initial = _load(builder, out, index(o, out_stride, r, c), _VECTOR)
            else:
                initial = ir.Constant(_VECTOR, [0.0] * LANES)
            sums.append(cgutils.alloca_once_value(builder, initial))
        fma_type = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fma = cgutils.get_or_insert_function(builder.module, fma_type, f"llvm.fma.v{LANES}f32")
        with cgutils.for_range(builder, n_taps) as loop:
            k = loop.index
            tap = _broadcast(builder, _load(builder, taps, builder.add(t, k), _FLOAT))
            moved = builder.add(s, builder.mul(k, tap_stride))
            for (r, c), total in zip(cells, sums, strict=True):
                value = _load(builder, source, index(moved, row_stride, r, c), _VECTOR)
                builder.store(builder.call(fma, [tap, value, builder.load(total)]), total)
        for (r, c), total in zip(cells, sums, strict=True):
            pointer = _pointer(builder, out, index(o, out_stride, r, c), _VECTOR)
            builder.store(builder.load(total), pointer).align = 4
        return context.get_dummy_value()

    return codegen


def _taps_signature(out: Any, source: Any, taps: Any) -> Any:
    i8 = types.int64
    return types.void(out, i8, i8, source, i8, i8, i8, taps, i8, i8)


@intrinsic
def set_taps(
    _context: Any,
    out: Any,
    o: Any,
    out_stride: Any,
    source: Any,
    s: Any,
    row_stride: Any,
    tap_stride: Any,
    taps: Any,
    t: Any,
    n_taps: Any,
) -> Any:
    """Filter one tile: weighted sums of shifted data.

    ``out[o + r out_stride + c] = sum_k taps[t + k] source[s + r row_stride + k tap_stride + c]``
    for ``r`` below `TILE_ROWS` and ``c`` below `TILE_COLUMNS`. All arrays are contiguous
    float32, addressed flat; indices are not checked.
    """
    return _taps_signature(out, source, taps), _taps_codegen(accumulate=False)


@intrinsic
def add_taps(
    _context: Any,
    out: Any,
    o: Any,
    out_stride: Any,
    source: Any,
    s: Any,
    row_stride: Any,
    tap_stride: Any,
    taps: Any,
    t: Any,
    n_taps: Any,
) -> Any:
    """As `set_taps`, added to ``out``."""
    return _taps_signature(out, source, taps), _taps_codegen(accumulate=True)
