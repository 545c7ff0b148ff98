"""DataLink, delivery and cutouts of real files, through pyvo."""

import io
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits, votable
from astropy.wcs import WCS
from lsst.images.serialization import read_archive
from sqlalchemy import create_engine, update
from tests.support.servers.s3 import running_s3, s3_missing

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row
from residua.obscore import obscore
from residua.testing.difference_images import difference_image_event, write_file

SHAPE = (300, 400)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """One difference image in a file, with its preview and inputs."""
    directory = tmp_path_factory.mktemp("images")
    event = difference_image_event(2026112200101, 4, "", shape=SHAPE)
    event = write_file(directory / "difference_image.fits", event)
    (directory / "preview.png").write_bytes(b"\x89PNG preview")
    (directory / "visit.fits").write_bytes(b"SIMPLE visit")
    reference = event.visit_image.model_copy(update={"uri": (directory / "visit.fits").as_uri()})
    return directory, event.model_copy(
        update={
            "preview_uri": (directory / "preview.png").as_uri(),
            "visit_image": reference,
            "templates": (),
        }
    )


@pytest.fixture(scope="module")
def catalog_file(stored, tmp_path_factory, make_catalog):
    _, event = stored
    url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    make_catalog(url, [difference_image_row(event, Site())])
    return url


@pytest.fixture(scope="module")
def service(stored, catalog_file, run_service):
    directory, _ = stored
    settings = AccessSettings(catalog_url=catalog_file, image_roots=(str(directory),))
    with run_service(settings) as url:
        yield url


@pytest.fixture
def links(service):
    row = pyvo.dal.SIA2Service(f"{service}/sia").search(calib_level=3)[0]
    return pyvo.dal.adhoc.DatalinkResults.from_result_url(str(row["access_url"]))


@pytest.fixture
def original(stored):
    directory, _ = stored
    with fits.open(directory / "difference_image.fits") as hdus:
        yield hdus


def center(stored):
    return stored[1].region.center


def cut(links, service_id, circle):
    query = pyvo.dal.adhoc.SodaQuery.from_resource(links, links.get_adhocservice_by_id(service_id))
    query.circle = circle
    return query.execute_stream().read()


def test_row_0_is_the_image_and_all_links_can_be_read(links, stored):
    directory, event = stored
    first = next(iter(links))
    assert (first["semantics"], first["content_type"]) == ("#this", "application/fits")
    assert first["content_length"] == event.size_bytes
    content = httpx.get(str(first["access_url"])).content
    assert content == (directory / "difference_image.fits").read_bytes()
    by_semantics = {str(r["semantics"]): r for r in links if r["access_url"]}
    assert httpx.get(by_semantics["#preview"]["access_url"]).content == b"\x89PNG preview"
    assert httpx.get(by_semantics["#progenitor"]["access_url"]).content == b"SIMPLE visit"
    services = [str(r["service_def"]) for r in links if r["service_def"]]
    assert services == ["cutout-sync", "cutout-sync-maskedimage", "cutout-sync-exposure"]


def test_a_range_of_a_file_can_be_asked_for(links, stored):
    directory, _ = stored
    url = str(next(iter(links))["access_url"])
    part = httpx.get(url, headers={"Range": "bytes=2880-5759"})
    assert part.status_code == 206
    assert part.content == (directory / "difference_image.fits").read_bytes()[2880:5760]


def test_an_image_cutout_has_the_pixels_and_the_wcs(links, stored, original):
    ra, dec = center(stored)
    radius = 5.0 / 3600.0
    with fits.open(io.BytesIO(cut(links, "cutout-sync", (ra, dec, radius)))) as hdus:
        data, header = hdus["IMAGE"].data, hdus["IMAGE"].header
        assert [h.name for h in hdus] == ["PRIMARY", "IMAGE", "JSON", "INDEX"]
        wcs, whole = WCS(header), WCS(original["IMAGE"].header)
        assert header["BUNIT"] == "nJy"
        assert hdus[0].header["INSTRUME"] == original[0].header["INSTRUME"]
        scale = stored[1].pixel_scale / 3600.0
        np.testing.assert_allclose(data.shape, 2 * radius / scale, atol=2.01)
        x, y = whole.world_to_pixel(wcs.pixel_to_world(0, 0))
        x, y = round(float(x)), round(float(y))
        assert (x, y) == (header["CRVAL1A"], header["CRVAL2A"])
        expected = original["IMAGE"].data[y : y + data.shape[0], x : x + data.shape[1]]
        np.testing.assert_array_equal(data, expected)
        middle = wcs.world_to_pixel_values(ra, dec)
        np.testing.assert_allclose(middle, (np.array(data.shape[::-1]) - 1) / 2, atol=0.6)


