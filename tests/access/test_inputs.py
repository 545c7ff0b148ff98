"""Visit images and templates are found, linked and cut out like difference images."""

import io
from dataclasses import replace

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images import MaskedImage, VisitImage
from lsst.images.serialization import read_archive
from lsst.resources import ResourcePath

from residua.access.cutouts.cutting import write_cutout
from residua.access.settings import AccessSettings
from residua.catalog.rows import (
    Site,
    difference_image_row,
    template_coadd_row,
    visit_image_row,
)
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.simulation.sky import scene, simulate_pair
from residua.sphere.regions import Circle
from residua.storage.forms.wcs import footprint
from residua.storage.objects import read_object
from residua_schemas import DifferenceImageCreated, TemplateCoadd
from residua_schemas.examples import examples

FILES = ("visit.fits", "template.fits", "plain.fits")


@pytest.fixture(scope="module")
def pair():
    return simulate_pair(replace(scene("deep"), shape=(300, 320), patches=(1, 1)), seed=31)


@pytest.fixture(scope="module")
def directory(pair, tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    observation = Observation("LSSTComCam", 2024110800253, 4, 20241108, "r", "r_03", "Simulated")
    write_visit_image(directory / "visit.fits", pair.science, observation)
    write_template(
        directory / "template.fits", pair.templates[0], skymap="s", tract=1, patch=2, band="r"
    )
    write_plain_fits(directory / "plain.fits", pair.science, observation)
    return directory


@pytest.fixture(scope="module")
def events(pair, directory):
    """Events of a template, and of a difference image made of it and of the visit image."""
    visit, template = (read_object(ResourcePath(str(directory / name)), None) for name in FILES[:2])
    uris = [(directory / name).as_uri() for name in FILES[:2]]
    coadd = examples()[TemplateCoadd].model_copy(
        update={"uri": uris[1], "checksum": template[1], "size_bytes": len(template[0])}
    )
    created = examples()[DifferenceImageCreated]
    shape = pair.science.image.shape
    described = created.visit_image_metadata.model_copy(
        update={
            "uri": uris[0],
            "checksum": visit[1],
            "size_bytes": len(visit[0]),
            "shape": shape,
            "region": footprint(pair.science.wcs, shape),
        }
    )
    reference = created.visit_image.model_copy(update={"uri": uris[0], "checksum": visit[1]})
    used = created.templates[0].model_copy(update={"uri": uris[1], "checksum": template[1]})
    return coadd, created.model_copy(
        update={
            "visit_image_metadata": described,
            "visit_image": reference,
            "templates": (used,),
            "region": described.region,
        }
    )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request, directory, events, tmp_path_factory, make_catalog, run_service):
    coadd, created = events
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database("residua_inputs", ["pg_sphere"])
    site = Site()
    make_catalog(
        url,
        [
            visit_image_row(created, site),
            difference_image_row(created, site),
            template_coadd_row(coadd, site),
        ],
    )
    settings = AccessSettings(
        catalog_url=url,
        image_roots=(str(directory),),
        results_directory=tmp_path_factory.mktemp("results"),
    )
    with run_service(settings) as base:
        yield base


def links_of(service, **search):
    [row] = pyvo.dal.SIA2Service(f"{service}/sia").search(**search)
    return row, pyvo.dal.adhoc.DatalinkResults.from_result_url(str(row["access_url"]))


def test_visit_images_are_found_by_level_and_subtype(service, events):
    row, _ = links_of(service, calib_level=2, DPSUBTYPE="lsst.visit_image")
    assert row["lsst_visit"] == events[1].visit_detector.visit
    tap = pyvo.dal.TAPService(f"{service}/tap")
    ra, dec = events[1].region.center
    table = tap.search(
        "SELECT dataproduct_subtype, calib_level FROM ivoa.ObsCore WHERE calib_level = 2 "
        f"AND CONTAINS(POINT('ICRS', {ra}, {dec}), s_region) = 1"
    ).to_table()
    assert list(table["dataproduct_subtype"]) == ["lsst.visit_image"]


def test_visit_images_are_downloaded_and_cut_out(service, events, directory):
    _, links = links_of(service, calib_level=2)
    first = next(iter(links))
    assert (first["semantics"], first["content_type"]) == ("#this", "application/fits")
    content = httpx.get(str(first["access_url"])).content
    assert content == (directory / "visit.fits").read_bytes()
    ra, dec = events[1].region.center
    query = pyvo.dal.adhoc.SodaQuery.from_resource(
        links, links.get_adhocservice_by_id("cutout-sync")
    )
    query.circle = (ra, dec, 5.0 / 3600.0)
    with fits.open(io.BytesIO(query.execute_stream().read())) as hdus:
        x, y = WCS(hdus["IMAGE"].header).world_to_pixel_values(ra, dec)
        shape = hdus["IMAGE"].data.shape
    np.testing.assert_allclose((y, x), (np.array(shape) - 1) / 2, atol=1.0)


def test_progenitors_are_named_and_sized_and_can_be_fetched(service, events, directory):
    _, links = links_of(service, calib_level=3, DPSUBTYPE="lsst.difference_image")
    progenitors = [row for row in links if row["semantics"] == "#progenitor"]
    assert [r["description"].split(": ")[0] for r in progenitors] == [
        "visit_image it was made of",
        "template_coadd it was made of",
    ]
    for row, name, collection in zip(
        progenitors, FILES[:2], ("visit-images", "template-coadds"), strict=True
    ):
        content = (directory / name).read_bytes()
        assert row["content_length"] == len(content)
        assert httpx.get(str(row["access_url"])).content == content
        did = row["description"].split(": ", 1)[1]
        assert f"/{collection}?id=" in did
        own = httpx.get(f"{service}/datalink/links", params={"ID": did})
        assert "NotFoundFault" not in own.text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", ["image", "masked-image", "exposure"])
def test_cutouts_of_any_file_keep_pixels_and_place(directory, tmp_path, name, mode):
    source, target = directory / name, tmp_path / "cutout.fits"
    with fits.open(source) as hdus:
        image = next(h for h in hdus if h.is_image and h.header.get("NAXIS") == 2)
        whole, ny, nx = WCS(image.header), *image.shape
        ra, dec = map(float, whole.pixel_to_world_values(nx // 3, ny // 3))
        circle = Circle(ra, dec, 6.0 / 3600.0)
        assert write_cutout(ResourcePath(str(source)), circle, mode, target)
        with fits.open(target) as cut:
            part = next(h for h in cut if h.is_image and h.header.get("NAXIS") == 2)
            inner = WCS(part.header).world_to_pixel_values(ra, dec)
            outer = whole.world_to_pixel_values(ra, dec)
            x, y = (round(float(a - b)) for a, b in zip(outer, inner, strict=True))
            rows, columns = part.shape
            assert 0 < rows < ny
            expected = image.data[y : y + rows, x : x + columns]
            np.testing.assert_array_equal(part.data, expected)
            names = {hdu.name for hdu in cut}
    planes = {"MASK", "VARIANCE"}
    assert (planes & names) == (set() if mode == "image" else planes)
    if mode == "exposure" and name != "plain.fits":
        kind = VisitImage if name == "visit.fits" else MaskedImage
        obj = read_archive(str(target))
        assert isinstance(obj, kind)
        assert (obj.bbox.y.start, obj.bbox.x.start) == (y, x)
