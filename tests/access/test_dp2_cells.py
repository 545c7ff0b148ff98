"""What notebooks 103.2, 103.6 and 103.7 of Data Preview 2 do, on a difference image and a template.

Places, bands, stencils and what is opened with what are theirs; collection, coordinates and the
type of the coadd are ours, and so is the code.
"""

import io

import httpx
import numpy as np
import pytest
import pyvo
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from lsst.images import DifferenceImage, Image, MaskedImage
from lsst.images.serialization import read_archive
from pyvo.dal.adhoc import SodaQuery

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row, template_coadd_row
from residua.simulation.input_files import write_template
from residua.storage.forms.wcs import footprint
from residua.subtraction.images import TemplateImage
from residua.testing.difference_images import (
    difference_image_event,
    template_event,
    write_file,
)

SHAPE = (300, 400)
BAND_EDGES = {
    "u": (3.000e-07, 3.932e-07), "g": (4.026e-07, 5.483e-07), "r": (5.510e-07, 6.891e-07),
    "i": (6.936e-07, 8.188e-07), "z": (8.192e-07, 9.201e-07), "y": (9.278e-07, 1.100e-06),
}  # fmt: skip
EFFECTIVE = 622.1e-09


@pytest.fixture(scope="module")
def survey(tmp_path_factory, make_catalog):
    """A catalog with a difference image in r, templates in r and i; the image's event."""
    folder = tmp_path_factory.mktemp("dp2")
    event = difference_image_event(2026112200101, 4, "", shape=SHAPE)
    event = write_file(folder / "difference_image.fits", event)
    event = event.model_copy(update={"templates": ()})
    rows = [difference_image_row(event, Site())]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = event.region.center
    wcs.wcs.crpix = [125.5, 100.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    wcs.wcs.set()
    shape = (200, 250)
    for band in ("r", "i"):
        coadd = template_event(7, "", band=band)
        path = folder / f"template_{band}.fits"
        pixels = np.random.default_rng(1).normal(0.0, 1.0, shape).astype(np.float32)
        template = TemplateImage(
            image=pixels, variance=np.ones(shape, np.float32), mask=np.zeros(shape, np.int32),
            wcs=wcs,
        )  # fmt: skip
        write_template(path, template, skymap=coadd.skymap, tract=coadd.tract, patch=7, band=band)
        where = {"uri": path.as_uri(), "region": footprint(wcs, shape)}
        rows.append(template_coadd_row(coadd.model_copy(update=where), Site()))
    url = f"sqlite:///{folder}/catalog.sqlite"
    make_catalog(url, rows)
    return url, folder, event


@pytest.fixture(scope="module")
def service(survey, run_service):
    url, folder, _ = survey
    settings = AccessSettings(catalog_url=url, image_roots=(str(folder),), collection="dp2")
    with run_service(settings) as address:
        yield address


@pytest.fixture(scope="module")
def sia(service):
    document = httpx.get(f"{service}/repertoire/discovery").json()
    return pyvo.dal.SIA2Service(document["datasets"]["dp2"]["services"]["sia"]["url"])


@pytest.fixture(scope="module")
def place(survey):
    return survey[2].region.center


def links_of(result):
    links = pyvo.dal.adhoc.DatalinkResults.from_result_url(result.getdataurl())
    assert links.getrecord(0).semantics == "#this"
    return links


def cut(links, service_id, **stencil):
    """Cut out as the notebooks do: pyvo's query, the bytes, lsst.images."""
    query = SodaQuery.from_resource(links, links.get_adhocservice_by_id(service_id))
    for name, value in stencil.items():
        setattr(query, name, value)
    content = query.execute_stream().read()
    query.raise_if_error()
    return read_archive(io.BytesIO(content))


def test_103_2_the_four_ways_to_say_where(sia, place):
    ra, dec = place
    circle = (ra, dec, 0.05)
    center = SkyCoord(ra, dec, unit="deg")
    bounds = (ra - 0.05, ra + 0.05, dec - 0.05, dec + 0.05)
    polygon = (
        ra - 0.05, dec - 0.05, ra + 0.05, dec - 0.05, ra + 0.05, dec + 0.05, ra - 0.05, dec + 0.05,
    )  # fmt: skip
    for where in (circle, (center, 0.05), bounds, polygon):
        found = sia.search(pos=where, maxrec=10).to_table()
        kinds = sorted(str(kind) for kind in found["dataproduct_subtype"])
        assert kinds == ["lsst.difference_image", *["lsst.template_coadd"] * 2], where
    assert len(sia.search(pos=circle, maxrec=2)) == 2


def test_103_2_coadds_by_band(sia, place):
    circle = (*place, 0.05)
    coadds = {"pos": circle, "calib_level": 3, "dpsubtype": "lsst.template_coadd"}
    bands, counts = np.unique(sia.search(**coadds).to_table()["lsst_band"], return_counts=True)
    assert dict(zip(map(str, bands), counts.tolist(), strict=True)) == {"i": 1, "r": 1}
    for band, edges in BAND_EDGES.items():
        assert len(sia.search(**coadds, band=edges)) == (1 if band in "ri" else 0), band
    # From the blue edge of one to the red edge of another; one wavelength; one between bands.
    both = (BAND_EDGES["r"][0], BAND_EDGES["i"][1])
    assert len(sia.search(**coadds, band=both)) == 2
    assert len(sia.search(pos=circle, calib_level=3, band=EFFECTIVE)) == 2
    assert len(sia.search(pos=circle, calib_level=3, band=5.0e-07)) == 0


@pytest.mark.parametrize("subtype", ["lsst.difference_image", "lsst.template_coadd"])
def test_103_2_the_address_of_an_image_opens_it(sia, place, subtype):
    asked = {"pos": (*place, 0.05), "calib_level": 3, "dpsubtype": subtype, "band": EFFECTIVE}
    [found] = sia.search(**asked)
    address = links_of(found).getrecord(0).get("access_url")
    image = read_archive(address)
    kind = DifferenceImage if "difference" in subtype else MaskedImage
    assert type(image) is kind
    assert image.image.array.ndim == 2


def test_103_6_exposures_and_masked_images_by_circle_and_polygon(sia, place):
    [found] = sia.search(
        pos=(*place, 0.01), calib_level=3, dpsubtype="lsst.difference_image", band=EFFECTIVE
    )
    links = links_of(found)
    ra, dec = place[0] * u.deg, place[1] * u.deg
    radius = 0.003 * u.deg
    exposure = cut(links, "cutout-sync-exposure", circle=(ra, dec, radius))
    assert isinstance(exposure, DifferenceImage)
    # 0.003 degrees are 54 pixels.
    assert all(abs(n - 108) <= 2 for n in exposure.image.array.shape)
    # Twice as wide as it is high, with the cosine of the declination, and without.
    wide, flat = 0.006 * u.deg / np.cos(dec), 0.002 * u.deg
    for east in (wide, 0.006 * u.deg):
        corners = (
            ra - east, dec - flat, ra - east, dec + flat, ra + east, dec + flat, ra + east,
            dec - flat,
        )  # fmt: skip
        polygon = cut(links, "cutout-sync-exposure", polygon=corners)
        ny, nx = polygon.image.array.shape
        width = 2.0 * float(east / u.deg) * np.cos(np.radians(place[1])) * 3600.0 / 0.2
        assert abs(nx - width) <= 2
        assert abs(ny - 72) <= 2
    # Three corners are a polygon too.
    triangle = (ra - radius, dec - radius, ra - radius, dec + radius, ra + radius, dec + radius)
    assert isinstance(cut(links, "cutout-sync-exposure", polygon=triangle), DifferenceImage)
    masked = cut(links, "cutout-sync-maskedimage", circle=(ra, dec, radius))
    assert type(masked) is MaskedImage
    np.testing.assert_array_equal(masked.image.array, exposure.image.array)
    # What the whole has and the masked image lacks, which the notebook lists.
    lacking = set(dir(exposure)) - set(dir(masked))
    assert {"psf", "detector", "obs_info", "kernel", "templates"} <= lacking


def test_103_7_stamps_of_many_targets_of_one_image(sia, place):
    [found] = sia.search(
        pos=(*place, 0.01), calib_level=3, dpsubtype="lsst.difference_image", band=EFFECTIVE
    )
    links = links_of(found)
    ra, dec = place
    field_of_view = 10.0 / 3600.0
    rng = np.random.default_rng(7)
    for east, north in rng.uniform(-0.006, 0.006, (12, 2)):
        circle = (
            (ra + east / np.cos(np.radians(dec))) * u.deg, (dec + north) * u.deg,
            field_of_view / 2.0 * u.deg,
        )  # fmt: skip
        stamp = cut(links, "cutout-sync", circle=circle)
        assert type(stamp) is Image
        # 10 arcsec, in the middle of the image.
        assert all(abs(n - 50) <= 2 for n in stamp.array.shape)
    # A target off the image has no stamp, and says so with no bytes at all.
    query = SodaQuery.from_resource(links, links.get_adhocservice_by_id("cutout-sync"))
    query.circle = ((ra + 0.2) * u.deg, dec * u.deg, 0.001 * u.deg)
    assert query.execute_stream().read() == b""
