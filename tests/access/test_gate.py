"""Who may come in, how often, and with how much."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import jwt
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient
from tests.support.servers.certificates import make_token_issuer
from vo_models.vosi.capabilities import VOSICapabilities

from residua.access.app import create_app
from residua.access.settings import AccessSettings

QUERY = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 obs_id FROM ivoa.ObsCore"}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return make_token_issuer(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def url_of_catalog(tmp_path_factory, make_catalog, rows):
    url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    make_catalog(url, rows[:10])
    return url


@pytest.fixture(scope="module")
def guarded(url_of_catalog, issuer, run_service):
    settings = AccessSettings(
        catalog_url=url_of_catalog,
        jwks_url=str(issuer.key_set),
        token_issuer=issuer.issuer,
        token_audience=issuer.audience,
    )
    with run_service(settings) as url:
        yield url


def token(issuer, scope, **changes):
    claims = {
        "sub": "vera",
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "exp": int(time.time()) + 600,
        "scope": scope,
        **changes,
    }
    return jwt.encode(claims, issuer.private_key, algorithm="RS256", headers={"kid": "test"})


def ask(url, path, bearer=None, **params):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return httpx.get(f"{url}{path}", headers=headers, params=params)


def test_an_open_address_must_be_meant():
    with pytest.raises(ValidationError, match="not loopback"):
        AccessSettings(host="0.0.0.0")
    assert AccessSettings(host="0.0.0.0", open_access=True).host == "0.0.0.0"
    assert AccessSettings(host="::1").on_loopback


def test_requests_need_a_token_with_the_scope(guarded, issuer):
    refused = ask(guarded, "/tap/sync", **QUERY)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert 'value="ERROR"' in refused.text
    assert ask(guarded, "/tap/sync", token(issuer, "read:tap"), **QUERY).status_code == 200
    assert ask(guarded, "/tap/sync", token(issuer, "read:image"), **QUERY).status_code == 403
    assert ask(guarded, "/sia/query", token(issuer, "read:image")).status_code == 200
    assert ask(guarded, "/sia/query", token(issuer, "read:tap")).status_code == 403
    assert ask(guarded, "/tap/capabilities").status_code == 200
    assert ask(guarded, "/health").status_code == 200


@pytest.mark.parametrize("name", ["tap", "sia", "datalink", "cutout"])
def test_capabilities_say_that_tokens_are_needed(guarded, url_of_catalog, run_service, name):
    method = '<securityMethod standardID="ivo://ivoa.net/sso#OAuth"/></interface>'
    said = {}
    for capability in re.findall(
        r"<capability .*?</capability>", ask(guarded, f"/{name}/capabilities").text
    ):
        standard = re.search(r'standardID="([^"]*)"', capability).group(1)
        said[standard.rpartition("/")[2]] = method in capability
        VOSICapabilities.from_xml(ask(guarded, f"/{name}/capabilities").content)
    assert said.pop("VOSI#capabilities") is False
    assert said.pop("VOSI#availability") is False
    assert said
    assert all(said.values())
    with run_service(AccessSettings(catalog_url=url_of_catalog)) as url:
        assert "securityMethod" not in ask(url, f"/{name}/capabilities").text


@pytest.mark.parametrize(
    "changes",
    [{"exp": 1_000}, {"iss": "https://elsewhere"}, {"aud": "others"}],
)
def test_tokens_of_others_and_old_ones_are_refused(guarded, issuer, changes):
    bearer = token(issuer, "read:tap", **changes)
    assert ask(guarded, "/tap/sync", bearer, **QUERY).status_code == 401


def test_forged_tokens_are_refused(guarded, issuer, tmp_path):
    claims = {"sub": "eve", "iss": issuer.issuer, "aud": issuer.audience, "exp": 2_000_000_000}
    forged = [
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": "test"}),
        token(make_token_issuer(tmp_path), "read:tap", iss=issuer.issuer, aud=issuer.audience),
        "not.a.token",
    ]
    for bearer in forged:
        assert ask(guarded, "/tap/sync", bearer, **QUERY).status_code == 401


def test_keys_are_fetched_from_an_address(url_of_catalog, issuer, run_service):
    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(issuer.key_set.read_bytes())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Keys) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = AccessSettings(
            catalog_url=url_of_catalog,
            jwks_url=f"http://127.0.0.1:{server.server_port}/keys",
            token_issuer=issuer.issuer,
            token_audience=issuer.audience,
        )
        with run_service(settings) as url:
            assert ask(url, "/tap/sync", token(issuer, "read:tap"), **QUERY).status_code == 200
            assert ask(url, "/tap/sync", "not.a.token", **QUERY).status_code == 401
        server.shutdown()


def test_jobs_belong_to_their_owner(guarded, issuer):
    mine = {"Authorization": f"Bearer {token(issuer, 'read:tap')}"}
    other = {"Authorization": f"Bearer {token(issuer, 'read:tap', sub='margaret')}"}
    job = httpx.post(f"{guarded}/tap/async", data=QUERY, headers=mine).headers["location"]
    assert httpx.get(job, headers=mine).status_code == 200
    assert httpx.get(job, headers=other).status_code == 404
    assert httpx.delete(job, headers=other).status_code == 404
    identifier = job.rsplit("/", 1)[1]
    assert identifier not in httpx.get(f"{guarded}/tap/async", headers=other).text


def test_clients_are_held_to_their_rate_and_size(url_of_catalog, run_service):
    settings = AccessSettings(
        catalog_url=url_of_catalog, requests_per_minute=20, max_request_bytes=2_000
    )
    with run_service(settings) as url:
        large = httpx.post(f"{url}/tap/sync", data={**QUERY, "RUNID": "x" * 3_000})
        assert large.status_code == 400
        assert "2000" in large.text
        codes = [httpx.get(f"{url}/health").status_code for _ in range(25)]
        assert codes[:10] == [200] * 10
        assert codes[-1] == 429


def test_requests_are_counted_by_service_and_status(url_of_catalog, tmp_path):
    app = create_app(AccessSettings(catalog_url=url_of_catalog, results_directory=tmp_path))
    with TestClient(app) as client:
        client.get("/sia/query", params={"MAXREC": "1"})
        client.get("/sia/query", params={"POS": "nonsense"})
        client.get("/invented")
    metrics = app.state.gate.metrics.registry
    name = "residua_access_request_seconds_count"
    assert metrics.get_sample_value(name, {"service": "sia", "status": "200"}) == 1
    assert metrics.get_sample_value(name, {"service": "sia", "status": "400"}) == 1
    assert metrics.get_sample_value(name, {"service": "other", "status": "404"}) == 1


def test_a_catalog_may_lie_under_any_name(tmp_path, make_catalog, rows, run_service):
    path = tmp_path / "a b #c" / "catalog.sqlite"
    path.parent.mkdir()
    make_catalog(f"sqlite:///{path}", rows[:3])
    with run_service(AccessSettings(catalog_url=f"sqlite:///{path}")) as url:
        assert httpx.get(f"{url}/sia/query").text.count("<TR>") == 3
