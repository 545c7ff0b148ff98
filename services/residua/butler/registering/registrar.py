"""Events into a Butler repository: batches, many writers, and nothing registered twice."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from lsst.daf.butler import Butler, DatasetRef, FileDataset
from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import OperationalError

from residua.butler.failures import translated
from residua.butler.registering.chains import Chains
from residua.butler.registering.dimensions import (
    INSERTION_ORDER,
    DimensionRows,
    Registrable,
    difference_image_rows,
    instrument_rows,
    merge_rows,
    template_rows,
)
from residua.butler.registering.file_datasets import FileDatasets
from residua.butler.registering.growing_regions import grow_regions
from residua.butler.repository import COLLECTION, RECREATING
from residua.errors import ResiduaError
from residua.identity import number_of_key
from residua.inner_names import forget_files, record_file
from residua.instruments import InstrumentRegistry
from residua.retries import tries
from residua_schemas import DifferenceImageCreated

__all__ = ["Registrar", "Rejected"]

_LOG = structlog.get_logger(__name__)

# Elements with few rows: once written they need not be written again by this process.
_STATIC = frozenset({"instrument", "physical_filter", "detector", "visit_system", "skymap"})
# Records that follow the newest image.
_CORRECTED = frozenset({"exposure", "visit", "visit_detector_region"})
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Rejected:
    """An event that cannot be registered, and why."""

    event: Registrable
    error: ResiduaError


class Registrar:
    """Registers events in a Butler repository; not for use by several threads at once.

    Registering is idempotent: dataset ids come with the events, dimension records follow from
    them, and what is there already stays, unless an event has a higher number than the file that
    is registered (`residua.ledger`): then the file, the visit and the footprint are replaced in
    one transaction.

    Parameters
    ----------
    butler
        A writeable Butler.
    instruments
        Known instruments.
    output_root
        Root difference images must lie under.
    template_roots
        Roots templates must lie under.
    visit_roots
        Roots whose visit images are registered too, if they are ``lsst.images`` archives.
    collection
        Chain that users open; new runs go to its front.
    attempts
        Attempts at a batch when other writers get in the way.
    pause
        Waits for a number of seconds.
    """

    def __init__(
        self,
        butler: Butler,
        *,
        instruments: InstrumentRegistry,
        output_root: str,
        template_roots: Sequence[str] = (),
        visit_roots: Sequence[str] = (),
        collection: str = COLLECTION,
        attempts: int = 6,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._butler = butler
        self._instruments = instruments
        self._files = FileDatasets(
            butler.dimensions, (output_root,), tuple(template_roots), tuple(visit_roots)
        )
        self._chains = Chains(butler, collection)
        self._attempts = attempts
        self._pause = pause
        self._random = random.Random()  # noqa: S311 jitter needs no secrecy
        self._written: set[tuple[str, str]] = set()

    def register(self, events: Sequence[Registrable]) -> list[Rejected]:
        """Register events as one batch; when that cannot be, one by one.

        Parameters
        ----------
        events
            In the order of the topic. Of several with one dataset id the highest number counts,
            of templates the last.

        Returns
        -------
        rejected
            Events that cannot be registered; all others are committed.

        Raises
        ------
        residua.errors.TransientError
            The database or the store does not answer; some events may be registered, and it is
            safe to register all of them again.
        """
        newest = _newest(events)
        if not newest:
            return []
        try:
            self._with_retries(newest)
        except ResiduaError as e:
            if len(newest) == 1:
                return [Rejected(newest[0], e)]
            _LOG.warning("butler_batch_split", events=len(newest), reason=e.message)
        else:
            return []
        rejected = []
        for event in newest:
            try:
                self._with_retries([event])
            except ResiduaError as e:
                rejected.append(Rejected(event, e))
        return rejected

    def _with_retries(self, events: Sequence[Registrable]) -> None:
        for _, pause in tries(
            self._attempts,
            0.1,
            longest_pause=_LONGEST_PAUSE,
            jitter=(0.2, 1.0),
            uniform=self._random.uniform,
        ):
            try:
                return self._write(events)
            except (ConflictingDefinitionError, OperationalError) as e:
                # Another writer was faster, or holds the lock. Jitter parts the two.
                if pause is None:
                    raise translated(e) from e
                self._butler.registry.refresh()
                self._pause(pause)
            except ResiduaError:
                raise
            except Exception as e:
                raise translated(e) from e
        raise AssertionError("unreachable")

    def _write(self, events: Sequence[Registrable]) -> None:
        later = [e for e in events if isinstance(e, DifferenceImageCreated) and e.revision > 0]
        outranked = set()
        for event in later:
            held = self._held(event)
            if held is not None and held[1] >= event.revision:
                outranked.add(event.dataset_id)
            elif held is not None:
                self._replace(event, held[0])
                grow_regions(self._butler, difference_image_rows(event, self._instruments))
        events = [event for event in events if event.dataset_id not in outranked]
        if not events:
            return
        datasets = [dataset for event in events for dataset in self._files.of(event)]
        rows = self._dimension_rows(events)
        for element, new in rows.items():
            self._butler.registry.insertDimensionData(element, *new, skip_existing=True)
        self._written |= _static_keys(rows)
        grow_regions(self._butler, rows)
        self._ingest(events, datasets)
        self._chains.extend({dataset.refs[0].run for dataset in datasets})
        self._chains.give_defaults(
            event.visit_detector.instrument
            for event in events
            if isinstance(event, DifferenceImageCreated)
        )

    def _ingest(self, events: Sequence[Registrable], datasets: Sequence[FileDataset]) -> None:
        absent = {event.dataset_id for event in events if _is_not_kept(event)}
        # "split": relative inside the datastore's root, by whole URI elsewhere.
        self._butler.ingest(
            *(dataset for dataset in datasets if dataset.refs[0].id not in absent),
            transfer="split",
            skip_existing=True,
            record_validation_info=False,
        )
        for dataset in datasets:
            [ref] = dataset.refs
            if ref.id in absent:
                record_file(self._butler, ref, dataset.path, RECREATING)

    def _dimension_rows(self, events: Sequence[Registrable]) -> DimensionRows:
        parts = [
            difference_image_rows(event, self._instruments)
            if isinstance(event, DifferenceImageCreated)
            else template_rows(event, self._patches_across)
            for event in events
        ]
        names = {
            event.visit_detector.instrument
            for event in events
            if isinstance(event, DifferenceImageCreated)
        }
        # Last, so that a description is believed over an event.
        parts += [instrument_rows(self._instruments.get(name)) for name in sorted(names)]
        merged = merge_rows(parts)
        return {
            element: new
            for element in INSERTION_ORDER
            if (new := self._unwritten(element, merged.get(element, [])))
        }

    def _unwritten(self, element: str, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        if element not in _STATIC:
            return rows
        return [row for row in rows if (element, _identity(row)) not in self._written]

    def _held(self, event: DifferenceImageCreated) -> tuple[DatasetRef, int] | None:
        """Return what is registered under an event's dataset id, and its number."""
        ref = self._butler.get_dataset(event.dataset_id)
        if ref is None or not self._butler.stored(ref):
            return None
        named = number_of_key(self._butler.getURI(ref).path)
        # Files of releases before the ledger have no number in their names.
        return ref, -1 if named is None else named[0]

    def _replace(self, event: DifferenceImageCreated, ref: DatasetRef) -> None:
        rows = difference_image_rows(event, self._instruments)
        datasets = self._files.of(event)
        _LOG.info("butler_file_replaced", dataset_id=str(event.dataset_id), number=event.revision)
        with self._butler.transaction():
            # A better WCS, a corrected night: the first record would stay for ever.
            for element in INSERTION_ORDER:
                if element in _CORRECTED:
                    [row] = rows[element]
                    self._butler.registry.syncDimensionData(element, row, update=True)
                elif element in rows:
                    self._butler.registry.insertDimensionData(
                        element, *rows[element], skip_existing=True
                    )
            # Forgotten, not deleted: who has the old URI reads on until it is swept.
            others = (dataset.refs[0].id for dataset in datasets[1:])
            old = [self._butler.get_dataset(identity) for identity in others]
            forget_files(self._butler, [ref, *(other for other in old if other is not None)])
            self._ingest([event], datasets)

    def _patches_across(self, skymap: str) -> int | None:
        found = self._butler.registry.queryDimensionRecords("skymap", skymap=skymap)
        return next((record.patch_nx_max for record in found), None)


def _is_not_kept(event: Registrable) -> bool:
    return isinstance(event, DifferenceImageCreated) and event.store == "none"


def _newest(events: Sequence[Registrable]) -> list[Registrable]:
    kept: dict[object, Registrable] = {}
    for event in events:
        held = kept.get(event.dataset_id)
        if (
            isinstance(held, DifferenceImageCreated)
            and isinstance(event, DifferenceImageCreated)
            and held.revision > event.revision
        ):
            continue
        kept[event.dataset_id] = event
    return list(kept.values())


def _identity(row: dict[str, object]) -> str:
    return "/".join(str(row[key]) for key in ("instrument", "name", "id") if key in row)


def _static_keys(rows: DimensionRows) -> set[tuple[str, str]]:
    return {(element, _identity(row)) for element in _STATIC for row in rows.get(element, ())}
