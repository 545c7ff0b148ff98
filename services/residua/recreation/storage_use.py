"""What the images of a catalog weigh: those that are stored, and those that are made on demand."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, and_, case, func, literal, select

from residua.obscore import has_storage, image_storage, obscore
from residua.obscore.opening import open_existing

__all__ = ["StorageUse", "read_storage_use"]

_SAMPLE = 200


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
        Solution and detections of an image, on average, from a sample of 200 outcomes; `None`
        without images. The hollow file (20 to 60 kB) and the preview are kept too, and are in no
        outcome: they are not counted.
    """

    stored: int
    on_demand: int
    stored_bytes: int
    spared_bytes: int
    kept_per_image: int | None

    @property
    def total_bytes(self) -> int:
        """All that was counted or estimated; without hollow files and previews."""
        return self.stored_bytes + (self.kept_per_image or 0) * (self.stored + self.on_demand)


def read_storage_use(catalog_url: str) -> StorageUse:
    """Ask the catalog; no store is asked.

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
    return StorageUse(stored[0], gone_now[0], stored[1], gone_now[1], mean)


def _bytes(event: object, name: str) -> int:
    reference = event.get(name) if isinstance(event, dict) else None
    return int(reference["size_bytes"]) if isinstance(reference, dict) else 0
