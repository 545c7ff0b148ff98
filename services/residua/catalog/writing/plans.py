"""Writing ``obsplan`` so that it may be done twice, and in any order of the three topics."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection, delete, select, update

from residua.catalog.plan_rows import PlanRow, plan_id
from residua.catalog.writing.inserting import insert_rows
from residua.obscore import obsplan

__all__ = ["miss_plans", "write_plans"]

_SUMS = ("planned", "arrived")
_STATUS = "execution_status"


def write_plans(connection: Connection, rows: Sequence[PlanRow]) -> None:
    """Insert or complete rows within the caller's transaction.

    What is known better is believed, what is only known less well stays. A group's announcement
    becomes that of the visit as soon as an arrival tells the visit's number, whichever is first;
    all of a visit is performed when anything of it has arrived.
    """
    if not rows:
        return
    known = {(r["instrument_name"], r["lsst_group"]): r["lsst_visit"] for r in rows if _joins(r)}
    unknown = {
        (r["instrument_name"], r["lsst_group"])
        for r in rows
        if r["lsst_visit"] is None and r["lsst_group"] is not None
    }
    known |= _visits_of(connection, unknown - set(known))
    waiting = _waiting(connection, known)
    chosen: dict[str, PlanRow] = {}
    for row in (*waiting, *rows):
        named = _with_visit(row, known)
        held = chosen.get(named["plan_id"])
        chosen[named["plan_id"]] = named if held is None else _merged(held, named)
    names = tuple(_columns())
    values = list(map(itemgetter(*names), chosen.values()))
    insert_rows(connection, "obsplan", names, values, _on_conflict())
    if waiting:
        gone = [row["plan_id"] for row in waiting]
        connection.execute(delete(obsplan).where(obsplan.c.plan_id.in_(gone)))
    _perform(connection, chosen.values())


def miss_plans(connection: Connection, first_day: int, last_day: int) -> int:
    """Say of what was announced for nights that are over, and never came, that it was not done.

    It is ``Unscheduled`` then, in ObsLocTAP's words; an arrival that comes after all makes it
    ``Performed``. Returns how many rows changed.

    Parameters
    ----------
    first_day, last_day
        Observing days YYYYMMDD; what is looked at is bounded by them.
    """
    c = obsplan.c
    done = connection.execute(
        update(obsplan)
        .where(c.day_obs.between(first_day, last_day), c.execution_status == "Scheduled")
        .values(execution_status="Unscheduled")
    )
    return done.rowcount


def _joins(row: PlanRow) -> bool:
    return row["lsst_visit"] is not None and row["lsst_group"] is not None


def _visits_of(
    connection: Connection, groups: set[tuple[str, str]]
) -> dict[tuple[str, str], int | None]:
    """Visits of groups, as the table knows them."""
    found: dict[tuple[str, str], int | None] = {}
    for instrument, group in sorted(groups):
        visit = connection.scalar(
            select(obsplan.c.lsst_visit)
            .where(
                obsplan.c.instrument_name == instrument,
                obsplan.c.lsst_group == group,
                obsplan.c.lsst_visit.is_not(None),
            )
            .limit(1)
        )
        if visit is not None:
            found[instrument, group] = visit
    return found


def _waiting(connection: Connection, known: dict[tuple[str, str], int | None]) -> list[PlanRow]:
    """Return rows of announcements whose visit is known now."""
    rows: list[PlanRow] = []
    names = _columns()
    for instrument, group in sorted(known):
        query = select(*(obsplan.c[name] for name in names)).where(
            obsplan.c.instrument_name == instrument,
            obsplan.c.lsst_group == group,
            obsplan.c.lsst_visit.is_(None),
        )
        rows += [dict(row) for row in connection.execute(query).mappings()]
    return rows


def _with_visit(row: PlanRow, known: dict[tuple[str, str], int | None]) -> PlanRow:
    visit = known.get((row["instrument_name"], row["lsst_group"]))
    if row["lsst_visit"] is not None or visit is None:
        return row
    identity = plan_id(row["instrument_name"], visit, None, row["lsst_detector"])
    obs_id = f"{row['instrument_name']}-{visit}"
    return row | {"lsst_visit": visit, "plan_id": identity, "obs_id": obs_id}


def _perform(connection: Connection, rows: Iterable[PlanRow]) -> None:
    visits = sorted(
        {(r["instrument_name"], r["lsst_visit"]) for r in rows if r["lsst_visit"] is not None}
    )
    arrived = obsplan.alias("arrived_ones")
    for instrument, pairs in groupby(visits, itemgetter(0)):
        # One look for a batch: most of its visits have nothing that still waits.
        waiting = connection.scalars(
            select(obsplan.c.lsst_visit)
            .distinct()
            .where(
                obsplan.c.instrument_name == instrument,
                obsplan.c.lsst_visit.in_([visit for _, visit in pairs]),
                obsplan.c.execution_status != "Performed",
            )
            .order_by(obsplan.c.lsst_visit)
        ).all()
        for visit in waiting:
            connection.execute(
                update(obsplan)
                .where(
                    obsplan.c.instrument_name == instrument,
                    obsplan.c.lsst_visit == visit,
                    obsplan.c.execution_status != "Performed",
                    select(arrived.c.plan_id)
                    .where(
                        arrived.c.instrument_name == instrument,
                        arrived.c.lsst_visit == visit,
                        arrived.c.arrived == 1,
                    )
                    .exists(),
                )
                .values(execution_status="Performed")
            )


def _merged(held: PlanRow, row: PlanRow) -> PlanRow:
    """As `_on_conflict`, within a batch."""
    first, second = (row, held) if row["precedence"] > held["precedence"] else (held, row)
    merged = {n: first[n] if first[n] is not None else second[n] for n in first}
    for name in _SUMS:
        merged[name] = max(held[name], row[name])
    if "Performed" in {held[_STATUS], row[_STATUS]}:
        merged[_STATUS] = "Performed"
    return merged


@cache
def _columns() -> tuple[str, ...]:
    """Columns that are written; the key is the first."""
    rest = (c.name for c in obsplan.columns if c.name not in {"row_id", "plan_id"})
    return ("plan_id", *rest)


@cache
def _on_conflict() -> str:
    new, old = "excluded", "obsplan"
    better = f"{new}.precedence > {old}.precedence"
    changes = [
        f'"{n}" = CASE WHEN {better} THEN COALESCE({new}."{n}", {old}."{n}") '
        f'ELSE COALESCE({old}."{n}", {new}."{n}") END'
        for n in _columns()
        if n not in {"plan_id", _STATUS, *_SUMS}
    ]
    changes += [
        f'"{n}" = CASE WHEN {new}."{n}" > {old}."{n}" THEN {new}."{n}" ELSE {old}."{n}" END'
        for n in _SUMS
    ]
    changes.append(
        f"{_STATUS} = CASE WHEN {new}.{_STATUS} = 'Performed' THEN {new}.{_STATUS} "
        f"ELSE {old}.{_STATUS} END"
    )
    grown = " OR ".join([better, *(f"{new}.{n} > {old}.{n}" for n in _SUMS)])
    return f"ON CONFLICT (plan_id) DO UPDATE SET {', '.join(changes)} WHERE {grown}"
