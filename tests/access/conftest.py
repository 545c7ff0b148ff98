"""A catalog of random observations on both databases, and the service on a port of its own."""

import socket
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import uuid5

import numpy as np
import pytest
import uvicorn
from sqlalchemy import create_engine
from tests.support.servers.postgres import postgres_missing, running_postgres

from residua.access.app import create_app
from residua.access.main import listen, server_config
from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row, template_coadd_row
from residua.catalog.writing.upsert import upsert_rows
from residua.identity import NAMESPACE, publisher_did
from residua.obscore import create_tables
from residua_schemas import DifferenceImageCreated, SkyPolygon, TemplateCoadd, VisitDetector
from residua_schemas.examples import examples

BANDS = {"g": (402.6e-9, 548.3e-9), "r": (551.0e-9, 689.1e-9), "i": (693.6e-9, 818.8e-9)}
DATABASES = ("sqlite", "postgresql")


def footprint(rng, ra, dec, size):
    """Corners of a tilted quadrilateral around a position, degrees."""
    a, d = np.radians([ra, dec])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    center = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    turn = rng.uniform(0.0, 2.0 * np.pi)
    corners = []
    for k in range(4):
        angle = turn + k * np.pi / 2.0 + rng.uniform(-0.3, 0.3)
        v = center + np.tan(np.radians(size / 2.0)) * (np.cos(angle) * east + np.sin(angle) * north)
        v /= np.linalg.norm(v)
        corners.append(
            (float(np.degrees(np.arctan2(v[1], v[0])) % 360.0), float(np.degrees(np.arcsin(v[2]))))
        )
    return SkyPolygon(vertices=tuple(corners))


def sky_positions(rng, count):
    """Positions over the whole sky, many of them at RA 0/360 and around the poles."""
    ra = rng.uniform(0.0, 360.0, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))
    third = count // 3
    ra[:third] = rng.normal(0.0, 1.5, third) % 360.0
    dec[:third] = rng.normal(0.0, 10.0, third)
    dec[third : third + third // 2] = 90.0 - np.abs(rng.normal(0.0, 2.0, third // 2))
    dec[third + third // 2 : 2 * third] = -90.0 + np.abs(
        rng.normal(0.0, 2.0, 2 * third - third - third // 2)
    )
    return list(zip(ra.tolist(), dec.tolist(), strict=True))


def random_rows(count, seed=1, **changes):
    """Rows of difference images and a few templates, all derived from the seed."""
    rng = np.random.default_rng(seed)
    image = examples()[DifferenceImageCreated]
    site = Site()
    rows = []
    for i, (ra, dec) in enumerate(sky_positions(rng, count)):
        band = list(BANDS)[i % len(BANDS)]
        identity = uuid5(NAMESPACE, f"test {seed} {i}")
        begin = datetime(2026, 11, 22) + timedelta(minutes=10 * i)  # noqa: DTZ001 TAI
        event = image.model_copy(
            update={
                "dataset_id": identity,
                "obs_publisher_did": publisher_did("org.example", identity),
                "visit_detector": VisitDetector(
                    instrument="LSSTComCam", visit=2026112200000 + i // 4, detector=i % 4
                ),
                "band": band,
                "physical_filter": f"{band}_03",
                "em_min": BANDS[band][0],
                "em_max": BANDS[band][1],
                "begin_tai": begin,
                "end_tai": begin + timedelta(seconds=30),
                "exposure_time": 30.0,
                "region": footprint(rng, ra, dec, float(rng.choice([0.2, 1.0, 4.0]))),
                **changes,
            }
        )
        rows.append(difference_image_row(event, site))
    coadd = examples()[TemplateCoadd]
    for i in range(5):
        event = coadd.model_copy(
            update={
                "dataset_id": uuid5(NAMESPACE, f"template {seed} {i}"),
                "patch": i,
                "region": footprint(rng, 60.0 + i, -30.0, 2.0),
            }
        )
        rows.append(template_coadd_row(event, site))
    return rows


def fill(url, rows):
    engine = create_engine(url)
    create_tables(engine)
    with engine.begin() as connection:
        upsert_rows(connection, rows)
    engine.dispose()


@contextmanager
def serving(settings, send_buffer=None):
    """Run the service in a thread; yield its address.

    The system keeps megabytes for a client that does not read, unless told how many bytes.
    """
    # Bound once and handed over: a port that is let go belongs to whoever asks next.
    bound = listen("127.0.0.1", 0)
    if send_buffer is not None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    port = bound.getsockname()[1]
    app = create_app(settings)
    settings = settings.model_copy(update={"port": port})
    server = uvicorn.Server(server_config(app, settings))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    for _ in range(1200):
        if server.started:
            break
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.05)
    else:
        pytest.fail("the service did not start within a minute")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="session")
def postgres():
    missing = postgres_missing("pg_sphere")
    if missing is not None:
        pytest.skip(missing)
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def rows():
    return random_rows(400)


@pytest.fixture(scope="session", params=DATABASES)
def catalog_url(request, rows, tmp_path_factory):
    """URL of a filled catalog, once for each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database("residua_access", ["pg_sphere"])
    fill(url, rows)
    return url


@pytest.fixture(scope="session")
def service(catalog_url, tmp_path_factory):
    """Address of the service over the filled catalog."""
    settings = AccessSettings(
        catalog_url=catalog_url, results_directory=tmp_path_factory.mktemp("results")
    )
    with serving(settings) as url:
        yield url


@pytest.fixture(scope="session")
def make_catalog():
    """Fill a catalog under a URL with rows."""
    return fill


@pytest.fixture(scope="session")
def many_rows():
    """Make so many rows."""
    return random_rows


@pytest.fixture(scope="session")
def run_service():
    """Context manager that runs the service with given settings and yields its address."""
    return serving
