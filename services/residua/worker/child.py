"""What runs in the pool's child process: one subtraction at a time, dead when its parent is."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from residua.errors import TransientError
from residua.outcomes import Outcome
from residua.worker.settings import WorkerSettings
from residua_schemas import TemplateCoadd, VisitArrival

if TYPE_CHECKING:
    from residua.subtraction.planes import PlanePool

__all__ = [
    "ChildAnswer",
    "Processor",
    "ProcessorFactory",
    "die_with_parent",
    "initialize",
    "open_processor",
    "process_in_child",
    "ready",
]

type Processor = Callable[[VisitArrival, tuple[TemplateCoadd, ...]], Outcome]
"""From arrival and candidate templates to the outcome; may raise `TransientError`."""

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
    """

    kind: Literal["outcome", "transient", "error"]
    outcome: Outcome | None = None
    message: str = ""


_MOST_RUNS = 8

_processors: dict[str | None, Processor] = {}
_makers: list[Callable[[str | None], Processor]] = []


def die_with_parent(parent_pid: int, number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent_pid:
            os._exit(1)


def initialize(factory: ProcessorFactory, settings: WorkerSettings, parent_pid: int) -> None:
    """Prepare this child: end with the parent, leave signals to it, open stores."""
    die_with_parent(parent_pid, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _makers[:] = [lambda label: factory(settings.labelled(label))]
    _processors.clear()
    _processor(None)


def ready() -> int:
    """Answer with the process id once `initialize` is through."""
    return os.getpid()


def process_in_child(
    arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...], label: str | None = None
) -> ChildAnswer:
    """Run the processor of a run (`None`: our own); no exception leaves this function."""
    try:
        return ChildAnswer("outcome", outcome=_processor(label)(arrival, candidates))
    except TransientError as e:
        return ChildAnswer("transient", message=str(e))
    except Exception as e:  # noqa: BLE001 one bad message must not stop the service
        return ChildAnswer("error", message=f"{type(e).__name__}: {e}"[:1000])


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
    from residua.processing import ProcessingContext, process
    from residua.storage.store import ImageFileStore

    store = ImageFileStore(
        input_roots=settings.input_roots,
        template_roots=settings.template_roots,
        output_root=settings.output_root,
        zero_point=settings.zero_point,
        lossless=settings.lossless,
        threads=settings.threads,
    )
    context = ProcessingContext(settings.run, settings.authority, settings.threads, _planes())
    return lambda arrival, candidates: process(arrival, candidates, store, context)


@cache
def _planes() -> "PlanePool":
    """Buffers of this process: one arrival is subtracted at a time, of whatever run."""
    from residua.subtraction.planes import PlanePool

    return PlanePool()
