"""Clients that never read, or never finish asking, stop nobody; work ends with its client."""

import asyncio
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from sqlalchemy import create_engine

from residua.access.limits.places import Places
from residua.access.protocols import soda
from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row
from residua.testing.difference_images import difference_image_event, write_file

CONE = {"POS": "CIRCLE 53.0 -28.0 0.5", "MAXREC": "10"}
ALL_ROWS = "/tap/sync?LANG=ADQL&QUERY=SELECT+*+FROM+ivoa.ObsCore"
# Bytes: what the system takes off the service's hands for a client that does not read.
SMALL = 16_384
CARTESIAN = "SELECT COUNT(*) FROM " + ", ".join(f"ivoa.ObsCore AS a{i}" for i in range(5))
BUSY = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE '{}' AND datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url_of_catalog(request, tmp_path_factory, make_catalog, many_rows):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database("residua_slow_peers", ["pg_sphere"])
    make_catalog(url, many_rows(1_200))
    return url


@pytest.fixture
def patient(url_of_catalog, run_service):
    """Two services that do not lose their patience within the test: one for peers, one without."""
    settings = AccessSettings(catalog_url=url_of_catalog, read_seconds=600, write_seconds=600)
    with run_service(settings, SMALL) as url, run_service(settings, SMALL) as without:
        yield url, without


def peer(url, head):
    """Send a beginning, with next to no room for an answer."""
    host, port = url.removeprefix("http://").split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    s.connect((host, int(port)))
    s.sendall(head)
    return s


def stalled_peers(url, number):
    """Ask for all rows by TAP and by SIA, or only half: headers, or a body, that never end."""
    heads = [
        f"GET {ALL_ROWS} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /sia/query?CALIB=3 HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET {ALL_ROWS} HTTP/1.1\r\nHo",
        "POST /tap/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nLANG=ADQL",
    ]
    return [peer(url, heads[i % len(heads)].encode()) for i in range(number)]


def cones(clients, number=60):
    """Ask services in turn for a cone; return the p95 of each, and the CPU of a round, seconds."""
    seconds, cpu = [], time.process_time()
    for _ in range(number):
        times = []
        for client in clients:
            began = time.perf_counter()
            assert client.get("/sia/query", params=CONE).status_code == 200
            times.append(time.perf_counter() - began)
        seconds.append(times)
    return np.percentile(seconds, 95, axis=0), (time.process_time() - cpu) / number


def closed_by_the_server(peers, seconds):
    """Return what came before the end of every connection; fail if one does not end."""
    until, contents = time.monotonic() + seconds, []
    for s in peers:
        s.settimeout(max(0.1, until - time.monotonic()))
        parts = []
        try:
            while part := s.recv(1 << 16):
                parts.append(part)
        except ConnectionError:
            pass
        except TimeoutError:
            pytest.fail("a connection goes on")
        contents.append(b"".join(parts))
    return contents


def drip(s):
    for _ in range(20):
        time.sleep(0.25)
        s.sendall(b"x")


def test_two_hundred_stalled_peers_leave_a_cone_as_quick_as_it_was(patient, url_of_catalog):
    """Under three times its quiet p95: that of a service without peers, asked in turn.

    What else the machine does is in both. Peers that take CPU would slow both as well, in one
    process: that is what the CPU of a cone is for, which no other process changes much.
    """
    with (
        httpx.Client(base_url=patient[0], timeout=120) as among_peers,
        httpx.Client(base_url=patient[1], timeout=120) as alone,
    ):
        clients = (among_peers, alone)
        cones(clients, 5)
        _, quiet_cpu = cones(clients, 30)
        peers = stalled_peers(patient[0], 220)
        try:
            # What they asked for is made, and lies ready: from then on they cost nothing.
            sync = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 s_ra FROM ivoa.ObsCore"}
            assert among_peers.post("/tap/sync", data=sync).status_code == 200
            cones(clients, 5)
            # One of sixty that waits for the machine makes a p95: three tries.
            for _ in range(3):
                (among, quiet), cpu = cones(clients)
                if among < 3.0 * quiet and cpu < 3.0 * quiet_cpu:
                    break
            if url_of_catalog.startswith("postgresql"):
                assert count(url_of_catalog, BUSY.format("idle in transaction%%")) == 0
        finally:
            for s in peers:
                s.close()
        assert among < 3.0 * quiet
        assert cpu < 3.0 * quiet_cpu


