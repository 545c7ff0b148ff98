"""From notifications to visit arrivals: what is taken, what is ignored, what is refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lsst.resources import ResourcePath
from prometheus_client import Counter

from residua.errors import MissingFileError, ResiduaError, UriNotAllowedError
from residua.messaging.client import OutgoingRecord, traced_record
from residua.messaging.outages import until_it_answers
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.notifications.messages import CreatedObject, read_notification
from residua.notifications.settings import NotificationSettings
from residua.notifications.sidecar import group_of_sidecar
from residua.storage.objects import resolve
from residua_schemas import VISIT_ARRIVALS, VisitArrival

__all__ = ["SOURCE", "Describe", "NotificationAdapter"]

SOURCE = "/residua/notifications"
"""``ce_source`` of what the adapter sends."""

type Describe = Callable[[ResourcePath, Mapping[str, str]], VisitArrival]
"""Makes the arrival of a file, given what its key tells."""


@dataclass
class NotificationAdapter:
    """Turns batches of notifications into arrivals; blocking.

    Parameters
    ----------
    settings
        Roots, pattern of keys, tries.
    describe
        Reads the file's header.
    send
        Sends records and returns when the broker has them.
    metrics
        Whose registry gets the counter ``residua_notifications``, by result: ``arrival``,
        ``test_event``, ``not_created``, ``directory``, ``other_object``, ``refused``.
    """

    settings: NotificationSettings
    describe: Describe
    send: Callable[[Sequence[OutgoingRecord]], None]
    metrics: Metrics
    _counter: Counter = field(init=False)
    _pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        self._counter = Counter(
            "residua_notifications",
            "Parts of bucket notifications, by what became of them.",
            ["result"],
            registry=self.metrics.registry,
        )
        self._pattern = re.compile(self.settings.key_pattern)

    def __call__(
        self, records: Sequence[IncomingRecord]
    ) -> list[tuple[IncomingRecord, ResiduaError]]:
        """Send the arrivals of a batch; returns the records that are refused.

        Raises
        ------
        TransientError
            The store did not answer, also when tried again: exit, do not commit.
        """
        refused: list[tuple[IncomingRecord, ResiduaError]] = []
        for record in records:
            arrivals, problem = self._arrivals(record)
            self.send([self._record(arrival, record) for arrival in arrivals])
            if problem is not None:
                self._count("refused")
                refused.append((record, problem))
        return refused

    def _arrivals(self, record: IncomingRecord) -> tuple[list[VisitArrival], ResiduaError | None]:
        try:
            notification = read_notification(record)
        except ResiduaError as e:
            return [], e
        for reason in notification.ignored:
            self._count(reason)
        arrivals: list[VisitArrival] = []
        problem: ResiduaError | None = None
        for created in notification.created:
            try:
                arrival = self._arrival(created)
            except ResiduaError as e:
                # The other objects of this message are announced all the same.
                problem = e
                continue
            self._count("arrival" if arrival else "other_object")
            if arrival:
                arrivals.append(arrival)
        return arrivals, problem

    def _arrival(self, created: CreatedObject) -> VisitArrival | None:
        missing: MissingFileError | None = None
        for key, uri in zip(created.keys, created.uris, strict=True):
            found = self._pattern.search(key)
            if found is None:
                continue
            try:
                location = resolve(uri, self.settings.input_roots)
            except UriNotAllowedError:
                continue
            known = {name: text for name, text in found.groupdict().items() if text}
            try:
                return self._with_retries(location, known)
            except MissingFileError as e:
                missing = missing or e
        if missing is not None:
            raise missing
        return None

    def _with_retries(self, location: ResourcePath, known: Mapping[str, str]) -> VisitArrival:
        options = self.settings
        return until_it_answers(
            lambda: self._with_group(self.describe(location, known), location),
            options.transient_attempts,
            options.transient_pause,
            self.metrics,
        )

    def _with_group(self, arrival: VisitArrival, location: ResourcePath) -> VisitArrival:
        key = self.settings.sidecar_group_key
        if key is None or arrival.group is not None:
            return arrival
        group = group_of_sidecar(location, key)
        return arrival if group is None else arrival.model_copy(update={"group": group})

    def _record(self, arrival: VisitArrival, record: IncomingRecord) -> OutgoingRecord:
        return traced_record(
            self.settings.topic_name(VISIT_ARRIVALS),
            arrival,
            arrival.visit_detector.key,
            source=SOURCE,
            time=record.time,
        )

    def _count(self, result: str) -> None:
        self._counter.labels(result).inc()
