"""Bucket notifications: from objects in a real store to visit arrivals on a real broker."""

import asyncio
import io
import json
import os
import time
from datetime import datetime

import numpy as np
import pytest
from astropy.io import fits
from tests.support.service_process import ServiceProcess

from residua.errors import MalformedEventError, MissingFileError, TransientError
from residua.messaging.client import read_to_end
from residua.messaging.making_topics import create_topics
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.messages import read_notification
from residua.notifications.settings import NotificationSettings
from residua_schemas import DEAD_LETTERS, VISIT_ARRIVALS, DeadLetter, Topic, VisitArrival
from residua_schemas.examples import examples

ARRIVAL = examples()[VisitArrival]


def record(body):
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return IncomingRecord("bucket-notifications", 0, 5, b"", value, 1_700_000_000_000)


def entry(key, *, name="ObjectCreated:Put", bucket="visits", source="aws:s3"):
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 10, "sequencer": "1"}},
    }


@pytest.mark.parametrize(
    ("body", "uris"),
    [
        # AWS: URL-encoded, blanks as plus.
        ({"Records": [entry("a+b/%C3%BC.fits")]}, [("s3://visits/a%20b/%C3%BC.fits",)]),
        # MinIO: the name with "s3:", a key beside the records.
        (
            {
                "EventName": "s3:ObjectCreated:CompleteMultipartUpload",
                "Key": "visits/n/1.fits",
                "Records": [entry("n%2F1.fits", name="s3:ObjectCreated:CompleteMultipartUpload")],
            },
            [("s3://visits/n/1.fits",)],
        ),
        # Ceph: several records.
        (
            {"Records": [entry("1.fits", source="ceph:s3"), entry("2.fits", source="ceph:s3")]},
            [("s3://visits/1.fits",), ("s3://visits/2.fits",)],
        ),
        # versitygw: the key as it is.
        ({"Records": [entry("a b/\u00fc+c.fits")]}, [("s3://visits/a%20b/%C3%BC%2Bc.fits",)]),
    ],
)
def test_forms(body, uris):
    found = [created.uris[:1] for created in read_notification(record(body)).created]
    assert found == uris


def test_key_that_can_be_read_both_ways_is_tried_both_ways():
    [created] = read_notification(record({"Records": [entry("a+b.fits")]})).created
    assert created.keys == ("a b.fits", "a+b.fits")


def test_what_is_no_new_object():
    body = {
        "Records": [
            entry("1.fits", name="s3:ObjectRemoved:Delete"),
            entry("folder/"),
            entry("2.fits"),
        ]
    }
    found = read_notification(record(body))
    assert found.ignored == ("not_created", "directory")
    assert len(found.created) == 1
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}
    assert read_notification(record(test_event)).ignored == ("test_event",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        {"Records": []},
        {"Records": [1]},
        {"Records": [{"eventName": "ObjectCreated:Put"}]},
        {"Records": [entry("k.fits", bucket="a/b")]},
        {"Records": [entry("k.fits", bucket=7)]},
        {"Records": [entry("k" * 4000)]},
        {"Records": [entry("k.fits")] * 1001},
    ],
)
def test_what_is_no_notification(body):
    with pytest.raises(MalformedEventError):
        read_notification(record(body))


@pytest.fixture
def adapter():
    """An adapter whose files are described by ``described`` and whose records go to ``sent``."""

    class Kit:
        def describe(self, location, known):
            found = self.described.get(location.geturl())
            if isinstance(found, list):
                found = found.pop(0)
            if isinstance(found, Exception):
                raise found
            if found is None:
                raise MissingFileError(f"{location} does not exist")
            return found.model_copy(update={"image_uri": location.geturl(), **known})

    kit = Kit()
    kit.sent, kit.described, kit.metrics = [], {}, Metrics()
    settings = NotificationSettings(
        input_roots=("s3://visits/night",),
        key_pattern=r"visit_(?P<target_name>\w+)\.fits$",
        transient_attempts=3,
        transient_pause=0.0,
    )
    kit.adapter = NotificationAdapter(settings, kit.describe, kit.sent.extend, kit.metrics)
    kit.count = lambda result: kit.metrics.registry.get_sample_value(
        "residua_notifications_total", {"result": result}
    )
    return kit


def test_objects_elsewhere_are_ignored_with_a_count(adapter):
    adapter.described["s3://visits/night/visit_1.fits"] = ARRIVAL
    keys = [
        "night/visit_1.fits",
        "night/preview.png",
        "other/visit_1.fits",
        "night/../visit_2.fits",
    ]
    body = {"Records": [*(entry(k) for k in keys), entry("night/visit_3.fits", bucket="else")]}
    assert adapter.adapter([record(body), record({"Event": "s3:TestEvent"})]) == []
    [sent] = adapter.sent
    arrival = VisitArrival.model_validate_json(sent.value)
    assert arrival.image_uri == "s3://visits/night/visit_1.fits"
    # What the key tells.
    assert arrival.target_name == "1"
    assert sent.key == arrival.visit_detector.key
    assert adapter.count("arrival") == 1
    assert adapter.count("other_object") == 4
    assert adapter.count("test_event") == 1


def test_a_file_that_is_gone_is_refused_and_the_others_are_announced(adapter):
    adapter.described["s3://visits/night/visit_2.fits"] = ARRIVAL
    body = {"Records": [entry("night/visit_1.fits"), entry("night/visit_2.fits")]}
    [(refused, error)] = adapter.adapter([record(body)])
    assert refused.offset == 5
    assert isinstance(error, MissingFileError)
    assert len(adapter.sent) == 1
    assert adapter.count("refused") == 1


