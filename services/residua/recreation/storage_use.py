"""What the images of a catalog weigh: those that are stored, and those that are made on demand."""

from collections.abc import Mapping
from dataclasses import dataclass

from lsst.resources import ResourcePath
from sqlalchemy import ColumnElement, FromClause, and_, case, func, literal, select

from residua.errors import MissingFileError, TransientError
from residua.obscore import has_storage, image_storage, obscore
from residua.obscore.opening import open_existing
from residua.storage.moved import moved
from residua.storage.objects import attempt
from residua.storage.regions.hollow import SUFFIX

__all__ = ["StorageUse", "read_storage_use"]

_SAMPLE = 200
_LOOKED_AT = 20


@dataclass(frozen=True)
class StorageUse:
    """Numbers of images and their bytes.

    Parameters
    ----------
    stored, on_demand
        Images whose FITS file is kept, and whose is not.
    stored_bytes
        Of the files that are kept.
    spared_bytes
        Of those that are not, as large as they were.
    kept_per_image
        Solution, detections and hollow file of an image, on average: what is needed to make it
        again. The first two of a sample of 200 outcomes; the hollow file is in no outcome: of a
        sample of 20 the store is asked. `None` without images.
    preview_per_image
        The same of previews, which are kept beside it for people.
    looked_at
        Images of whose hollow file and preview the store was asked; 0: it did not answer, and
        they are not counted.
    """

    stored: int
    on_demand: int
    stored_bytes: int
    spared_bytes: int
    kept_per_image: int | None
    preview_per_image: int = 0
    looked_at: int = 0

    @property
    def total_bytes(self) -> int:
        """All that was counted or estimated."""
        beside = (self.kept_per_image or 0) + self.preview_per_image
        return self.stored_bytes + beside * (self.stored + self.on_demand)


def read_storage_use(catalog_url: str, moved_roots: Mapping[str, str] | None = None) -> StorageUse:
    """Ask the catalog, and the store for the weight of a few files.

    Parameters
    ----------
    moved_roots
        Where files lie now whose addresses begin otherwise.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        It does not answer.
    """
    engine = open_existing(catalog_url)
    try:
        with engine.connect() as connection:
            tables: FromClause = obscore
            gone: ColumnElement[int] = literal(0)
            if has_storage(connection):
                same = and_(
                    image_storage.c.dataset_id == obscore.c.dataset_id,
                    image_storage.c.number == obscore.c.revision,
                )
                tables = obscore.join(image_storage, same, isouter=True)
                gone = case((image_storage.c.storage == "on demand", 1), else_=0)
            images = obscore.c.dataset_type == "difference_image"
            sums = (
                select(gone.label("gone"), func.count(), func.sum(obscore.c.size_bytes))
                .select_from(tables)
                .where(images)
                .group_by("gone")
            )
            found = {row[0]: (row[1], int(row[2] or 0)) for row in connection.execute(sums)}
            sample = select(obscore.c.event).where(images).order_by(obscore.c.dataset_id)
            events = list(connection.scalars(sample.limit(_SAMPLE)))
    finally:
        engine.dispose()
    weights = [sum(_bytes(e, name) for name in ("solution", "detections")) for e in events]
    stored, gone_now = found.get(0, (0, 0)), found.get(1, (0, 0))
    mean = round(sum(weights) / len(weights)) if weights else None
    few = events[:: max(1, len(events) // _LOOKED_AT)][:_LOOKED_AT]
    looked = [b for e in few if (b := _beside(e, moved_roots or {})) is not None]
    if looked and mean is not None:
        mean += round(sum(hollow for hollow, _ in looked) / len(looked))
    preview = round(sum(p for _, p in looked) / len(looked)) if looked else 0
    return StorageUse(stored[0], gone_now[0], stored[1], gone_now[1], mean, preview, len(looked))


def _beside(event: object, moved_roots: Mapping[str, str]) -> tuple[int, int] | None:
    """Bytes of the hollow file and the preview of an image; `None`: the store does not answer."""
    if not isinstance(event, dict):
        return None

    def size(uri: str | None, suffix: str) -> int:
        if uri is None:
            return 0
        location = ResourcePath(moved(uri, moved_roots), forceAbsolute=True)
        location = location.updatedExtension(suffix)
        try:
            return int(attempt(location, location.size))
        except MissingFileError:
            return 0

    try:
        return size(event["uri"], SUFFIX), size(event.get("preview_uri"), ".png")
    except TransientError:
        return None


def _bytes(event: object, name: str) -> int:
    reference = event.get(name) if isinstance(event, dict) else None
    return int(reference["size_bytes"]) if isinstance(reference, dict) else 0
