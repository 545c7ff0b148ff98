"""Whether images would come back: made again one by one, and compared by their checksums."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from sqlalchemy import Engine, Select, func, select

from residua.errors import ResiduaError
from residua.obscore import obscore
from residua.recreation.errors import RecreationDiffersError
from residua.recreation.recreator import Recreator
from residua_schemas import DifferenceImageCreated

__all__ = ["Verdict", "all_images", "count_images", "images", "sample_images", "verify"]


@dataclass(frozen=True)
class Verdict:
    """What came of one image.

    Parameters
    ----------
    result
        ``identical``; ``different``: other bytes; ``impossible``: an input, a version or a
        configuration is not to be had.
    error, message
        Name and words of what went wrong.
    """

    dataset_id: str
    run: str
    visit_detector: str
    result: Literal["identical", "different", "impossible"]
    error: str | None = None
    message: str | None = None


def images(run: str | None = None) -> Select[Any]:
    """Select the difference images of the catalog, of one run if it is named."""
    statement = select(obscore.c.dataset_id, obscore.c.event).where(
        obscore.c.dataset_type == "difference_image"
    )
    return statement if run is None else statement.where(obscore.c.run == run)


def count_images(engine: Engine, run: str | None = None) -> int:
    """Count the difference images of the catalog."""
    with engine.connect() as connection:
        counted = select(func.count()).select_from(images(run).subquery())
        return connection.scalar(counted) or 0


def sample_images(
    engine: Engine, number: int, choice: Random, statement: Select[Any] | None = None
) -> list[DifferenceImageCreated]:
    """Draw images at random: a step of an index each, however many there are.

    Parameters
    ----------
    number
        How many; fewer when there are fewer.
    statement
        What is drawn from, as `images` gives it.
    """
    statement = images() if statement is None else statement
    found: dict[str, DifferenceImageCreated] = {}
    column = obscore.c.dataset_id
    with engine.connect() as connection:
        # Identities are hashes: a random one has its next neighbour anywhere.
        for _ in range(4 * number):
            if len(found) == number:
                break
            start = str(uuid.UUID(int=choice.getrandbits(128)))
            after = statement.where(column >= start).order_by(column).limit(1)
            row = connection.execute(after).first()
            if row is None:
                row = connection.execute(statement.order_by(column).limit(1)).first()
            if row is None:
                break
            found[row.dataset_id] = DifferenceImageCreated.model_validate(row.event)
        if len(found) < number:
            # Few images: draw from all there are of the first ones.
            rows = connection.execute(statement.order_by(column).limit(4 * number)).all()
            for row in choice.sample(rows, len(rows)):
                if len(found) < number:
                    found[row.dataset_id] = DifferenceImageCreated.model_validate(row.event)
    return list(found.values())


def all_images(engine: Engine, run: str | None = None) -> Iterator[DifferenceImageCreated]:
    """Yield all images, in pages: one transaction is not kept open for days."""
    after, column = "", obscore.c.dataset_id
    while True:
        with engine.connect() as connection:
            page = images(run).where(column > after).order_by(column).limit(200)
            rows: Sequence[Any] = connection.execute(page).all()
        for row in rows:
            yield DifferenceImageCreated.model_validate(row.event)
        if not rows:
            return
        after = rows[-1].dataset_id


def verify(recreator: Recreator, created: Iterable[DifferenceImageCreated]) -> Iterator[Verdict]:
    """Make images again and compare them with their checksums; no file is left.

    Raises
    ------
    residua.errors.TransientError
        A store does not answer: nothing is known of that image.
    """
    for outcome in created:
        yield _verdict(recreator, outcome)


def _verdict(recreator: Recreator, created: DifferenceImageCreated) -> Verdict:
    who = (str(created.dataset_id), created.run, str(created.visit_detector))
    try:
        made = recreator.as_made(created)
    except RecreationDiffersError as e:
        return Verdict(*who, "different", type(e).__name__, e.message)
    except ResiduaError as e:
        return Verdict(*who, "impossible", type(e).__name__, str(e))
    for path in (made.path, made.detections, made.preview):
        if path is not None:
            path.unlink(missing_ok=True)
    return Verdict(*who, "identical")
