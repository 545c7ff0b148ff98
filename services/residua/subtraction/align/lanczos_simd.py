"""One row of Lanczos-3 interpolation as explicit vector instructions.

First all weights of the row: per pixel one Horner chain on 16 lanes gives the six x weights,
the six y weights and the norms of their squares. Then all sums: per pixel six rows of eight
image pixels and four rows of four variance pixels. The weights pass through memory, because
broadcasts from memory are free where shuffles are not. Fixed order and fused multiply-adds
throughout, so the bits do not depend on the machine's vector width.
"""

# ruff: noqa: ARG001 - numba matches the arguments of intrinsics by name.

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from residua.subtraction.align.lanczos import norm_polynomial, weight_polynomial

__all__ = ["WEIGHTS_PER_PIXEL", "lanczos3_row"]

WEIGHTS_PER_PIXEL = 32
"""Scratch per pixel: 16 weights, then their squares."""

_HALF = 8
_NORM = 6
"""Lane of each half that holds the norm instead of a weight."""

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
    name = f"llvm.fma.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fma.f32"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), name
    )
    return builder.call(function, [a, b, c])


def _pair(builder: Any, first: Any, second: Any) -> Any:
    pair = ir.Constant(_vector(2), ir.Undefined)
    pair = builder.insert_element(pair, first, ir.Constant(_INT32, 0))
    return builder.insert_element(pair, second, ir.Constant(_INT32, 1))


def _load(builder: Any, base: Any, index: Any, lanes: int) -> Any:
    kind = _vector(lanes) if lanes > 1 else _FLOAT
    pointer = builder.gep(base, [index])
    value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    value.align = 4
    return value


def _broadcast(builder: Any, base: Any, index: Any, lanes: int) -> Any:
    pair = ir.Constant(_vector(lanes), ir.Undefined)
    value = _load(builder, base, index, 1)
    first = builder.insert_element(pair, value, ir.Constant(_INT32, 0))
    return _shuffle(builder, first, first, [0] * lanes)


def _store(builder: Any, value: Any, base: Any, index: Any) -> None:
    pointer = builder.bitcast(builder.gep(base, [index]), value.type.as_pointer())
    builder.store(value, pointer).align = 4


def _add(builder: Any, index: Any, offset: int) -> Any:
    return builder.add(index, _INDEX(offset))


def _polynomials() -> npt.NDArray[np.float64]:
    """Coefficients by lane: x weights, norm, unused; the same for y."""
    weight, norm = weight_polynomial(), norm_polynomial()
    half = np.zeros((len(weight), _HALF))
    half[:, :6] = weight
    half[:, _NORM] = norm[:, 0]
    return np.hstack([half, half])


def _at(builder: Any, start: Any, step: Any, i: Any) -> Any:
    """``start + i step``, float32."""
    return _fma(builder, builder.sitofp(i, _FLOAT), step, start)


def _write_weights(builder: Any, i: Any, position: tuple[Any, ...], weights: Any) -> None:
    """Weights of one pixel, and their squares, to its part of the scratch."""
    fractions = []
    for start, step in (position[:2], position[2:]):
        value = _at(builder, start, step, i)
        whole = builder.sitofp(builder.fptosi(value, _INT32), _FLOAT)
        fractions.append(builder.fsub(builder.fsub(value, whole), ir.Constant(_FLOAT, 0.5)))
    pair = _pair(builder, *fractions)
    t = _shuffle(builder, pair, pair, [0] * _HALF + [1] * _HALF)
    rows = _polynomials()
    value = _constant(rows[-1])
    for row in rows[-2::-1]:
        value = _fma(builder, value, t, _constant(row))
    at = builder.mul(i, _INDEX(WEIGHTS_PER_PIXEL))
    # The norm must not weigh a pixel.
    zero = _constant(np.zeros(2 * _HALF))
    lanes = [k + (2 * _HALF if k % _HALF >= _NORM else 0) for k in range(2 * _HALF)]
    _store(builder, _shuffle(builder, value, zero, lanes), weights, at)
    _store(builder, builder.fmul(value, value), weights, _add(builder, at, 2 * _HALF))


