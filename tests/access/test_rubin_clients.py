"""What Rubin's clients and notebooks do, done here: addresses, archives, HTTP.

The steps are those of the tutorials of Data Preview 1 (103.2 to 103.4); the code is ours. Those of
Data Preview 2 are in ``test_dp2_cells``, Butler's in ``tests/butler``.
"""

import io
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from lsst.images import Image, MaskedImage
from lsst.images.serialization import read_archive
from lsst.resources import ResourcePath

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row
from residua.storage.regions.file_cache import FileCache
from residua.testing.difference_images import difference_image_event, write_file

SHAPE = (300, 400)
SERVICES = ("sia", "tap", "datalink", "cutout", "images")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    event = difference_image_event(2026112200101, 4, "", shape=SHAPE)
    event = write_file(directory / "difference_image.fits", event)
    return directory / "difference_image.fits", event.model_copy(update={"templates": ()})


@pytest.fixture(scope="module")
def service(stored, tmp_path_factory, make_catalog, run_service):
    path, event = stored
    url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    make_catalog(url, [difference_image_row(event, Site())])
    settings = AccessSettings(catalog_url=url, image_roots=(str(path.parent),), collection="dp1")
    with run_service(settings) as address:
        yield address


@pytest.fixture(scope="module")
def discovered(service):
    """Addresses as lsst.rsp's RSPDiscovery("dp1", discovery_url=...) reads them."""
    document = httpx.get(f"{service}/repertoire/discovery").json()
    services = document["datasets"]["dp1"]["services"]
    assert tuple(services) == SERVICES
    return {name: services[name]["url"] for name in SERVICES}


def found(discovered, event):
    """Find the image by SIA, as DP1 103.4 does."""
    sia = pyvo.dal.SIA2Service(discovered["sia"])
    ra, dec = event.region.center
    results = sia.search(
        pos=(ra, dec, 0.01), calib_level=3, dpsubtype="lsst.difference_image",
        band=(event.em_min, event.em_max),
    )  # fmt: skip
    assert len(results) == 1
    return results[0]


def test_the_image_of_a_search_opens_by_its_own_address(discovered, stored):
    path, event = stored
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(found(discovered, event).getdataurl())
    first = links.getrecord(0)
    # The token that a client sends reaches all of it: every address lies below one that is listed.
    assert first.access_url.startswith(tuple(discovered.values()))
    assert urlsplit(first.access_url).path.endswith(".fits")
    image = read_archive(ResourcePath(first.access_url))
    assert image.image.array.shape == SHAPE
    # An address read in part, as astropy does with fsspec.
    with fits.open(first.access_url, use_fsspec=True) as hdus:
        part = hdus["IMAGE"].section[10:20, 10:20]
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(part, hdus["IMAGE"].data[10:20, 10:20])


@pytest.mark.parametrize(
    ("service_id", "kind"),
    [("cutout-sync", Image), ("cutout-sync-maskedimage", MaskedImage)],
)
def test_cutouts_are_archives_of_lsst_images(discovered, stored, service_id, kind):
    path, event = stored
    result = found(discovered, event)
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(result.getdataurl())
    query = pyvo.dal.adhoc.SodaQuery.from_resource(links, links.get_adhocservice_by_id(service_id))
    ra, dec = event.region.center
    query.circle = (ra, dec, 5.0 / 3600.0)
    content = query.execute_stream().read()
    cutout = read_archive(io.BytesIO(content))
    assert type(cutout) is kind
    y, x = cutout.bbox.y, cutout.bbox.x
    box = np.s_[y.start : y.stop, x.start : x.stop]
    image = cutout if kind is Image else cutout.image
    with fits.open(path) as whole, fits.open(io.BytesIO(content)) as hdus:
        np.testing.assert_array_equal(image.array, whole["IMAGE"].data[box])
        if kind is MaskedImage:
            np.testing.assert_array_equal(cutout.variance.array, whole["VARIANCE"].data[box])
            detected = cutout.mask.get("DETECTED")
            bit = whole["MASK"].header["MSKM0005"]
            np.testing.assert_array_equal(detected, (whole["MASK"].data[box] & bit) != 0)
        wcs = WCS(whole["IMAGE"].header)
        position = WCS(hdus["IMAGE"].header).pixel_to_world(3, 4)
        assert position.separation(wcs.pixel_to_world(x.start + 3, y.start + 4)).arcsec < 1e-6
        hdus.verify("exception")
    # The projection of the archive is in the pixels of the whole image.
    there = {"x": np.array([x.start + 3.0]), "y": np.array([y.start + 4.0])}
    sky = cutout.sky_projection.pixel_to_sky(**there)
    assert sky[0].separation(position).arcsec < 1e-3
    assert str(image.unit) == "nJy"


