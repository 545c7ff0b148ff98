"""One row of Lanczos-3 interpolation as explicit vector instructions.

Per pixel: the six x and six y weights by one Horner chain on 16 lanes, six rows of eight
pixels, one sum; the same with squared weights on the central 4 x 4 pixels of the variance.
Fixed order and fused multiply-adds throughout, so the bits do not depend on the machine's
vector width.
"""

# ruff: noqa: ARG001 - numba matches the arguments of intrinsics by name.

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from residua.subtraction.lanczos import variance_polynomial, weight_polynomial

__all__ = ["lanczos3_row"]

_FLOAT = ir.FloatType()
_INT32 = ir.IntType(32)
_INDEX = ir.IntType(64)


def _vector(n: int) -> ir.VectorType:
    return ir.VectorType(_FLOAT, n)


def _constant(values: npt.NDArray[np.float64]) -> ir.Constant:
    return ir.Constant(_vector(len(values)), [float(np.float32(v)) for v in values])


def _shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT32, len(lanes)), lanes))


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = a.type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{kind.count}f32"
    )
    return builder.call(function, [a, b, c])


def _two_halves(builder: Any, x: Any, y: Any, half: int) -> Any:
    """Vector with ``x`` in the first ``half`` lanes and ``y`` in the others."""
    pair = ir.Constant(_vector(2), ir.Undefined)
    pair = builder.insert_element(pair, x, ir.Constant(_INT32, 0))
    pair = builder.insert_element(pair, y, ir.Constant(_INT32, 1))
    return _shuffle(builder, pair, pair, [0] * half + [1] * half)


def _horner(builder: Any, t: Any, coefficients: npt.NDArray[np.float64], half: int) -> Any:
    """Polynomials of both halves: taps of x in the first half of the lanes, of y in the second."""
    padded = np.zeros((len(coefficients), half))
    padded[:, : coefficients.shape[1]] = coefficients
    lanes = np.hstack([padded, padded])
    value = _constant(lanes[-1])
    for row in lanes[-2::-1]:
        value = _fma(builder, value, t, _constant(row))
    return value


def _weighted_sum(
    builder: Any, base: Any, index: Any, stride: Any, weights: Any, half: int, rows: int
) -> Any:
    """``sum_yx weights_y weights_x data``, data at ``base[index + y stride + x]``."""
    kind = _vector(half)
    total = ir.Constant(kind, [0.0] * half)
    for r in range(rows):
        pointer = builder.gep(base, [builder.add(index, builder.mul(stride, _INDEX(r)))])
        data = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        data.align = 4
        total = _fma(builder, data, _shuffle(builder, weights, weights, [half + r] * half), total)
    total = builder.fmul(total, _shuffle(builder, weights, weights, list(range(half))))
    while half > 1:
        half //= 2
        other = _shuffle(builder, total, total, list(range(half, 2 * half)))
        total = builder.fadd(_shuffle(builder, total, total, list(range(half))), other)
    return builder.extract_element(total, ir.Constant(_INT32, 0))


def _codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    xs, ys, n, image, variance, stride, out_image, out_variance = (
        context.make_array(kind)(context, builder, value=value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, args, strict=True)
    )
    weight, square = weight_polynomial(), variance_polynomial()
    with cgutils.for_range(builder, n) as loop:
        i = loop.index
        x = builder.load(builder.gep(xs, [i]))
        y = builder.load(builder.gep(ys, [i]))
        column, row = builder.fptosi(x, _INT32), builder.fptosi(y, _INT32)
        middle = ir.Constant(_FLOAT, 0.5)
        fx = builder.fsub(builder.fsub(x, builder.sitofp(column, _FLOAT)), middle)
        fy = builder.fsub(builder.fsub(y, builder.sitofp(row, _FLOAT)), middle)
        index = builder.add(
            builder.mul(builder.sext(row, _INDEX), stride), builder.sext(column, _INDEX)
        )
        corner = builder.sub(index, builder.add(builder.mul(stride, _INDEX(2)), _INDEX(2)))
        weights = _horner(builder, _two_halves(builder, fx, fy, 8), weight, 8)
        value = _weighted_sum(builder, image, corner, stride, weights, 8, 6)
        builder.store(value, builder.gep(out_image, [i]))
        corner = builder.sub(index, builder.add(stride, _INDEX(1)))
        weights = _horner(builder, _two_halves(builder, fx, fy, 4), square, 4)
        value = _weighted_sum(builder, variance, corner, stride, weights, 4, 4)
        builder.store(value, builder.gep(out_variance, [i]))
    return context.get_dummy_value()


@intrinsic
def lanczos3_row(
    _context: Any,
    xs: Any,
    ys: Any,
    n: Any,
    image: Any,
    variance: Any,
    stride: Any,
    out_image: Any,
    out_variance: Any,
) -> Any:
    """Interpolate ``n`` positions in an image and its variance.

    ``xs``, ``ys`` are float32 positions with ``x >= 2``, ``y >= 2``; ``image`` and
    ``variance`` contiguous finite float32 planes of row length ``stride``, readable to
    ``y + 3`` and ``x + 5``. The variance is ``sum w^2 V / sum w^2``. Nothing is checked.
    """
    i8 = types.int64
    return (
        types.void(xs, ys, i8, image, variance, i8, out_image, out_variance),
        _codegen,
    )
