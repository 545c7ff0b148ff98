"""Sending a plan, at a rate, whatever carries the records."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import batched

from residua.messaging.client import OutgoingRecord, traced_record
from residua.replay.plan import PlannedArrival
from residua.replay.record_headers import origin_header, replay_headers

__all__ = ["SOURCE", "send_planned"]

SOURCE = "/residua/replay"
"""``ce_source`` of replayed records."""

_IN_FLIGHT = 100
_STEPS_PER_SECOND = 20.0


async def send_planned(
    arrivals: Iterable[PlannedArrival],
    send: Callable[[OutgoingRecord], Awaitable[object]],
    *,
    topic: str,
    replay_id: str,
    label: str = "",
    rate: float | None = None,
    on_sent: Callable[[Sequence[PlannedArrival]], object] = lambda _: None,
) -> int:
    """Send arrivals in order.

    Parameters
    ----------
    send
        Sends one record and returns when the broker has it.
    topic
        Full name of the arrivals' topic.
    replay_id, label
        For the headers, see `residua.replay.record_headers`.
    rate
        Most records a second.
    on_sent
        Called with arrivals the broker has.

    Returns
    -------
    sent
        Number of records.
    """
    size = _IN_FLIGHT
    if rate is not None:
        size = max(1, min(_IN_FLIGHT, math.floor(rate / _STEPS_PER_SECOND)))
    sent = 0
    begin = time.monotonic()
    for step in batched(arrivals, size):
        if rate is not None:
            await asyncio.sleep(max(0.0, begin + sent / rate - time.monotonic()))
        await asyncio.gather(*(send(_record(p, topic, replay_id, label)) for p in step))
        sent += len(step)
        on_sent(step)
    return sent


def _record(planned: PlannedArrival, topic: str, replay_id: str, label: str) -> OutgoingRecord:
    arrival = planned.arrival
    record = traced_record(topic, arrival, arrival.visit_detector.key, source=SOURCE)
    return OutgoingRecord(
        record.topic,
        record.key,
        record.value,
        (*record.headers, *replay_headers(replay_id, label), origin_header(planned.place)),
    )