def _weighted_sum(
    builder: Any,
    data: tuple[Any, Any, Any],
    weights: Any,
    across: Any,
    down: Any,
    lanes: int,
    rows: int,
) -> Any:
    """Vector whose lanes sum to ``sum_yx weights[down + y] weights[across + x] data``."""
    base, index, stride = data
    total = _constant(np.zeros(lanes))
    for r in range(rows):
        row = _load(builder, base, builder.add(index, builder.mul(stride, _INDEX(r))), lanes)
        weight = _broadcast(builder, weights, _add(builder, down, r), lanes)
        total = _fma(builder, row, weight, total)
    return builder.fmul(total, _load(builder, weights, across, lanes))


def _codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    (
        px, dx, py, dy, area, area_step, n,
        image, variance, stride, weights, out_image, out_variance, offset,
    ) = (
        context.make_array(kind)(context, builder, value=value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, args, strict=True)
    )  # fmt: skip
    with cgutils.for_range(builder, n) as loop:
        _write_weights(builder, loop.index, (px, dx, py, dy), weights)
    with cgutils.for_range(builder, n) as loop:
        i = loop.index
        column, row = (
            builder.sext(builder.fptosi(_at(builder, start, step, i), _INT32), _INDEX)
            for start, step in ((px, dx), (py, dy))
        )
        index = builder.add(builder.mul(row, stride), column)
        at = builder.mul(i, _INDEX(WEIGHTS_PER_PIXEL))
        corner = builder.sub(index, builder.add(builder.mul(stride, _INDEX(2)), _INDEX(2)))
        value = _weighted_sum(
            builder, (image, corner, stride), weights, at, _add(builder, at, _HALF), _HALF, 6
        )
        value = builder.fadd(
            _shuffle(builder, value, value, [0, 1, 2, 3]),
            _shuffle(builder, value, value, [4, 5, 6, 7]),
        )
        corner = builder.sub(index, builder.add(stride, _INDEX(1)))
        squares = _add(builder, at, 2 * _HALF)
        spread = _weighted_sum(
            builder, (variance, corner, stride), weights,
            _add(builder, squares, 1), _add(builder, squares, _HALF + 1), 4, 4,
        )  # fmt: skip
        # Both sums in one: (v0 + v2, v1 + v3, s0 + s2, s1 + s3), then neighbours.
        both = builder.fadd(
            _shuffle(builder, value, spread, [0, 1, 4, 5]),
            _shuffle(builder, value, spread, [2, 3, 6, 7]),
        )
        both = builder.fadd(
            _shuffle(builder, both, both, [0, 2]), _shuffle(builder, both, both, [1, 3])
        )
        scale = _at(builder, area, area_step, i)
        norms = [
            _load(builder, weights, _add(builder, squares, half + _NORM), 1) for half in (0, _HALF)
        ]
        square = builder.fmul(builder.fmul(scale, scale), builder.fmul(*norms))
        to = builder.add(offset, i)
        first = builder.extract_element(both, ir.Constant(_INT32, 0))
        second = builder.extract_element(both, ir.Constant(_INT32, 1))
        _store(builder, builder.fmul(first, scale), out_image, to)
        _store(builder, builder.fmul(second, square), out_variance, to)
    return context.get_dummy_value()


@intrinsic
def lanczos3_row(
    _context: Any,
    px: Any,
    dx: Any,
    py: Any,
    dy: Any,
    area: Any,
    area_step: Any,
    n: Any,
    image: Any,
    variance: Any,
    stride: Any,
    weights: Any,
    out_image: Any,
    out_variance: Any,
    offset: Any,
) -> Any:
    """Interpolate ``n`` positions ``(px + i dx, py + i dy)`` in an image and its variance.

    float32 positions not below 2; ``image`` and ``variance`` flat contiguous finite float32
    planes of row length ``stride``, readable to ``y + 3`` and ``x + 5``. The image is
    multiplied by ``area + i area_step`` and the variance, ``sum w^2 V / sum w^2``, by its
    square. ``weights`` is scratch, float32 (n `WEIGHTS_PER_PIXEL`,). Results go to flat
    float32 arrays from ``offset`` on. Nothing is checked.
    """
    f4, i8 = types.float32, types.int64
    return (
        types.void(
            f4, f4, f4, f4, f4, f4, i8,
            image, variance, i8, weights, out_image, out_variance, i8,
        ),
        _codegen,
    )  # fmt: skip