def test_silent_peers_are_cut_off(url_of_catalog, run_service):
    settings = AccessSettings(catalog_url=url_of_catalog, read_seconds=1, write_seconds=1)
    with run_service(settings, SMALL) as url:
        peers = stalled_peers(url, 20)
        peers += [peer(url, b""), peer(url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /")]
        time.sleep(3.0)
        answers = closed_by_the_server(peers, 20)
        # Those that did not read were cut off in the middle, not when all of it was sent.
        unread = [a for i, a in enumerate(answers[:20]) if i % 4 < 2]
        assert all(a.startswith(b"HTTP/1.1 200") for a in unread)
        assert not any(b"</VOTABLE>" in a for a in unread)
        # One that drips is cut off too: its headers are not there in time.
        dripping = peer(url, b"GET /health HT")
        with pytest.raises(ConnectionError):
            drip(dripping)
        assert httpx.get(f"{url}/health").status_code == 200


def test_cartesian_joins_of_one_caller_leave_places_to_the_others(url_of_catalog, run_service):
    settings = AccessSettings(catalog_url=url_of_catalog, concurrent_queries=2, sync_seconds=30)
    head = f"GET /tap/sync?LANG=ADQL&QUERY={CARTESIAN.replace(' ', '+')} HTTP/1.1\r\n"
    with run_service(settings) as url:
        hogs = [peer(url, f"{head}Host: x\r\n\r\n".encode()) for _ in range(9)]
        time.sleep(0.5)
        began = time.monotonic()
        assert httpx.get(f"{url}/sia/query", params=CONE, timeout=60).status_code == 200
        host, port = url.removeprefix("http://").split(":")
        other = httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2"), timeout=60)
        query = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 s_ra FROM ivoa.ObsCore"}
        assert other.post(f"http://{host}:{port}/tap/sync", data=query).status_code == 200
        assert time.monotonic() - began < 15
        for s in hogs:
            s.close()


def test_a_query_ends_with_its_client(url_of_catalog, run_service):
    settings = AccessSettings(catalog_url=url_of_catalog, concurrent_queries=1, sync_seconds=120)
    query = {"LANG": "ADQL", "QUERY": CARTESIAN}
    with run_service(settings) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/tap/sync", data=query, timeout=1.0)
        began = time.monotonic()
        small = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 s_ra FROM ivoa.ObsCore"}
        assert httpx.post(f"{url}/tap/sync", data=small, timeout=60).status_code == 200
        assert time.monotonic() - began < 30
        if url_of_catalog.startswith("postgresql"):
            assert count(url_of_catalog, BUSY.format("active")) == 0


def test_answers_have_a_largest_size_and_say_so(url_of_catalog, run_service, tmp_path):
    settings = AccessSettings(
        catalog_url=url_of_catalog, max_answer_bytes=1_000_000, results_directory=tmp_path
    )
    query = {"LANG": "ADQL", "QUERY": "SELECT * FROM ivoa.ObsCore"}
    with run_service(settings) as url:
        plain = {"Accept-Encoding": "identity"}
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{url}/tap/sync", data=query, headers=plain, timeout=60)
        job = httpx.post(f"{url}/tap/async", data={**query, "PHASE": "RUN"}).headers["location"]
        for phase in ("QUEUED", "EXECUTING"):
            httpx.get(job, params={"WAIT": 30, "PHASE": phase}, timeout=60)
        assert "more than 1000000 bytes" in httpx.get(f"{job}/error").text
        assert list(tmp_path.iterdir()) == []


def test_large_cutouts_leave_places_to_small_ones(make_catalog, run_service, tmp_path, monkeypatch):
    event = difference_image_event(2026112200101, 4, "", shape=(120, 160))
    event = write_file(tmp_path / "image.fits", event)
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, [difference_image_row(event, Site())])
    go_on, begun, slowly = threading.Event(), threading.Event(), soda._make_slowly

    def held(*arguments):
        begun.set()
        assert go_on.wait(60)
        return slowly(*arguments)

    monkeypatch.setattr(soda, "_make_slowly", held)
    monkeypatch.setattr(soda, "_LARGE_PIXELS", 5_000)
    settings = AccessSettings(
        catalog_url=url, image_roots=(str(tmp_path),), concurrent_cutouts=2, sync_seconds=60
    )
    ra, dec = event.region.center

    def cutout(radius, mode):
        asked = {"ID": event.obs_publisher_did, "CIRCLE": f"{ra} {dec} {radius / 3600}"}
        return httpx.get(f"{base}/cutout", params={**asked, "CUTOUTMODE": mode}, timeout=60)

    with run_service(settings) as base, ThreadPoolExecutor(3) as pool:
        try:
            # Nearly all of the image, with its PSF and all; the second has not even begun.
            large = [pool.submit(cutout, 11.0, "exposure") for _ in range(2)]
            assert begun.wait(60)
            assert pool.submit(cutout, 2.0, "image").result(30).status_code == 200
            assert not any(answer.done() for answer in large)
        finally:
            go_on.set()
        assert [answer.result(60).status_code for answer in large] == [200, 200]


def test_a_cutout_whose_client_goes_away_leaves_no_file(
    make_catalog, run_service, tmp_path, monkeypatch
):
    event = difference_image_event(2026112200101, 4, "", shape=(120, 160))
    event = write_file(tmp_path / "image.fits", event)
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, [difference_image_row(event, Site())])
    made, go_on, begun, slowly = [], threading.Event(), threading.Event(), soda._make_slowly

    def held(*arguments):
        begun.set()
        assert go_on.wait(60)
        made.append(slowly(*arguments))
        return made[-1]

    monkeypatch.setattr(soda, "_make_slowly", held)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = AccessSettings(catalog_url=url, image_roots=(str(tmp_path),), sync_seconds=60)
    ra, dec = event.region.center
    asked = {"ID": event.obs_publisher_did, "CIRCLE": f"{ra} {dec} 0.001", "CUTOUTMODE": "exposure"}
    with run_service(settings) as base:
        path = f"/cutout?{httpx.QueryParams(asked)}"
        client = peer(base, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        try:
            assert begun.wait(60)
            client.close()
            time.sleep(0.5)
        finally:
            go_on.set()
        until = time.monotonic() + 20
        while (not made or made[0].exists()) and time.monotonic() < until:
            time.sleep(0.05)
    assert made
    assert not made[0].exists()


def test_callers_take_turns():
    async def run():
        places, order = Places("tests", 2, 10.0), []

        async def work(caller, number):
            async with places.place(caller):
                order.append((caller, number))
                await asyncio.sleep(0.01)

        tasks = [work("many", i) for i in range(10)] + [work("one", 0), work("two", 0)]
        await asyncio.gather(*tasks)
        return order, places

    order, places = asyncio.run(run())
    assert len(order) == 12
    assert {"one", "two"} <= {caller for caller, _ in order[:5]}
    assert [n for caller, n in order if caller == "many"] == list(range(10))
    # All places came back.
    assert places._free == 2
    assert not places._waiting


def count(url, statement):
    engine = create_engine(url)
    with engine.connect() as connection:
        until = time.monotonic() + 10.0
        while (found := connection.exec_driver_sql(statement).scalar_one()) and (
            time.monotonic() < until
        ):
            time.sleep(0.2)
    engine.dispose()
    return found
