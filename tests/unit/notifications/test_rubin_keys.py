"""Notifications as Rubin's stores send them: detectors by name, tenants, groups beside images."""

import io
import json

import numpy as np
import pytest
from astropy.io import fits

from residua.errors import MalformedEventError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.messages import read_notification
from residua.notifications.settings import NotificationSettings
from residua.storage.headers import arrival_from_header
from residua_schemas import VisitArrival

# As prompt processing finds raws: INSTRUMENT/DAYOBS/OBSID/OBSID_Rxx_Syy.fits.
PATTERN = (
    r"(?P<instrument>[^/]+)/\d{8}/(?P<obs_id>[A-Z]{2}_[A-Z]_\d{8}_\d{6})/"
    r"(?P=obs_id)_(?P<detector>R\d\d_S\w\d)\.fits(\.fz)?$"
)
PLACE = "LSSTCam/20251120/MC_O_20251120_000123/MC_O_20251120_000123_R22_S11.fits"


@pytest.fixture
def announce(tmp_path):
    """Announce an image under a key: the arrival, or the one refusal."""
    sent = []
    settings = NotificationSettings(
        input_roots=(str(tmp_path),), key_pattern=PATTERN, sidecar_group_key="GROUPID"
    )
    registry = InstrumentRegistry()
    adapter = NotificationAdapter(
        settings, lambda *args: arrival_from_header(*args, registry), sent.extend, Metrics()
    )

    def call(key, cards, sidecar=None):
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(cards))
        if sidecar is not None:
            path.with_suffix(".json").write_text(sidecar)
        # The adapter's own way, from the file on: the store's part is in tests/delivery.
        found = adapter._pattern.search(key)
        known = {n: t for n, t in found.groupdict().items() if t}
        from lsst.resources import ResourcePath

        return adapter._with_retries(ResourcePath(str(path)), known)

    return call


def image(cards):
    hdu = fits.PrimaryHDU(np.zeros((4, 5), np.float32))
    hdu.header.update({"FILTER": "r_57", **cards})
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


def test_a_detector_s_name_and_the_observation_s_id_make_the_identity(announce):
    arrival = announce(PLACE, {}, json.dumps({"GROUPID": "2025-11-20T03:04:05.678"}))
    assert isinstance(arrival, VisitArrival)
    assert arrival.visit_detector.key == b"LSSTCam/2025112000123/94"
    assert (arrival.band, arrival.day_obs) == ("r", 20251120)
    assert arrival.group == "2025-11-20T03:04:05.678"


def test_the_header_is_believed_before_key_and_sidecar(announce):
    arrival = announce(PLACE, {"GROUPID": "in the header"}, json.dumps({"GROUPID": "beside"}))
    assert arrival.group == "in the header"


@pytest.mark.parametrize("sidecar", [None, "no JSON", "[]", '{"GROUPID": ""}', "{}"])
def test_without_a_group_it_arrives_all_the_same(announce, sidecar):
    assert announce(PLACE, {}, sidecar).group is None


def test_another_name_of_the_instrument_is_known(announce):
    key = PLACE.replace("LSSTCam/", "ComCam/").replace("MC_O", "CC_O")
    assert announce(key, {}).visit_detector.key == b"LSSTComCam/2025112000123/4"


def test_a_name_that_is_none_is_refused_with_it(announce):
    with pytest.raises(UnusableImageError, match=r"LSSTCam has no detector named 'R44_S11'"):
        announce(PLACE.replace("R22_S11", "R44_S11"), {})


@pytest.mark.parametrize(
    ("bucket", "uri"),
    [
        ("rubin:rubin-summit", "s3://rubin:rubin-summit/a.fits"),
        ("summit", "s3://summit/a.fits"),
    ],
)
def test_ceph_s_tenants(bucket, uri):
    [created] = read_notification(record(bucket)).created
    assert created.uris == (uri,)


@pytest.mark.parametrize("bucket", [":b", "t:", "a:b:c", "a b", "a/b", "a@b"])
def test_what_is_no_bucket(bucket):
    with pytest.raises(MalformedEventError, match="no name of a bucket"):
        read_notification(record(bucket))


def record(bucket):
    entry = {
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": "a.fits"}},
    }
    value = json.dumps({"Records": [entry]}).encode()
    return IncomingRecord("bucket-notifications", 0, 5, b"", value, 0)
