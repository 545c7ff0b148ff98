"""What a replay needs from the catalog, and from the topics only what it has not taken in yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from sqlalchemy import Connection, Row, func, inspect, select, tuple_
from sqlalchemy.sql import ColumnElement

from residua.messaging.client import consumer, read_to_end, topic_partitions
from residua.messaging.records.events import IncomingRecord, incoming
from residua.messaging.settings import KafkaSettings
from residua.obscore import arrival_outcome, obscore
from residua.obscore.opening import open_existing
from residua.replay.history import History, KnownOutcome
from residua.replay.plain import (
    PlainArrivals,
    count_plain,
    is_broad,
    place_of_row,
    rows_of_others,
)
from residua.replay.progress import Ends
from residua.replay.selection import Selection
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    Topic,
    VisitArrival,
)

__all__ = ["CatalogSource", "Tail", "read_history_of_catalog", "take_in"]

_TABLE = arrival_outcome.c


@dataclass(frozen=True)
class Tail:
    """Records that the catalog does not stand for."""

    arrivals: Sequence[IncomingRecord]
    outcomes: Sequence[IncomingRecord]
    dead_letters: Sequence[IncomingRecord]


@dataclass(frozen=True)
class CatalogSource:
    """Where the catalog is, and who reads the topics.

    Parameters
    ----------
    url
        SQLAlchemy URL.
    worker_group, catalog_group
        Consumer groups: what they have committed need not be read again.
    """

    url: str
    worker_group: str
    catalog_group: str


async def read_history_of_catalog(
    settings: KafkaSettings, selection: Selection, source: CatalogSource, run: str | None = None
) -> tuple[History, Ends, PlainArrivals | None] | None:
    """Read what `residua.replay.transport.read_history` reads, without the whole of the topics.

    An arrival that the workers have finished has an outcome or a dead letter; an outcome that the
    catalog has taken in is a row.

    Parameters
    ----------
    run
        Run that is looked at; `None` for the one of the newest outcome.

    Returns
    -------
    history, ends, plain
        ``plain`` are the visit-detectors that the history leaves out, where the selection is of
        many. `None` when the catalog does not know: it was filled by an earlier release, or
        places in the topic are asked for.
    """
    if selection.offsets:
        return None
    engine = open_existing(source.url)
    try:
        with engine.connect() as connection:
            if not _is_complete(connection):
                return None
        # What the catalog takes in meanwhile comes twice, which changes nothing.
        tail, ends = await _tail(settings, source)
        with engine.connect() as connection:
            history, plain = take_in(
                connection, source.url, selection, settings.topic_name(VISIT_ARRIVALS), tail, run
            )
    finally:
        engine.dispose()
    return history, ends, plain


def take_in(
    connection: Connection,
    url: str,
    selection: Selection,
    arrivals_topic: str,
    tail: Tail,
    run: str | None,
) -> tuple[History, PlainArrivals | None]:
    """Put together what the catalog knows and what the topics tell beyond it."""
    history = History(selection, arrivals_topic)
    for name, newest in _runs(connection).items():
        history.note_run(name, newest)
    if not is_broad(selection):
        _keep(history, connection.execute(select(arrival_outcome).where(*_conditions(selection))))
        _add(history, tail)
        return history, None
    fresh = History(selection, arrivals_topic)
    _add(fresh, tail)
    for name, newest in fresh.runs.items():
        history.note_run(name, newest)
    looked_at = run or history.newest_run()
    others = frozenset((who.visit, who.detector) for who in fresh.identities)
    _keep(history, rows_of_others(connection, looked_at, others, _conditions(selection)))
    _add(history, tail)
    if looked_at is None:
        return history, None
    return history, count_plain(connection, url, looked_at, selection, others)


async def _tail(settings: KafkaSettings, source: CatalogSource) -> tuple[Tail, Ends]:
    """Read what the groups have not committed yet, and all dead letters."""
    ends: Ends = {}
    found: list[list[IncomingRecord]] = []
    for topic, group in (
        (VISIT_ARRIVALS, source.worker_group),
        (DIFFERENCE_IMAGES, source.catalog_group),
        (DEAD_LETTERS, None),
    ):
        begin, ends[topic.name] = await _limits(settings, topic, group)
        name = settings.topic_name(topic)
        found.append([incoming(r) async for r in read_to_end(settings, name, offsets=begin)])
    return Tail(*found), ends


def _add(history: History, tail: Tail) -> None:
    for record in tail.arrivals:
        history.add_arrival(record)
    for record in tail.outcomes:
        history.add_outcome(record)
    for record in tail.dead_letters:
        history.add_dead_letter(record)


def _is_complete(connection: Connection) -> bool:
    if not inspect(connection).has_table(arrival_outcome.name):
        return False
    # A catalog of an earlier release does not know its oldest images.
    of_images = obscore.c.dataset_type == "difference_image"
    oldest = select(obscore.c.dataset_id).where(of_images).order_by(obscore.c.row_id).limit(100)
    images = list(connection.scalars(oldest))
    known = select(_TABLE.dataset_id).where(_TABLE.dataset_id.in_(images)).distinct()
    return len(list(connection.scalars(known))) == len(images)


def _runs(connection: Connection) -> dict[str, int]:
    """Return when each run had its newest outcome: two steps of an index a run."""
    found: dict[str, int] = {}
    run = connection.scalar(select(func.min(_TABLE.run)))
    while run is not None:
        newest = select(func.max(_TABLE.recorded_ms)).where(_TABLE.run == run)
        found[run] = connection.scalar(newest) or 0
        run = connection.scalar(select(func.min(_TABLE.run)).where(_TABLE.run > run))
    return found


def _keep(history: History, rows: Iterable[Row[tuple[object, ...]]]) -> None:
    for row in rows:
        arrival = VisitArrival.model_validate_json(row.arrival)
        known = KnownOutcome(row.outcome, row.number, arrival.remake, row.day_obs)
        time = row.append_time_ms or row.recorded_ms
        history.keep_outcome(row.run, arrival, known, place_of_row(row), time)


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    """Return what narrows the rows: on who it is, so that no newer arrival of his is hidden."""
    found: list[ColumnElement[bool]] = []
    if selection.visits is not None:
        found.append(_TABLE.visit.between(*selection.visits))
    if selection.instrument is not None:
        found.append(_TABLE.instrument == selection.instrument)
    if selection.detectors:
        found.append(_TABLE.detector.in_(sorted(selection.detectors)))
    who = (_TABLE.instrument, _TABLE.visit, _TABLE.detector)
    if selection.day_obs is not None:
        of_night = select(*who).where(_TABLE.day_obs.between(*selection.day_obs))
        found.append(tuple_(*who).in_(of_night))
    if selection.states and not selection.states & {"dead", "none"}:
        of_kind = select(*who).where(_TABLE.outcome.in_(sorted(selection.states)))
        found.append(tuple_(*who).in_(of_kind))
    return found


async def _limits(
    settings: KafkaSettings, topic: Topic, group: str | None
) -> tuple[dict[int, int], dict[int, int]]:
    """Return where a group stands in a topic, and where the topic ends; by partition."""
    name = settings.topic_name(topic)
    async with consumer(settings, group_id=group) as client:
        places = [TopicPartition(name, p) for p in await topic_partitions(client, name)]
        ends = await client.end_offsets(places)
        begin = {}
        if group is not None:
            for place in places:
                begin[place.partition] = await client.committed(place) or 0
    return begin, {place.partition: end for place, end in ends.items()}
