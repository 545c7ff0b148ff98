"""How things stand, from what the catalog knows and the offsets of topics: no topic is read."""

from collections import Counter
from dataclasses import dataclass

from aiokafka import TopicPartition
from sqlalchemy import Connection, func, inspect, select

from residua.messaging.client import consumer, topic_partitions
from residua.messaging.settings import KafkaSettings
from residua.obscore import arrival_outcome, obscore, visit_detector
from residua.obscore.opening import open_existing
from residua_schemas import DEAD_LETTERS, DIFFERENCE_IMAGES, VISIT_ARRIVALS

__all__ = ["Standing", "read_standing"]


@dataclass(frozen=True)
class Standing:
    """Counts.

    Parameters
    ----------
    outcomes
        Visit-detectors of all runs by what became of them: created, skipped, failed.
    templates
        In force.
    arrivals, dead_letters
        Records there are, repeats and replays too.
    waiting
        Arrivals that the workers have not finished.
    catalog_behind
        Outcomes that the catalog has not taken in yet: not in the counts.
    day_obs, tonight
        Newest observing day, and its outcomes by kind, of all runs, repeats too.
    template_sets
        Templates in force by set.
    """

    outcomes: Counter[str]
    templates: int
    arrivals: int
    dead_letters: int
    waiting: int
    catalog_behind: int
    day_obs: int | None
    tonight: Counter[str]
    template_sets: dict[str, int]


async def read_standing(
    settings: KafkaSettings, catalog_url: str, *, worker_group: str, catalog_group: str
) -> Standing | None:
    """Ask the catalog and the brokers.

    Returns
    -------
    standing
        `None` when the catalog does not know: one of an earlier release, not rebuilt since.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError, aiokafka.errors.KafkaError
        One of them does not answer.
    """
    counted = _count(catalog_url)
    if counted is None:
        return None
    outcomes, templates, (day_obs, tonight), sets = counted
    arrivals, waiting = await _offsets(settings, VISIT_ARRIVALS.name, worker_group)
    _, behind = await _offsets(settings, DIFFERENCE_IMAGES.name, catalog_group)
    letters, _ = await _offsets(settings, DEAD_LETTERS.name, worker_group)
    return Standing(outcomes, templates, arrivals, letters, waiting, behind, day_obs, tonight, sets)


type _Night = tuple[int | None, Counter[str]]


def _count(catalog_url: str) -> tuple[Counter[str], int, _Night, dict[str, int]] | None:
    engine = open_existing(catalog_url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(visit_detector.name):
                return None
            kinds = select(visit_detector.c.outcome, func.count()).group_by(
                visit_detector.c.outcome
            )
            outcomes = Counter({row[0]: row[1] for row in connection.execute(kinds)})
            rows = select(obscore.c.dataset_type, func.count()).group_by(obscore.c.dataset_type)
            types = {row[0]: row[1] for row in connection.execute(rows)}
            tonight = _tonight(connection)
            sets = _template_sets(connection)
    finally:
        engine.dispose()
    if outcomes["created"] < types.get("difference_image", 0):
        return None
    return outcomes, types.get("template_coadd", 0), tonight, sets


def _tonight(connection: Connection) -> _Night:
    c = arrival_outcome.c
    day = connection.scalar(select(func.max(c.day_obs)))
    if day is None:
        return None, Counter()
    kinds = select(c.outcome, func.count()).where(c.day_obs == day).group_by(c.outcome)
    return day, Counter({row[0]: row[1] for row in connection.execute(kinds)})


def _template_sets(connection: Connection) -> dict[str, int]:
    # A template's key begins with its set.
    key = obscore.c.record_key
    if connection.dialect.name == "sqlite":
        name = func.substr(key, 1, func.instr(key, "/") - 1)
    else:
        name = func.split_part(key, "/", 1)
    query = (
        select(name.label("template_set"), func.count())
        .where(obscore.c.dataset_type == "template_coadd")
        .group_by(name)
        .order_by(name)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


async def _offsets(settings: KafkaSettings, name: str, group: str) -> tuple[int, int]:
    """Count records of a topic, and those a group has not committed."""
    topic = f"{settings.topic_prefix}{name}"
    async with consumer(settings, group_id=group) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        firsts = await client.beginning_offsets(places)
        ends = await client.end_offsets(places)
        rest = 0
        for place in places:
            committed = await client.committed(place)
            rest += ends[place] - max(firsts[place], committed or 0)
    return sum(ends[p] - firsts[p] for p in places), rest
