"""A simulated night that was worked through as a worker does, with its ledger and its catalog."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lsst.resources import ResourcePath

from residua.catalog.rows import Site
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.demo.inputs import simulated_inputs
from residua.messaging.records.events import IncomingRecord
from residua.outcomes import Outcome
from residua.storage.runs.ledger_files import LedgerFiles
from residua.worker.conclude import conclude
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import open_processor
from residua_schemas import (
    ArrivalPlace,
    DifferenceImageCreated,
    Event,
    TemplateCoadd,
    VisitArrival,
)

__all__ = ["Night", "copied_night", "worked_again", "worked_night"]

_TIME_MS = 1_780_000_000_000


@dataclass(frozen=True)
class Night:
    """What a night left.

    Parameters
    ----------
    root
        Under which ``visits``, ``templates`` and ``images`` lie: a directory or s3://bucket.
    outcomes
        Of all arrivals, in their order.
    """

    root: str
    arrivals: Sequence[VisitArrival]
    templates: Sequence[TemplateCoadd]
    outcomes: Sequence[Outcome]

    @property
    def output_root(self) -> str:
        """Root of the difference images."""
        return f"{self.root}/images"

    @property
    def created(self) -> list[DifferenceImageCreated]:
        """The created outcomes."""
        return [o for o in self.outcomes if isinstance(o, DifferenceImageCreated)]

    @property
    def records(self) -> list[IncomingRecord]:
        """The records from which catalog and Butler are filled."""
        pairs: list[tuple[str, Event, bytes]] = [
            ("difference-images", o, o.key) for o in self.outcomes
        ]
        pairs += [("template-coadds", t, t.key) for t in self.templates]
        return [
            IncomingRecord(topic, 0, n, key, event.model_dump_json().encode(), _TIME_MS)
            for n, (topic, event, key) in enumerate(pairs)
        ]

    def fill(self, url: str) -> str:
        """Fill a catalog; returns its URL."""
        engine = open_database(url)
        read = detection_reader((self.output_root,))
        result = write_batch(engine, self.records, "difference-images", Site(), read)
        engine.dispose()
        assert not result.refused
        return url


def worked_night(
    folder: Path,
    *,
    shape: tuple[int, int] = (560, 600),
    seed: int = 11,
    detectors: int = 2,
    **changes: object,
) -> Night:
    """Simulate one visit with some detectors (and one off the templates) and work through it."""
    inputs = simulated_inputs(
        folder,
        seed=seed,
        detector_shape=shape,
        visits=2,
        detectors=detectors,
        template_set="default",
        progress=lambda _line: None,
    )
    night = Night(str(folder), inputs.arrivals, inputs.templates, ())
    return _worked(night, changes)


def copied_night(night: Night, root: str, **changes: object) -> Night:
    """Copy the inputs of a night elsewhere, and work through it there."""
    source = ResourcePath(night.root, forceDirectory=True)
    target = ResourcePath(root, forceDirectory=True)
    for name in ("visits", "templates"):
        for file in Path(source.ospath, name).iterdir():
            place = target.join(f"{name}/{file.name}")
            if place.isLocal:
                Path(place.ospath).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place.ospath)
            else:
                place.write(file.read_bytes())

    def there(uri: str) -> str:
        return str(target.join("/".join(uri.split("/")[-2:])).geturl())

    arrivals = [a.model_copy(update={"image_uri": there(a.image_uri)}) for a in night.arrivals]
    templates = [t.model_copy(update={"uri": there(t.uri)}) for t in night.templates]
    return _worked(replace(night, root=root, arrivals=arrivals, templates=templates), changes)


def worked_again(night: Night) -> Night:
    """Work through the arrivals of a night, with its templates."""
    return _worked(night, {})


def _worked(night: Night, changes: dict[str, object]) -> Night:
    settings = WorkerSettings(
        input_roots=(f"{night.root}/visits",),
        template_roots=(f"{night.root}/templates",),
        output_root=night.output_root,
        missing_grace=0.0,
    ).model_copy(update=changes)
    processor = open_processor(settings)
    outcomes = []
    for n, arrival in enumerate(night.arrivals):
        candidates = tuple(t for t in night.templates if t.band == arrival.band)
        ledger = LedgerFiles(night.output_root, settings.run.name, arrival.visit_detector)
        place = ArrivalPlace(append_time_ms=_TIME_MS + n, partition=0, offset=n)

        def make(
            number: int,
            arrival: VisitArrival = arrival,
            candidates: tuple[TemplateCoadd, ...] = candidates,
        ) -> Outcome:
            return processor(arrival, candidates, number)

        outcomes.append(conclude(ledger, arrival, place, make).outcome)
    return replace(night, outcomes=tuple(outcomes))