def test_a_masked_image_cutout_adds_mask_and_variance(links, stored, original):
    ra, dec = center(stored)
    with fits.open(io.BytesIO(cut(links, "cutout-sync-maskedimage", (ra, dec, 0.001)))) as hdus:
        assert [h.name for h in hdus][:4] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        x, y = (int(hdus["MASK"].header[f"CRVAL{i}A"]) for i in (1, 2))
        ny, nx = hdus["MASK"].data.shape
        box = np.s_[y : y + ny, x : x + nx]
        np.testing.assert_array_equal(hdus["MASK"].data, original["MASK"].data[box])
        np.testing.assert_array_equal(hdus["VARIANCE"].data, original["VARIANCE"].data[box])
        assert hdus["MASK"].data.any()
        planes = {k: v for k, v in original["MASK"].header.items() if k.startswith("MSK")}
        assert planes
        assert planes == {k: v for k, v in hdus["MASK"].header.items() if k.startswith("MSK")}


def test_an_exposure_cutout_is_a_difference_image(links, stored, original, tmp_path):
    ra, dec = center(stored)
    path = tmp_path / "cutout.fits"
    path.write_bytes(cut(links, "cutout-sync-exposure", (ra, dec, 0.001)))
    part = read_archive(str(path))
    y, x = part.bbox.y, part.bbox.x
    box = np.s_[y.start : y.stop, x.start : x.stop]
    np.testing.assert_allclose(part.image.array, original["IMAGE"].data[box], rtol=1e-6)
    stamp = part.psf.compute_kernel_image(x=x.start + 5, y=y.start + 5).array
    assert stamp.sum() == pytest.approx(1.0, abs=0.05)
    assert part.kernel is not None
    with fits.open(path) as hdus:
        position = WCS(hdus["IMAGE"].header).pixel_to_world_values(3, 3)
        whole = WCS(original["IMAGE"].header).pixel_to_world_values(x.start + 3, y.start + 3)
        np.testing.assert_allclose(position, whole, atol=1e-10)


def test_polygon_and_range_cut_the_same_box_as_the_circle_they_enclose(service, stored):
    (ra, dec), half = center(stored), 0.002
    did = stored[1].obs_publisher_did
    w = half / np.cos(np.radians(dec))
    corners = (
        f"{ra - w} {dec - half} {ra + w} {dec - half} {ra + w} {dec + half} {ra - w} {dec + half}"
    )
    shapes = []
    for stencil in (
        {"POLYGON": corners},
        {"POS": f"POLYGON {corners}"},
        {"POS": f"RANGE {ra - w} {ra + w} {dec - half} {dec + half}"},
        {"POS": f"CIRCLE {ra} {dec} {half}"},
    ):
        answer = httpx.get(f"{service}/cutout", params={"ID": did, **stencil})
        assert answer.status_code == 200, answer.text
        with fits.open(io.BytesIO(answer.content)) as hdus:
            shapes.append(hdus["IMAGE"].data.shape)
    assert shapes[0] == shapes[1]
    np.testing.assert_allclose(shapes[2], shapes[0], atol=1)


def test_cutouts_say_what_is_wrong(service, stored):
    (ra, dec), did = center(stored), stored[1].obs_publisher_did
    circle = f"{ra} {dec} 0.001"
    for parameters, status in (
        ({"ID": did, "CIRCLE": "10 10 1"}, 204),
        ({"ID": did}, 400),
        ({"CIRCLE": circle}, 400),
        ({"ID": did, "CIRCLE": circle, "POLYGON": "1 1 2 2 3 1"}, 400),
        ({"ID": did, "CIRCLE": "1 1"}, 400),
        ({"ID": did, "CIRCLE": circle, "CUTOUTMODE": "sculpture"}, 400),
        ({"ID": "ivo://nobody/nothing", "CIRCLE": circle}, 404),
    ):
        answer = httpx.get(f"{service}/cutout", params=parameters)
        assert answer.status_code == status, parameters
        assert status == 204 or "Fault" in answer.text


def test_a_circle_around_everything_gives_the_whole_image(service, stored):
    ra, dec = center(stored)
    for radius in (1.0, 170.0):
        circle = f"{ra} {dec} {radius}"
        params = {"ID": stored[1].obs_publisher_did, "CIRCLE": circle}
        answer = httpx.get(f"{service}/cutout", params=params)
        with fits.open(io.BytesIO(answer.content)) as hdus:
            assert hdus["IMAGE"].data.shape == SHAPE


def test_unknown_datasets_have_a_row_that_says_so(service):
    answer = httpx.get(f"{service}/datalink/links", params={"ID": "ivo://nobody/nothing"})
    assert answer.status_code == 200
    table = votable.parse_single_table(io.BytesIO(answer.content)).array
    assert "NotFoundFault" in str(table["error_message"][0])


