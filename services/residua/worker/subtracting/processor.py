"""From a worker's settings to what processes its arrivals: the store bound to the use case."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import structlog

from residua.errors import TransientError
from residua.outcomes import Outcome
from residua.ports import TemplateReads
from residua.telemetry.stages import Stage, StageClock
from residua.worker.settings import WorkerSettings
from residua_schemas import DifferenceImageFailed, SkyPolygon, TemplateCoadd, VisitArrival

if TYPE_CHECKING:
    from residua.storage.read.file_contents import FileContents
    from residua.subtraction.engine.buffers import PlanePool

__all__ = ["Processor", "ProcessorFactory", "open_processor", "plane_pool"]

_MOST_NOTES = 1000


@dataclass(frozen=True)
class Processor:
    """What a run's arrivals are processed with.

    Parameters
    ----------
    process
        From arrival, candidate templates and number to the outcome; may raise `TransientError`.
    read_ahead
        Takes a template into memory and returns whether it had to be read; called in a thread
        beside ``process``. `None`: nothing is kept in memory.
    template_reads
        Where the templates came from, so far.
    locate
        From an arrival that does not say it to its footprint, or to its outcome when the image
        cannot be read. `None`: nobody can tell.
    take_stages
        What was timed since it was last asked.
    """

    process: Callable[[VisitArrival, tuple[TemplateCoadd, ...], int], Outcome]
    read_ahead: Callable[[TemplateCoadd], bool] | None = None
    template_reads: Callable[[], TemplateReads] = TemplateReads
    locate: Callable[[VisitArrival], SkyPolygon | DifferenceImageFailed] | None = None
    take_stages: Callable[[], tuple[Stage, ...]] = tuple

    def __call__(
        self, arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...], number: int = 0
    ) -> Outcome:
        """Call ``process``."""
        return self.process(arrival, candidates, number)


type ProcessorFactory = Callable[[WorkerSettings], Processor]
"""Called once in each child; must be importable there."""


def open_processor(settings: WorkerSettings) -> Processor:
    """Open the image store and bind it to the use case."""
    # Imported in the child only: the parent needs neither numba nor FITS.
    from residua.identity import configuration_dict, configuration_hash
    from residua.instruments import InstrumentRegistry
    from residua.processing import ProcessingContext, locate, process
    from residua.storage.runs.ledger_files import LedgerFiles
    from residua.storage.runs.run_record import RunChangedError, RunRecord, keep_run
    from residua.storage.runs.solutions import SolutionFiles
    from residua.storage.store import ImageFileStore

    store = ImageFileStore(
        input_roots=settings.input_roots,
        template_roots=settings.template_roots,
        output_root=settings.output_root,
        zero_point=settings.zero_point,
        lossless=settings.lossless,
        threads=settings.threads,
        instruments=InstrumentRegistry(settings.instrument_directories),
        missing_grace=settings.missing_grace,
        store=settings.store,
        preview=settings.previews,
        on_read=_teller(),
    )
    clock = StageClock()
    context = ProcessingContext(
        settings.run,
        settings.authority,
        settings.threads,
        plane_pool(),
        SolutionFiles(settings.output_root),
        clock,
    )

    record = RunRecord(
        run=settings.run.name,
        configuration=configuration_dict(settings.subtraction),
        configuration_hash=configuration_hash(settings.subtraction),
        template_set=settings.template_set,
        authority=settings.authority,
        zero_point=settings.zero_point,
        lossless=settings.lossless,
    )
    is_kept = False

    def make(arrival: VisitArrival, candidates: tuple[TemplateCoadd, ...], number: int) -> Outcome:
        nonlocal is_kept
        if not is_kept:
            try:
                keep_run(settings.output_root, record)
            except RunChangedError as e:
                # No arrival's fault: nothing goes on until an operator has looked.
                raise TransientError(e.message) from e
            is_kept = True
        ledger = LedgerFiles(settings.output_root, context.run.name, arrival.visit_detector)
        return process(arrival, candidates, store, context, number, ledger.draft)

    return Processor(
        make,
        store.read_template_ahead,
        lambda: store.template_reads,
        lambda arrival: locate(arrival, store, context),
        clock.take,
    )


def _teller() -> "Callable[[str, FileContents], None]":
    """Return what logs the notes of files, once for all files that have the same."""
    said: set[tuple[str, ...]] = set()

    def tell(name: str, contents: "FileContents") -> None:
        if not contents.notes or contents.notes in said:
            return
        if len(said) >= _MOST_NOTES:
            said.clear()
        said.add(contents.notes)
        structlog.get_logger(__name__).info("file_notes", file=name, notes=contents.notes)

    return tell


@cache
def plane_pool() -> "PlanePool":
    """Buffers of this process: one arrival is subtracted at a time, of whatever run."""
    from residua.subtraction.engine.buffers import PlanePool

    return PlanePool()
