"""Outcomes written down beside the images, so that a later try does not contradict them.

Input that cannot be subtracted fails the same way whenever it is tried, and a difference image is
made again to the byte. But a subtraction that hangs, or dies, may succeed when its record is
delivered again, and one that was killed while the store took its time may have left its file. So
a difference image is written down before its file is put in place, and such a failure before it
is published; whoever gets the record next looks here.
"""

from lsst.resources import ResourcePath
from pydantic import ValidationError

from residua.errors import ChecksumMismatchError, MissingFileError
from residua.identity import outcome_key
from residua.outcomes import Outcome
from residua.storage.objects import publish_bytes, read_object, resolve
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    VisitArrival,
    outcome_from_json,
)

__all__ = ["find_created", "find_failure", "keep_outcome", "settle_failure"]


def keep_outcome(output_root: str, outcome: Outcome) -> None:
    """Write an outcome down; of one arrival in one run the last is kept.

    Parameters
    ----------
    output_root
        Directory or ``s3://bucket/prefix`` of the difference images.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    location = _location(output_root, outcome.run, outcome.arrival)
    publish_bytes(location, outcome.model_dump_json(exclude_none=True).encode())


def find_failure(output_root: str, run: str, arrival: VisitArrival) -> DifferenceImageFailed | None:
    """Return the failure that was written down for this very arrival in a run.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    found = _find(output_root, run, arrival)
    return found if isinstance(found, DifferenceImageFailed) else None


def find_created(
    output_root: str, run: str, arrival: VisitArrival
) -> DifferenceImageCreated | None:
    """Return the difference image of an earlier try of this very arrival, if its file is there.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    found = _find(output_root, run, arrival)
    return found if isinstance(found, DifferenceImageCreated) and _is_whole(found) else None


def settle_failure(output_root: str, failure: DifferenceImageFailed) -> Outcome:
    """Make a failure final, unless the difference image is there after all.

    It is there when a try was killed after its file was taken by the store.

    Returns
    -------
    outcome
        What to publish: the failure, or the difference image of an earlier try.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer: publish nothing.
    """
    kept = _find(output_root, failure.run, failure.arrival)
    if isinstance(kept, DifferenceImageCreated) and _is_whole(kept):
        return kept
    keep_outcome(output_root, failure)
    if isinstance(kept, DifferenceImageCreated) and _is_whole(kept):
        # The store was late with a file that it had been given.
        keep_outcome(output_root, kept)
        return kept
    return failure


def _find(output_root: str, run: str, arrival: VisitArrival) -> Outcome | None:
    try:
        content, _ = read_object(_location(output_root, run, arrival), None)
    except MissingFileError:
        return None
    try:
        found = outcome_from_json(content)
    except ValidationError:
        # Spoilt, or of another major version: as good as none, and no reason to stop.
        return None
    # The same revision with another file or region is another arrival.
    return found if found.arrival == arrival else None


def _is_whole(outcome: DifferenceImageCreated) -> bool:
    try:
        read_object(ResourcePath(outcome.uri, forceAbsolute=True), outcome.checksum)
    except (MissingFileError, ChecksumMismatchError):
        return False
    return True


def _location(output_root: str, run: str, arrival: VisitArrival) -> ResourcePath:
    key = outcome_key(run, arrival.visit_detector, arrival.revision)
    return resolve(key, [output_root])