def test_rubins_cutout_and_query_addresses(discovered, stored):
    _, event = stored
    tap = pyvo.dal.TAPService(discovered["tap"])
    job = tap.submit_job(
        "SELECT lsst_visit, lsst_detector, access_url FROM ivoa.ObsCore "
        "WHERE dataproduct_subtype = 'lsst.difference_image' AND lsst_band = 'r'"
    )
    assert job.url.startswith(discovered["tap"])
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60.0)
    table = job.fetch_result().to_table()
    assert list(table["lsst_visit"]) == [event.visit_detector.visit]
    assert str(table["access_url"][0]).startswith(discovered["datalink"])
    ra, dec = event.region.center
    parameters = {"ID": event.obs_publisher_did, "POS": f"CIRCLE {ra} {dec} 0.001"}
    answer = httpx.get(f"{discovered['cutout']}/sync", params=parameters)
    assert answer.status_code == 200
    assert fits.getdata(io.BytesIO(answer.content), 1).shape[0] > 10


def span(begin, end):
    return Time(begin, format="mjd"), Time(end, format="mjd")


def test_103_2_finds_by_position_time_and_band(discovered, stored):
    """DP1 103.2: a circle, a span of time, a band; the table's columns by their names."""
    row = difference_image_row(stored[1], Site())
    sia = pyvo.dal.SIA2Service(discovered["sia"])
    ra, dec = stored[1].region.center
    asked = {"pos": (ra, dec, 0.02), "calib_level": 3, "instrument": "LSSTComCam"}
    found = sia.search(**asked, time=span(row["t_min"], row["t_max"])).to_table()
    names = ("lsst_visit", "lsst_detector", "lsst_band", "t_min", "s_region", "access_url")
    assert {*names} <= {*found.colnames}
    assert [tuple(found[0][name] for name in names[:4])] == [tuple(row[n] for n in names[:4])]
    assert len(sia.search(**asked, time=span(row["t_max"] + 1.0, row["t_max"] + 2.0))) == 0
    assert len(sia.search(**asked, band=(300e-9, 400e-9))) == 0
    assert len(sia.search(**{**asked, "pos": (ra + 10.0, dec, 0.02)})) == 0


def test_103_3_finds_by_a_point_in_the_boundary(discovered, stored):
    """DP1 103.3 and portal 102.3: ObsTAP as a job, then DataLink from its access_url."""
    row = difference_image_row(stored[1], Site())
    ra, dec = stored[1].region.center
    tap = pyvo.dal.TAPService(discovered["tap"])
    job = tap.submit_job(
        "SELECT lsst_visit, lsst_detector, lsst_band, s_ra, s_dec, t_min, t_max, s_region, "
        "access_url FROM ivoa.ObsCore WHERE dataproduct_type = 'image' AND calib_level = 3 "
        "AND instrument_name = 'LSSTComCam' "
        f"AND CONTAINS(POINT('ICRS', {ra}, {dec}), s_region) = 1 "
        f"AND lsst_band = '{row['lsst_band']}' AND t_min > {row['t_min'] - 1} "
        f"AND t_max < {row['t_max'] + 1} ORDER BY t_min ASC"
    )
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60.0)
    found = job.fetch_result()
    assert [record["lsst_visit"] for record in found] == [row["lsst_visit"]]
    assert found[0]["t_min"] == row["t_min"]
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(str(found[0]["access_url"]))
    assert links.getrecord(0).semantics == "#this"


