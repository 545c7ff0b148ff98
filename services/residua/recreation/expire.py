"""Letting files go that can be made again; their rows stay.

For each image, in this order: the catalog says that it is being let go, every Butler is told to
make it when it is not there, the file goes, the catalog says that it is made on demand. Whoever
reads takes the file while it is there and makes the image when it is not: so all of them agree at
every step, and what dies in between is taken up by the next call.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, Literal

from lsst.resources import ResourcePath
from sqlalchemy import Engine, Select, and_, func, or_, select

from residua.errors import MissingFileError, UriNotAllowedError
from residua.obscore import arrival_outcome, image_storage, obscore, set_storage
from residua.recreation.recreator import Recreator
from residua.recreation.verify import Verdict, sample_images, verify
from residua.storage.moved import moved
from residua.storage.objects import attempt, resolve
from residua_schemas import DifferenceImageCreated, ImageReading

__all__ = ["Expired", "Expiry", "count_candidates", "expire"]

_PAGE = 200


@dataclass(frozen=True)
class Expiry:
    """What is to be let go, and on what conditions.

    Parameters
    ----------
    output_root
        Only files under it go.
    older_than
        Since the image was made.
    run
        Only images of this run.
    everything
        Also of images that were meant to be kept for ever.
    sample
        Images of each run that are made again and compared first; one that does not come back
        keeps all files of its run.
    moved_roots
        Where files lie now whose addresses begin otherwise.
    dry_run
        Change nothing.
    now
        By default the time.
    seed
        Of the sample.
    """

    output_root: str
    older_than: timedelta
    run: str | None = None
    everything: bool = False
    sample: int = 3
    moved_roots: Mapping[str, str] | None = None
    dry_run: bool = False
    now: datetime | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Expired:
    """What became of one image, or of one run whose sample did not come back.

    Parameters
    ----------
    result
        ``removed``; ``kept``: an input or the solution is not there; ``absent``: there was no file
        any more, and the catalog says so now; ``refused``: a sample of the run did not come back.
    uri
        Of the file; of a run that was refused its name.
    """

    result: Literal["removed", "kept", "absent", "refused"]
    uri: str
    size_bytes: int = 0
    reason: str | None = None


type Prepare = Callable[[DifferenceImageCreated], object]
"""Lets a Butler know, before the file goes; see `residua.butler.letting_go.prepare_butler`."""


def count_candidates(engine: Engine, expiry: Expiry) -> dict[str, int]:
    """Count the images that are old enough, by run."""
    found = _candidates(expiry).subquery()
    statement = select(found.c.run, func.count()).group_by(found.c.run).order_by(found.c.run)
    with engine.connect() as connection:
        return {row.run: row[1] for row in connection.execute(statement)}


def expire(
    engine: Engine, recreator: Recreator, prepares: Sequence[Prepare], expiry: Expiry
) -> Iterator[Expired]:
    """Let files go.

    Parameters
    ----------
    engine
        The catalog's database, writeable.
    recreator
        Makes the samples.
    prepares
        One for each Butler that serves these images.

    Yields
    ------
    expired
        After it was done.

    Raises
    ------
    residua.errors.TransientError
        A store or a database does not answer; call again to go on.
    """
    choice = Random(expiry.seed)  # noqa: S311 a sample needs no secrecy
    for run in count_candidates(engine, expiry):
        statement = _candidates(expiry, run)
        drawn = sample_images(engine, expiry.sample, choice, statement) if expiry.sample else []
        wrong = next((v for v in verify(recreator, drawn) if v.result != "identical"), None)
        if wrong is not None:
            yield Expired("refused", run, reason=_words(wrong))
            continue
        yield from _expire_run(engine, prepares, expiry, statement)


def _expire_run(
    engine: Engine, prepares: Sequence[Prepare], expiry: Expiry, statement: Select[Any]
) -> Iterator[Expired]:
    missing = _missing_inputs(expiry.moved_roots or {})
    after, column = "", obscore.c.dataset_id
    while True:
        with engine.connect() as connection:
            page = statement.where(column > after).order_by(column).limit(_PAGE)
            rows: Sequence[Any] = connection.execute(page).all()
        for row in rows:
            created = DifferenceImageCreated.model_validate(row.event)
            yield _expire_one(engine, prepares, expiry, created, missing)
        if not rows:
            return
        after = rows[-1].dataset_id


def _expire_one(
    engine: Engine,
    prepares: Sequence[Prepare],
    expiry: Expiry,
    created: DifferenceImageCreated,
    missing: Callable[[DifferenceImageCreated], str | None],
) -> Expired:
    uri = moved(created.uri, expiry.moved_roots or {})
    try:
        location = resolve(uri, [expiry.output_root])
    except UriNotAllowedError as e:
        return Expired("kept", uri, reason=e.message)
    is_there = attempt(location, location.exists)
    lost = missing(created) if is_there else None
    if lost is not None:
        return Expired("kept", uri, reason=lost)
    result: Literal["removed", "absent"] = "removed" if is_there else "absent"
    if not expiry.dry_run:
        _note(engine, created, "expiring")
        for prepare in prepares:
            prepare(created)
        if is_there:
            # A sweeper may have been faster.
            with suppress(MissingFileError):
                attempt(location, location.remove)
        _note(engine, created, "on demand")
    return Expired(result, uri, created.size_bytes if is_there else 0)


def _note(engine: Engine, created: DifferenceImageCreated, storage: str) -> None:
    row = (str(created.dataset_id), created.revision, storage, created.run)
    with engine.begin() as connection:
        set_storage(connection, [row])


def _candidates(expiry: Expiry, run: str | None = None) -> Select[Any]:
    """Select what is old enough and stored, or in the middle of being let go."""
    limit = (expiry.now or datetime.now(UTC)) - expiry.older_than
    of_image, of_outcome = image_storage.c, arrival_outcome.c
    same_image = and_(
        of_image.dataset_id == obscore.c.dataset_id, of_image.number == obscore.c.revision
    )
    same_outcome = and_(
        of_outcome.dataset_id == obscore.c.dataset_id, of_outcome.number == obscore.c.revision
    )
    tables = obscore.join(image_storage, same_image, isouter=expiry.everything)
    # What the catalog does not know the age of, is too young: of a release before 0006.
    tables = tables.join(arrival_outcome, same_outcome)
    state = of_image.storage
    stored = or_(state == "recent", state.is_(None)) if expiry.everything else state == "recent"
    statement = (
        select(obscore.c.dataset_id, obscore.c.event, obscore.c.run)
        .select_from(tables)
        .where(
            obscore.c.dataset_type == "difference_image",
            or_(
                state == "expiring",
                and_(stored, of_outcome.recorded_ms <= int(limit.timestamp() * 1000)),
            ),
        )
    )
    for name in {run, expiry.run} - {None}:
        statement = statement.where(obscore.c.run == name)
    return statement


def _missing_inputs(
    moved_roots: Mapping[str, str],
) -> Callable[[DifferenceImageCreated], str | None]:
    @lru_cache(maxsize=10_000)
    def size_of_shared(uri: str) -> int:
        return _size(uri)

    def _size(uri: str) -> int:
        location = ResourcePath(moved(uri, moved_roots), forceAbsolute=True)
        if not attempt(location, location.exists):
            return -1
        return int(attempt(location, location.size))

    def missing(created: DifferenceImageCreated) -> str | None:
        image, told = created.visit_image, created.visit_image_metadata
        size = _size(image.uri)
        if size < 0:
            return f"its visit image {image.uri} is not there"
        if told is not None and size != told.size_bytes:
            return f"its visit image {image.uri} has {size} bytes, it had {told.size_bytes}"
        gone = ((w, uri) for w, uri in _beside(created) if size_of_shared(uri) < 0)
        what, uri = next(gone, (None, None))
        return None if what is None else f"{what} {uri} is not there"

    return missing


def _beside(created: DifferenceImageCreated) -> Iterator[tuple[str, str]]:
    """Yield what is needed besides the visit image: in words, and where it lies."""
    yield from _companions("its visit image", created.arrival.reading)
    for template in created.templates:
        yield "its template", template.uri
        yield from _companions("its template", template.reading)
    if created.solution is not None:
        # Of its inputs alone it comes back on the kind of CPU that made it, and on no other.
        yield "its solution", created.solution.uri


def _companions(of: str, reading: ImageReading | None) -> Iterator[tuple[str, str]]:
    for role, (uri, _) in ({} if reading is None else reading.companions).items():
        yield f"the {role} file of {of}", uri


def _words(verdict: Verdict) -> str:
    return f"{verdict.visit_detector} did not come back ({verdict.error}): {verdict.message}"