def test_only_files_under_the_roots_are_delivered(catalog_file, stored, run_service, tmp_path):
    settings = AccessSettings(catalog_url=catalog_file, image_roots=(str(tmp_path),))
    with run_service(settings) as url:
        answer = httpx.get(f"{url}/images/{stored[1].dataset_id}")
        assert answer.status_code == 404
        assert "may read" in answer.text
        assert str(stored[0]) not in answer.text


def test_pixels_under_embargo_are_found_but_refused(stored, make_catalog, run_service, tmp_path):
    directory, event = stored
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    recent = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    event = event.model_copy(update={"begin_tai": recent, "end_tai": recent})
    make_catalog(url, [difference_image_row(event, Site())])
    settings = AccessSettings(catalog_url=url, image_roots=(str(directory),), embargo_hours=80.0)
    with run_service(settings) as base:
        assert len(pyvo.dal.SIA2Service(f"{base}/sia").search(calib_level=3)) == 1
        for path in ("images", "previews"):
            refused = httpx.get(f"{base}/{path}/{event.dataset_id}")
            assert refused.status_code == 403
            assert "public from" in refused.text
        ra, dec = center(stored)
        parameters = {"ID": event.obs_publisher_did, "CIRCLE": f"{ra} {dec} 0.001"}
        assert httpx.get(f"{base}/cutout", params=parameters).status_code == 403
        links = httpx.get(f"{base}/datalink/links", params={"ID": event.obs_publisher_did})
        assert "public from" in links.text
        # The row's own release date counts more than the rule.
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(update(obscore).values(obs_release_date="2020-01-01T00:00:00Z"))
        engine.dispose()
        assert httpx.get(f"{base}/cutout", params=parameters).status_code == 200


def test_object_stores_deliver_by_signed_url_and_are_read_in_part(
    stored, make_catalog, run_service, tmp_path, monkeypatch
):
    missing = s3_missing()
    if missing is not None:
        pytest.skip(missing)
    directory, event = stored
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    with running_s3("images") as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        store.client().upload_file(
            str(directory / "difference_image.fits"), "images", "a/difference_image.fits"
        )
        remote = event.model_copy(update={"uri": "s3://images/a/difference_image.fits"})
        make_catalog(url, [difference_image_row(remote, Site())])
        settings = AccessSettings(catalog_url=url, image_roots=("s3://images/a",))
        with run_service(settings) as base:
            redirect = httpx.get(f"{base}/images/{event.dataset_id}")
            assert redirect.status_code == 307
            address = redirect.headers["location"]
            assert "X-Amz-Signature" in address
            signed = httpx.get(address)
            # A link for GET is refused for HEAD, so HEAD gets one of its own.
            head = httpx.head(f"{base}/images/{event.dataset_id}.fits", follow_redirects=True)
            assert (head.status_code, head.headers["content-length"]) == (
                200,
                str(event.size_bytes),
            )
            assert signed.content == (directory / "difference_image.fits").read_bytes()
            # Whatever the store takes it for.
            types = {answer.headers["content-type"] for answer in (signed, head)}
            assert types == {"application/fits"}
            ra, dec = center(stored)
            for mode in ("image", "masked-image", "exposure"):
                parameters = {
                    "ID": event.obs_publisher_did,
                    "CIRCLE": f"{ra} {dec} 0.001",
                    "CUTOUTMODE": mode,
                }
                answer = httpx.get(f"{base}/cutout", params=parameters, timeout=60)
                assert answer.status_code == 200, answer.text
                with fits.open(io.BytesIO(answer.content)) as hdus:
                    assert hdus["IMAGE"].data.shape[0] > 10
            # Another object under the name is seen at once.
            other = difference_image_event(2026112200101, 5, "", shape=SHAPE)
            other = write_file(tmp_path / "other.fits", other)
            store.client().upload_file(
                str(tmp_path / "other.fits"), "images", "a/difference_image.fits"
            )
            parameters["CUTOUTMODE"] = "image"
            part = httpx.get(f"{base}/cutout", params=parameters, timeout=60)
            with fits.open(io.BytesIO(part.content)) as hdus:
                assert hdus[0].header["DETECTOR"] == 5


def test_fitsverify_has_nothing_to_say_of_cutouts(links, stored, tmp_path):
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("fitsverify is not installed")
    ra, dec = center(stored)
    for service_id in ("cutout-sync", "cutout-sync-maskedimage", "cutout-sync-exposure"):
        path = tmp_path / f"{service_id}.fits"
        path.write_bytes(cut(links, service_id, (ra, dec, 0.001)))
        done = subprocess.run([program, "-q", str(path)], capture_output=True, text=True)
        assert done.stdout.startswith("verification OK"), done.stdout
