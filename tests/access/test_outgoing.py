"""No parameter and no header makes the service call an address: a listener waits for it."""

import itertools
import socket
import threading

import httpx
import jwt
import pytest
from tests.access.hostile import NAMES, PATHS
from tests.support.servers.certificates import make_token_issuer

from residua.access.settings import AccessSettings


class Listener:
    """Counts the connections somebody makes to it."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.calls = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self):
        while not self._ended.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.calls += 1
            connection.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener():
    with Listener() as listening:
        yield listening
        # What it would have heard.
        heard = listening.calls
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://{listening.place}/")
        assert listening.calls == heard + 1


@pytest.fixture
def catalog(make_catalog, rows, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, rows[:5])
    return url


def addresses(place):
    """Spellings under which somebody might call the listener."""
    return [
        f"http://{place}/x.vot",
        f"//{place}/x",
        f"s3://bucket@{place}/key",
        f"ftp://{place}/x",
        f"ivo://{place}/difference-images?id=http://{place}/",
        f"table,http://{place}/x.vot",
        f"\\\\{place}\\share",
    ]


def test_no_parameter_is_an_address_to_call(catalog, run_service, listener):
    with (
        run_service(AccessSettings(catalog_url=catalog)) as service,
        httpx.Client(base_url=service, timeout=60.0) as client,
    ):
        spellings = itertools.cycle(addresses(listener.place))
        usual = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 * FROM t", "ID": "ivo://org.example/x?id=1"}
        for path, name in itertools.product(PATHS, NAMES):
            for value in itertools.islice(spellings, 2):
                answer = client.get(path, params={**usual, name: value})
                assert answer.status_code < 500, (answer.request.url, answer.text[:300])
        table = {"UPLOAD": f"t,http://{listener.place}/x.vot", "LANG": "ADQL",
                 "QUERY": "SELECT * FROM TAP_UPLOAD.t"}  # fmt: skip
        for path in ("/tap/sync", "/tap/async"):
            assert client.post(path, data=table).status_code < 500
        names = ("Host", "Referer", "Forwarded", "X-Forwarded-Host", "X-Forwarded-For", "Origin")
        for name in names:
            client.get("/sia/query", params={"MAXREC": "1"}, headers={name: listener.place})
    assert listener.calls == 0


def test_a_token_does_not_say_where_its_key_is(catalog, run_service, listener, tmp_path_factory):
    issuer, eve = (make_token_issuer(tmp_path_factory.mktemp(n)) for n in ("issuer", "eve"))
    settings = AccessSettings(
        catalog_url=catalog, jwks_url=str(issuer.key_set), token_issuer=issuer.issuer
    )
    url = f"http://{listener.place}/keys.json"
    claims = {"sub": "eve", "iss": issuer.issuer, "exp": 2_000_000_000, "scope": "read:image"}
    with run_service(settings) as service:
        for key_id in ("test", "other"):
            headers = {"kid": key_id, "jku": url, "x5u": url}
            bearer = jwt.encode(claims, eve.private_key, algorithm="RS256", headers=headers)
            answer = httpx.get(
                f"{service}/sia/query", headers={"Authorization": f"Bearer {bearer}"}
            )
            assert answer.status_code == 401
        claims["iss"] = f"http://{listener.place}"
        bearer = jwt.encode(claims, issuer.private_key, algorithm="RS256", headers={"kid": "test"})
        answer = httpx.get(f"{service}/sia/query", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 401
    assert listener.calls == 0
