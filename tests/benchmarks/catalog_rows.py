"""Simulated ObsCore rows for the catalog benchmark: detectors over the whole sky, 300 nights."""

from collections.abc import Iterator
from uuid import UUID

import numpy as np
from sqlalchemy import Engine, func, select

from residua.catalog.rows import Row, Site, difference_image_row
from residua.catalog.writing.upsert import upsert_rows
from residua.obscore import obscore
from residua_schemas import DifferenceImageCreated
from residua_schemas.examples import examples

BANDS = {
    "g": (402.6e-9, 548.3e-9),
    "r": (551.0e-9, 689.1e-9),
    "i": (693.6e-9, 818.8e-9),
    "z": (819.2e-9, 920.1e-9),
}
FIRST_NIGHT = 60_600.0
NIGHTS = 300.0
DETECTORS = 189
_ACROSS = 14
# Degrees.
HALF_SIZE = 0.11
_FILL_BATCH = 5_000
_BULK_VISITS = 1_500


def simulated_rows(count: int, seed: int, *, begin: float = FIRST_NIGHT) -> Iterator[Row]:
    """Yield rows as a survey makes them: visit after visit, each of 189 detectors of 0.22 deg.

    Parameters
    ----------
    begin
        Start of the first visit, MJD; the visits are spread evenly over 300 nights.
    """
    rng = np.random.default_rng(seed)
    event = examples()[DifferenceImageCreated]
    assert isinstance(event, DifferenceImageCreated)
    base = difference_image_row(event, Site())
    # The event is 90 % of a row's bytes and no part of any query: one is enough for all.
    half = HALF_SIZE
    visits = -(-count // DETECTORS)
    for i in range(count):
        visit, detector = divmod(i, DETECTORS)
        if detector == 0:
            pointing = rng.uniform(0.0, 360.0), np.degrees(np.arcsin(rng.uniform(-0.99, 0.99)))
            band = str(rng.choice(list(BANDS)))
        x, y = detector % _ACROSS - _ACROSS / 2, detector // _ACROSS - _ACROSS / 2
        dec = float(np.clip(pointing[1] + y * 2.0 * half, -89.0, 89.0))
        ra = (pointing[0] + x * 2.0 * half / np.cos(np.radians(dec))) % 360.0
        w = half / np.cos(np.radians(dec))
        west, east = (ra - w) % 360.0, (ra + w) % 360.0
        t_min = begin + NIGHTS * visit / visits
        number = int((begin - FIRST_NIGHT) * 1e6) + visit
        identity = str(UUID(bytes=rng.bytes(16), version=4))
        did = f"ivo://org.residua/difference-images?id={identity}"
        yield {
            **base,
            "dataset_id": identity,
            "obs_publisher_did": did,
            "record_key": f"LSSTCam/{number}/{detector}",
            "row_hash": identity,
            "s_ra": ra,
            "s_dec": dec,
            "s_fov": 2.0 * float(np.hypot(half, half)),
            "s_region": f"POLYGON ICRS {west:.6f} {dec - half:.6f} {east:.6f} {dec - half:.6f} "
            f"{east:.6f} {dec + half:.6f} {west:.6f} {dec + half:.6f}",
            "t_min": t_min,
            "t_max": t_min + 30.0 / 86_400.0,
            "lsst_visit": number,
            "lsst_detector": detector,
            "lsst_band": band,
            "em_min": BANDS[band][0],
            "em_max": BANDS[band][1],
        }


def row_count(engine: Engine) -> int:
    """Rows in the table."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(obscore)) or 0


def fill(engine: Engine, rows: int, *, bulk: bool) -> None:
    """Add rows until there are this many; goes on where an earlier call stopped.

    Parameters
    ----------
    bulk
        Let PostgreSQL make the rows itself, ten times as fast: the same columns and indexes, as a
        survey makes them, an empty event.
    """
    there = row_count(engine)
    if bulk and there < rows:
        with engine.begin() as connection:
            upsert_rows(connection, list(simulated_rows(1, 3)))
        there = row_count(engine)
        visits = -(-rows // DETECTORS)
        for first in range(there // DETECTORS, visits, _BULK_VISITS):
            last = min(first + _BULK_VISITS, visits)
            with engine.begin() as connection:
                connection.exec_driver_sql(_bulk_statement(first, last, visits))
        there = row_count(engine)
    batch: list[Row] = []
    missing = rows - there
    for i, row in enumerate(simulated_rows(missing, there)):
        batch.append(row)
        if len(batch) == _FILL_BATCH or i == missing - 1:
            with engine.begin() as connection:
                upsert_rows(connection, batch)
            batch.clear()


def _bulk_statement(first: int, last: int, visits: int) -> str:
    """SQL that adds the visits ``first`` to ``last``, made after the first row in the table."""
    half = HALF_SIZE
    corners = " || ' ' || ".join(
        f"round((({corner_ra} + 360.0)::numeric) % 360, 6)::text || ' ' || "
        f"round(({corner_dec})::numeric, 6)::text"
        for corner_ra, corner_dec in (
            ("ra - w", f"dec - {half}"), ("ra + w", f"dec - {half}"),
            ("ra + w", f"dec + {half}"), ("ra - w", f"dec + {half}"),
        )
    )  # fmt: skip
    low = "CASE band " + " ".join(f"WHEN '{b}' THEN {v[0]!r}" for b, v in BANDS.items()) + " END"
    high = "CASE band " + " ".join(f"WHEN '{b}' THEN {v[1]!r}" for b, v in BANDS.items()) + " END"
    did = "'ivo://org.residua/difference-images?id=' || identity"
    values = {
        "dataset_id": "identity",
        "obs_publisher_did": did,
        "record_key": "'LSSTCam/' || visit || '/' || detector",
        "row_hash": "identity",
        "s_ra": "ra",
        "s_dec": "dec",
        "s_fov": repr(2.0 * float(np.hypot(half, half))),
        "s_region": f"'POLYGON ICRS ' || {corners}",
        "t_min": "t",
        "t_max": f"t + {30.0 / 86_400.0!r}",
        "lsst_visit": "visit",
        "lsst_detector": "detector",
        "lsst_band": "band",
        "em_min": low,
        "em_max": high,
        "event": "'{}'::json",
    }
    names = [c.name for c in obscore.columns if c.name != "row_id"]
    selected = ", ".join(values.get(name, f"base.{name}") for name in names)
    pointings = (
        "SELECT visit, 360.0 * random() AS ra0, degrees(asin(1.98 * random() - 0.99)) AS dec0, "
        f"{FIRST_NIGHT} + {NIGHTS} * visit / {visits} AS t, "
        f"(ARRAY['{"', '".join(BANDS)}'])[1 + floor({len(BANDS)} * random())::int] AS band "
        f"FROM generate_series({first}, {last - 1}) AS visit"
    )
    detectors = (
        "SELECT *, least(greatest(dec0 + "
        f"(detector / {_ACROSS} - {_ACROSS / 2}) * {2.0 * half}, -89.0), 89.0) AS dec "
        f"FROM ({pointings}) AS pointing, generate_series(0, {DETECTORS - 1}) AS detector"
    )
    sky = (
        f"SELECT visit, detector, t, band, dec, {half} / cos(radians(dec)) AS w, "
        f"(ra0 + (detector % {_ACROSS} - {_ACROSS / 2}) * {2.0 * half} / cos(radians(dec)) "
        "+ 720.0)::numeric % 360 AS ra, gen_random_uuid()::text AS identity "
        f"FROM ({detectors}) AS placed ORDER BY visit, detector"
    )
    return (
        f"INSERT INTO obscore ({', '.join(names)}) SELECT {selected} "
        f"FROM ({sky}) AS made, (SELECT * FROM obscore ORDER BY row_id LIMIT 1) AS base"
    ).replace("%", "%%")
