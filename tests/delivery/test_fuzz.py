"""Records nobody should send, by the thousand: each ends as an outcome, a row or a dead letter.

`tests/unit/worker/test_fuzz.py` does it to the bare handler; here the real use case and the real
databases stand behind, in `test_fuzz_services.py` the services as they run.
"""

import asyncio
import json
from collections import Counter
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine, text
from tests.support.mutations import mutated_records
from tests.support.servers.postgres import postgres_missing, running_postgres

from residua.catalog.rows import Site
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import dataset_id
from residua.messaging.records.envelopes import read_value
from residua.messaging.records.events import IncomingRecord, dead_letter
from residua.metrics import Metrics
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.settings import NotificationSettings
from residua.worker.handler import ArrivalHandler
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import ChildAnswer
from residua.worker.subtracting.processor import open_processor
from residua.worker.templates.in_force import Templates
from residua_schemas import (
    DeadLetter,
    DifferenceImageCreated,
    TemplateCoadd,
    VisitArrival,
    outcome_from_json,
)
from residua_schemas.examples import examples

NUMBER = 10_000
SEED = 20261122
EXAMPLES = examples()
ARRIVALS = [(EXAMPLES[VisitArrival].visit_detector.key, EXAMPLES[VisitArrival])]
CREATED = EXAMPLES[DifferenceImageCreated]
OUTCOMES = [
    *((e.key, e) for e in EXAMPLES.values() if hasattr(e, "outcome")),
    *((CREATED.key, CREATED.model_copy(update={"dataset_id": UUID(int=n)})) for n in range(40)),
]
TEMPLATES = [(EXAMPLES[TemplateCoadd].key, EXAMPLES[TemplateCoadd])]


def incoming(topic, records):
    return [
        IncomingRecord(topic, n % 4, n, r.key, r.value, 1_795_387_024_877, r.headers)
        for n, r in enumerate(records)
    ]


class SameProcess:
    """The pool's child without the process: the real use case on the real store."""

    def __init__(self, settings):
        self._settings = settings
        self._processors = {}

    async def run(self, arrival, candidates, place, label=None):
        if label not in self._processors:
            self._processors[label] = open_processor(self._settings.labelled(label))
        return ChildAnswer("outcome", outcome=self._processors[label](arrival, candidates, 0))


def test_worker_serves_whatever_comes(tmp_path):
    settings = WorkerSettings(
        input_roots=(str(tmp_path / "in"),),
        output_root=str(tmp_path / "out"),
        template_set="dp1",
        missing_grace=0.0,
    )
    (tmp_path / "in").mkdir()
    # An empty root is taken for one that is not mounted.
    (tmp_path / "in" / "mounted").touch()
    templates = Templates("dp1")
    templates.apply(
        IncomingRecord("t", 0, 0, None, EXAMPLES[TemplateCoadd].model_dump_json().encode(), 0)
    )

    async def nothing():
        return

    handler = ArrivalHandler(
        settings, SameProcess(settings), templates, nothing, nothing, Metrics()
    )
    kinds = Counter()

    async def handle_all():
        for record in incoming("visit-arrivals", mutated_records(ARRIVALS, NUMBER, SEED)):
            sent = await handler(record)
            if record.offset % 20 == 0:
                # A redelivery says the same.
                assert await handler(record) == sent
            [out] = sent
            if out.topic == "dead-letters":
                letter = DeadLetter.model_validate_json(out.value)
                assert (letter.key, letter.value) == (record.key, record.value)
                assert [(h.name, h.value) for h in letter.headers] == list(record.headers)
                assert out.key == record.place.encode()
                kinds[letter.error] += 1
            else:
                outcome = outcome_from_json(out.value)
                assert outcome.arrival == read_value(record.value, VisitArrival.model_validate_json)
                assert outcome.dataset_id == dataset_id(outcome.run, outcome.visit_detector)
                assert out.key == outcome.key
                kinds[f"{outcome.outcome} {outcome.error}"] += 1

    asyncio.run(handle_all())
    assert kinds.total() == NUMBER
    assert kinds["MalformedEventError"] > 3_000
    assert kinds["UnsupportedVersionError"] > 100
    assert kinds["failed MissingFileError"] + kinds["failed UriNotAllowedError"] > 1_000
    # Nothing was read or written outside the roots.
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "out"}
    assert not any(tmp_path.rglob("*.fits"))


@pytest.fixture(scope="session")
def fuzz_postgres():
    reason = postgres_missing("pg_sphere")
    if reason:
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    server = request.getfixturevalue("fuzz_postgres")
    return server.create_database("fuzz", ["pg_sphere"])


def test_catalog_serves_whatever_comes(catalog_url):
    engine = open_database(catalog_url)
    site = Site()
    outcomes = incoming("difference-images", mutated_records(OUTCOMES, NUMBER // 2, SEED))
    others = incoming("template-coadds", mutated_records(TEMPLATES, NUMBER // 10, SEED))
    refused, datasets = [], set()
    try:
        for records in (outcomes, others):
            for start in range(0, len(records), 250):
                batch = records[start : start + 250]
                result = write_batch(engine, batch, "difference-images", site)
                refused += result.refused
                bad = {(r.topic, r.offset) for r, _ in result.refused}
                for record in batch:
                    if (record.topic, record.offset) not in bad:
                        datasets |= valid_dataset(record)
    finally:
        engine.dispose()
    for record, error in refused:
        letter = dead_letter(record, error, service="catalog").model_dump_json()
        assert DeadLetter.model_validate_json(letter).value == record.value
    rows = create_engine(catalog_url)
    with rows.connect() as connection:
        kept = connection.execute(
            text("SELECT dataset_id FROM obscore WHERE dataset_type = 'difference_image'")
        )
        assert {str(row[0]) for row in kept} == datasets
    rows.dispose()
    assert len(refused) > 2_500
    assert len(datasets) > 30


def valid_dataset(record):
    """The dataset id that a record which was not refused must have a row for."""
    if record.topic != "difference-images":
        if record.value is not None:
            read_value(record.value, TemplateCoadd.model_validate_json)
        return set()
    outcome = read_value(record.value, outcome_from_json)
    return {str(outcome.dataset_id)} if isinstance(outcome, DifferenceImageCreated) else set()


def test_notification_adapter_serves_whatever_comes():
    class Message:
        def model_dump(self, mode):
            assert mode == "json"
            entry = {
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "visits"}, "object": {"key": "a%20b/1.fits"}},
            }
            return {"EventName": "s3:ObjectCreated:Put", "Records": [entry, entry]}

    sent = []
    settings = NotificationSettings(input_roots=("s3://visits",))
    adapter = NotificationAdapter(
        settings, lambda _location, _known: EXAMPLES[VisitArrival], sent.extend, Metrics()
    )
    records = incoming("n", mutated_records([(b"", Message())], NUMBER // 2, SEED))
    refused = adapter(records)
    assert 1_000 < len(refused) < NUMBER // 2
    assert len(sent) > 500


def test_the_mutations_are_what_they_say():
    made = list(mutated_records(ARRIVALS, 2_000, SEED))
    assert made == list(mutated_records(ARRIVALS, 2_000, SEED))
    assert len({m.value for m in made}) > 1_300
    assert len({name for m in made for name in m.how}) > 15
    valid = sum(_is_arrival(m.value) for m in made)
    assert 200 < valid < 1_500
    assert json.loads(next(m.value for m in made if not m.how)) == ARRIVALS[0][1].model_dump(
        mode="json"
    )


def _is_arrival(value):
    try:
        VisitArrival.model_validate_json(value or b"")
    except ValidationError:
        return False
    return True
