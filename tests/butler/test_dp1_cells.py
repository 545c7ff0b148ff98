"""What notebooks 104.3 and 104.5 of Data Preview 1 ask of Butler, with files that hold pixels.

The queries are theirs; collections, coordinates and the coadd's type are ours. Classes are those of
``lsst.images``, where the notebooks have afw's: a box is `Box`, not ``Box2I``.
"""

from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time, TimeDelta
from astropy.wcs import WCS
from lsst.daf.butler import Butler, MissingDatasetTypeError, Timespan, UnknownComponentError
from lsst.images import Box, VisitImage
from lsst.sphgeom import ConvexPolygon, LonLat, Region, UnitVector3d
from tests.butler.conftest import _registrar

from residua.butler.registering.visit_images import archived_visit_image
from residua.butler.repository import open_repository
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.storage.forms.wcs import footprint
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.testing.difference_images import difference_image_event, template_event

RA, DEC = 53.125, -27.740
STEP = 0.01
FIRST = 2024110800246
# Visit, detector and band; every visit has two detectors side by side.
PLACES = [(FIRST + n, d, "r" if n % 2 == 0 else "i") for n in range(4) for d in (3, 4)]


def wcs_at(ra, dec):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [30.5, 25.5]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    wcs.wcs.set()
    return wcs


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("dp1")
    made = []
    for visit, detector, band in PLACES:
        ra = RA + (detector - 3) * STEP
        image = folder / f"difference_{visit}_{detector}.fits"
        image.touch()
        event = difference_image_event(
            visit, detector, image.as_uri(), band=band, position=(ra, DEC)
        )
        observation = Observation(
            instrument="LSSTComCam", visit=visit, detector=detector, band=band,
            physical_filter=event.physical_filter, day_obs=event.day_obs,
            facility_name=event.facility_name, begin_tai=event.begin_tai, end_tai=event.end_tai,
            exposure_time=30.0,
        )  # fmt: skip
        rng = np.random.default_rng(visit + detector)
        shape = event.shape
        science = ScienceImage(
            image=rng.normal(0.0, 10.0, shape).astype(np.float32),
            variance=np.full(shape, 100.0, np.float32),
            mask=np.zeros(shape, np.int32),
            wcs=wcs_at(ra, DEC),
        )
        path = folder / f"visit_{visit}_{detector}.fits"
        write = write_plain_fits if (visit, detector) == (FIRST + 3, 4) else write_visit_image
        write(path, science, observation)
        reference = event.visit_image.model_copy(update={"uri": path.as_uri()})
        made.append(event.model_copy(update={"visit_image": reference}))
    coadd = template_event(7, "")
    path = folder / "template.fits"
    rng = np.random.default_rng(1)
    template = TemplateImage(
        image=rng.normal(0.0, 1.0, (80, 90)).astype(np.float32),
        variance=np.ones((80, 90), np.float32),
        mask=np.zeros((80, 90), np.int32),
        wcs=wcs_at(RA, DEC),
    )
    write_template(path, template, skymap=coadd.skymap, tract=coadd.tract, patch=7, band="r")
    made.append(
        coadd.model_copy(
            update={"uri": path.as_uri(), "region": footprint(wcs_at(RA, DEC), (80, 90))}
        )
    )
    return folder, made


@pytest.fixture
def filled(repo, events):
    folder, made = events
    with open_repository(repo, writeable=True) as butler:
        registrar = _registrar(butler, folder, visit_roots=[str(folder)])
        # A detector of each visit first, the others later: the visits' footprints grow.
        for detector in (3, 4):
            some = [e for e in made[:-1] if e.visit_detector.detector == detector]
            assert registrar.register(some) == []
        assert registrar.register(made[-1:]) == []
        # Again, as a replay would.
        assert registrar.register(made) == []
    return repo


