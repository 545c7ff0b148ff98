"""The page without a browser: who sees what, filters, live, tiles; on both databases."""

import io
import json
import time
from contextlib import contextmanager

import httpx
import jwt
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, update
from tests.support.servers.certificates import make_token_issuer

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import dataset_id
from residua.messaging.records.events import IncomingRecord
from residua.obscore import obscore
from residua.testing.difference_images import difference_image_event, write_file
from residua_schemas import DifferenceImageFailed, DifferenceImageSkipped
from residua_schemas.examples import examples

TOPIC = "difference-images"
HTML = {"Accept": "text/html,application/xhtml+xml"}
NIGHT_MS = 1_795_500_000_000
VISIT = 2026112200101


def record(event, n):
    value = event.model_dump_json().encode()
    return IncomingRecord(TOPIC, 0, n, event.key, value, NIGHT_MS + 1000 * n)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A difference image with its file, 640 x 1100 pixels: more than one tile."""
    folder = tmp_path_factory.mktemp("images")
    event = difference_image_event(VISIT, 4, "", shape=(640, 1100))
    event = write_file(folder / "difference.fits", event)
    return event.model_copy(update={"templates": (), "preview_uri": None})


@pytest.fixture(scope="module")
def others():
    """One skipped, one failed."""
    found = []
    for kind, n in ((DifferenceImageSkipped, 2), (DifferenceImageFailed, 3)):
        event = examples()[kind]
        who = event.visit_detector.model_copy(update={"visit": VISIT + 1, "detector": n})
        arrival = event.arrival.model_copy(update={"visit_detector": who})
        found.append(
            event.model_copy(
                update={
                    "visit_detector": who,
                    "arrival": arrival,
                    "dataset_id": dataset_id(event.run, who),
                }
            )
        )
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.sqlite"
    name = f"residua_page_{abs(hash(request.node.name)) % 10**8}"
    return request.getfixturevalue("postgres").create_database(name, ["pg_sphere"])


def load(url, events, first=0):
    engine = open_database(url)
    records = [record(event, first + n) for n, event in enumerate(events)]
    assert write_batch(engine, records, TOPIC, Site(), None).refused == ()
    return engine


def settings_for(url, image, tmp_path, **more):
    root = image.uri.removeprefix("file://").rsplit("/", 1)[0]
    return AccessSettings(
        catalog_url=url, results_directory=tmp_path / "results", image_roots=(root,), **more
    )


def get(base, path, **more):
    return httpx.get(f"{base}{path}", headers={**HTML, **more}, timeout=60)


def test_browsers_get_the_page_and_clients_the_addresses(url, image, tmp_path, run_service):
    load(url, [image])
    with run_service(settings_for(url, image, tmp_path)) as base:
        assert get(base, "/").headers["content-type"].startswith("text/html")
        for accept in ("*/*", "application/json"):
            answer = httpx.get(f"{base}/", headers={"Accept": accept})
            assert answer.json()["tap"] == f"{base}/tap"
            assert "Accept" in answer.headers["vary"].split(", ")
        assert httpx.get(f"{base}/services").json() == httpx.get(f"{base}/").json()
        under = get(base, "/api/")
        assert f'href="/api/view/{image.dataset_id}"' in under.text
        assert "/api/static/page.css" in under.text
        for path in ("/static/page.css", "/static/vendor/htmx.min.js", "/static/mark.svg"):
            assert get(base, path).status_code == 200
        assert get(base, "/static/../render.py").status_code == 404
        assert get(base, "/static/%2e%2e/render.py").status_code == 404


def test_tonight_counts_lists_and_filters(url, image, others, tmp_path, run_service):
    load(url, [image, *others])
    with run_service(settings_for(url, image, tmp_path)) as base:
        everything = get(base, "/tonight").text
        assert everything.count('<th scope="row"><a href="/view/') == 3
        failed = get(base, "/tonight?outcome=failed").text
        assert failed.count('<th scope="row"><a href="/view/') == 1
        assert others[1].error in failed
        assert get(base, "/tonight?detector=4&band=r").text.count('<th scope="row"><a') == 1
        assert "No outcome" in get(base, "/tonight?band=z&flagged=yes").text
        for wrong in ("outcome=lost", "detector=x", "visit=-1", "before=9e9"):
            answer = get(base, f"/tonight?{wrong}")
            assert answer.status_code == 400
            assert 'role="alert"' in answer.text
        hostile = get(base, "/tonight?instrument=<script>alert(1)</script>")
        assert "<script>alert" not in hostile.text


def test_an_empty_catalog_has_a_page_too(url, image, tmp_path, run_service):
    open_database(url)
    with run_service(settings_for(url, image, tmp_path)) as base:
        answer = get(base, "/")
        assert answer.status_code == 200
        assert "residua demo" in answer.text
        assert get(base, f"/view/{image.dataset_id}").status_code == 404


def test_the_live_view_tells_of_what_comes(url, image, others, tmp_path, run_service):
    load(url, [image])
    with (
        run_service(settings_for(url, image, tmp_path)) as base,
        httpx.stream("GET", f"{base}/tonight/events", timeout=30) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: live"
        first = "".join(iter(lines.__next__, ""))
        assert first.count("/view/") == 1
        load(url, others, first=1)
        assert next(lines) == "event: live"
        assert "".join(iter(lines.__next__, "")).count("/view/") == 3


def pixels_of(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), float)


def test_tiles_cover_the_image_at_every_level(image, tmp_path, run_service):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    load(url, [image])
    tiles = f"/view/{image.dataset_id}/tiles"
    with run_service(settings_for(url, image, tmp_path)) as base:
        page = get(base, f"/view/{image.dataset_id}")
        assert page.status_code == 200
        data = page.text.split('id="viewer-data">')[1].split("</script>")[0]
        viewer = json.loads(data)
        assert (viewer["width"], viewer["height"], viewer["level"]) == (1100, 640, 2)
        assert viewer["planes"] == ["difference"]
        shapes = {
            (x, y): pixels_of(get(base, f"{tiles}/difference/2/{x}_{y}.png")).shape[:2]
            for x in range(3)
            for y in range(2)
        }
        assert shapes == {
            (0, 0): (512, 512), (1, 0): (512, 512), (2, 0): (512, 76),
            (0, 1): (128, 512), (1, 1): (128, 512), (2, 1): (128, 76),
        }  # fmt: skip
        assert pixels_of(get(base, f"{tiles}/difference/0/0_0.png")).shape[:2] == (160, 275)
        # The one source stands in the middle, as bright at every level and stretch.
        for stretch in ("asinh", "linear", "sqrt", "log"):
            middle = pixels_of(get(base, f"{tiles}/difference/1/0_0.png?stretch={stretch}"))
            y, x = np.unravel_index(middle[..., 0].argmax(), middle.shape[:2])
            assert abs(y - 160) <= 4
            assert abs(x - 275) <= 4
        mask = Image.open(
            io.BytesIO(get(base, f"{tiles}/mask/2/0_1.png?show=SATURATED,COSMIC_RAY").content)
        ).convert("RGBA")
        # Rows 10 and 12 of the image, counted from below.
        opaque = np.argwhere(np.asarray(mask)[..., 3] > 0)
        assert set(opaque[:, 0]) == {127 - 10, 127 - 12}
        assert set(opaque[:, 1]) == {5, 6, 7, 8}
        for what in ("psf.png", "kernel.png", "stamp.png?x=550&y=320", "stamp.png?x=0&y=639"):
            pixels_of(get(base, f"/view/{image.dataset_id}/{what}"))
        for wrong, status in (
            ("difference/2/3_0.png", 404), ("difference/9/0_0.png", 404), ("sky/0/0_0.png", 404),
            ("science/2/0_0.png", 404), ("difference/2/0_0.png?stretch=x", 400),
            ("difference/2/0_0.png?limit=nan", 400),
        ):  # fmt: skip
            assert get(base, f"{tiles}/{wrong}").status_code == status, wrong


def test_pixels_under_an_embargo_are_not_on_the_page(url, image, tmp_path, run_service):
    load(url, [image]).dispose()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(obscore).values(obs_release_date="2099-01-01T00:00:00.000Z"))
    view = f"/view/{image.dataset_id}"
    with run_service(settings_for(url, image, tmp_path)) as base:
        page = get(base, view)
        assert page.status_code == 200
        assert "2099-01-01" in page.text
        assert "viewer-data" not in page.text
        pictures = ("tiles/difference/0/0_0.png", "tiles/mask/0/0_0.png?show=BAD", "psf.png")
        for picture in (*pictures, "stamp.png?x=9&y=9"):
            assert get(base, f"{view}/{picture}").status_code == 403
        assert "/view/" in get(base, "/").text
    with run_service(settings_for(url, image, tmp_path, list_unreleased=False)) as base:
        assert get(base, view).status_code == 404
        assert "/view/" not in get(base, "/").text
        assert ">0</a>" in get(base, "/").text


@contextmanager
def signed_in(base, token):
    with httpx.Client(base_url=base, headers=HTML, follow_redirects=True, timeout=60) as client:
        yield client, client.post("/sign-in", data={"token": token})


def test_people_sign_in_with_a_token_which_counts_for_reading_alone(
    image, tmp_path, run_service, tmp_path_factory
):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    load(url, [image])
    issuer = make_token_issuer(tmp_path_factory.mktemp("tokens"))
    settings = settings_for(
        url, image, tmp_path,
        jwks_url=str(issuer.key_set), token_issuer=issuer.issuer, token_audience=issuer.audience,
    )  # fmt: skip
    claims = {
        "sub": "vera", "iss": issuer.issuer, "aud": issuer.audience,
        "exp": int(time.time()) + 600, "scope": "read:image read:tap",
    }  # fmt: skip
    token = jwt.encode(claims, issuer.private_key, algorithm="RS256", headers={"kid": "test"})
    with run_service(settings) as base:
        refused = get(base, "/")
        assert refused.status_code == 401
        assert "/sign-in" in refused.text
        assert get(base, "/sign-in").status_code == get(base, "/static/page.css").status_code == 200
        with signed_in(base, "nonsense") as (client, answer):
            assert "not valid" in answer.text
            assert not client.cookies
        with signed_in(base, token) as (client, answer):
            assert answer.status_code == 200
            assert f"/view/{image.dataset_id}" in answer.text
            assert client.post("/tap/async", data={"QUERY": "SELECT 1"}).status_code == 401
            assert client.post("/sign-in", data={"token": ""}).status_code == 401
