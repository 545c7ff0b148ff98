"""Dead letters: reading them, choosing among them, sending their records again."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from residua.errors import ResiduaError
from residua.messaging.client import OutgoingRecord, event_record, read_to_end
from residua.messaging.records.envelopes import read_value
from residua.messaging.records.events import calendar_time
from residua.messaging.settings import KafkaSettings
from residua.replay.record_headers import REPLAY_HEADER
from residua_schemas import DEAD_LETTERS, TOPICS, DeadLetter

__all__ = [
    "DEAD_LETTER_HEADER",
    "Became",
    "LetterFilter",
    "NoSuchDeadLetterError",
    "NotRequeueableError",
    "ReceivedLetter",
    "read_letters",
    "requeued_record",
    "resolved_record",
    "with_original",
]

SOURCE = "/residua/dead-letters"
"""``ce_source`` of letters that are written again."""

DEAD_LETTER_HEADER = "residua-dead-letter"
"""On a record sent again from a dead letter: the place it first had."""


class NoSuchDeadLetterError(ResiduaError):
    """No dead letter has this place."""

    responsible = "operator"


class NotRequeueableError(ResiduaError):
    """The dead letter's record cannot be sent again."""

    responsible = "operator"


type Became = Literal["unresolved", "requeued", "refused again", "dismissed"]
"""What became of a dead letter."""


@dataclass(frozen=True)
class ReceivedLetter:
    """A dead letter and when it was written.

    Parameters
    ----------
    timestamp_ms
        Of its record, ms since 1970, UTC.
    became
        What became of it: ``unresolved``, ``requeued``, ``refused again`` (requeued, and there is
        another letter for that), ``dismissed``.
    requeued_as
        Place of the record that was sent again.
    """

    letter: DeadLetter
    timestamp_ms: int
    became: Became = "unresolved"
    requeued_as: str | None = None

    @property
    def place(self) -> str:
        """Topic, partition and offset of the original record."""
        return self.letter.record_key.decode()

    @property
    def time(self) -> datetime:
        """`timestamp_ms` as a datetime in UTC, see `calendar_time`."""
        return calendar_time(self.timestamp_ms)


@dataclass(frozen=True)
class LetterFilter:
    """Conditions that must all hold; one that is not given holds always.

    Parameters
    ----------
    topic
        Full name of the original topic.
    error, service
        As they stand in the letter.
    since, until
        When the letter was written; `until` is excluded.
    unresolved
        Only those that nobody has dealt with.
    """

    topic: str | None = None
    error: str | None = None
    service: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    unresolved: bool = False

    def matches(self, received: ReceivedLetter) -> bool:
        """Whether all conditions hold."""
        letter = received.letter
        return (
            self.topic in {None, letter.topic}
            and self.error in {None, letter.error}
            and self.service in {None, letter.service}
            and (self.since is None or received.time >= self.since)
            and (self.until is None or received.time < self.until)
            and (not self.unresolved or received.became == "unresolved")
        )


async def read_letters(settings: KafkaSettings) -> list[ReceivedLetter]:
    """Read all dead letters, one for each original place, oldest first, and what became of them.

    What is no dead letter on that topic is passed over.
    """
    found: dict[str, ReceivedLetter] = {}
    resolved: dict[str, DeadLetter] = {}
    async for record in read_to_end(settings, settings.topic_name(DEAD_LETTERS)):
        try:
            letter = read_value(record.value or b"", DeadLetter.model_validate_json)
        except ValidationError:
            continue
        received = ReceivedLetter(letter, record.timestamp)
        found.setdefault(received.place, received)
        if letter.resolution is not None:
            resolved[received.place] = letter
    for place, last in resolved.items():
        again = last.requeued_as in found
        became: Became = "refused again" if again else last.resolution or "unresolved"
        found[place] = replace(found[place], became=became, requeued_as=last.requeued_as)
    return sorted(found.values(), key=lambda r: (r.timestamp_ms, r.place))


def resolved_record(
    settings: KafkaSettings,
    letter: DeadLetter,
    resolution: Literal["requeued", "dismissed"],
    requeued_as: str | None = None,
) -> OutgoingRecord:
    """Record that writes a letter again, under its key, with what became of it."""
    update = {"resolution": resolution, "requeued_as": requeued_as}
    return event_record(
        settings.topic_name(DEAD_LETTERS),
        letter.model_copy(update=update),
        letter.record_key,
        source=SOURCE,
    )


async def with_original(settings: KafkaSettings, letter: DeadLetter) -> DeadLetter:
    """Complete a letter that names the place only (the record was too large to be kept).

    Returns the letter as it is when the record is past its retention.
    """
    if letter.value is not None or letter.topic not in _known_topics(settings):
        return letter
    start = {letter.partition: letter.offset}
    records: AsyncIterator[object] = read_to_end(settings, letter.topic, offsets=start)
    async for record in records:
        partition, offset = getattr(record, "partition", None), getattr(record, "offset", None)
        if (partition, offset) == (letter.partition, letter.offset):
            return letter.model_copy(update={"value": getattr(record, "value", None)})
    return letter


def requeued_record(settings: KafkaSettings, letter: DeadLetter) -> OutgoingRecord:
    """Record that sends a dead letter's record again: same topic, key, bytes and headers.

    Raises
    ------
    NotRequeueableError
        The letter names a topic that is none of ours, or has no bytes.
    """
    place = letter.record_key
    if letter.topic not in _known_topics(settings):
        raise NotRequeueableError(
            f"{place.decode()}: {letter.topic!r:.100} is none of this installation's topics"
        )
    if letter.value is None:
        raise NotRequeueableError(f"{place.decode()}: there are no bytes to send, or no longer")
    marks = {REPLAY_HEADER: b"dead-letter", DEAD_LETTER_HEADER: place}
    headers = [(h.name, h.value or b"") for h in letter.headers if h.name not in marks]
    return OutgoingRecord(letter.topic, letter.key, letter.value, (*headers, *marks.items()))


def _known_topics(settings: KafkaSettings) -> Iterable[str]:
    return {settings.topic_name(topic) for topic in TOPICS}
