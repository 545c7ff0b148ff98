"""Detections for the benchmark: tables as the worker writes them, and millions made by SQL."""

import sys
import time
from pathlib import Path

from sqlalchemy import Engine, func, select, text
from tests.benchmarks.catalog_rows import HALF_SIZE
from tests.support.detections import found_on, with_detections

from residua.catalog.rows import Site
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.messaging.records.events import IncomingRecord
from residua.obscore import dia_source
from residua.obscore.spatial import detections_ddl
from residua.testing.difference_images import difference_image_event

PER_IMAGE = 1_000
BATCH = 50
_IMAGES_AT_ONCE = 500


def load_detections(url: str, folder: Path, images: int) -> str:
    """Have the catalog consumer write images with 1,000 detections each; say how fast."""
    records = []
    for i in range(images):
        visit, detector = 2026112200101 + i // 189, i % 189
        event = difference_image_event(visit, detector, "s3://x/y.fits")
        event = with_detections(event, found_on(event, PER_IMAGE), folder)
        value = event.model_dump_json().encode()
        records.append(IncomingRecord("outcomes", 0, i, event.key, value, 1_795_500_000_000))
    engine = open_database(url)
    read = detection_reader([str(folder)])
    seconds = cpu = 0.0
    for start in range(0, images, BATCH):
        began, cpu_began = time.perf_counter(), time.process_time()
        result = write_batch(engine, records[start : start + BATCH], "outcomes", Site(), read)
        seconds += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        if result.refused:
            raise RuntimeError(str(result.refused[0]))
    with engine.connect() as connection:
        rows = connection.scalar(select(func.count()).select_from(dia_source))
    engine.dispose()
    return (
        f"{engine.dialect.name}: {images} images, {rows:,} detections in the table; "
        f"{images / seconds:.1f} images/s, {1e3 * cpu / images:.1f} ms of CPU an image"
    )


def fill_sources(engine: Engine, rows: int) -> None:
    """Add detections to the first images of a filled catalog, until there are this many."""
    with engine.connect() as connection:
        there = connection.scalar(select(func.count()).select_from(dia_source)) or 0
        # An earlier call may have been stopped before it came to this.
        indexed = connection.scalar(text("SELECT to_regclass('dia_source_point')")) is not None
    missing = max(0, -(-(rows - there) // PER_IMAGE))
    if not missing and indexed:
        return
    if missing:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP INDEX IF EXISTS dia_source_point")
            skipped = there // PER_IMAGE
            connection.exec_driver_sql(_IMAGES.format(images=missing, skipped=skipped))
    first = there // PER_IMAGE
    for start in range(first, first + missing, _IMAGES_AT_ONCE):
        number = min(_IMAGES_AT_ONCE, first + missing - start)
        with engine.begin() as connection:
            connection.exec_driver_sql(_SOURCES.format(images=number, skipped=start))
        print(f"{(start + number) * PER_IMAGE:,} detections", file=sys.stderr, flush=True)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("SET maintenance_work_mem = '1GB'")
        for statement in detections_ddl(connection):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("VACUUM ANALYZE dia_source")
        connection.exec_driver_sql("VACUUM ANALYZE visit_detector")


def source_positions(engine: Engine, number: int) -> list[tuple[float, float]]:
    """Places where there are detections."""
    images = "SELECT ra, dec FROM visit_detector ORDER BY md5(dataset_id) LIMIT "
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"{images}{number:d}")
        return [(float(ra), float(dec)) for ra, dec in found]


def source_cone(ra: float, dec: float) -> str:
    """Detections within 30 arcsec."""
    circle = f"CIRCLE('ICRS', {ra!r}, {dec!r}, {30.0 / 3600.0!r})"
    return (
        "SELECT diaSourceId, visit, detector, band, midpointMjdTai, ra, dec, psfFlux, psfFluxErr, "
        f"snr FROM residua.dia_source WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), {circle})"
    )


_IMAGES = """
INSERT INTO visit_detector (dataset_id, instrument, visit, detector, run, revision, outcome, band,
  ra, dec, obsstartmjd, expmidptmjd, exptime, xsize, ysize, sources, row_hash)
SELECT dataset_id, instrument_name, lsst_visit, lsst_detector, 'benchmark', 0, 'created', lsst_band,
  s_ra, s_dec, t_min, t_min + 15.0 / 86400, 30.0, 4072, 4000, 1000, dataset_id
FROM (SELECT * FROM obscore ORDER BY row_id OFFSET {skipped} LIMIT {images}) AS first
ON CONFLICT DO NOTHING"""
_VALUES = {
    "midpointmjdtai": "v.expmidptmjd", "x": "4072 * a", "y": "4000 * b",
    "ra": f"v.ra + (a - 0.5) * {2 * HALF_SIZE!r} / cos(radians(v.dec))",
    "dec": f"v.dec + (b - 0.5) * {2 * HALF_SIZE!r}",
    "snr": "5 + 20 * a", "psfflux": "500 + 2000 * a", "psffluxerr": "100",
    "xerr": "0.1", "yerr": "0.1", "raerr": "5e-6", "decerr": "5e-6", "psfchi2": "500 * b",
    "psfndata": "529", "apflux": "600 + 2000 * a", "apfluxerr": "120",
    "scienceflux": "700", "sciencefluxerr": "100", "templateflux": "100",
    "ixx": "0.1", "iyy": "0.1", "ixy": "0.0", "isdipole": "0", "pixelflags": "0",
}  # fmt: skip
_SOURCES = f"""
INSERT INTO dia_source (visitdetectorid, diasourceid, visit, detector, band, {", ".join(_VALUES)})
SELECT v.visitdetectorid, v.visitdetectorid * 100000 + i, v.visit, v.detector, v.band,
  {", ".join(_VALUES.values())}
FROM (SELECT * FROM visit_detector ORDER BY visitdetectorid OFFSET {{skipped}} LIMIT {{images}})
  AS v, LATERAL (SELECT i, random() AS a, random() AS b FROM generate_series(1, {PER_IMAGE}) AS i
  WHERE v.visitdetectorid IS NOT NULL) AS made"""
