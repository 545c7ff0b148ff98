"""Burnt to the ground: images, ledgers and records of runs, put back from outcomes and inputs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from lsst.resources import ResourcePath
from pydantic import ValidationError

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    ResiduaError,
    SupersededArrivalError,
)
from residua.ledger import Entry, Kind, Order, content_of, identity_of, order_of
from residua.messaging.records.envelopes import read_value
from residua.messaging.records.events import IncomingRecord
from residua.recreation.recreator import Recreator
from residua.storage.exclusive import put_if_absent
from residua.storage.moved import moved
from residua.storage.objects import checksum_of, publish_bytes, read_object, resolve
from residua.storage.regions.hollow import SUFFIX
from residua.storage.runs.ledger_files import LedgerFiles
from residua.storage.runs.run_record import RunRecord, keep_run, read_run
from residua_schemas import (
    DIFFERENCE_IMAGES,
    DifferenceImageCreated,
    DifferenceImageOutcome,
    outcome_from_json,
)

__all__ = ["Restored", "in_force", "outcomes_of", "restore_images", "restore_ledgers"]


@dataclass(frozen=True)
class Restored:
    """What became of one image.

    Parameters
    ----------
    result
        ``made``, ``there`` (it stood already, with its bytes), or ``lost``.
    reason
        Why it is lost.
    """

    result: Literal["made", "there", "lost"]
    outcome: DifferenceImageCreated
    reason: str | None = None


def outcomes_of(records: Iterable[IncomingRecord]) -> list[DifferenceImageOutcome]:
    """Read the outcomes among records; repeats are one, what cannot be read is left out."""
    found: dict[tuple[UUID, int], DifferenceImageOutcome] = {}
    for record in records:
        if record.topic != DIFFERENCE_IMAGES.name:
            continue
        try:
            outcome = read_value(record.value or b"", outcome_from_json)
        except ValidationError:
            continue
        found.setdefault((outcome.dataset_id, outcome.revision), outcome)
    return list(found.values())


def restore_ledgers(
    output_root: str,
    outcomes: Iterable[DifferenceImageOutcome],
    *,
    zero_point: float | None,
    lossless: bool,
) -> int:
    """Put back what outcomes tell of ledgers and runs, where it is not there; returns how many.

    A worker that meets an arrival again then repeats its outcome (of a file that could not be
    used too, from contract 1.7 on: its outcome tells its checksum). What only a ledger knew (that a
    number was closed by the sweeper, that a duplicate had come first) is gone with it.

    Parameters
    ----------
    zero_point, lossless
        Of the runs whose record is gone too.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    put, runs = 0, set[str]()
    for outcome in outcomes:
        if isinstance(outcome, DifferenceImageCreated) and outcome.run not in runs:
            runs.add(outcome.run)
            if read_run(output_root, outcome.run) is None:
                keep_run(output_root, _record(outcome, zero_point, lossless=lossless))
        ledger = LedgerFiles(output_root, outcome.run, outcome.visit_detector)
        order: Order = (-1, -1, -1) if outcome.place is None else order_of(outcome.place)
        identity = identity_of(outcome.arrival, content_of(outcome))
        superseded = getattr(outcome, "error", None) == SupersededArrivalError.__name__
        kind: Kind = "superseded" if superseded else outcome.outcome
        put += ledger.commit(Entry(outcome.revision, kind, identity, order, outcome))
    return put


def _record(
    outcome: DifferenceImageCreated, zero_point: float | None, *, lossless: bool
) -> RunRecord:
    authority = outcome.obs_publisher_did.removeprefix("ivo://").partition("/")[0]
    return RunRecord(
        run=outcome.run,
        configuration=dict(outcome.configuration),
        configuration_hash=outcome.configuration_hash,
        template_set=outcome.template_set,
        authority=authority,
        zero_point=zero_point,
        lossless=lossless,
    )


def in_force(outcomes: Iterable[DifferenceImageOutcome]) -> list[DifferenceImageCreated]:
    """Return the image of the highest number of each dataset, in the order of their names."""
    found: dict[UUID, DifferenceImageCreated] = {}
    for outcome in outcomes:
        if isinstance(outcome, DifferenceImageCreated):
            held = found.get(outcome.dataset_id)
            if held is None or outcome.revision > held.revision:
                found[outcome.dataset_id] = outcome
    return sorted(found.values(), key=lambda o: (o.run, o.day_obs, str(o.visit_detector)))


def restore_images(
    recreator: Recreator, output_root: str, outcomes: Iterable[DifferenceImageOutcome]
) -> Iterator[Restored]:
    """Make the images in force again, where they are not, each under its own name.

    Of a run that keeps none, only previews and detections come back. May be called again after
    it was interrupted.

    Parameters
    ----------
    recreator
        With previews.

    Raises
    ------
    residua.errors.TransientError
        A store does not answer.
    """
    roots = recreator.settings.moved_roots
    for created in in_force(outcomes):
        places = {
            ".png": created.preview_uri,
            ".parquet": None if created.detections is None else created.detections.uri,
            ".fits": None if created.store == "none" else created.uri,
        }
        try:
            targets = {
                suffix: resolve(moved(uri, roots), [output_root])
                for suffix, uri in places.items()
                if uri is not None
            }
            solution = None
            if created.solution is not None:
                solution = resolve(moved(created.solution.uri, roots), [output_root])
            if _stands(created, targets, solution):
                yield Restored("there", created)
                continue
            made = recreator.as_made(created)
        except ResiduaError as e:
            yield Restored("lost", created, f"{type(e).__name__}: {e}")
            continue
        # The FITS file last: where it stands, its preview and its detections stand too.
        files = {".png": made.preview, ".parquet": made.detections, ".fits": made.path}
        for suffix, location in targets.items():
            path = files[suffix]
            if path is not None:
                publish_bytes(location, path.read_bytes())
        if made.hollow is not None:
            # Helps with parts only: where it fails, the whole stands.
            place = resolve(moved(created.uri, roots), [output_root])
            publish_bytes(place.updatedExtension(SUFFIX), made.hollow)
        if solution is not None and made.solution is not None and _is_of(created, made.solution):
            put_if_absent(solution, made.solution)
        for path in files.values():
            if path is not None:
                path.unlink(missing_ok=True)
        yield Restored("made", created)


def _stands(
    created: DifferenceImageCreated,
    targets: dict[str, ResourcePath],
    solution: ResourcePath | None,
) -> bool:
    checksums = {
        ".fits": created.checksum,
        ".parquet": None if created.detections is None else created.detections.checksum,
    }
    try:
        for suffix, location in targets.items():
            read_object(location, checksums.get(suffix))
        if solution is not None and created.solution is not None:
            read_object(solution, created.solution.checksum)
    except (MissingFileError, ChecksumMismatchError):
        return False
    return True


def _is_of(created: DifferenceImageCreated, solution: bytes) -> bool:
    """Whether it is the very solution: not another CPU's, which no outcome refers to."""
    reference = created.solution
    return reference is not None and checksum_of(solution) == reference.checksum
