"""What there is after some deliveries: outcomes, dead letters, rows and files, counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiokafka import TopicPartition

from residua.messaging.client import consumer, read_to_end, topic_partitions
from residua.messaging.records.events import incoming
from residua.messaging.settings import KafkaSettings
from residua.outcomes import Outcome
from residua_schemas import DEAD_LETTERS, DIFFERENCE_IMAGES, DeadLetter, outcome_from_json

__all__ = ["Account", "group_lag", "read_account", "topic_ends", "visits_since"]


@dataclass(frozen=True)
class Account:
    """What there is after some deliveries.

    Parameters
    ----------
    outcomes
        First outcome event of each dataset and revision.
    repeats
        Outcome events that repeat an id with the same content.
    conflicts
        Outcome events that repeat an id, or a dataset and revision, with other content.
    dead_letters
        One of each original place.
    dead_letter_repeats
        Dead letters of a place beyond the first.
    rows
        ObsCore rows of difference images: dataset id to URI.
    files
        Difference images in the store.
    """

    outcomes: tuple[Outcome, ...]
    repeats: int
    conflicts: int
    dead_letters: tuple[DeadLetter, ...]
    dead_letter_repeats: int
    rows: dict[str, str]
    files: frozenset[str]

    @property
    def kinds(self) -> Counter[str]:
        """Number of outcomes of each kind."""
        return Counter(o.outcome for o in self.outcomes)

    @property
    def visits(self) -> Counter[int]:
        """Number of outcomes of each visit."""
        return Counter(o.visit_detector.visit for o in self.outcomes)


async def read_account(
    settings: KafkaSettings, rows: dict[str, str], files: Callable[[], frozenset[str]]
) -> Account:
    """Read the topics, then the files.

    Parameters
    ----------
    rows
        Read before: whoever sees a row then sees its outcome too.
    """
    first: dict[tuple[str, int], tuple[bytes | None, bytes | None]] = {}
    by_id: dict[bytes | None, bytes | None] = {}
    outcomes: list[Outcome] = []
    repeats = conflicts = 0
    async for record in read_to_end(settings, settings.topic_name(DIFFERENCE_IMAGES)):
        if incoming(record).unreadable is not None:
            continue
        outcome = outcome_from_json(record.value)
        ce_id = dict(record.headers).get("ce_id")
        identity = (str(outcome.dataset_id), outcome.revision)
        content = (ce_id, record.value)
        if by_id.setdefault(ce_id, record.value) != record.value:
            conflicts += 1
        elif identity not in first:
            first[identity] = content
            outcomes.append(outcome)
        elif first[identity] == content:
            repeats += 1
        else:
            conflicts += 1
    letters: dict[bytes, DeadLetter] = {}
    letter_records = 0
    async for record in read_to_end(settings, settings.topic_name(DEAD_LETTERS)):
        letter = DeadLetter.model_validate_json(record.value)
        letters.setdefault(letter.record_key, letter)
        letter_records += 1
    return Account(
        outcomes=tuple(outcomes),
        repeats=repeats,
        conflicts=conflicts,
        dead_letters=tuple(letters.values()),
        dead_letter_repeats=letter_records - len(letters),
        rows=rows,
        files=files(),
    )


async def topic_ends(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Return the offset of the next record of each partition of a topic."""
    async with consumer(settings) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        return {place.partition: end for place, end in (await client.end_offsets(places)).items()}


async def visits_since(settings: KafkaSettings, ends: dict[int, int]) -> Counter[int]:
    """Count the outcomes of each visit from `topic_ends` on."""
    topic = settings.topic_name(DIFFERENCE_IMAGES)
    return Counter(
        [
            outcome_from_json(record.value).visit_detector.visit
            async for record in read_to_end(settings, topic, offsets=ends)
            if incoming(record).unreadable is None
        ]
    )


async def group_lag(settings: KafkaSettings, group: str, topic: str) -> int:
    """Count the records of a topic that a consumer group has not committed."""
    async with consumer(settings, group_id=group) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        # Assigned by hand: it asks for the group's offsets and does not join it.
        client.assign(places)
        begins = await client.beginning_offsets(places)
        ends = await client.end_offsets(places)
        committed = {p: await client.committed(p) for p in places}
    return sum(ends[p] - (begins[p] if committed[p] is None else committed[p]) for p in places)
