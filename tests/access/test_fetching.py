"""Tables at addresses: public ones and named hosts are asked, nothing behind our own walls."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
from astropy.table import Table
from tests.access.test_upload import votable

from residua.access.dali import fetching
from residua.access.dali.errors import OverloadError, UsageError
from residua.access.dali.fetching import Fetcher
from residua.access.settings import AccessSettings

TARGETS = votable(Table({"name": ["a", "b", "c"], "ra": np.arange(3.0)}))
QUERY = "SELECT COUNT(*) AS n FROM TAP_UPLOAD.t"


class Elsewhere(BaseHTTPRequestHandler):
    """A table, one in too many bytes, an address that leads on, and one that leads nowhere."""

    def do_GET(self):
        self.server.asked.append(self.headers["Host"])
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/t.vot?x=1")
            self.end_headers()
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
        elif self.path == "/drip":
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.1)
        elif self.path.startswith(("/t.vot", "/large")):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(TARGETS if self.path[1] == "t" else b" " * 200_000)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)


@pytest.fixture(scope="module")
def base(elsewhere):
    return f"http://localhost:{elsewhere.server_port}"


def fetcher(*hosts, max_bytes=100_000, seconds=5.0):
    return Fetcher(hosts, max_bytes, seconds)


def test_a_table_of_a_named_host_is_fetched(elsewhere, base):
    assert fetcher("localhost").fetch(f"{base}/t.vot") == TARGETS
    assert fetcher("LOCALHOST").fetch(f"{base}/moved") == TARGETS
    assert elsewhere.asked[-1] == base.removeprefix("http://")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing", "answers 404"),
        ("/large", "more than 100000 bytes"),
        ("/round", "more than 3 redirections"),
        ("/inside", "tables are not fetched from '169.254.169.254'"),
    ],
)
def test_what_is_no_table_is_refused_in_words(base, path, words):
    with pytest.raises(UsageError, match=words):
        fetcher("localhost").fetch(base + path)


def test_byte_after_byte_does_not_move_the_deadline(base):
    began = time.monotonic()
    with pytest.raises(UsageError, match="cannot be fetched within"):
        fetcher("localhost", seconds=0.5).fetch(f"{base}/drip")
    assert time.monotonic() - began < 5.0


def test_only_so_many_are_fetched_at_once(base):
    one = fetcher("localhost", seconds=3.0)

    def wait():
        with pytest.raises(UsageError):
            one.fetch(f"{base}/drip")

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    with pytest.raises(OverloadError, match="come back"):
        one.fetch(f"{base}/t.vot")
    for thread in threads:
        thread.join()
    assert one.fetch(f"{base}/t.vot") == TARGETS


INSIDE = [
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
]  # fmt: skip


@pytest.mark.parametrize("place", INSIDE)
def test_no_name_leads_behind_our_walls(place, monkeypatch):
    # As a name server would answer that somebody owns: nothing may be connected to.
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(None, None, None, "", (place, 80))]
    )
    monkeypatch.setattr(
        fetching.socket, "create_connection", lambda *_, **__: pytest.fail("connected")
    )
    with pytest.raises(UsageError, match="is no public address"):
        fetcher("*").fetch("http://innocent.example/t.vot")


def test_the_address_that_was_judged_is_the_one_connected_to(monkeypatch):
    places = iter(["203.0.114.7", "127.0.0.1"])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(None, None, None, "", (next(places), 80))]
    )
    tried = []

    def connect(address, **_):
        tried.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(fetching.socket, "create_connection", connect)
    with pytest.raises(UsageError, match="cannot be fetched"):
        fetcher("*").fetch("http://innocent.example/t.vot")
    assert tried == [("203.0.114.7", 80)]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://user:secret@example.org/t", "with a user's name"),
        ("http:///t", "no http or https address"),
        ("http://example.org:99999/t", "no http or https address"),
        ("http://example.org/a b", "no http or https address"),
        ("http://[::1/t", "no http or https address"),
    ],
)
def test_strange_addresses_are_refused(address, words):
    with pytest.raises(UsageError, match=words):
        fetcher("*").fetch(address)


def test_ports_of_other_protocols_are_left_alone():
    with pytest.raises(UsageError, match="not fetched from port 25"):
        fetcher("*").fetch("http://203.0.114.7:25/")


@pytest.fixture(scope="module")
def run(run_service, make_catalog, rows, tmp_path_factory):
    catalog = f"sqlite:///{tmp_path_factory.mktemp('fetching')}/catalog.sqlite"
    make_catalog(catalog, rows[:5])
    return lambda *hosts: run_service(AccessSettings(catalog_url=catalog, upload_hosts=hosts))


def asked(service, address):
    data = {"LANG": "ADQL", "QUERY": QUERY, "UPLOAD": f"t,{address}", "RESPONSEFORMAT": "csv"}
    return httpx.post(f"{service}/tap/sync", data=data, timeout=60)


def test_queries_and_jobs_take_tables_at_addresses(run, base):
    with run("localhost") as service:
        assert asked(service, f"{base}/t.vot").text.split() == ["n", "3"]
        job = finished(service, QUERY=QUERY, UPLOAD=f"t,{base}/moved", RESPONSEFORMAT="csv")
        assert httpx.get(f"{job}/results/result").text.split() == ["n", "3"]
        assert "#upload-http" in httpx.get(f"{service}/tap/capabilities").text


def test_where_all_may_be_asked_nothing_behind_our_walls_is(run, base):
    with run("*") as service:
        answer = asked(service, f"{base}/t.vot")
        assert answer.status_code == 400
        assert "is no public address" in answer.text


def test_by_default_no_host_is_asked_but_results_of_jobs_are_tables(run, elsewhere, base):
    with run() as service:
        number = len(elsewhere.asked)
        answer = asked(service, f"{base}/t.vot")
        assert answer.status_code == 400
        assert "tables are not fetched from 'localhost': send the VOTable" in answer.text
        assert len(elsewhere.asked) == number
        job = finished(service, QUERY="SELECT TOP 2 s_ra FROM ivoa.ObsCore")
        result = f"{job}/results/result"
        assert asked(service, result).text.split() == ["n", "2"]
        assert asked(f"{service}/api", result).text.split() == ["n", "2"]
        again = finished(service, QUERY=QUERY, UPLOAD=f"t,{result}", RESPONSEFORMAT="csv")
        assert httpx.get(f"{again}/results/result").text.split() == ["n", "2"]
        nothing = f"{service}/tap/async/00000000-0000-4000-8000-000000000000/results/result"
        assert "has no result here that is yours" in asked(service, nothing).text


def finished(service, **parameters):
    data = {"LANG": "ADQL", "PHASE": "RUN", **parameters}
    job = httpx.post(f"{service}/tap/async", data=data).headers["location"]
    for phase in ("QUEUED", "EXECUTING"):
        httpx.get(job, params={"WAIT": "30", "PHASE": phase}, timeout=60)
    return job
