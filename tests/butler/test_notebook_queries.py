"""What notebook 202.3 of Data Preview 1 does, on SQLite and PostgreSQL, local files and S3.

Its calls to Butler stand here as they are there, except for repository and collection. The class
is `lsst.images.DifferenceImage` where the notebook's is ``ExposureF``, which needs the stack.
"""

import itertools

import numpy as np
import pytest
from astropy.time import Time
from lsst.daf.butler import Butler, Timespan
from lsst.images import Box, DifferenceImage
from lsst.resources import ResourcePath

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository, opening_lines
from residua.instruments import InstrumentRegistry
from residua.testing.difference_images import (
    difference_image_event,
    difference_image_pixels,
    write_file,
)

RUN = "residua/0/dp1/3f2a9c51d0be"
# (visit, detector, band, position): the first three are what the notebook's query finds.
IMAGES = (
    (2024110800253, 4, "r", (53.125, -27.740)),
    (2024110800252, 4, "r", (53.1251, -27.7401)),
    (2024110800254, 5, "r", (53.1249, -27.7399)),
    (2024110800255, 4, "i", (53.125, -27.740)),
    (2024110800253, 3, "r", (53.4, -27.740)),
    (2024120100011, 4, "r", (53.125, -27.740)),
)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Events of real files in a local directory."""
    folder = tmp_path_factory.mktemp("files")
    return [
        write_file(
            folder / f"{visit}_{detector}.fits",
            difference_image_event(visit, detector, "", band=band, position=position, run=RUN),
        )
        for visit, detector, band, position in IMAGES
    ]


@pytest.fixture(params=["local", "s3"])
def store_root(request, tmp_path, monkeypatch):
    """Where the difference images lie."""
    if request.param == "local":
        return str(tmp_path / "store")
    server, bucket = request.getfixturevalue("s3_bucket")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return f"s3://{bucket}/store{next(_numbers)}"


@pytest.fixture(params=["root of the datastore", "elsewhere"])
def filled(request, tmp_path, registry_url, store_root, files):
    """A repository with the images registered where they lie; yields its address."""
    repo = str(tmp_path / "repo")
    inside = request.param == "root of the datastore"
    create_repository(
        repo, registry_url=registry_url, datastore_root=store_root if inside else None
    )
    root = ResourcePath(store_root, forceDirectory=True)
    events = []
    for event in files:
        target = root.join(f"{event.run}/{event.uri.rsplit('/', 1)[1]}")
        target.write(ResourcePath(event.uri).read())
        events.append(event.model_copy(update={"uri": str(target)}))
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(butler, instruments=InstrumentRegistry(), output_root=store_root)
        assert registrar.register(events) == []
    return repo


def test_notebook_202_3(filled, files):
    butler = Butler(filled, collections="residua")

    # 2.1 The dataset type, its dimensions, and which of them are required.
    assert repr(butler.get_dataset_type("difference_image")) == (
        "DatasetType('difference_image', "
        "{band, instrument, day_obs, detector, physical_filter, visit}, DifferenceImage)"
    )
    required = butler.get_dataset_type("difference_image").dimensions.required
    assert str(required) == "{instrument, detector, visit}"

    # 2.1.1 Demo query.
    ra = 53.125
    dec = -27.740
    band = "r"
    time1 = Time("2024-11-09T00:00:00.0", format="isot", scale="tai")
    time2 = Time(60624.0, format="mjd", scale="tai")
    timespan = Timespan(time1, time2)
    dataset_refs = butler.query_datasets(
        "difference_image",
        where="band.name = :band AND \
                                     visit.timespan OVERLAPS :timespan AND \
                                     visit_detector_region.region OVERLAPS POINT(:ra, :dec)",
        bind={"band": band, "timespan": timespan, "ra": ra, "dec": dec},
        order_by=["visit.timespan.begin"],
    )
    wanted = sorted(files[:3], key=lambda event: event.begin_tai)
    assert [ref.id for ref in dataset_refs] == [event.dataset_id for event in wanted]

    # 2.1.2 Get a difference image (a) by reference,
    ref = dataset_refs[0]
    difference_image = butler.get(ref)
    assert isinstance(difference_image, DifferenceImage)
    pixels = difference_image_pixels(wanted[0])
    # Quantised by RICE: at most half a step of a sixteenth of the noise.
    np.testing.assert_allclose(difference_image.image.array, pixels.image, atol=10.0 / 16)
    assert str(difference_image.image.unit) == "nJy"

    # (b) by data id,
    ref = dataset_refs[1]
    use_dataId = ref.dataId
    difference_image = butler.get("difference_image", dataId=use_dataId)
    assert difference_image.obs_info.visit_id == wanted[1].visit_detector.visit

    # (c) by visit and detector.
    dataId = dataset_refs[2].dataId
    use_visit = dataId.get("visit")
    use_detector = dataId.get("detector")
    difference_image = butler.get("difference_image", visit=use_visit, detector=use_detector)
    assert difference_image.obs_info.visit_id == wanted[2].visit_detector.visit
    assert difference_image.detector.id == wanted[2].visit_detector.detector

    # Parts of an image (notebook 104.5).
    cutout = butler.get(dataset_refs[0], parameters={"bbox": Box.factory[20:30, 15:35]})
    assert cutout.image.array.shape == (10, 20)
    np.testing.assert_allclose(cutout.image.array, pixels.image[20:30, 15:35], atol=10.0 / 16)
    assert butler.get("difference_image.psf", dataId=use_dataId) is not None

    # 4.2 Visit information, from the registry.
    [record] = butler.query_dimension_records(
        "visit", instrument="LSSTComCam", visit=use_visit, detector=use_detector
    )
    assert record.physical_filter == "r_03"
    assert record.exposure_time == 30.0
    assert record.day_obs == 20241108
    butler.close()


def test_the_two_lines_of_the_demo(filled):
    names: dict = {}
    exec(opening_lines(filled), names)
    assert len(names["refs"]) == len(IMAGES)
    assert isinstance(names["image"], DifferenceImage)
    names["butler"].close()
