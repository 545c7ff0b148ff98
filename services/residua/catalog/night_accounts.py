"""Closing nights: one summary of each, when it is over."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Connection, Engine, RowMapping, func, select, text

from residua.catalog.writing.inserting import insert_rows
from residua.catalog.writing.plans import miss_plans
from residua.messaging.client import OutgoingRecord, event_record
from residua.obscore import arrival_outcome, night_summary, obsplan, visit_detector
from residua.obscore.nights import LEDGER_SQL, ledger_values
from residua_schemas import FailureCount, NightSummary

__all__ = ["close_nights", "last_closed", "summary_of"]

SOURCE = "/residua/catalog"
"""``ce_source`` of summaries."""

_MOST_DAYS = 30
_MOST_ERRORS = 64
_NAMES = tuple(column.name for column in night_summary.columns)


def close_nights(
    engine: Engine,
    send: Callable[[Sequence[OutgoingRecord]], None],
    topic: str,
    now: datetime,
    hours: float,
) -> int:
    """Send the summaries of nights that are over and have none; returns how many.

    What was announced for such a night and never came is no longer scheduled then.

    A summary is claimed, sent and noted in one transaction: of two consumers one sends it, and
    one that is not taken by the brokers is sent at the next try.

    Parameters
    ----------
    send
        Sends records, and returns when the brokers have them.
    topic
        Full name of ``night-summaries``.
    now
        UTC.
    hours
        From the end of the observing day (noon, UTC, of the day after) to the summary. Nights of
        the last 30 days are looked at.
    """
    sent = 0
    with engine.begin() as connection:
        miss_plans(connection, _earliest(now), last_closed(now, hours))
    with engine.connect() as connection:
        open_nights = [
            night for night in _nights(connection, now) if _closes(night[1], hours) <= now
        ]
    for instrument, day in open_nights:
        with engine.connect() as connection:
            runs = _runs(connection, instrument, day, _closes(day, hours))
        for run in runs:
            with engine.begin() as connection:
                event = summary_of(connection, instrument, day, run, now)
                row = (instrument, day, run, event.model_dump_json(exclude_none=True))
                there = "ON CONFLICT DO NOTHING"
                if insert_rows(connection, "night_summary", _NAMES, [row], there) == 1:
                    send([event_record(topic, event, event.key, source=SOURCE, time=now)])
                    sent += 1
    return sent


def summary_of(
    connection: Connection, instrument: str, day_obs: int, run: str, now: datetime
) -> NightSummary:
    """Return the account of a night as the catalog knows it now."""
    sql = LEDGER_SQL.format(plan="obsplan", outcomes="visit_detector", images="obscore")
    asked = {"run": run, "day": day_obs, "instrument": instrument}
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    numbers = connection.execute(text(sql), {**asked, "now": moment}).mappings().one()
    latencies, noises, sources, failures = _measured(connection, instrument, day_obs, run)
    return NightSummary(
        instrument=instrument,
        day_obs=day_obs,
        run=run,
        **ledger_values(dict(numbers)),
        failures=failures,
        latency_median=_percentile(latencies, 50.0),
        latency_p95=_percentile(latencies, 95.0),
        sky_noise_median=_percentile(noises, 50.0),
        detections=sum(sources),
        closed=now,
    )


def _measured(
    connection: Connection, instrument: str, day_obs: int, run: str
) -> tuple[list[float], list[float], list[int], tuple[FailureCount, ...]]:
    v = visit_detector.c
    of_night = select(arrival_outcome.c.dataset_id).where(
        arrival_outcome.c.day_obs == day_obs,
        arrival_outcome.c.instrument == instrument,
        arrival_outcome.c.run == run,
    )
    mine = v.dataset_id.in_(of_night)
    rows: Sequence[RowMapping] = (
        connection.execute(
            select(v.latency, v.matched_filter_sn_std, v.sources).where(
                mine, v.outcome == "created"
            )
        )
        .mappings()
        .all()
    )
    counted = connection.execute(
        select(v.reason, v.responsible, func.count().label("n"))
        .where(mine, v.outcome == "failed")
        .group_by(v.reason, v.responsible)
        .order_by(func.count().desc(), v.reason)
        .limit(_MOST_ERRORS)
    )
    failures = tuple(
        FailureCount(error=r.reason or "?", responsible=r.responsible or "residua", count=r.n)
        for r in counted
    )
    return (
        [r["latency"] for r in rows if r["latency"] is not None],
        [r["matched_filter_sn_std"] for r in rows if r["matched_filter_sn_std"] is not None],
        [r["sources"] or 0 for r in rows],
        failures,
    )


def last_closed(now: datetime, hours: float) -> int:
    """Return the newest observing day whose night is over, see `close_nights`."""
    return int((now - timedelta(days=1, hours=12.0 + hours)).strftime("%Y%m%d"))


def _earliest(now: datetime) -> int:
    return int((now - timedelta(days=_MOST_DAYS)).strftime("%Y%m%d"))


def _nights(connection: Connection, now: datetime) -> list[tuple[str, int]]:
    """Nights of late that have no summary yet, by instrument."""
    earliest = _earliest(now)
    closed = select(night_summary.c.instrument).where(
        night_summary.c.instrument == obsplan.c.instrument_name,
        night_summary.c.day_obs == obsplan.c.day_obs,
    )
    query = (
        select(obsplan.c.instrument_name, obsplan.c.day_obs)
        .where(obsplan.c.day_obs >= earliest, ~closed.exists())
        .distinct()
        .order_by(obsplan.c.day_obs, obsplan.c.instrument_name)
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def _runs(connection: Connection, instrument: str, day_obs: int, closes: datetime) -> list[str]:
    """Return the runs of a night; one that only begins after its end is that of a replay."""
    query = (
        select(arrival_outcome.c.run)
        .where(
            arrival_outcome.c.day_obs == day_obs,
            arrival_outcome.c.instrument == instrument,
            arrival_outcome.c.recorded_ms <= round(closes.timestamp() * 1000.0),
        )
        .distinct()
        .order_by(arrival_outcome.c.run)
    )
    return [row[0] for row in connection.execute(query)] or [""]


def _closes(day_obs: int, hours: float) -> datetime:
    day = datetime.strptime(str(day_obs), "%Y%m%d").replace(tzinfo=UTC)
    return day + timedelta(days=1, hours=12.0 + hours)


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
