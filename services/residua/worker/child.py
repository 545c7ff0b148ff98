"""What runs in the pool's child process: one subtraction at a time, dead when its parent is."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal

from residua.errors import TransientError
from residua.outcomes import Outcome
from residua.ports import TemplateReads
from residua.storage.waits import StoreWaits, observe_store_waits
from residua.worker.read_ahead import ReadAheadReport, TemplateReader
from residua.worker.settings import WorkerSettings
from residua_schemas import (
    DifferenceImageFailed,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
)

if TYPE_CHECKING:
    from residua.subtraction.engine.buffers import PlanePool

__all__ = [
    "ChildAnswer",
    "Processor",
    "ProcessorFactory",
    "die_with_parent",
    "initialize",
    "open_processor",
    "process_in_child",
    "read_ahead_in_child",
    "ready",
    "settle_in_child",
]


@dataclass(frozen=True)
class Processor:
    """What a run's arrivals are processed with.

    Parameters
    ----------
    process
        From arrival and candidate templates to the outcome; may raise `TransientError`.
    read_ahead
        Takes a template into memory and returns whether it had to be read; called in a thread
        beside ``process``. `None`: nothing is kept in memory.
    template_reads
        Where the templates came from, so far.
    locate
        From an arrival that does not say it to its footprint, or to its outcome when the image
        cannot be read. `None`: nobody can tell.
    """

    process: Callable[[VisitArrival, tuple[TemplateCoadd, ...]], Outcome]
    read_ahead: Callable[[TemplateCoadd], bool] | None = None
    template_reads: Callable[[], TemplateReads] = TemplateReads
    locate: Callable[[VisitArrival], SkyPolygon | DifferenceImageFailed] | None = None

    def __call__(self, arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...]) -> Outcome:
        """Call ``process``."""
        return self.process(arrival, candidates)


type ProcessorFactory = Callable[[WorkerSettings], Processor]
"""Called once in each child; must be importable there."""

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
    """

    kind: Literal["outcome", "transient", "error"]
    outcome: Outcome | None = None
    message: str = ""
    reads: TemplateReads = field(default_factory=TemplateReads)
    region: SkyPolygon | None = None


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


def process_in_child(
    arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...] | None, label: str | None = None
) -> ChildAnswer:
    """Run the processor of a run (`None`: our own); no exception leaves this function.

    Without candidates it is asked where the visit image lies. An arrival whose failure was
    published, or was about to be, is not tried again.
    """
    # Imported in the child only, as below.
    from residua.storage.kept_outcomes import find_created, find_failure

    try:
        [settings] = _settings
        run = settings.labelled(label).run.name
        final = find_failure(settings.output_root, run, arrival)
        if final is not None:
            return ChildAnswer("outcome", outcome=final)
        processor = _processor(label)
        before = processor.template_reads()
        if candidates is None:
            found = processor.locate(arrival) if processor.locate is not None else None
            if found is None or isinstance(found, SkyPolygon):
                return ChildAnswer("outcome", region=found)
            outcome: Outcome = found
        else:
            outcome = processor(arrival, candidates)
        if outcome.outcome != "created":
            # The input may have gone since an earlier try stored its image.
            outcome = find_created(settings.output_root, run, arrival) or outcome
        reads = processor.template_reads() - before
        return ChildAnswer("outcome", outcome=outcome, reads=reads)
    except TransientError as e:
        return ChildAnswer("transient", message=str(e))
    except Exception as e:  # noqa: BLE001 one bad message must not stop the service
        return ChildAnswer("error", message=f"{type(e).__name__}: {e}"[:1000])


def settle_in_child(failure: DifferenceImageFailed) -> ChildAnswer:
    """Make a failure final, or find that it is none; no exception leaves this function."""
    from residua.storage.kept_outcomes import settle_failure

    [settings] = _settings
    try:
        return ChildAnswer("outcome", outcome=settle_failure(settings.output_root, failure))
    except Exception as e:  # noqa: BLE001 whatever it is, the failure is not final
        return ChildAnswer("transient", message=f"{type(e).__name__}: {e}"[:1000])


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


def open_processor(settings: WorkerSettings) -> Processor:
    """Open the image store and bind it to the use case."""
    # Imported in the child only: the parent needs neither numba nor FITS.
    from residua.processing import ProcessingContext, locate, process
    from residua.storage.store import ImageFileStore

    store = ImageFileStore(
        input_roots=settings.input_roots,
        template_roots=settings.template_roots,
        output_root=settings.output_root,
        zero_point=settings.zero_point,
        lossless=settings.lossless,
        threads=settings.threads,
        missing_grace=settings.missing_grace,
    )
    context = ProcessingContext(settings.run, settings.authority, settings.threads, _planes())
    return Processor(
        lambda arrival, candidates: process(arrival, candidates, store, context),
        store.read_template_ahead,
        lambda: store.template_reads,
        lambda arrival: locate(arrival, store, context),
    )


@cache
def _planes() -> "PlanePool":
    """Buffers of this process: one arrival is subtracted at a time, of whatever run."""
    from residua.subtraction.engine.buffers import PlanePool

    return PlanePool()
