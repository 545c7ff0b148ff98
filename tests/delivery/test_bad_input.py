"""Bad files at the real worker: each has its named error, and the next message is served."""

import hashlib
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from tests.support.kafka_tools import Delivery

from residua.identity import template_dataset_id
from residua.messaging.client import event_record
from residua.messaging.settings import KafkaSettings
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.simulation.sky import scene, simulate_pair
from residua.storage.describe import describe_template
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import TEMPLATE_COADDS, VisitArrival, VisitDetector

GOOD = ("good", "good again")
EXPECTED = {
    "missing file": "MissingFileError",
    "truncated": "CorruptFileError",
    "no image at all": "CorruptFileError",
    "no WCS": "NoWcsError",
    "all NaN": "UnusableImageError",
    "unknown unit": "UnknownUnitError",
    "outside the roots": "UriNotAllowedError",
    "climbs out": "UriNotAllowedError",
    "other bytes": "ChecksumMismatchError",
    "too few stars": "InsufficientKernelStarsError",
}


def arrival(visit, uri, **changes):
    identity = VisitDetector(instrument="Simulated", visit=visit, detector=3)
    return VisitArrival(visit_detector=identity, band="r", image_uri=str(uri), **changes)


def write_inputs(directory):
    """Write the files; returns image URIs by name, and the templates."""
    pair = simulate_pair(replace(scene("deep"), shape=(560, 600), patches=(1, 2)), seed=71)
    observation = Observation("Simulated", 1, 3, 20261122, "r", "r_sim", "Simulated")
    visits, templates = directory / "visits", directory / "templates"
    visits.mkdir()
    templates.mkdir()
    good = visits / "good.fits"
    write_visit_image(good, pair.science, observation)
    events = []
    for n, patch in enumerate(pair.templates):
        path = templates / f"template_r_1_{n}.fits"
        write_template(path, patch, skymap="sim", tract=1, patch=n, band="r")
        events.append(describe_template(str(path), template_set="default"))

    def plain(name, image=pair.science.image, **cards):
        path = visits / f"{name}.fits"
        write_plain_fits(path, replace(pair.science, image=image), observation, cards=cards)
        return path

    truncated = visits / "truncated.fits"
    truncated.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (visits / "text.fits").write_text("this is no FITS file\n")
    no_wcs = plain("no-wcs")
    with fits.open(no_wcs, mode="update") as hdus:
        for key in ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2"):
            hdus[0].header.remove(key, ignore_missing=True)
    elsewhere = plain("elsewhere")
    with fits.open(elsewhere, mode="update") as hdus:
        hdus[0].header["CRVAL1"] = (hdus[0].header["CRVAL1"] + 90.0) % 360.0
    outside = directory / "outside.fits"
    outside.write_bytes(good.read_bytes())
    noise = np.random.default_rng(5).normal(0.0, 10.0, pair.science.image.shape)
    return {
        "good": good,
        "missing file": visits / "never.fits",
        "truncated": truncated,
        "no image at all": visits / "text.fits",
        "no WCS": no_wcs,
        "all NaN": plain("nan", np.full_like(pair.science.image, np.nan)),
        "unknown unit": plain("unit", BUNIT="furlong"),
        "outside the roots": outside,
        "climbs out": f"{visits}/../outside.fits",
        "other bytes": good,
        "too few stars": plain("noise", noise.astype(np.float32)),
        "elsewhere": elsewhere,
        "good again": good,
    }, events


@pytest.fixture
def delivery(tmp_path, topic_prefix):
    with ExitStack() as stack:
        bootstrap = stack.enter_context(EmbeddedBroker(topic_prefix)).bootstrap
        settings = KafkaSettings(kafka_bootstrap=bootstrap, topic_prefix=topic_prefix)
        yield stack.enter_context(Delivery(settings, tmp_path / "delivery"))


@pytest.mark.timeout(900)
def test_each_bad_file_has_its_error_and_the_worker_goes_on(delivery, tmp_path):
    uris, templates = write_inputs(tmp_path)
    topic = delivery.settings.topic_name(TEMPLATE_COADDS)
    assert len({template_dataset_id(t.key) for t in templates}) == len(templates)
    delivery.send(event_record(topic, t, t.key, source="/test") for t in templates)
    names = dict(enumerate(uris, 1))
    special = {"other bytes": {"image_checksum": f"sha256:{hashlib.sha256(b'x').hexdigest()}"}}
    delivery.send(arrival(n, uris[name], **special.get(name, {})) for n, name in names.items())
    worker = delivery.start_worker(
        module="residua.worker",
        input_roots=f'["{tmp_path / "visits"}"]',
        template_roots=f'["{tmp_path / "templates"}"]',
        subtraction_timeout=300,
    )
    catalog = delivery.start_catalog()
    account = delivery.wait(
        lambda a: len(a.outcomes) == len(names) and len(a.rows) == a.kinds["created"],
        seconds=600,
        alive=[worker, catalog],
    )
    found = {names[o.visit_detector.visit]: o for o in account.outcomes}
    errors = {name: o.error for name, o in found.items() if o.outcome == "failed"}
    assert errors == EXPECTED
    assert found["elsewhere"].outcome == "skipped"
    assert found["elsewhere"].reason == "no_template"
    assert found["elsewhere"].numbers["coverage"] == 0.0
    assert {name for name, o in found.items() if o.outcome == "created"} == set(GOOD)
    assert set(account.rows.values()) == set(account.files)
    assert account.dead_letters == ()
    for outcome in found.values():
        if outcome.outcome == "failed":
            assert len(outcome.message) > 20
            assert outcome.responsible in {"producer", "operator"}
    assert worker.stop() == 0
