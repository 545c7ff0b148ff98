"""Send the demo's events through the real services and wait for all outcomes and rows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import create_engine, func, inspect, select

from residua.butler.repository import open_repository, repository_contents
from residua.demo.inputs import DemoInputs
from residua.demo.local import LocalSystem
from residua.errors import ResiduaError
from residua.identity import visit_image_dataset_id
from residua.messaging.client import event_record, read_to_end, send, traced_record
from residua.messaging.settings import KafkaSettings
from residua.obscore.table import obscore
from residua.outcomes import Outcome
from residua.recreation.lookup.log import write_log
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    TEMPLATE_COADDS,
    VISIT_ARRIVALS,
    DeadLetter,
    DifferenceImageCreated,
    VisitDetector,
    outcome_from_json,
)

__all__ = ["DemoResult", "DemoTimeoutError", "run_demo"]

_SOURCE = "/residua/demo"


class DemoTimeoutError(ResiduaError):
    """Not every arrival had its outcome, or not every outcome its row, in time."""

    responsible = "residua"


@dataclass(frozen=True)
class DemoResult:
    """What came back.

    Parameters
    ----------
    outcomes
        By visit-detector, in the order of the arrivals.
    dead_letters
        Records that could not be read.
    rows
        ObsCore rows of difference images.
    registered
        Difference images in the Butler repository.
    seconds
        From the first arrival sent to the last row seen.
    """

    outcomes: dict[VisitDetector, Outcome]
    dead_letters: Sequence[DeadLetter]
    rows: int
    registered: int
    seconds: float


def run_demo(
    inputs: DemoInputs,
    system: LocalSystem,
    *,
    timeout: float,
    on_outcome: Callable[[Outcome], None],
) -> DemoResult:
    """Register the templates, send the arrivals, wait for outcomes and rows.

    Raises
    ------
    DemoTimeoutError
        Something is missing after ``timeout`` seconds.
    residua.demo.services.ServiceDiedError
        A service stopped.
    """
    return asyncio.run(_run(inputs, system, timeout, on_outcome))


async def _run(
    inputs: DemoInputs,
    system: LocalSystem,
    timeout: float,  # noqa: ASYNC109 the deadline of the whole, checked between steps
    on_outcome: Callable[[Outcome], None],
) -> DemoResult:
    settings = KafkaSettings(kafka_bootstrap=system.bootstrap)
    templates, arrivals = (settings.topic_name(t) for t in (TEMPLATE_COADDS, VISIT_ARRIVALS))
    await send(
        settings,
        [event_record(templates, t, t.key, source=_SOURCE) for t in inputs.templates],
    )
    start = time.monotonic()
    await send(
        settings,
        [traced_record(arrivals, a, a.visit_detector.key, source=_SOURCE) for a in inputs.arrivals],
    )
    wanted = {a.visit_detector for a in inputs.arrivals}
    outcomes: dict[VisitDetector, Outcome] = {}
    letters: list[DeadLetter] = []
    rows = registered = 0
    while True:
        system.check()
        for outcome in await _outcomes(settings):
            if outcome.visit_detector not in outcomes:
                on_outcome(outcome)
            outcomes[outcome.visit_detector] = outcome
        letters = await _dead_letters(settings)
        created = sum(isinstance(o, DifferenceImageCreated) for o in outcomes.values())
        ids = [o.dataset_id for o in outcomes.values()]
        rows = _count_rows(system.catalog_path, ids) if created else 0
        visit_images = [
            visit_image_dataset_id(o.visit_detector)
            for o in outcomes.values()
            if o.visit_image_metadata is not None
        ]
        # Butler is asked last: it takes longest to answer.
        if (
            wanted <= set(outcomes)
            and rows >= created
            and _count_rows(system.catalog_path, visit_images) >= len(visit_images)
        ):
            registered = _count_registered(str(system.butler_repo))
            if registered >= created:
                break
        if time.monotonic() - start > timeout:
            missing = sorted(str(v) for v in wanted - set(outcomes))
            raise DemoTimeoutError(
                f"after {timeout:.0f} s {len(missing)} of {len(wanted)} arrivals have no outcome "
                f"({', '.join(missing[:3])}), {rows} of {created} rows and {registered} Butler "
                f"datasets are there; see the logs in {system.log_directory}",
                missing=len(missing),
                rows=rows,
                created=created,
                registered=registered,
            )
        await asyncio.sleep(0.3)
    # The broker ends with the demo: what `residua rebuild` needs of it stays.
    await write_log(settings, system.log_path)
    ordered = {a.visit_detector: outcomes[a.visit_detector] for a in inputs.arrivals}
    return DemoResult(ordered, letters, rows, registered, time.monotonic() - start)


async def _outcomes(settings: KafkaSettings) -> list[Outcome]:
    topic = settings.topic_name(DIFFERENCE_IMAGES)
    return [outcome_from_json(r.value) async for r in read_to_end(settings, topic)]


async def _dead_letters(settings: KafkaSettings) -> list[DeadLetter]:
    topic = settings.topic_name(DEAD_LETTERS)
    return [DeadLetter.model_validate_json(r.value) async for r in read_to_end(settings, topic)]


def _count_registered(repo: str) -> int:
    with open_repository(repo) as butler:
        counts = repository_contents(butler)
    return sum(c.datasets for c in counts if c.dataset_type == "difference_image")


def _count_rows(catalog: Path, ids: Sequence[UUID]) -> int:
    if not catalog.exists():
        return 0
    engine = create_engine(f"sqlite:///file:{catalog}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(obscore.name):
                return 0  # the consumer is about to make it
            there = obscore.c.dataset_id.in_([str(identity) for identity in ids])
            query = select(func.count()).select_from(obscore).where(there)
            return int(connection.execute(query).scalar_one())
    finally:
        engine.dispose()
