"""Failures that another try might not meet, kept beside the images so that they are final.

Input that cannot be subtracted fails the same way whenever it is tried. A subtraction that hangs,
or dies, may succeed when its record is delivered again, after its failure was published. So such
a failure is written down first, and found by whoever gets the record next.
"""

from collections.abc import Callable
from pathlib import Path

from lsst.resources import ResourcePath

from residua.errors import MissingFileError
from residua.identity import failure_key
from residua.storage.objects import publish, read_object
from residua_schemas import DifferenceImageFailed, VisitArrival

__all__ = ["find_failure", "keep_failure"]


def keep_failure(output_root: str, failure: DifferenceImageFailed) -> None:
    """Write a failure down, before it is published.

    Parameters
    ----------
    output_root
        Directory or ``s3://bucket/prefix`` of the difference images.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer: do not publish.
    """
    content = failure.model_dump_json(exclude_none=True).encode()
    publish(_location(output_root, failure.run, failure.arrival), _writer(content))


def find_failure(output_root: str, run: str, arrival: VisitArrival) -> DifferenceImageFailed | None:
    """Return the failure that was written down for this very arrival in a run.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    try:
        content, _ = read_object(_location(output_root, run, arrival), None)
    except MissingFileError:
        return None
    found = DifferenceImageFailed.model_validate_json(content)
    # The same revision with another file or region is another arrival.
    return found if found.arrival == arrival else None


def _location(output_root: str, run: str, arrival: VisitArrival) -> ResourcePath:
    root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
    return root.join(failure_key(run, arrival.visit_detector, arrival.revision))


def _writer(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write
