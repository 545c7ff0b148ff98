"""What the bridge does with a batch: announcements from nextVisits, Avro from outcomes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter

from residua.bridge.next_visit import announcements, read_summit_visit, sent_at
from residua.bridge.outcome_avro import SCHEMA, outcome_payload
from residua.bridge.settings import BridgeSettings
from residua.errors import MalformedEventError, ResiduaError
from residua.instruments import InstrumentRegistry
from residua.messaging.client import OutgoingRecord, traced_record
from residua.messaging.outages import until_it_answers
from residua.messaging.records.envelopes import structured_data
from residua.messaging.records.events import IncomingRecord, parse_event, record_value
from residua.messaging.records.schema_registry import SchemaRegistry, frame, schema_number
from residua.metrics import Metrics
from residua_schemas import NEXT_VISITS, outcome_from_json

__all__ = ["SOURCE", "BridgeWriter"]

SOURCE = "/residua/bridge"
"""``ce_source`` of what the bridge sends."""


@dataclass
class BridgeWriter:
    """Writes batches, as `residua.messaging.batches.BatchWriter`.

    Parameters
    ----------
    registry
        Of schemas; `None` where none is configured.
    send
        Sends records and returns when the broker has them.
    metrics
        Whose registry gets the counter ``residua_bridge``, by result: ``announced``, ``stale``,
        ``avro_outcome``, ``refused``, and why a nextVisit announces nothing
        (`residua.bridge.next_visit.Passed`).
    """

    settings: BridgeSettings
    instruments: InstrumentRegistry
    registry: SchemaRegistry | None
    send: Callable[[Sequence[OutgoingRecord]], None]
    metrics: Metrics
    _number: int | None = field(default=None, init=False)
    _counter: Counter = field(init=False)

    def __post_init__(self) -> None:
        self._counter = Counter(
            "residua_bridge",
            "Messages of the observatory and outcomes, by what became of them.",
            ["result"],
            registry=self.metrics.registry,
        )

    def __call__(
        self, records: Sequence[IncomingRecord]
    ) -> list[tuple[IncomingRecord, ResiduaError]]:
        """Send what the records become; returns those that are refused.

        Raises
        ------
        TransientError
            The registry did not answer, also when tried again: exit, do not commit.
        """
        refused: list[tuple[IncomingRecord, ResiduaError]] = []
        outgoing: list[OutgoingRecord] = []
        for record in records:
            try:
                outgoing += self._with_retries(record)
            except ResiduaError as e:
                if record.topic == self.settings.summit_topic:
                    # An outcome that cannot be read is the catalog's to bury.
                    refused.append((record, e))
                self._counter.labels("refused").inc()
        self.send(outgoing)
        return refused

    def _with_retries(self, record: IncomingRecord) -> list[OutgoingRecord]:
        options = self.settings

        def sent() -> list[OutgoingRecord]:
            if record.topic == options.summit_topic:
                return self._announced(record)
            return [self._as_avro(record)]

        return until_it_answers(
            sent, options.transient_attempts, options.transient_pause, self.metrics
        )

    def _announced(self, record: IncomingRecord) -> list[OutgoingRecord]:
        visit = read_summit_visit(self._decoded(record), record.place)
        sent = sent_at(visit)
        age = time.time() - (record.timestamp_ms / 1000.0 if sent is None else sent)
        if age > self.settings.next_visit_age_limit:
            self._counter.labels("stale").inc()
            return []
        found = announcements(visit, self.instruments, self.settings.surveys, record.place)
        if isinstance(found, str):
            self._counter.labels(found).inc()
            return []
        self._counter.labels("announced").inc()
        topic = self.settings.topic_name(NEXT_VISITS)
        return [traced_record(topic, e, e.key, source=SOURCE, time=record.time) for e in found]

    def _decoded(self, record: IncomingRecord) -> object:
        value = record_value(record)
        if schema_number(value) is None:
            try:
                return structured_data(json.loads(value.decode("utf-8-sig")))
            except (ValueError, RecursionError) as e:
                raise MalformedEventError(
                    f"{record.place} is neither Avro framed with a schema's id nor JSON ({e})"
                ) from e
        if self.registry is None:
            raise MalformedEventError(
                f"{record.place} is Avro of schema {schema_number(value)}: set "
                "RESIDUA_SCHEMA_REGISTRY_URL"
            )
        return self.registry.decode(value, record.place)

    def _as_avro(self, record: IncomingRecord) -> OutgoingRecord:
        outcome = parse_event(record, outcome_from_json, "outcome")
        assert self.registry is not None
        topic = self.settings.outcomes_avro_topic
        if self._number is None:
            self._number = self.registry.register(f"{topic}-value", SCHEMA)
        self._counter.labels("avro_outcome").inc()
        headers = [
            (name, b"application/vnd.confluent.avro" if name == "content-type" else value)
            for name, value in record.headers
            if value is not None
        ]
        return OutgoingRecord(
            topic, record.key, frame(self._number, outcome_payload(outcome)), tuple(headers)
        )
