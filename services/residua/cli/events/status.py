"""`residua status`: what is in the topics, and what waits."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from residua.cli.catalog_place import catalog_place
from residua.cli.console import FAILED, STDERR, one_line_errors
from residua.cli.events.status_tables import show

__all__ = ["status"]

type _Summary = dict[str, Any]


def status(
    bootstrap: Annotated[
        str, typer.Option(help="Kafka's host:port.", envvar="RESIDUA_KAFKA_BOOTSTRAP")
    ] = "127.0.0.1:9092",
    group: Annotated[
        str,
        typer.Option(help="The workers' consumer group.", envvar="RESIDUA_CONSUMER_GROUP"),
    ] = "residua-worker",
    catalog: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the catalog, or the directory of a demo or `residua up`: then "
            "nothing is read from the topics, and the answer takes as long however many outcomes "
            "there are.",
            envvar="RESIDUA_CATALOG_URL",
        ),
    ] = None,
    catalog_group: Annotated[
        str,
        typer.Option(help="The catalog's consumer group.", envvar="RESIDUA_CATALOG_GROUP"),
    ] = "residua-catalog",
    butler_group: Annotated[
        str,
        typer.Option(help="The Butler registrar's group.", envvar="RESIDUA_BUTLER_GROUP"),
    ] = "residua-butler",
    storage: Annotated[
        bool,
        typer.Option(
            "--storage",
            help="Also what the images weigh, stored and made on demand, per detector and in all; "
            "needs --catalog, whose rows are all counted.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="Look again every so many seconds until Ctrl-C; best with --catalog. With --json "
            "one object a line.",
        ),
    ] = None,
    most_waiting: Annotated[
        int | None,
        typer.Option(min=0, help="For scripts: exit code 1 when more arrivals than this wait."),
    ] = None,
) -> None:
    """Count arrivals, outcomes and dead letters, and the arrivals that have no outcome yet.

    Also what each consumer group has yet to read, by partition, with the age of the oldest unread;
    arrivals and outcomes a minute over the last ten; who sends heartbeats: each process, what a
    worker has in hand, and who fell silent; with a catalog the outcomes of the newest night and
    the templates of each set.
    Reads the topics from their start to their end, or with `--catalog` asks the catalog and the
    brokers; nothing is changed. `lost_to_retention` counts
    arrivals that were removed before the workers' group read them; once the group has read on,
    only its log and the metric `residua_lost_to_retention` know.
    """
    if storage and catalog is None:
        raise typer.BadParameter("--storage needs --catalog")
    with suppress(KeyboardInterrupt):
        while True:
            with one_line_errors():
                url, moved = catalog_place(catalog)
                weights = _storage(url, moved) if storage and url is not None else {}
                try:
                    found = _look(bootstrap, group, url, catalog_group, butler_group)
                except Exception:
                    if weights:
                        # The catalog knew it, whatever the brokers do not say.
                        show(weights, as_json=as_json, indent=None if watch else 2)
                    raise
            summary = found | weights
            show(summary, as_json=as_json, indent=None if watch else 2)
            if most_waiting is not None and summary["waiting"] > most_waiting:
                STDERR.print(
                    f"residua: {summary['waiting']} arrivals wait, more than {most_waiting}",
                    markup=False,
                )
                raise typer.Exit(FAILED)
            if watch is None:
                return
            time.sleep(watch)


def _look(
    bootstrap: str, group: str, catalog: str | None, catalog_group: str, butler_group: str
) -> _Summary:
    counts: _Summary = {**_counts(bootstrap, group, catalog, catalog_group)}
    groups = {"workers": group, "catalog": catalog_group, "butler": butler_group}
    counts |= asyncio.run(_flow(bootstrap, groups))
    counts["services"] = asyncio.run(_services(bootstrap))
    return counts


async def _flow(bootstrap: str, groups: dict[str, str]) -> _Summary:
    """Return what waits for whom, and how much comes a minute: by offsets, no topic is read."""
    from residua.messaging.settings import KafkaSettings
    from residua.replay.catalogued.backlogs import per_minute, read_backlogs
    from residua_schemas import DIFFERENCE_IMAGES, VISIT_ARRIVALS

    settings = KafkaSettings(kafka_bootstrap=bootstrap)
    arrivals, outcomes = (settings.topic_name(t) for t in (VISIT_ARRIVALS, DIFFERENCE_IMAGES))
    asked = {g: arrivals if name == "workers" else outcomes for name, g in groups.items()}
    found = await read_backlogs(settings, asked)
    return {
        "arrivals_per_minute": round(await per_minute(settings, arrivals), 2),
        "outcomes_per_minute": round(await per_minute(settings, outcomes), 2),
        "groups": [
            {
                "group": b.group,
                "topic": b.topic,
                "lag": b.lag,
                "oldest_unread_seconds": _rounded(b.oldest_seconds),
                "partitions": [
                    {
                        "partition": p.partition,
                        "lag": p.lag,
                        "oldest_unread_seconds": _rounded(p.oldest_seconds),
                    }
                    for p in b.partitions
                ],
            }
            for b in found
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


async def _services(bootstrap: str) -> list[dict[str, Any]]:
    """Who sent a heartbeat lately; silent for three intervals is dead, or out of reach."""
    from residua.messaging.heartbeats import read_heartbeats
    from residua.messaging.settings import KafkaSettings

    now = datetime.now(UTC)
    return [
        {
            "service": beat.service,
            "instance": beat.instance,
            "alive": beat.silent_for(now) <= 3.0 * beat.interval,
            "silent_seconds": round(beat.silent_for(now), 1),
            "handled": beat.handled,
            "in_hand": None if beat.in_hand is None else str(beat.in_hand),
            "run": beat.run,
            "version": beat.version,
        }
        for beat in await read_heartbeats(KafkaSettings(kafka_bootstrap=bootstrap))
    ]


def _counts(bootstrap: str, group: str, catalog: str | None, catalog_group: str) -> _Summary:
    if catalog is not None:
        summary = asyncio.run(_standing(bootstrap, group, catalog, catalog_group))
        if summary is not None:
            return summary
        STDERR.print(
            "the catalog was filled by an earlier release (`residua catalog rebuild` "
            "makes it anew): reading the topics",
            markup=False,
        )
    return asyncio.run(_summary(bootstrap, group))


def _storage(catalog: str, moved: dict[str, str]) -> dict[str, int]:
    from residua.recreation.settings import RecreationSettings
    from residua.recreation.storage_use import read_storage_use

    use = read_storage_use(catalog, {**moved, **RecreationSettings().moved_roots})
    images = use.stored + use.on_demand
    return {
        "images_stored": use.stored,
        "images_made_on_demand": use.on_demand,
        "bytes_of_stored_files": use.stored_bytes,
        "bytes_of_files_not_stored": use.spared_bytes,
        "bytes_kept_per_detector_beside_its_file": use.kept_per_image or 0,
        "bytes_of_preview_per_detector": use.preview_per_image,
        "detectors_whose_files_were_looked_at": use.looked_at,
        "bytes_per_detector": round(use.total_bytes / images) if images else 0,
        "bytes_in_all": use.total_bytes,
    }


async def _standing(
    bootstrap: str, group: str, catalog: str, catalog_group: str
) -> _Summary | None:
    from residua.messaging.retention import lost_to_retention
    from residua.messaging.settings import KafkaSettings
    from residua.replay.catalogued.standing import read_standing
    from residua_schemas import VISIT_ARRIVALS

    settings = KafkaSettings(kafka_bootstrap=bootstrap)
    found = await read_standing(settings, catalog, worker_group=group, catalog_group=catalog_group)
    if found is None:
        return None
    return {
        "templates": found.templates,
        "arrivals": found.arrivals,
        "created": found.outcomes["created"],
        "skipped": found.outcomes["skipped"],
        "failed": found.outcomes["failed"],
        "waiting": found.waiting,
        "catalog_behind": found.catalog_behind,
        "dead_letters": found.dead_letters,
        "lost_to_retention": await lost_to_retention(
            settings, group, settings.topic_name(VISIT_ARRIVALS)
        ),
        "tonight": {"day_obs": found.day_obs}
        | {kind: found.tonight[kind] for kind in ("created", "skipped", "failed")},
        "template_sets": found.template_sets,
    }


async def _summary(bootstrap: str, group: str) -> _Summary:
    from pydantic import ValidationError

    from residua.ledger import Identity, identity_of
    from residua.messaging.client import read_to_end
    from residua.messaging.records.envelopes import read_value
    from residua.messaging.retention import lost_to_retention
    from residua.messaging.settings import KafkaSettings
    from residua_schemas import (
        DEAD_LETTERS,
        DIFFERENCE_IMAGES,
        TEMPLATE_COADDS,
        VISIT_ARRIVALS,
        Topic,
        VisitArrival,
        outcome_from_json,
    )

    settings = KafkaSettings(kafka_bootstrap=bootstrap)

    async def values(topic: Topic) -> list[tuple[bytes | None, bytes | None]]:
        name = settings.topic_name(topic)
        return [(r.key, r.value) async for r in read_to_end(settings, name)]

    def who(arrival: VisitArrival) -> tuple[bytes, Identity]:
        return arrival.visit_detector.key, identity_of(arrival)

    arrived: set[tuple[bytes, Identity]] = set()
    unreadable = 0
    for _, value in await values(VISIT_ARRIVALS):
        try:
            arrival = read_value(value or b"", VisitArrival.model_validate_json)
        except ValidationError:
            unreadable += 1
        else:
            arrived.add(who(arrival))
    newest = {}
    for _, value in await values(DIFFERENCE_IMAGES):
        with suppress(ValidationError):
            outcome = read_value(value or b"", outcome_from_json)
            newest[outcome.run, outcome.key, outcome.revision] = outcome
    kinds = Counter(o.outcome for o in newest.values())
    templates: dict[bytes | None, bytes | None] = dict(await values(TEMPLATE_COADDS))
    return {
        "templates": sum(value is not None for value in templates.values()),
        "arrivals": len(arrived),
        "unreadable_arrivals": unreadable,
        "created": kinds["created"],
        "skipped": kinds["skipped"],
        "failed": kinds["failed"],
        "waiting": len(arrived - {who(o.arrival) for o in newest.values()}),
        "dead_letters": len(await values(DEAD_LETTERS)),
        "lost_to_retention": await lost_to_retention(
            settings, group, settings.topic_name(VISIT_ARRIVALS)
        ),
    }
