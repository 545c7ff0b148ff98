"""Whole images that were made again, kept for a while where all services can read them.

Under the output root, in the folder ``recreated``, each under the name its file has or had. A name
is made of the file's number and checksum: whoever makes the file puts the same bytes there, and
the first to put it is the one.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from lsst.resources import ResourcePath

from residua.errors import MissingFileError, TransientError, UriNotAllowedError
from residua.identity import number_of_key
from residua.recreation.lookup.configuration import file_name_of, output_root_of
from residua.recreation.recreator import Recreator
from residua.storage.exclusive import list_times, put_if_absent
from residua.storage.moved import moved
from residua.storage.objects import attempt, resolve
from residua.storage.regions.hollow import SUFFIX
from residua_schemas import DifferenceImageCreated

__all__ = ["FOLDER", "MOST_REMOVED", "make_room", "make_shared", "shared_place"]

FOLDER = "recreated"

MOST_REMOVED = 500
"""Files that are removed at once: more than a worker makes between two times."""

_LOG = structlog.get_logger(__name__)


def shared_place(created: DifferenceImageCreated, moved_roots: Mapping[str, str]) -> ResourcePath:
    """Return where an image lies once somebody had it made.

    Raises
    ------
    residua.errors.UriNotAllowedError
        Its name is not that of its bytes: a release before 1.3 made it, or nobody did.
    residua.recreation.errors.UnknownConfigurationError
        It does not lie under the name of its run.
    """
    name = file_name_of(created)
    named = number_of_key(name)
    if named is None or not created.checksum.removeprefix("sha256:").startswith(named[1]):
        raise UriNotAllowedError(
            f"{name} does not say which bytes the file has: it is made where it is asked for only"
        )
    root = moved(f"{output_root_of(created)}/", moved_roots)
    folder = ResourcePath(root, forceDirectory=True, forceAbsolute=True)
    return folder.join(f"{FOLDER}/{name}")


def make_shared(
    recreator: Recreator, created: DifferenceImageCreated, output_root: str
) -> ResourcePath:
    """Make an image again and put it at its shared place, unless it is there already.

    Parameters
    ----------
    output_root
        Nothing is written elsewhere.

    Returns
    -------
    place
        The whole file lies there, with the bytes it had.

    Raises
    ------
    residua.errors.ResiduaError
        As `Recreator.as_made`, `shared_place`; or the place is not under the root.
    residua.errors.TransientError
        A store does not answer.
    """
    roots = recreator.settings.moved_roots
    place = resolve(shared_place(created, roots).geturl(), [output_root])
    if attempt(place, place.exists):
        return place
    made = recreator.as_made(created)
    try:
        put_if_absent(place, made.path.read_bytes())
        if made.hollow is not None:
            # For images of releases before there were any: now parts can be made too.
            beside = resolve(moved(created.uri, roots), [output_root]).updatedExtension(SUFFIX)
            put_if_absent(beside, made.hollow)
    finally:
        made.path.unlink(missing_ok=True)
        made.detections.unlink(missing_ok=True)
    return place


def make_room(
    output_root: str, hours: float, now: datetime | None = None, most: int = MOST_REMOVED
) -> int:
    """Remove what was put longer than so many hours ago; returns how many files.

    Who may not delete leaves them: then a rule of the store's must do it.

    Parameters
    ----------
    most
        After so many it is the next call's turn: arrivals wait for this one.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
    folder = root.join(f"{FOLDER}/", forceDirectory=True)
    limit = (now or datetime.now(UTC)) - timedelta(hours=hours)
    removed = 0
    for name in [n for n, written in list_times(folder).items() if written <= limit][:most]:
        file = folder.join(name)
        with suppress(MissingFileError):
            try:
                attempt(file, file.remove)
            except TransientError as e:
                _LOG.info("recreated_file_stays", uri=file.geturl(), reason=str(e)[:300])
                return removed
            removed += 1
    return removed
