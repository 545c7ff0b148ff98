"""A whole replay: read the topics, plan, send, remember."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from heapq import merge
from typing import Any
from uuid import uuid5

from residua.identity import NAMESPACE
from residua.messaging.client import OutgoingRecord, producer
from residua.messaging.settings import KafkaSettings
from residua.replay.catalogued.from_catalog import CatalogSource, read_history_of_catalog
from residua.replay.plain import with_plain
from residua.replay.plan import PlannedArrival, ReplayPlan, Target, plan_replay
from residua.replay.progress import ProgressFile, ProgressFileError, ReplayStart
from residua.replay.selection import Selection
from residua.replay.sending import send_planned
from residua.replay.transport import read_history
from residua_schemas import VISIT_ARRIVALS

__all__ = ["ReplayReport", "run_replay"]


@dataclass(frozen=True)
class ReplayReport:
    """What a replay did, or would do.

    Parameters
    ----------
    replay
        Name of the replay, in the header of what it sends.
    run, target_run
        See `residua.replay.plan.ReplayPlan`.
    selected, selected_by_outcome
        Number of arrivals that meet the selection.
    already_done
        Number of these that have an outcome in the target run, and were left alone.
    to_send
        Number of arrivals of the plan.
    sent_before, sent
        How many of them an earlier start of this replay, and this one, sent.
    unreadable
        Records of the arrivals' topic that are no arrival.
    """

    replay: str
    run: str | None
    target_run: str | None
    selected: int
    selected_by_outcome: dict[str, int]
    already_done: int
    to_send: int
    sent_before: int
    sent: int
    unreadable: int
    dry_run: bool


async def run_replay(
    settings: KafkaSettings,
    selection: Selection,
    target: Target,
    *,
    rate: float | None = None,
    dry_run: bool = False,
    progress: ProgressFile | None = None,
    catalog: CatalogSource | None = None,
    on_progress: Callable[[int, int], object] = lambda _sent, _total: None,
) -> ReplayReport:
    """Send the selected arrivals again.

    Parameters
    ----------
    rate
        Most records a second.
    progress
        Where to remember what was sent; with an old one, the replay goes on from there, with
        the plan it had.
    catalog
        Asked instead of the topics, where it knows; not with a progress file, which goes by the
        topics.
    on_progress
        Called with the number of arrivals sent, and of all.

    Raises
    ------
    ProgressFileError
        The progress file is of another replay.
    aiokafka.errors.KafkaError
        The broker cannot be reached, or refuses.
    """
    question = f"{_words(selection)} {_words(target)} {settings.topic_prefix}"
    before = progress.read() if progress else None
    if before is not None and before[0].question != question:
        raise ProgressFileError(
            "the progress file belongs to a replay of another selection: name another file"
        )
    found = None
    if catalog is not None and progress is None:
        found = await read_history_of_catalog(settings, selection, catalog, target.run)
    if found is None:
        read = await read_history(settings, selection, before[0].ends if before else None)
        found = *read, None
    history, ends, plain = found
    if before is None:
        name = str(uuid5(NAMESPACE, f"replay|{question}|{json.dumps(ends, sort_keys=True)}"))
        start, sent_before = ReplayStart(name, question, ends), frozenset[str]()
    else:
        start, sent_before = before
    plan = plan_replay(history, selection, target)
    if plain is not None:
        plan = with_plain(plan, plain, target)
    rest = [p for p in plan.arrivals if p.name not in sent_before]
    done = before_this = len(plan.arrivals) - len(rest)
    sent = 0
    if not dry_run:
        with progress.open(start) if progress else nullcontext():

            def on_sent(step: Sequence[PlannedArrival]) -> None:
                nonlocal done
                done += len(step)
                if progress:
                    progress.sent(p.name for p in step)
                on_progress(done, plan.number)

            more = plan.plain.planned(target) if plan.plain else ()
            everything = merge(rest, more, key=lambda p: p.timestamp_ms)
            if rest or plan.plain:
                sent = await _send(
                    settings, everything, start.replay_id, target.label, rate, on_sent
                )
    return _report(plan, start.replay_id, before_this, sent, dry_run=dry_run)


async def _send(
    settings: KafkaSettings,
    arrivals: Iterable[PlannedArrival],
    replay_id: str,
    label: str,
    rate: float | None,
    on_sent: Callable[[Sequence[PlannedArrival]], None],
) -> int:
    async with producer(settings) as client:

        async def send(record: OutgoingRecord) -> None:
            await client.send_and_wait(
                record.topic, key=record.key, value=record.value, headers=list(record.headers)
            )

        return await send_planned(
            arrivals,
            send,
            topic=settings.topic_name(VISIT_ARRIVALS),
            replay_id=replay_id,
            label=label,
            rate=rate,
            on_sent=on_sent,
        )


def _report(
    plan: ReplayPlan, replay_id: str, sent_before: int, sent: int, *, dry_run: bool
) -> ReplayReport:
    return ReplayReport(
        replay=replay_id,
        run=plan.run,
        target_run=plan.target_run,
        selected=sum(plan.selected.values()),
        selected_by_outcome=dict(plan.selected),
        already_done=plan.already_done,
        to_send=plan.number,
        sent_before=sent_before,
        sent=sent,
        unreadable=plan.unreadable,
        dry_run=dry_run,
    )


def _words(value: Any) -> str:
    return json.dumps(asdict(value), sort_keys=True, default=_plain)


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)
