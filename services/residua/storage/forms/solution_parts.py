"""A solution taken apart into plain facts and small arrays, and put together again."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.subtraction import (
    Detection,
    MatchingKernel,
    PsfModel,
    QualityFlag,
    QualityLimits,
    QualityRecord,
    SpatialPolynomial,
    SubtractionConfig,
)
from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.engine.filter_tables import FilterTables, VaryingKernel
from residua.subtraction.match.basis import KernelBasis
from residua.subtraction.noise.decorrelation_filters import PSF_BITS, DecorrelationFilters
from residua.subtraction.pieces.use import KernelPieces
from residua.subtraction.steps.kept import ANGLES, POSITIONS, float_columns
from residua.subtraction.steps.solution import (
    MAP_BITS,
    SCIENCE_PSF_BITS,
    InputUse,
    KernelUse,
    Solution,
    TemplateUse,
)

__all__ = ["from_parts", "to_parts"]

type Array = npt.NDArray[Any]
type Facts = dict[str, Any]

_UNKNOWN = np.iinfo(np.int64).min
_FILTERS = ("psi", "science_square", "template_square")


def to_parts(solution: Solution) -> tuple[Facts, dict[str, Array]]:
    """Facts for JSON, and arrays by name."""
    kernel, filters = solution.kernel, solution.filters
    arrays: dict[str, Array] = {}
    for k, use in enumerate(solution.templates):
        for axis, grid in (("x", use.pixel_map.x), ("y", use.pixel_map.y)):
            arrays[f"template.{k}.map.{axis}"] = _differences(_integers(grid, MAP_BITS))
    for name in _FILTERS:
        _put_tables(arrays, f"filters.{name}", getattr(filters, name))
    arrays["filters.science_variance"] = filters.science_variance
    arrays["filters.template_variance"] = filters.template_variance
    arrays["psf"] = _integers(filters.psf.coefficients, PSF_BITS).astype(np.int32)
    arrays["science_psf"] = _integers(solution.science_psf.coefficients, SCIENCE_PSF_BITS).astype(
        np.int32
    )
    _put_tables(arrays, "kernel.applied", kernel.applied.tables)
    if kernel.pieces is not None:
        arrays["kernel.pieces"] = _packed_runs(kernel.pieces.runs)
        for k, part in enumerate(kernel.pieces.kernels):
            _put_tables(arrays, f"kernel.pieces.{k}", part.tables)
    arrays["kernel.functions"] = kernel.basis.functions
    at = np.argwhere(kernel.basis.products != 0.0).astype(np.int16)
    arrays["kernel.products.at"] = at
    arrays["kernel.products"] = kernel.basis.products[tuple(at.T)]
    arrays["kernel.coefficients"] = kernel.kernel.coefficients
    arrays["kernel.background"] = kernel.kernel.background
    arrays["streaks"] = solution.streaks
    arrays["sharp"] = solution.sharp
    arrays["footprints"] = _packed_runs(solution.footprints)
    _put_detections(arrays, solution.detections)
    facts: Facts = {
        "arithmetic": solution.arithmetic,
        "config": asdict(solution.config),
        "shape": list(solution.shape),
        "unit": solution.unit,
        "convolved": solution.convolved,
        "science": _input_facts(solution.science),
        "templates": [
            {
                **_input_facts(use.input),
                "name": use.name,
                "step": use.pixel_map.step,
                "map_error": _plain(use.pixel_map.error),
            }
            for use in solution.templates
        ],
        "sharpness": solution.sharpness,
        "template_sharpness": solution.template_sharpness,
        "kernel": {
            "basis_functions": kernel.basis.n_basis,
            "order": kernel.kernel.polynomial.order,
            "background_order": kernel.kernel.background_polynomial.order,
            "reach": kernel.reach,
            "border": kernel.border,
        },
        # Only where there are any: the others are as they always were.
        **_piece_facts(kernel.pieces),
        "psf_order": filters.psf.polynomial.order,
        "science_psf_order": solution.science_psf.polynomial.order,
        "detections": len(solution.detections),
        "quality": _quality_facts(solution.quality),
    }
    return facts, arrays


def from_parts(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Solution:
    """Put a solution together."""
    shape = (int(facts["shape"][0]), int(facts["shape"][1]))

    def polynomial(order: int) -> SpatialPolynomial:
        return SpatialPolynomial(shape, order)

    def psf(name: str, bits: int) -> PsfModel:
        return PsfModel(_floats(arrays[name], bits), polynomial(facts[f"{name}_order"]))

    known = facts["kernel"]
    at = arrays["kernel.products.at"].astype(np.int64)
    functions = arrays["kernel.functions"]
    products = np.zeros((known["basis_functions"], len(functions), len(functions)))
    products[tuple(at.T)] = arrays["kernel.products"]
    basis = KernelBasis(functions, products)
    limits = QualityLimits(**facts["config"]["limits"])
    return Solution(
        arithmetic=facts["arithmetic"],
        config=SubtractionConfig(**{**facts["config"], "limits": limits}),
        shape=shape,
        unit=facts["unit"],
        convolved=facts["convolved"],
        science=_input(facts["science"]),
        templates=tuple(
            TemplateUse(
                _input(use),
                use["name"],
                PixelMap(
                    _floats(_sums(arrays[f"template.{k}.map.x"]), MAP_BITS),
                    _floats(_sums(arrays[f"template.{k}.map.y"]), MAP_BITS),
                    use["step"],
                    float(use["map_error"]),
                ),
            )
            for k, use in enumerate(facts["templates"])
        ),
        sharpness=facts["sharpness"],
        template_sharpness=facts["template_sharpness"],
        kernel=KernelUse(
            MatchingKernel(
                basis.images(),
                arrays["kernel.coefficients"],
                polynomial(known["order"]),
                arrays["kernel.background"],
                polynomial(known["background_order"]),
            ),
            basis,
            VaryingKernel(_tables(arrays, "kernel.applied"), polynomial(known["order"])),
            known["reach"],
            known["border"],
            _pieces(arrays, facts.get("piece_orders"), polynomial),
        ),
        filters=DecorrelationFilters(
            _tables(arrays, "filters.psi"),
            _tables(arrays, "filters.science_square"),
            _tables(arrays, "filters.template_square"),
            arrays["filters.science_variance"],
            arrays["filters.template_variance"],
            psf("psf", PSF_BITS),
        ),
        science_psf=psf("science_psf", SCIENCE_PSF_BITS),
        streaks=arrays["streaks"],
        footprints=_runs(arrays["footprints"]),
        sharp=arrays["sharp"],
        detections=_detections(arrays, facts["detections"]),
        quality=_quality(facts["quality"]),
    )


def _integers(values: Array, bits: int) -> npt.NDArray[np.int64]:
    """Multiples of ``2^-bits``; what is not a number has a value of its own."""
    known = np.isfinite(values)
    integers = np.rint(np.where(known, values, 0.0) * 2.0**bits).astype(np.int64)
    return np.where(known, integers, _UNKNOWN)


def _floats(integers: Array, bits: int) -> npt.NDArray[np.float64]:
    return np.where(integers == _UNKNOWN, np.nan, integers.astype(np.float64) / 2.0**bits)


def _differences(grid: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Take second differences along both axes, which are small; integers wrap and come back."""
    for axis in (0, 0, 1, 1):
        grid = np.diff(grid, axis=axis, prepend=0)
    return grid