def test_store_that_is_silent_is_asked_again_then_the_adapter_gives_up(adapter):
    silent = TransientError("no answer")
    adapter.described["s3://visits/night/visit_1.fits"] = [silent, silent, ARRIVAL]
    body = record({"Records": [entry("night/visit_1.fits")]})
    assert adapter.adapter([body]) == []
    assert len(adapter.sent) == 1
    adapter.described["s3://visits/night/visit_1.fits"] = [silent] * 3
    with pytest.raises(TransientError):
        adapter.adapter([body])


def visit_image(*, extension=False, **cards):
    """A FITS file of a visit image as a camera's pipeline writes it."""
    header = fits.Header()
    header["INSTRUME"], header["EXPNUM"], header["CCDNUM"] = "DECam", 4711, 12
    header["FILTER"], header["DATE-OBS"] = "r DECam SDSS c0002 6415.0 1480.0", "2026-11-22T03:00:00"
    header["EXPTIME"], header["OBJECT"] = 30.0, "field 7"
    wcs = fits.Header()
    wcs["CTYPE1"], wcs["CTYPE2"] = "RA---TAN", "DEC--TAN"
    wcs["CRVAL1"], wcs["CRVAL2"], wcs["CRPIX1"], wcs["CRPIX2"] = 53.0, -28.0, 50.0, 50.0
    wcs["CD1_1"], wcs["CD2_2"], wcs["BUNIT"] = -7e-5, 7e-5, "nJy"
    for name, value in cards.items():
        header[name] = value
        if value is None:
            del header[name]
    pixels = np.random.default_rng(1).normal(0.0, 1.0, (100, 100)).astype(np.float32)
    if extension:
        hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(pixels, wcs, name="SCI")]
    else:
        header.update(wcs)
        hdus = [fits.PrimaryHDU(pixels, header)]
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    return file.getvalue()


def compressed_image():
    with fits.open(io.BytesIO(visit_image(EXPNUM=4714))) as hdus:
        file = io.BytesIO()
        compressed = fits.CompImageHDU(hdus[0].data, hdus[0].header)
        fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(file)
        return file.getvalue()


async def _read(settings, topic):
    return [r async for r in read_to_end(settings, topic)]


@pytest.mark.timeout(1500)
def test_from_a_real_store_to_arrivals(apache_kafka, kafka_settings, notifying_store, tmp_path):
    topic = f"{kafka_settings.topic_prefix}bucket-notifications"
    asyncio.run(create_topics(kafka_settings, partitions=2))
    bare = kafka_settings.model_copy(update={"topic_prefix": ""})
    asyncio.run(create_topics(bare, partitions=1, topics=[Topic(topic, "", (), -1)]))
    apache_kafka.wait_for_topic(topic)
    store = notifying_store(apache_kafka.bootstrap, topic, "visits", "other")
    settings = {
        "kafka_bootstrap": kafka_settings.kafka_bootstrap,
        "topic_prefix": kafka_settings.topic_prefix,
        "notification_topic": topic,
        "notification_group": topic,
        "notification_session_timeout": "6",
        "input_roots": json.dumps(["s3://visits"]),
        "key_pattern": r"(?:_b(?P<band>[a-z])_.*)?\.fits?(\.gz|\.fz)?$",
    }
    environment = {f"RESIDUA_{k.upper()}": v for k, v in settings.items()}
    process = ServiceProcess(
        "notifications",
        "residua.notifications",
        {**os.environ, **environment, **store.environment},
        tmp_path,
    )
    client = store.client()

    def put(key, body, bucket="visits"):
        client.put_object(Bucket=bucket, Key=key, Body=body)

    put("night 1/a+b.fits", visit_image())
    put("mef.fits", visit_image(extension=True, EXPNUM=4712))
    put("x_bg_1.fits", visit_image(EXPNUM=4713, FILTER=None))
    put("packed.fits.fz", compressed_image())
    put("not_fits.fits", b"hello")
    put("notes.txt", b"hello")
    put("elsewhere.fits", visit_image(EXPNUM=1), bucket="other")
    client.delete_object(Bucket="visits", Key="notes.txt")
    try:
        deadline = time.monotonic() + 300.0
        arrivals, letters = [], []
        while (len(arrivals) < 4 or not letters) and time.monotonic() < deadline:
            assert process.exit_code is None, process.text()
            found = asyncio.run(_read(kafka_settings, kafka_settings.topic_name(VISIT_ARRIVALS)))
            arrivals = [VisitArrival.model_validate_json(r.value) for r in found]
            found = asyncio.run(_read(kafka_settings, kafka_settings.topic_name(DEAD_LETTERS)))
            letters = [DeadLetter.model_validate_json(r.value) for r in found]
            time.sleep(0.2)
        assert process.stop() == 0
    finally:
        process.kill()
    by_visit = {a.visit_detector.visit: a for a in arrivals}
    assert sorted(by_visit) == [4711, 4712, 4713, 4714]
    first = by_visit[4711]
    assert str(first.visit_detector) == "DECam/4711/12"
    assert first.image_uri == "s3://visits/night%201/a%2Bb.fits"
    assert (first.band, first.exposure_time, first.target_name) == ("r", 30.0, "field 7")
    # 37 s between UTC and TAI.
    assert first.begin_tai == datetime(2026, 11, 22, 3, 0, 37)  # noqa: DTZ001 TAI has no zone
    ra, dec = first.region.center
    assert (ra, dec) == pytest.approx((53.0, -28.0), abs=1e-3)
    assert by_visit[4712].region.center == pytest.approx((53.0, -28.0), abs=1e-3)
    assert by_visit[4713].band == "g"
    assert by_visit[4714].region.center == pytest.approx((53.0, -28.0), abs=1e-3)
    [letter] = letters
    assert (letter.error, letter.service) == ("CorruptFileError", "notifications")
    assert "not_fits.fits" in letter.message
