"""A stand-in for the subtraction: fast, deterministic, and able to misbehave on request.

The tests of delivery run the real worker with it: ``python -m tests.support.stand_in`` reads the
same environment as ``python -m residua.worker``. What it does is told by the arrival's image URI,
the part after ``?``: ``sleep=SECONDS``, ``hang``, ``crash``, ``crash-after-store``, ``raise``,
``fail``, ``transient``, ``store-waits=SECONDS`` (a store that takes its time);
``gone`` (the input is not there any more, from the second try on);
``input=URI`` (reads that file under the input roots, as the store does);
``recent=URI`` (an image that may be let go, made of that file);
``kill-before-store``, ``kill-after-store``, ``kill-after-publish`` (SIGKILL of the worker's main
process at that point); with ``once`` it misbehaves only the first time (a file remembers).
With ``kill-after-publish`` it misbehaves until then: the next try would succeed.
"""

import hashlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from residua.errors import (
    CorruptFileError,
    MissingFileError,
    NoTemplateError,
    ResiduaError,
    TransientError,
)
from residua.identity import dataset_id, object_key, publisher_did
from residua.messaging.client import OutgoingRecord
from residua.outcomes import Outcome, failed, skipped
from residua.storage.fetch import fetch
from residua.storage.waits import waiting_for_store
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import Processor
from residua_schemas import DifferenceImageCreated, TemplateCoadd, VisitArrival, outcome_from_json
from residua_schemas.examples import examples

__all__ = ["open_stand_in", "stand_in_content"]


def stand_in_content(run: str, arrival: VisitArrival) -> bytes:
    """Return the bytes of an image's file."""
    return f"{run} {arrival.visit_detector} {arrival.image_uri}".encode()


def open_stand_in(settings: WorkerSettings) -> Processor:
    """Make a processor that writes a small file whose bytes depend on the arrival alone."""
    # Imported here: a spawned child imports this module before it runs anything.
    from lsst.resources import ResourcePath

    from residua.storage.objects import checksum_of, publish_bytes
    from residua.storage.runs.ledger_files import LedgerFiles

    root = ResourcePath(settings.output_root, forceDirectory=True, forceAbsolute=True)

    def make(arrival: VisitArrival, number: int) -> DifferenceImageCreated:
        content = f"{settings.run.name} {arrival.visit_detector} {arrival.image_uri}".encode()
        day_obs = arrival.day_obs or 20000101
        who, checksum = arrival.visit_detector, checksum_of(content)
        key = object_key(settings.run.name, who, day_obs, number, checksum)
        location = root.join(key)
        outcome = _created(arrival, settings, str(location), content, number)
        LedgerFiles(settings.output_root, settings.run.name, who).draft(outcome)
        publish_bytes(location, content)
        return outcome

    def stand_in(
        arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...], number: int
    ) -> Outcome:
        wish = parse_qs(urlsplit(arrival.image_uri).query, keep_blank_values=True)
        try:
            _misbehave(wish, settings, arrival)
            if "kill-after-store" in wish and _first_time(settings, arrival):
                make(arrival, number)
                _kill_worker()
            if "crash-after-store" in wish:
                make(arrival, number)
                os.kill(os.getpid(), signal.SIGKILL)
        except ResiduaError as e:
            return failed(arrival, settings.run.name, e, e.responsible, number=number)
        if "template" in wish and not candidates:
            nothing = NoTemplateError(f"no template for {arrival.visit_detector}", candidates=0)
            return skipped(arrival, settings.run.name, "no_template", nothing, number=number)
        return make(arrival, number)

    return Processor(stand_in)


def _misbehave(wish: dict[str, list[str]], settings: WorkerSettings, arrival: VisitArrival) -> None:
    time.sleep(float(wish.get("sleep", ["0"])[0]))
    if "store-waits" in wish:
        with waiting_for_store():
            time.sleep(float(wish["store-waits"][0]))
    if "gone" in wish and _marker(settings, arrival).exists():
        raise MissingFileError(f"{arrival.image_uri} is gone by request")
    if "input" in wish:
        fetch(wish["input"][0], settings.input_roots, None, grace=settings.missing_grace)
    if "once" in wish and not _first_time(settings, arrival):
        return
    if "kill-after-publish" in wish and _marker(settings, arrival).exists():
        return
    if "hang" in wish:
        time.sleep(3600.0)
    if "crash" in wish:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raise" in wish:
        _raise()
    if "kill-before-store" in wish and _first_time(settings, arrival):
        _kill_worker()
    if "transient" in wish:
        raise TransientError("the stand-in's store does not answer")
    if "fail" in wish:
        raise CorruptFileError(f"{arrival.image_uri} is corrupt by request", bytes=0)


def _first_time(settings: WorkerSettings, arrival: VisitArrival) -> bool:
    marker = _marker(settings, arrival)
    if marker.exists():
        return False
    marker.touch()
    return True


def _marker(settings: WorkerSettings, arrival: VisitArrival) -> Path:
    v = arrival.visit_detector
    local = "://" not in settings.output_root
    directory = settings.output_root if local else tempfile.gettempdir()
    return Path(directory) / f"once-{settings.topic_prefix}{v.visit}-{v.detector}"


def _kill_worker() -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    # The kernel kills us in turn, but not at once: until then nothing more may happen here.
    while True:
        signal.pause()


def _raise() -> NoReturn:
    raise ZeroDivisionError("by request")


def _created(
    arrival: VisitArrival, settings: WorkerSettings, uri: str, content: bytes, number: int
) -> DifferenceImageCreated:
    example = examples()[DifferenceImageCreated]
    assert isinstance(example, DifferenceImageCreated)
    run, identity = settings.run.name, arrival.visit_detector
    dataset = dataset_id(run, identity)
    recent = parse_qs(urlsplit(arrival.image_uri).query).get("recent")
    kept: dict[str, object] = {}
    if recent is not None:
        image = example.visit_image.model_copy(update={"uri": recent[0]})
        kept = {"store": "recent", "visit_image": image, "templates": ()}
        kept["visit_image_metadata"] = None
    return example.model_copy(
        update={
            **kept,
            "dataset_id": dataset,
            "run": run,
            "visit_detector": identity,
            "revision": number,
            "day_obs": arrival.day_obs or 20000101,
            "arrival": arrival,
            "uri": uri,
            "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "size_bytes": len(content),
            "preview_uri": None,
            "obs_publisher_did": publisher_did(settings.authority, dataset),
            "band": arrival.band,
        }
    )


def _kill_after_publishing(settings: WorkerSettings) -> None:
    # The one fault that lies in the worker's main process.
    from residua.worker import agent

    publish = agent._publish

    async def publish_and_die(app: Any, outgoing: OutgoingRecord) -> None:
        await publish(app, outgoing)
        if b"kill-after-publish" in (outgoing.value or b""):
            outcome = outcome_from_json(outgoing.value or b"")
            if _first_time(settings, outcome.arrival):
                os.kill(os.getpid(), signal.SIGKILL)

    agent._publish = publish_and_die


if __name__ == "__main__":
    from tests.support.stand_in import open_stand_in as factory

    from residua.worker.main import run_worker

    worker_settings = WorkerSettings()
    _kill_after_publishing(worker_settings)
    run_worker(worker_settings, factory)