def _sums(grid: Array) -> npt.NDArray[np.int64]:
    for axis in (1, 1, 0, 0):
        grid = np.cumsum(grid, axis=axis, dtype=np.int64)
    return grid


def _put_tables(arrays: dict[str, Array], name: str, tables: FilterTables) -> None:
    for f in fields(tables):
        arrays[f"{name}.{f.name}"] = getattr(tables, f.name)


def _tables(arrays: Mapping[str, Array], name: str) -> FilterTables:
    return FilterTables(**{f.name: arrays[f"{name}.{f.name}"] for f in fields(FilterTables)})


def _piece_facts(pieces: KernelPieces | None) -> Facts:
    if pieces is None:
        return {}
    return {"piece_orders": [part.polynomial.order for part in pieces.kernels]}


def _pieces(
    arrays: Mapping[str, Array],
    orders: list[int] | None,
    polynomial: Callable[[int], SpatialPolynomial],
) -> KernelPieces | None:
    if orders is None:
        return None
    kernels = tuple(
        VaryingKernel(_tables(arrays, f"kernel.pieces.{k}"), polynomial(order))
        for k, order in enumerate(orders)
    )
    return KernelPieces(kernels, _runs(arrays["kernel.pieces"]))


def _packed_runs(runs: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Columns: step of the row, first column, length less one, sign; one after the other."""
    step = np.diff(runs[:, 0], prepend=0)
    return np.stack([step, runs[:, 1], runs[:, 2] - runs[:, 1], runs[:, 3]]).astype(np.int32)


def _runs(packed: Array) -> npt.NDArray[np.int32]:
    rows = np.cumsum(packed[0])
    return np.stack([rows, packed[1], packed[1] + packed[2], packed[3]], axis=1).astype(np.int32)


def _put_detections(arrays: dict[str, Array], detections: tuple[Detection, ...]) -> None:
    def column(name: str) -> list[Any]:
        return [getattr(d, name) for d in detections]

    numbers, flags, counts = float_columns(), _names_of(bool), _names_of(int)
    angles = np.array([column(name) for name in ANGLES], np.float64)
    arrays["detections.angles"] = np.where(
        np.isfinite(angles), np.rint(np.nan_to_num(angles) * 1e9), float(_UNKNOWN)
    ).astype(np.int64)
    positions = np.array([column(name) for name in POSITIONS], np.float64)
    arrays["detections.positions"] = _integers(positions, 16)
    arrays["detections.numbers"] = np.array([column(name) for name in numbers], np.float32)
    arrays["detections.flags"] = np.array([column(name) for name in flags], np.uint8)
    arrays["detections.counts"] = np.array([column(name) for name in counts], np.int32)


def _detections(arrays: Mapping[str, Array], n: int) -> tuple[Detection, ...]:
    columns: dict[str, list[Any]] = {}
    angles = arrays["detections.angles"]
    values = np.where(angles == _UNKNOWN, np.nan, angles / 1e9)
    columns.update(zip(ANGLES, values.tolist(), strict=True))
    columns.update(
        zip(POSITIONS, _floats(arrays["detections.positions"], 16).tolist(), strict=True)
    )
    numbers = arrays["detections.numbers"].astype(np.float64)
    columns.update(zip(float_columns(), numbers.tolist(), strict=True))
    columns.update(zip(_names_of(bool), (arrays["detections.flags"] != 0).tolist(), strict=True))
    columns.update(zip(_names_of(int), arrays["detections.counts"].tolist(), strict=True))
    return tuple(
        Detection(**{name: column[k] for name, column in columns.items()}) for k in range(n)
    )


def _names_of(kind: type) -> list[str]:
    return [f.name for f in fields(Detection) if f.type in (kind, kind.__name__)]


def _input_facts(use: InputUse) -> Facts:
    return {
        "input_shape": list(use.shape),
        "fingerprint": use.fingerprint,
        "saturation": use.saturation,
    }


def _input(facts: Mapping[str, Any]) -> InputUse:
    ny, nx = facts["input_shape"]
    return InputUse((ny, nx), facts["fingerprint"], facts["saturation"])


def _quality_facts(record: QualityRecord) -> Facts:
    facts = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "flags"}
    if not record.kernel_pieces:
        # Of the first form, which knew no pieces.
        del facts["kernel_pieces"]
    facts = {name: _plain(value) for name, value in facts.items()}
    facts["flags"] = [[f.name, _plain(f.value), _plain(f.limit)] for f in record.flags]
    return facts


def _plain(value: float) -> float | str:
    """Numbers that JSON has no word for, as words."""
    return value if np.isfinite(value) else str(float(value))


def _quality(facts: Mapping[str, Any]) -> QualityRecord:
    numbers: dict[str, Any] = {
        name: float(value) if isinstance(value, str) else value
        for name, value in facts.items()
        if name != "flags"
    }
    flags = tuple(
        QualityFlag(name, float(value), float(limit)) for name, value, limit in facts["flags"]
    )
    return QualityRecord(**numbers, flags=flags)
