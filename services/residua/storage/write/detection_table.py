"""The detections on an image as a Parquet table, with the names and units of Rubin's DiaSource."""

import io
import math
from datetime import datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
from pyarrow import parquet

from residua.identity import dia_source_id
from residua.ports import Observation, Provenance
from residua.subtraction.detections import (
    PIXEL_FLAGS,
    Detection,
    DetectionColumn,
    detection_columns,
    pixel_flags,
)
from residua.subtraction.images import DifferenceImage

__all__ = ["detections_parquet"]

_TYPES: dict[type, pa.DataType] = {float: pa.float64(), int: pa.int32(), bool: pa.bool_()}
_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 TAI


def detections_parquet(
    difference: DifferenceImage, observation: Observation, provenance: Provenance
) -> bytes:
    """Write the detections of an image as Parquet: the same list, the same bytes.

    Columns are named as in Rubin's ``DiaSource``; units and descriptions stand in the metadata of
    each field. What was not measured is null. Fluxes are in the unit of the image.
    """
    dataset = UUID(provenance.dataset_id)
    found = difference.detections
    n = len(found)
    columns: list[tuple[pa.Field, list[Any]]] = [
        (
            _field("diaSourceId", pa.int64(), "", "Number of the detection"),
            [dia_source_id(dataset, i) for i in range(n)],
        ),
        (_field("visit", pa.int64(), "", "Visit number"), [observation.visit] * n),
        (_field("detector", pa.int32(), "", "Detector number"), [observation.detector] * n),
        (_field("band", pa.string(), "", "Band"), [observation.band] * n),
        (
            _field("midpointMjdTai", pa.float64(), "d", "Middle of the exposure, TAI"),
            [_midpoint(observation)] * n,
        ),
    ]
    columns += [
        (
            _field(c.rubin, _TYPES[c.type], c.unit, c.description, difference.unit),
            _values(found, c),
        )
        for c in detection_columns()
    ]
    flags = [pixel_flags(detection) for detection in found]
    names = ["pixelFlags"]
    names += [f"pixelFlags_{name}{end}" for name in PIXEL_FLAGS for end in ("", "Center")]
    columns += [
        (_field(name, pa.bool_(), "", "Pixel flag"), [flag[name] for flag in flags])
        for name in names
    ]
    schema = pa.schema(
        [field for field, _ in columns],
        metadata={
            "dataset_id": provenance.dataset_id,
            "obs_publisher_did": provenance.obs_publisher_did,
            "run": provenance.run,
            "instrument": observation.instrument,
        },
    )
    arrays = [pa.array(values, field.type) for field, values in columns]
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    return sink.getvalue()


def _field(
    name: str, kind: pa.DataType, unit: str, description: str, flux: str = "nJy"
) -> pa.Field:
    metadata = {"description": description}
    if unit:
        metadata["unit"] = flux if unit == "flux" else unit
    return pa.field(name, kind, metadata=metadata)


def _values(found: tuple[Detection, ...], column: DetectionColumn) -> list[Any]:
    values = [getattr(detection, column.field) for detection in found]
    if column.type is float:
        return [float(v) if math.isfinite(v) else None for v in values]
    return [column.type(v) for v in values]


def _midpoint(observation: Observation) -> float | None:
    begin, end = observation.begin_tai, observation.end_tai
    if begin is None:
        return None
    middle = begin if end is None else begin + (end - begin) / 2
    return (middle - _MJD_ZERO).total_seconds() / 86_400.0
