"""Start the subtraction worker: one process that has one arrival in hand, or several such."""

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import faust
import structlog

from residua.extras import require_for
from residua.messaging.group import OtherRunError
from residua.messaging.heartbeats import instance_name, send_heartbeats
from residua.messaging.making_topics import create_topics
from residua.messaging.surroundings import show_surroundings
from residua.metrics import Metrics
from residua.metrics.health import Health
from residua.telemetry import configure_logging
from residua.telemetry.tracing import configure_tracing
from residua.worker.agent import add_agent
from residua.worker.app import (
    arrived,
    group_generation,
    heartbeat_interval,
    join_anew,
    make_app,
    member_id,
    owned_partitions,
    rebalance_timeout,
    show_backlog,
)
from residua.worker.handler import ArrivalHandler
from residua.worker.membership import Membership
from residua.worker.recreating.requests import RequestFollower
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import die_with_parent
from residua.worker.subtracting.processor import ProcessorFactory, open_processor
from residua.worker.subtracting.subtraction_process import SubtractionProcess
from residua.worker.templates.in_force import Templates
from residua.worker.templates.next_visits import NextVisitFollower
from residua.worker.templates.template_follower import TemplateFollower
from residua.worker.topology import TopologyWatch, wait_for_other_run
from residua.worker.watchdog import EXIT_CODE, SignsOfLife, Watchdog
from residua_schemas import VISIT_ARRIVALS

__all__ = ["main", "run_worker"]

_WATCHDOG_MARGIN = 60.0


def main() -> None:
    """Run the worker with settings from the environment."""
    run_worker(WorkerSettings())


def run_worker(settings: WorkerSettings, factory: ProcessorFactory = open_processor) -> None:
    """Handle arrivals until SIGTERM; the arrival in hand is finished first.

    Parameters
    ----------
    settings
        With a ``pool_size`` above one, as many processes are started; when one of them ends, all
        end, and whoever supervises starts the worker again.
    factory
        Makes the function that turns an arrival into its outcome, in the pool's child.

    Raises
    ------
    SystemExit
        With a code other than 0 when something failed that a new start may heal; with a message
        (`residua.extras.MissingExtraError`) when the settings ask for what is not installed.
    """
    require_for(*settings.input_roots, *settings.template_roots, settings.output_root)
    configure_logging(settings, "worker")
    if settings.create_topics:
        asyncio.run(
            create_topics(
                settings,
                partitions=settings.topic_partitions,
                replication=settings.topic_replication,
            )
        )
    try:
        asyncio.run(wait_for_other_run(settings))
    except OtherRunError as e:
        structlog.get_logger(__name__).critical(
            "worker_cannot_go_on", error=type(e).__name__, message=e.message
        )
        raise SystemExit(1) from None
    if settings.pool_size == 1:
        _run_one(settings, factory)
    else:
        _run_several(settings, factory)