def test_104_3_image_queries(filled):
    butler = Butler(filled, collections="residua")
    for name in ("visit_image", "difference_image", "template_coadd"):
        kind = butler.get_dataset_type(name)
        assert kind.name == name
        wanted = "patch" if name == "template_coadd" else "visit"
        assert wanted in kind.dimensions.required

    # 2.2, 2.3: one of the visits' images is no archive, and is not registered.
    query = f"band.name = 'r' AND visit_detector_region.region OVERLAPS POINT({RA}, {DEC})"
    found = butler.query_datasets("visit_image", where=query)
    assert sorted(ref.dataId["visit"] for ref in found) == [FIRST, FIRST + 2]
    query = "band.name = :band AND visit_detector_region.region OVERLAPS POINT(:ra, :dec)"
    bound = {"band": "r", "ra": RA, "dec": DEC}
    order = ["visit.timespan.begin"]
    found = butler.query_datasets("visit_image", where=query, bind=bound, order_by=order)
    assert [ref.dataId["visit"] for ref in found] == [FIRST, FIRST + 2]
    back = butler.query_datasets(
        "visit_image", where=query, bind=bound, order_by=["-visit.timespan.begin"]
    )
    assert [ref.dataId["visit"] for ref in back] == [FIRST + 2, FIRST]

    # 2.5
    one = butler.query_datasets("visit_image", where=query, bind=bound, order_by=order, limit=1)
    assert [ref.dataId["visit"] for ref in one] == [FIRST]
    one = butler.query_datasets("visit_image", where=query, bind=bound, order_by=order, limit=-1)
    assert len(one) == 1

    # 3.1, 3.2
    point = f"visit_detector_region.region OVERLAPS POINT({RA}, {DEC})"
    assert len(butler.query_datasets("visit_image", where=point)) == 4
    patches = f"patch.region OVERLAPS POINT({RA}, {DEC})"
    assert len(butler.query_datasets("template_coadd", where=patches)) == 1
    region = Region.from_ivoa_pos(f"CIRCLE {RA} {DEC} 2.0")
    for name, where, number in (
        ("visit_image", "visit_detector_region.region OVERLAPS :region", 7),
        ("template_coadd", "patch.region OVERLAPS :region", 1),
    ):
        assert len(butler.query_datasets(name, where=where, bind={"region": region})) == number

    # 4: at a time, in a night, of a set of visits.
    middle = Time(butler.get_dataset(found[0].id, dimension_records=True).dataId.timespan.begin)
    night = Timespan(middle - TimeDelta(0.3, format="jd"), middle + TimeDelta(0.3, format="jd"))
    for where, bind, number in (
        ("visit.timespan OVERLAPS :time", {"time": middle}, 2),
        ("visit.timespan OVERLAPS :timespan", {"timespan": night}, 7),
        ("visit IN (:visits)", {"visits": (FIRST, FIRST + 1)}, 4),
        ("instrument = 'LSSTComCam' AND visit = :v AND detector = 3", {"v": FIRST}, 1),
    ):
        assert len(butler.query_datasets("visit_image", where=where, bind=bind)) == number, where
    butler.close()


def test_visits_and_tracts_have_the_footprints_of_their_parts(filled):
    butler = Butler(filled, collections="residua")
    for visit in (FIRST, FIRST + 3):
        [record] = butler.query_dimension_records("visit", instrument="LSSTComCam", visit=visit)
        assert isinstance(record.region, ConvexPolygon)
        parts = butler.query_dimension_records(
            "visit_detector_region", instrument="LSSTComCam", visit=visit
        )
        assert len(parts) == 2
        assert all(record.region.contains(part.region) for part in parts)
        between = UnitVector3d(LonLat.fromDegrees(RA + STEP / 2, DEC))
        assert record.region.contains(between)
    # Between the detectors lies the visit, and none of its detectors.
    where = f"visit.region OVERLAPS POINT({RA + STEP / 2}, {DEC}) AND visit = {FIRST}"
    assert len(butler.query_datasets("visit_image", where=where)) == 2
    [tract] = butler.query_dimension_records("tract", skymap="lsst_cells_v1", tract=5063)
    assert tract.region is not None
    butler.close()


