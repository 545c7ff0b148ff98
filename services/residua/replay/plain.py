"""Visit-detectors of which the catalog has one outcome and the topics nothing new.

Nearly all of a survey are such. What a replay does with them needs no history: the database counts
them, and they are read one after the other when they are sent. Only the others are held.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import batched

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, tuple_
from sqlalchemy.sql import ColumnElement, Subquery

from residua.obscore import arrival_outcome
from residua.obscore.opening import open_existing
from residua.replay.plan import PlannedArrival, ReplayPlan, Target
from residua.replay.selection import Selection
from residua_schemas import ArrivalPlace, VisitArrival

__all__ = ["NO_PLACE", "PlainArrivals", "count_plain", "is_broad", "rows_of_others", "with_plain"]

NO_PLACE = ArrivalPlace(append_time_ms=0, partition=0, offset=0)

_TABLE = arrival_outcome.c
_WHO = (_TABLE.visit, _TABLE.detector)
_CHUNK = 400

type Who = tuple[int, int]
"""Visit and detector."""

type _Condition = ColumnElement[bool]


@dataclass(frozen=True)
class PlainArrivals:
    """Those of the run that is looked at.

    Parameters
    ----------
    url
        The catalog's SQLAlchemy URL.
    run
        The one run they have an outcome of.
    selection
        What they meet.
    others
        Visits and detectors that the topics tell more of: they are planned by their history.
    selected
        Their number, by outcome.
    """

    url: str
    run: str
    selection: Selection
    others: frozenset[Who]
    selected: Counter[str]

    def planned(self, target: Target) -> Iterator[PlannedArrival]:
        """Read them, oldest first, as they are to be sent."""
        statement = _plain(select(arrival_outcome), self.run, self.selection)
        order = statement.order_by(_announced(), _TABLE.visit, _TABLE.detector)
        engine = open_existing(self.url)
        try:
            with engine.connect().execution_options(yield_per=1000) as connection:
                for row in connection.execute(order):
                    if (row.visit, row.detector) not in self.others:
                        yield _planned(row, target)
        finally:
            engine.dispose()


def is_broad(selection: Selection) -> bool:
    """Whether a selection is of so many that the database should count them."""
    return selection.visits is None and selection.day_obs is None


def count_plain(
    connection: Connection, url: str, run: str, selection: Selection, others: frozenset[Who]
) -> PlainArrivals:
    """Count them in the database."""
    number = select(_TABLE.outcome, func.count()).group_by(_TABLE.outcome)
    found: Counter[str] = Counter()
    for outcome, n in connection.execute(_plain(number, run, selection)):
        found[outcome] += n
    for chunk in batched(sorted(others), _CHUNK):
        of_others = _plain(number, run, selection).where(tuple_(*_WHO).in_(chunk))
        for outcome, n in connection.execute(of_others):
            found[outcome] -= n
    return PlainArrivals(url, run, selection, others, +found)


def rows_of_others(
    connection: Connection, run: str | None, others: Iterable[Who], conditions: list[_Condition]
) -> Iterator[Row[tuple[object, ...]]]:
    """Rows of all visit-detectors that are not plain; some come twice."""
    several = _several()
    joined = select(arrival_outcome).outerjoin(several, _is_of(several)).where(*conditions)
    strange: list[_Condition] = [several.c.visit.is_not(None)]
    if run is not None:
        strange.append(_TABLE.run != run)
    yield from connection.execute(joined.where(or_(*strange)))
    for chunk in batched(sorted(others), _CHUNK):
        of_others = select(arrival_outcome).where(*conditions, tuple_(*_WHO).in_(chunk))
        yield from connection.execute(of_others)


def with_plain(plan: ReplayPlan, plain: PlainArrivals, target: Target) -> ReplayPlan:
    """Return a plan with the plain arrivals counted in; those to be sent are read from it."""
    number = sum(plain.selected.values())
    send = target.force or bool(target.label)
    return ReplayPlan(
        plan.run,
        plan.target_run,
        plan.arrivals,
        dict(Counter(plan.selected) + plain.selected),
        plan.already_done + (0 if send else number),
        plan.unreadable,
        plain=plain if send and number else None,
    )


def _announced() -> ColumnElement[int]:
    return func.coalesce(func.nullif(_TABLE.append_time_ms, 0), _TABLE.recorded_ms)


def _several() -> Subquery:
    # Of two instruments too: seldom, and planned by their history all the same.
    return select(*_WHO).group_by(*_WHO).having(func.count() > 1).subquery()


def _is_of(several: Subquery) -> _Condition:
    return and_(several.c.visit == _TABLE.visit, several.c.detector == _TABLE.detector)


def _plain[S: Select[*tuple[object, ...]]](statement: S, run: str, selection: Selection) -> S:
    several = _several()
    found: list[_Condition] = [several.c.visit.is_(None), _TABLE.run == run]
    if selection.instrument is not None:
        found.append(_TABLE.instrument == selection.instrument)
    if selection.detectors:
        found.append(_TABLE.detector.in_(sorted(selection.detectors)))
    if selection.states:
        found.append(_TABLE.outcome.in_(sorted(selection.states)))
    if selection.since is not None:
        found.append(_announced() >= 1000.0 * selection.since.timestamp())
    if selection.until is not None:
        found.append(_announced() < 1000.0 * selection.until.timestamp())
    joined = statement.select_from(arrival_outcome.outerjoin(several, _is_of(several)))
    return joined.where(*found)


def _planned(row: Row[tuple[object, ...]], target: Target) -> PlannedArrival:
    arrival = VisitArrival.model_validate_json(row.arrival)
    place = place_of_row(row) or NO_PLACE
    # A label's run has nothing of it yet.
    remake = 0 if target.label else arrival.remake + 1
    time = row.append_time_ms or row.recorded_ms
    return PlannedArrival(
        arrival.model_copy(update={"remake": remake}), place, row.outcome, timestamp_ms=time
    )


def place_of_row(row: Row[tuple[object, ...]]) -> ArrivalPlace | None:
    """Place of the arrival in its topic, where the outcome says it."""
    if row.append_time_ms is None:
        return None
    return ArrivalPlace(
        append_time_ms=row.append_time_ms,
        partition=row.arrival_partition,
        offset=row.arrival_offset,
    )