def _run_one(settings: WorkerSettings, factory: ProcessorFactory) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    metrics = Metrics(Health(settings.heartbeat_file))
    metrics.expect([settings.topic_name(VISIT_ARRIVALS)])
    metrics.serve(settings, "worker", settings.run.name)
    configure_tracing(settings, "worker")
    signs = SignsOfLife()
    pool = SubtractionProcess(factory, settings, metrics)
    pool.begin()
    data_directory = Path(tempfile.mkdtemp(prefix="residua-worker-"))
    app = make_app(settings, data_directory)
    handler: asyncio.Future[ArrivalHandler] = loop.create_future()
    # A second more than a heartbeat, for the broker's answer.
    membership = Membership(lambda: group_generation(app), heartbeat_interval(settings) + 1.0)

    def owned() -> Collection[int]:
        return owned_partitions(app, settings.topic_name(VISIT_ARRIVALS))

    topology = TopologyWatch(
        settings, owned, lambda: member_id(app), lambda: join_anew(app), signs, metrics
    )
    add_agent(app, settings, handler, signs, membership, topology.note, metrics)

    @app.task
    async def follow_topology() -> None:
        await topology.follow()

    @app.task
    async def follow_templates() -> None:
        templates = Templates(settings.template_set)
        topic = settings.topic_name(VISIT_ARRIVALS)
        follower = TemplateFollower(templates, settings, metrics, lambda: arrived(app, topic))

        async def catch_up() -> None:
            await follower.catch_up(signs.place)

        handler.set_result(
            ArrivalHandler(settings, pool, templates, catch_up, membership.confirm, metrics, signs)
        )
        await follower.follow()

    @app.task
    async def follow_next_visits() -> None:
        known = await handler
        follower = NextVisitFollower(
            settings, known.templates, known.catch_up, pool, owned, metrics
        )
        await follower.follow()

    @app.task
    async def follow_requests() -> None:
        folder = data_directory / "recreated"
        await RequestFollower(settings, pool, signs, folder, metrics).follow()

    @app.task
    async def send_signs() -> None:
        await send_heartbeats(
            settings,
            "worker",
            instance_name(settings.instance_id),
            metrics,
            run=settings.run.name,
            in_hand=lambda: signs.in_hand,
        )

    @app.task
    async def look_around() -> None:
        topics = [settings.topic_name(VISIT_ARRIVALS)]
        await show_surroundings(settings, topics, _places(settings.output_root), metrics)

    @app.task
    async def warm_up() -> None:
        pid = await pool.start()
        metrics.health.become_ready()
        structlog.get_logger(__name__).info(
            "ready", run=settings.run.name, child_pid=pid, instance_id=settings.instance_id
        )

    @app.task
    async def turn() -> None:
        while True:
            signs.loop_seen = time.monotonic()
            await show_backlog(app, settings.topic_name(VISIT_ARRIVALS), signs, metrics)
            metrics.store_wait(pool.store_wait)
            await asyncio.sleep(1.0)

    rebalance = max(settings.group_session_timeout, rebalance_timeout(settings))
    longest = rebalance + settings.longest_handling + _WATCHDOG_MARGIN
    watchdog = Watchdog(
        signs,
        lambda: bool(app.rebalancing),
        rebalance_limit=settings.rebalance_limit or longest,
        message_age_limit=settings.message_age_limit,
        beat=metrics.beat,
    )
    watchdog.start()
    # Our own logging stays, and no web server: only faust's command line would start one.
    worker = faust.Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False
    )
    # It writes control characters between the lines of the log.
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as e:
        if e.code:
            raise
    finally:
        watchdog.stop()
        pool.close()
        shutil.rmtree(data_directory, ignore_errors=True)


def _places(output_root: str) -> dict[str, str]:
    """Where images go to a disk of ours, its directory."""
    remote = "://" in output_root and not output_root.startswith("file://")
    return {} if remote else {"output": output_root.removeprefix("file://")}


def _run_several(settings: WorkerSettings, factory: ProcessorFactory) -> None:
    context = multiprocessing.get_context("spawn")
    members: list[BaseProcess] = [
        context.Process(
            target=_run_member,
            args=(_member_settings(settings, i), factory, os.getpid()),
            name=f"worker-{i}",
        )
        for i in range(settings.pool_size)
    ]
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for member in members:
            with suppress(AssertionError, ValueError):
                member.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for member in members:
        member.start()
    if stopping:
        stop(signal.SIGTERM, None)
    multiprocessing.connection.wait([member.sentinel for member in members])
    stop(signal.SIGTERM, None)
    for member in members:
        member.join()
    # One that our SIGTERM met before it listened had nothing in hand.
    orderly = {0, -signal.SIGTERM}
    codes = {member.exitcode for member in members} - orderly
    if codes:
        raise SystemExit(EXIT_CODE if EXIT_CODE in codes else 1)


def _member_settings(settings: WorkerSettings, index: int) -> WorkerSettings:
    instance, port, file = settings.instance_id, settings.metrics_port, settings.heartbeat_file
    return settings.model_copy(
        update={
            "pool_size": 1,
            "instance_id": None if instance is None else f"{instance}-{index}",
            "metrics_port": port + index if port else port,
            "heartbeat_file": None if file is None else file.with_name(f"{file.name}.{index}"),
        }
    )


def _run_member(settings: WorkerSettings, factory: ProcessorFactory, parent_pid: int) -> None:
    die_with_parent(parent_pid, signal.SIGTERM)
    # The parent passes an interrupt from the terminal on as SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging(settings, "worker")
    _run_one(settings, factory)
