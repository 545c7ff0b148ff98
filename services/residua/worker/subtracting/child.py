"""What runs in the pool's child process: one subtraction at a time, dead when its parent is."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from residua.errors import TransientError
from residua.outcomes import Outcome
from residua.ports import TemplateReads
from residua.storage.waits import StoreWaits, observe_store_waits
from residua.telemetry import configure_logging
from residua.telemetry.stages import Stage
from residua.worker.conclude import Conclusion, Healing, conclude
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import Processor, ProcessorFactory
from residua.worker.subtracting.read_ahead import ReadAheadReport, TemplateReader
from residua_schemas import (
    ArrivalPlace,
    DifferenceImageFailed,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
)

__all__ = [
    "ChildAnswer",
    "die_with_parent",
    "initialize",
    "process_in_child",
    "read_ahead_in_child",
    "ready",
    "settle_in_child",
]


_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ChildAnswer:
    """What the child sends back: plain values, so that every answer can travel.

    Parameters
    ----------
    kind
        ``error`` is an exception nobody foresaw.
    reads
        Where this call's templates came from.
    region
        Where the visit image lies, when that was asked: no candidates were given.
    healing
        What is to be sent again, see `residua.worker.conclude`.
    stages
        How long this call's stages took.
    cpu_seconds
        CPU of making the outcome, all threads, what the child read ahead meanwhile included; 0
        where nothing was made.
    """

    kind: Literal["outcome", "transient", "error"]
    outcome: Outcome | None = None
    message: str = ""
    reads: TemplateReads = field(default_factory=TemplateReads)
    region: SkyPolygon | None = None
    healing: Healing | None = None
    stages: tuple[Stage, ...] = ()
    cpu_seconds: float = 0.0


_MOST_RUNS = 8

_settings: list[WorkerSettings] = []
_processors: dict[str | None, Processor] = {}
_makers: list[Callable[[str | None], Processor]] = []
_readers: list[TemplateReader] = []


def die_with_parent(parent_pid: int, number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:
            os._exit(1)


def initialize(
    factory: ProcessorFactory,
    settings: WorkerSettings,
    parent_pid: int,
    waits: StoreWaits | None = None,
) -> None:
    """Prepare this child: end with the parent, leave signals to it, open stores.

    Parameters
    ----------
    waits
        Told how long this child waits for stores.
    """
    die_with_parent(parent_pid, signal.SIGKILL)
    # Spawned: it knows nothing of its parent's logs.
    configure_logging(settings, "worker")
    observe_store_waits(waits)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _settings[:] = [settings]
    _makers[:] = [lambda label: factory(settings.labelled(label))]
    _processors.clear()
    read = _processor(None).read_ahead
    _readers[:] = [] if read is None else [TemplateReader(read)]


def ready() -> int:
    """Answer with the process id once `initialize` is through."""
    return os.getpid()


class _LocatedError(Exception):
    """No outcome yet: where the image lies was asked, and is known."""

    def __init__(self, region: SkyPolygon | None) -> None:
        super().__init__()
        self.region = region


def process_in_child(
    arrival: VisitArrival,
    candidates: tuple[TemplateCoadd, ...] | None,
    place: ArrivalPlace,
    label: str | None = None,
) -> ChildAnswer:
    """Conclude an arrival for a run (`None`: our own); no exception leaves this function.

    Without candidates it is asked where the visit image lies. An arrival that has an outcome is
    not made again.
    """
    reads = TemplateReads()
    stages: tuple[Stage, ...] = ()
    cpu_seconds = 0.0

    def make(number: int) -> Outcome:
        nonlocal reads, stages, cpu_seconds
        processor = _processor(label)
        if candidates is None:
            found = processor.locate(arrival) if processor.locate is not None else None
            if found is None or isinstance(found, SkyPolygon):
                raise _LocatedError(found)
            return found.model_copy(update={"revision": number})
        before, busy = processor.template_reads(), time.process_time()
        outcome = processor(arrival, candidates, number)
        cpu_seconds = time.process_time() - busy
        reads, stages = processor.template_reads() - before, processor.take_stages()
        return outcome

    try:
        [settings] = _settings
        found = _conclude(arrival, place, settings.labelled(label).run.name, make)
        return ChildAnswer(
            "outcome",
            outcome=found.outcome,
            reads=reads,
            healing=found.healing,
            stages=stages,
            cpu_seconds=cpu_seconds,
        )
    except _LocatedError as e:
        return ChildAnswer("outcome", region=e.region)
    except TransientError as e:
        return ChildAnswer("transient", message=str(e))
    except Exception as e:  # noqa: BLE001 one bad message must not stop the service
        return ChildAnswer("error", message=f"{type(e).__name__}: {e}"[:1000])


def settle_in_child(failure: DifferenceImageFailed, place: ArrivalPlace) -> ChildAnswer:
    """Commit a failure, or find that it is none; no exception leaves this function."""
    try:
        found = _conclude(
            failure.arrival,
            place,
            failure.run,
            lambda number: failure.model_copy(update={"revision": number}),
        )
        return ChildAnswer("outcome", outcome=found.outcome, healing=found.healing)
    except Exception as e:  # noqa: BLE001 whatever it is, the failure is not final
        return ChildAnswer("transient", message=f"{type(e).__name__}: {e}"[:1000])


def _conclude(
    arrival: VisitArrival, place: ArrivalPlace, run: str, make: Callable[[int], Outcome]
) -> Conclusion:
    # Imported in the child only: the parent needs neither numba nor FITS.
    from residua.storage.fetch import checksum_now
    from residua.storage.runs.ledger_files import LedgerFiles, require_exclusive

    [settings] = _settings
    require_exclusive(settings.output_root)
    return conclude(
        LedgerFiles(settings.output_root, run, arrival.visit_detector),
        arrival,
        place,
        make,
        lambda: checksum_now(arrival.image_uri, settings.input_roots),
    )


def read_ahead_in_child(templates: tuple[TemplateCoadd, ...]) -> ReadAheadReport:
    """Have templates read in a thread of this child, and report on earlier ones; never waits.

    Our own run's templates only: a replay into another run is not announced.
    """
    if not _readers:
        return ReadAheadReport()
    [reader] = _readers
    reader.ask(templates)
    return reader.report()


def _processor(label: str | None) -> Processor:
    if label not in _processors:
        if len(_processors) >= _MOST_RUNS:
            # The first is our own run's.
            _processors.pop(list(_processors)[1])
        _processors[label] = _makers[0](label)
    return _processors[label]
