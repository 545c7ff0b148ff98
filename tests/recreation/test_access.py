"""An expired image through the access service: DataLink, file, cutout, as pyvo sees them."""

import hashlib
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits
from lsst.resources import ResourcePath
from sqlalchemy import create_engine
from tests.access.conftest import serving
from tests.support.night import copied_night
from tests.support.servers.postgres import postgres_missing, running_postgres
from tests.support.servers.s3 import running_s3, s3_missing

from residua.access.cutouts.archives import archive_bytes
from residua.access.cutouts.cutting import write_cutout
from residua.access.page.drawing import looking
from residua.access.settings import AccessSettings
from residua.access.work.recreating import Recreations
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.expire import Expiry, expire
from residua.recreation.partial import remade
from residua.sphere.regions import Circle
from residua.storage.objects import local_path
from residua.storage.regions.file_cache import FileCache
from residua.subtraction.steps.apply import apply

PLACES = [
    "sqlite-local",
    "postgresql-s3",
    pytest.param("sqlite-s3", marks=pytest.mark.slow),
    pytest.param("postgresql-local", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=PLACES)
def expired(request, night, tmp_path_factory):
    """A night on a store and a catalog of each kind, whose files are gone; and their service."""
    folder = tmp_path_factory.mktemp("expired")
    database, _, store = request.param.partition("-")
    with pytest.MonkeyPatch.context() as patch:
        if store == "s3":
            if reason := s3_missing():
                pytest.skip(reason)
            server = request.getfixturevalue("s3")
            for name, value in server.environment.items():
                patch.setenv(name, value)
            server.client().create_bucket(Bucket="night")
            copy = copied_night(night, "s3://night/of")
        else:
            copy = copied_night(night, str(folder / "night"))
        if database == "postgresql":
            url = request.getfixturevalue("postgres").create_database("expired", ["pg_sphere"])
        else:
            url = f"sqlite:///{folder}/catalog.sqlite"
        copy.fill(url)
        originals = {c.dataset_id: ResourcePath(c.uri).read() for c in copy.created}
        engine = create_engine(url)
        recreator = Recreator(RecreationSettings(), folder / "scratch")
        expiry = Expiry(copy.output_root, timedelta(0), everything=True, sample=1)
        assert [e.result for e in expire(engine, recreator, [], expiry)] == ["removed"] * 2
        engine.dispose()
        settings = AccessSettings(
            catalog_url=url,
            image_roots=(copy.output_root,),
            input_roots=(f"{copy.root}/visits",),
            template_roots=(f"{copy.root}/templates",),
            results_directory=folder / "results",
            # On a busy machine it takes its time.
            sync_seconds=300.0,
        )
        with serving(settings) as address:
            yield copy, originals, address, folder / "results" / "recreated"


@pytest.fixture(scope="module")
def postgres():
    if reason := postgres_missing("pg_sphere"):
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def s3():
    with running_s3() as server:
        yield server


def links(address, created):
    url = f"{address}/datalink/links"
    query = httpx.QueryParams({"ID": created.obs_publisher_did})
    return pyvo.dal.adhoc.DatalinkResults.from_result_url(f"{url}?{query}")


def test_datalink_leads_to_the_file_and_to_a_cutout(expired):
    night, originals, address, kept = expired
    created = night.created[0]
    found = links(address, created)
    first = next(iter(found))
    assert (first["semantics"], first["ID"]) == ("#this", created.obs_publisher_did)
    assert "will be made when it is asked for" in first["description"]
    assert first["content_length"] == created.size_bytes
    url = str(first["access_url"])
    head = httpx.head(url)
    assert (head.status_code, int(head.headers["content-length"])) == (200, created.size_bytes)
    assert list(kept.glob("*.fits")) == []
    query = pyvo.dal.adhoc.SodaQuery.from_resource(
        found, found.get_adhocservice_by_id("cutout-sync")
    )
    query.circle = (*created.region.center, 5.0 / 3600.0)
    stamp_bytes = query.execute_stream().read()
    # For a stamp no whole image is made.
    assert list(kept.glob("*.fits")) == []
    content = httpx.get(url, timeout=300).content
    assert content == originals[created.dataset_id]
    assert "sha256:" + hashlib.sha256(content).hexdigest() == created.checksum
    stamp_file, whole_file = kept.parent / "stamp.fits", kept.parent / "whole.fits"
    stamp_file.write_bytes(stamp_bytes)
    whole_file.write_bytes(content)
    with fits.open(stamp_file) as stamp, fits.open(whole_file) as whole:
        x, y = (int(stamp["IMAGE"].header[f"CRVAL{i}A"]) for i in (1, 2))
        ny, nx = stamp["IMAGE"].data.shape
        np.testing.assert_array_equal(
            stamp["IMAGE"].data, whole["IMAGE"].data[y : y + ny, x : x + nx]
        )
    # The very cutout of the file that is not there.
    stored = FileCache().get(ResourcePath(str(whole_file)))
    box = np.s_[y : y + ny, x : x + nx]
    assert stamp_bytes == b"".join(archive_bytes(stored, "image", box))
    # Under its own name, once.
    [file] = kept.glob("*.fits")
    assert file.name == created.uri.rpartition("/")[2]
    assert httpx.get(url, headers={"Range": "bytes=0-79"}).content == content[:80]


def test_all_modes_of_cutouts_are_those_of_the_stored_file(expired):
    night, originals, address, kept = expired
    created = night.created[1]
    for file in kept.glob("*"):
        file.unlink()
    region = Circle(*created.region.center, 4.0 / 3600.0)
    whole = kept.parent / "original.fits"
    whole.write_bytes(originals[created.dataset_id])
    for mode in ("masked-image", "exposure"):
        parameters = {
            "ID": created.obs_publisher_did,
            "CIRCLE": f"{region.ra} {region.dec} {region.radius}",
            "CUTOUTMODE": mode,
        }
        answer = httpx.get(f"{address}/cutout", params=parameters, timeout=300)
        assert answer.status_code == 200, answer.text
        expected, found = kept.parent / f"{mode}.fits", kept.parent / f"found-{mode}.fits"
        expected.unlink(missing_ok=True)
        assert write_cutout(ResourcePath(str(whole)), region, mode, expected)
        found.write_bytes(answer.content)
        with fits.open(expected) as one, fits.open(found) as other:
            for name in ("IMAGE", "VARIANCE", "MASK"):
                np.testing.assert_array_equal(one[name].data, other[name].data)
    assert list(kept.iterdir()) == []
    # Off the image there is nothing.
    away = {"ID": created.obs_publisher_did, "CIRCLE": "10 10 0.001"}
    assert httpx.get(f"{address}/cutout", params=away).status_code == 204


def test_many_who_ask_for_one_image_have_it_made_once(expired, monkeypatch):
    night, originals, address, kept = expired
    created = night.created[1]
    url = f"{address}/images/{created.dataset_id}.fits"
    for file in kept.glob("*.fits"):
        file.unlink()
    real, calls = Recreations._made, []

    async def counted(self, row, caller):
        calls.append(row["dataset_id"])
        return await real(self, row, caller)

    monkeypatch.setattr(Recreations, "_made", counted)
    barrier = threading.Barrier(6)

    def ask(_):
        barrier.wait()
        return httpx.get(url, timeout=300).content

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    assert answers == [originals[created.dataset_id]] * 6
    assert len(list(kept.glob("*.fits"))) == 1
    assert calls == [str(created.dataset_id)]


def test_an_image_whose_input_is_gone_is_gone_and_says_so(expired):
    night, _, address, kept = expired
    created = night.created[0]
    for file in kept.iterdir():
        file.unlink()
    visit = ResourcePath(created.visit_image.uri)
    content = visit.read()
    visit.remove()
    try:
        answer = httpx.get(f"{address}/images/{created.dataset_id}.fits", timeout=300)
    finally:
        visit.write(content)
    assert answer.status_code == 410
    assert "LostInputError" in answer.text
    # Where things lie is not for everybody.
    assert str(night.root) not in answer.text
    assert list(kept.iterdir()) == []


def test_a_file_that_stands_is_given_whatever_the_catalog_says(expired):
    night, _, address, _ = expired
    created = night.created[0]
    place = ResourcePath(created.uri)
    place.write(b"as it stands there")
    try:
        answer = httpx.get(
            f"{address}/images/{created.dataset_id}.fits", timeout=300, follow_redirects=True
        )
    finally:
        place.remove()
    assert answer.content == b"as it stands there"


def test_who_turns_it_off_says_so(night, tmp_path):
    copy = copied_night(night, str(tmp_path / "night"), store="none")
    url = copy.fill(f"sqlite:///{tmp_path}/catalog.sqlite")
    settings = AccessSettings(
        catalog_url=url, image_roots=(copy.output_root,), concurrent_recreations=0
    )
    created = copy.created[0]
    with serving(settings) as address:
        first = next(iter(links(address, created)))
        assert "not made again here" in first["description"]
        assert httpx.get(str(first["access_url"])).status_code == 404
    assert not local_path(created.uri).exists()
    assert Path(local_path(created.preview_uri)).exists()


def test_pictures_of_the_page_make_no_more_than_they_show(expired, monkeypatch):
    night, originals, address, kept = expired
    created = night.created[1]
    for file in kept.glob("*"):
        file.unlink()
    view = f"{address}/view/{created.dataset_id}"
    made = []

    def counted(*inputs, box, threads):
        made.append((box[0].stop - box[0].start) * (box[1].stop - box[1].start))
        return apply(*inputs, box=box, threads=threads)

    monkeypatch.setattr(remade, "apply", counted)
    monkeypatch.setattr(remade, "_boxes", OrderedDict())
    near = [f"{view}/{name}" for name in ("place?x=300&y=200", "stamp.png?x=300&y=200")]
    near += [f"{view}/{name}.png" for name in ("psf", "kernel")]
    tiles = [f"{view}/tiles/{name}/1/0_0.png" for name in ("difference", "template")]
    tiles.append(f"{view}/tiles/mask/1/0_0.png?show=DETECTED,NO_DATA")
    parts = {}
    for url in (view, *near):
        parts[url] = httpx.get(url, headers={"Accept": "text/html"}, timeout=300).content
    # A pixel, a stamp, and four samples which tell how bright the sky is.
    assert sum(made) <= 1 + 31 * 31 + 4 * 48 * 48
    made.clear()
    parts |= {url: httpx.get(url, timeout=300).content for url in tiles}
    # All planes of a tile at once, and no whole image.
    assert made == [512 * 512]
    assert list(kept.iterdir()) == []
    # What takes more has the whole made, once; it looks the same.
    monkeypatch.setattr(looking, "_LARGEST_PART", 300 * 300)
    made.clear()
    for url in (*tiles, *tiles):
        assert httpx.get(url, timeout=300).content == parts[url]
    assert made == []
    assert [f.suffix for f in sorted(kept.iterdir())] == [".fits", ".hollow"]
    for url in near:
        assert httpx.get(url, timeout=300).content == parts[url], url
    for file in kept.glob("*"):
        file.unlink()
    # And like that of the stored file.
    place = ResourcePath(created.uri)
    place.write(originals[created.dataset_id])
    try:
        for url in (*near, *tiles):
            assert httpx.get(url, timeout=300).content == parts[url], url
    finally:
        place.remove()
