"""The batch writer: waits out a short outage, ends at a long one, refuses what it cannot read."""

import pytest

from residua.butler.main import batch_writer
from residua.butler.registering.registrar import Rejected
from residua.errors import MissingFileError, TransientError
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    TemplateCoadd,
)
from residua_schemas.examples import examples

OUTCOMES = "difference-images"
TEMPLATES = "template-coadds"


class Recorder:
    """In place of the registrar: the fault is what is tested here."""

    def __init__(self, outages=0, rejects=()):
        self.outages = outages
        self.rejects = rejects
        self.events = []

    def register(self, events):
        if self.outages:
            self.outages -= 1
            raise TransientError("away")
        self.events = list(events)
        return [Rejected(e, MissingFileError("gone")) for e in events if type(e) in self.rejects]


def record(topic, value, offset=0):
    if value is not None and not isinstance(value, bytes):
        value = value.model_dump_json().encode()
    return IncomingRecord(topic, 0, offset, b"key", value, 0)


RECORDS = [
    record(OUTCOMES, examples()[DifferenceImageCreated], 0),
    record(OUTCOMES, examples()[DifferenceImageSkipped], 1),
    record(OUTCOMES, examples()[DifferenceImageFailed], 2),
    record(OUTCOMES, b"not JSON", 3),
    record(OUTCOMES, None, 4),
    record(TEMPLATES, examples()[TemplateCoadd], 0),
    record(TEMPLATES, None, 1),
    record(TEMPLATES, b"[1]", 2),
]


def write(registrar, pauses):
    return batch_writer(registrar, OUTCOMES, Metrics(), pauses.append)(RECORDS)


def test_only_what_makes_a_dataset_is_registered():
    registrar = Recorder()
    refused = write(registrar, [])
    assert registrar.events == [examples()[DifferenceImageCreated], examples()[TemplateCoadd]]
    assert [(r.topic, r.offset) for r, _ in refused] == [
        (OUTCOMES, 3),
        (OUTCOMES, 4),
        (TEMPLATES, 2),
    ]


def test_rejected_events_are_told_by_their_records():
    refused = write(Recorder(rejects=(TemplateCoadd,)), [])
    assert (RECORDS[5], "gone") in [(r, e.message) for r, e in refused]
    assert len(refused) == 4


def test_a_short_outage_is_waited_out():
    pauses = []
    registrar = Recorder(outages=3)
    assert len(write(registrar, pauses)) == 3
    assert len(registrar.events) == 2
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


def test_a_long_outage_ends_the_service():
    pauses = []
    with pytest.raises(TransientError):
        write(Recorder(outages=100), pauses)
    # Less than the group waits for a member in a rebalance.
    assert 20 < sum(pauses) < 60
