"""One list of what is known of an observation: which of it reaches events, files, rows, Butler."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from astropy.io import fits

from residua.butler.registering.dimensions import difference_image_rows
from residua.catalog.rows import Site, difference_image_row, visit_image_row
from residua.instruments import InstrumentRegistry
from residua.outcomes import created
from residua.ports import (
    OBSERVATION_FACTS,
    MadeDifferenceImage,
    Observation,
    Provenance,
    StoredDifferenceImage,
    VisitImage,
)
from residua.storage.read.header_metadata import metadata_from_header
from residua.storage.read.metadata import FileMetadata, metadata_from_obs_info, observation
from residua.storage.write.observation_info import observation_cards, observation_info
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.images import ScienceImage
from residua.testing.difference_images import difference_image_event, difference_image_pixels
from residua_schemas import (
    DifferenceImageCreated,
    TemplateReference,
    VisitArrival,
    VisitDetector,
    Weather,
)

BEGIN = datetime.fromisoformat("2026-11-22T03:00:00")
OBSERVATION = Observation(
    instrument="LSSTComCam",
    visit=2026112200101,
    detector=4,
    day_obs=20261122,
    band="r",
    physical_filter="r_03",
    facility_name="Rubin:Simonyi",
    target_name="ECDFS",
    begin_tai=BEGIN,
    end_tai=BEGIN + timedelta(seconds=30),
    exposure_time=30.0,
    airmass=1.25,
    weather=Weather(temperature=10.0, pressure=74000.0, relative_humidity=20.0),
    boresight=(53.0, -27.5),
    rotation_angle=12.0,
    photometric_scaling=2.0,
    native_unit="adu",
    em_min=552e-9,
    em_max=691e-9,
)
OTHER: dict[str, Any] = {
    "instrument": "DECam",
    "visit": 2026112200102,
    "detector": 5,
    "day_obs": 20261123,
    "band": "i",
    "physical_filter": "i_06",
    "facility_name": "CTIO:Blanco",
    "target_name": "COSMOS",
    "begin_tai": BEGIN - timedelta(seconds=3),
    "end_tai": BEGIN + timedelta(seconds=40),
    "exposure_time": 29.0,
    "airmass": 1.5,
    "weather": Weather(temperature=11.0, pressure=75000.0, relative_humidity=30.0),
    "boresight": (54.0, -28.5),
    "rotation_angle": 13.0,
    "photometric_scaling": 3.0,
    "native_unit": "nJy",
    "em_min": 500e-9,
    "em_max": 700e-9,
}
EVENT = difference_image_event(2026112200101, 4, "file:///out/difference.fits")
INSTRUMENTS = InstrumentRegistry()


@pytest.fixture(scope="module")
def difference():
    return difference_image_pixels(EVENT)


def event_of(observed: Observation, difference) -> DifferenceImageCreated:
    """Outcome of an observation, all else equal."""
    names = VisitDetector.model_fields
    arrival = VisitArrival(
        visit_detector=VisitDetector(**{n: getattr(observed, n) for n in names}),
        band=observed.band,
        image_uri="file:///in/visit.fits",
    )
    pixels = (difference.image, difference.variance, difference.mask, difference.wcs)
    image = VisitImage(ScienceImage(*pixels), observed, EVENT.visit_image, EVENT.region, 0.2)
    provenance = Provenance(
        dataset_id=str(UUID(int=1)),
        run="run",
        obs_publisher_did="ivo://x/y?z=1",
        visit_image=EVENT.visit_image,
        templates=[TemplateReference.model_validate(t) for t in EVENT.templates],
        template_set="default",
        configuration_hash="0",
    )
    stored = StoredDifferenceImage("file:///out/d.fits", EVENT.checksum, 1, None)
    made = MadeDifferenceImage(image, difference, provenance, stored)
    return created(arrival, made, "run", SubtractionConfig())


def _image_row(event: DifferenceImageCreated) -> dict[str, Any]:
    row = difference_image_row(event, Site(embargo_hours=1))
    return {name: value for name, value in row.items() if name not in {"event", "row_hash"}}


def _visit_row(event: DifferenceImageCreated) -> dict[str, Any]:
    row = visit_image_row(event, Site(embargo_hours=1))
    return {name: value for name, value in row.items() if name not in {"event", "row_hash"}}


def _cards(observed: Observation) -> str:
    header = fits.Header()
    observation_cards(header, observed)
    return header.tostring()


_OF_THE_FILE = {"photometric_scaling", "native_unit"}
_OF_THE_INSTRUMENT = {"em_min", "em_max"}
# What each of them leaves out, and nothing else.
LEFT_OUT = {
    "event": {"boresight", "rotation_angle", "photometric_scaling"},
    "row": {"airmass", "weather", "boresight", "rotation_angle", *_OF_THE_FILE},
    "visit row": {"airmass", "weather", "boresight", "rotation_angle", "photometric_scaling"},
    "butler": {"weather", "facility_name", "boresight", "rotation_angle"}
    | _OF_THE_FILE
    | _OF_THE_INSTRUMENT,
    "archive": {"band", *_OF_THE_FILE, *_OF_THE_INSTRUMENT},
    "cards": {"boresight", "rotation_angle", *_OF_THE_FILE, *_OF_THE_INSTRUMENT},
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_fact_that_changes_is_seen_by_all_that_tell_it(what, difference):
    def told(observed: Observation) -> object:
        match what:
            case "archive":
                instrument = INSTRUMENTS.get("LSSTComCam")
                return observation_info(observed, instrument).to_simple()
            case "cards":
                return _cards(observed)
        event = event_of(observed, difference)
        match what:
            case "event":
                return event.model_dump(exclude={"arrival", "dataset_id"})
            case "row":
                return _image_row(event)
            case "visit row":
                return _visit_row(event)
            case "butler":
                return str(difference_image_rows(event, INSTRUMENTS))
        raise AssertionError(what)

    assert set(OTHER) == set(OBSERVATION_FACTS)
    before = told(OBSERVATION)
    changed = {name: replace(OBSERVATION, **{name: value}) for name, value in OTHER.items()}
    unseen = {name for name, observed in changed.items() if told(observed) == before}
    assert unseen == LEFT_OUT[what]


def test_what_is_written_is_read_again():
    of_files = {f.name for f in fields(FileMetadata)}
    assert set(OBSERVATION_FACTS) - of_files == _OF_THE_FILE | _OF_THE_INSTRUMENT
    info = observation_info(OBSERVATION, INSTRUMENTS.get("LSSTComCam"))
    header = fits.Header()
    observation_cards(header, OBSERVATION)
    archive = metadata_from_obs_info(info, "r", None)
    cards = metadata_from_header(header, INSTRUMENTS)
    for name in set(OBSERVATION_FACTS) & of_files:
        value = getattr(OBSERVATION, name)
        if name != "boresight":
            assert getattr(archive, name) == value, name
        if name not in LEFT_OUT["cards"] | {"facility_name"}:
            assert getattr(cards, name) == value, name
    assert archive.boresight == pytest.approx(OBSERVATION.boresight)
    assert archive.weather == cards.weather == OBSERVATION.weather


def test_the_arrival_is_believed_over_the_file():
    arrival = VisitArrival(
        visit_detector=VisitDetector(instrument="LSSTComCam", visit=1, detector=2),
        band="i",
        image_uri="x",
    )
    file = FileMetadata(
        **{
            f.name: getattr(OBSERVATION, f.name)
            for f in fields(FileMetadata)
            if f.name in OBSERVATION_FACTS
        }
    )
    silent = observation(arrival, file, INSTRUMENTS)
    common = set(VisitArrival.model_fields) & set(OBSERVATION_FACTS)
    for name in common - {"band"}:
        assert getattr(silent, name) == getattr(OBSERVATION, name), name
        word = arrival.model_copy(update={name: OTHER[name]})
        assert getattr(observation(word, file, INSTRUMENTS), name) == OTHER[name], name
    assert (silent.visit, silent.detector, silent.band) == (1, 2, "i")