def test_sia_answers_at_the_address_that_is_printed(service):
    for path in ("/sia", "/sia/query", "/api/sia/dp1/query", "/api/sia/DP1", "/sia/"):
        answer = httpx.get(f"{service}{path}", params={"MAXREC": "1"}, follow_redirects=True)
        assert answer.text.count("<TR>") == 1, path
    for path in ("/tap", "/datalink", "/", "/api/tap", "/api/sia/dp1/capabilities"):
        assert httpx.get(f"{service}{path}").status_code == 200, path
    assert httpx.get(f"{service}/api/sia/dp02/query").status_code == 404


def test_a_stencil_around_everything_hands_out_the_file(service, stored):
    path, event = stored
    ra, dec = event.region.center
    for mode in ("image", "masked-image", "exposure"):
        parameters = {
            "ID": event.obs_publisher_did, "CIRCLE": f"{ra} {dec} 1", "CUTOUTMODE": mode,
        }  # fmt: skip
        answer = httpx.get(f"{service}/cutout", params=parameters)
        assert answer.content == path.read_bytes()


def test_a_file_is_parsed_once_and_again_when_it_changed(stored, tmp_path):
    path = tmp_path / "image.fits"
    path.write_bytes(stored[0].read_bytes())
    files, location = FileCache(), ResourcePath(str(path))
    box = (slice(100, 130), slice(50, 90))
    for _ in range(5):
        file = files.get(location)
        assert file.pixels("IMAGE", box).shape == (30, 40)
    assert files.counts.files_parsed == 1
    other = difference_image_event(2026112200102, 4, "", shape=(200, 250))
    path.unlink()
    write_file(path, other)
    assert files.get(location).plane("IMAGE").shape == (200, 250)
    # The old one is what it was.
    assert file.plane("IMAGE").shape == SHAPE
    assert file.pixels("MASK", box).shape == (30, 40)
    assert files.counts.files_parsed == 2


def test_head_conditions_and_compression(service, stored):
    _, event = stored
    image = f"{service}/images/{event.dataset_id}.fits"
    first = httpx.get(image)
    again = httpx.get(image, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    query = {"LANG": "ADQL", "QUERY": "SELECT * FROM tap_schema.columns"}
    for path, parameters in (
        ("/", {}), ("/tap/capabilities", {}), ("/sia", {"MAXREC": "0"}), ("/tap/sync", query),
        ("/datalink/links", {"ID": event.obs_publisher_did}), ("/tap/tables", {}),
    ):  # fmt: skip
        head = httpx.head(f"{service}{path}", params=parameters)
        got = httpx.get(f"{service}{path}", params=parameters)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"], path
    plain = httpx.get(f"{service}/tap/sync", params=query, headers={"Accept-Encoding": "identity"})
    packed = httpx.get(f"{service}/tap/sync", params=query)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert packed.content == plain.content


def test_long_answers_are_compressed_as_they_come(make_catalog, run_service, many_rows, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, many_rows(2_500))
    query = {"LANG": "ADQL", "QUERY": "SELECT * FROM ivoa.ObsCore ORDER BY obs_publisher_did"}
    with run_service(AccessSettings(catalog_url=url)) as base:
        packed = httpx.get(f"{base}/tap/sync", params=query, timeout=60)
        plain = httpx.get(
            f"{base}/tap/sync", params=query, headers={"Accept-Encoding": "identity"}, timeout=60
        )
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert plain.text.count("<TR>") == 2_505


def test_pages_elsewhere_may_read_and_do_no_more(service, stored):
    _, event = stored
    page = {"Origin": "https://aladin.example"}
    answer = httpx.get(f"{service}/images/{event.dataset_id}.fits", headers=page)
    assert answer.headers["access-control-allow-origin"] == "*"
    asked = {**page, "Access-Control-Request-Method": "DELETE"}
    assert httpx.options(f"{service}/tap/async/x", headers=asked).status_code == 400