def test_104_5_parts_of_images_and_their_components(filled):
    # The chain that Rubin's repositories have for every instrument.
    butler = Butler(filled, collections="LSSTComCam/defaults", instrument="LSSTComCam")
    data_id = {"visit": FIRST, "detector": 3}
    whole = butler.get("visit_image", dataId=data_id)
    assert isinstance(whole, VisitImage)
    box = Box.factory[10:30, 5:45]
    part = butler.get("visit_image", dataId=data_id, parameters={"bbox": box})
    np.testing.assert_array_equal(part.image.array, whole.image.array[10:30, 5:45])

    # Names that are the same, and what has another name and class in lsst.images.
    for component in ("psf", "bbox", "detector", "image", "mask", "variance", "summary_stats"):
        assert butler.get(f"visit_image.{component}", dataId=data_id) is not None, component
    wcs = butler.get("visit_image.sky_projection", dataId=data_id)
    [sky] = wcs.pixel_to_sky(x=np.array([12.0]), y=np.array([7.0]))
    assert sky.separation(wcs_at(RA, DEC).pixel_to_world(12.0, 7.0)).arcsec < 1e-3
    visit_info = butler.get("visit_image.obs_info", dataId=data_id)
    assert (visit_info.visit_id, visit_info.detector_num) == (FIRST, 3)
    assert visit_info.exposure_time.to_value("s") == 30.0
    # Pixels are in nJy: there is nothing to be applied, where DP1 has 1 nJy a count.
    assert butler.get("visit_image.photometric_scaling", dataId=data_id) is None
    assert str(whole.image.unit) == "nJy"
    # Storage classes are lsst.images' own, and Butler takes no other definition of them: afw's
    # names are refused, by Butler's words, and docs/how-to/find-images.md has the table.
    for component in ("wcs", "photo_calib", "visit_info"):
        with pytest.raises(UnknownComponentError, match=f"{component}.*visit_image"):
            butler.get(f"visit_image.{component}", dataId=data_id)
    with pytest.raises(MissingDatasetTypeError, match="skyMap"):
        butler.get("skyMap", skymap="lsst_cells_v1")

    # 4: many parts, named first and fetched later.
    place = {"skymap": "lsst_cells_v1", "tract": 5063, "patch": 7, "band": "r"}
    handle = butler.getDeferred("template_coadd", dataId=place)
    coadd = butler.get("template_coadd", dataId=place)
    rows, columns = coadd.image.bbox.y, coadd.image.bbox.x
    for start in (0, 20):
        box = Box.factory[
            rows.start + start : rows.start + start + 20,
            columns.start + start : columns.start + start + 20,
        ]
        subset = handle.get(parameters={"bbox": box})
        wanted = coadd.image.array[start : start + 20, start : start + 20]
        np.testing.assert_array_equal(subset.image.array, wanted)
    butler.close()


def test_what_butler_cannot_read_is_left_out(events, tmp_path):
    folder, made = events
    archive, plain = made[0].visit_image.uri, made[-2].visit_image.uri
    assert archived_visit_image(archive, [str(folder)]) is not None
    assert archived_visit_image(archive, []) is None
    assert archived_visit_image(archive, [str(tmp_path)]) is None
    assert archived_visit_image(plain, [str(folder)]) is None
    assert archived_visit_image((folder / "gone.fits").as_uri(), [str(folder)]) is None
    assert archived_visit_image(made[-1].uri, [str(folder)]) is None
    (folder / "rubbish.fits").write_bytes(b"\x00\xff" * 9_000)
    assert archived_visit_image((folder / "rubbish.fits").as_uri(), [str(folder)]) is None
