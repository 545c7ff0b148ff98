"""Footprints of visits and tracts: the hulls of their detectors' and patches', as these come."""

from collections.abc import Iterable, Mapping
from typing import Any

from lsst.daf.butler import Butler
from lsst.sphgeom import ConvexPolygon, UnitVector3d

__all__ = ["grow_regions"]

# What has a region, the parts it is made of, and the dimensions of both that name it.
_WHOLES = (
    ("visit", "visit_detector_region", "instrument", "visit"),
    ("tract", "patch", "skymap", "tract"),
)
_TRIES = 5


def grow_regions(butler: Butler, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Give the visits and tracts of new parts the hull of all their parts.

    To be called once the parts are committed. Two writers may do so at the same time: each looks
    again after it wrote, so that the last one sees what both have.

    Parameters
    ----------
    rows
        Dimension rows that were written, by element.
    """
    for whole, part, of, name in _WHOLES:
        new = {(row[of], row[name]) for row in rows.get(part, ())}
        for owner in sorted({owner for owner, _ in new}):
            numbers = sorted({number for o, number in new if o == owner})
            for _ in range(_TRIES):
                if not _grow(butler, whole, part, {of: owner}, numbers):
                    break


def _grow(
    butler: Butler, whole: str, part: str, owner: Mapping[str, str], numbers: list[int]
) -> bool:
    """Bring regions up to date; return whether any was not."""
    among = {"numbers": tuple(numbers)}
    vertices: dict[int, list[UnitVector3d]] = {}
    for record in butler.query_dimension_records(
        part, where=f"{whole} IN (:numbers)", bind=among, limit=None, explain=False, **owner
    ):
        if isinstance(record.region, ConvexPolygon):
            number = int(record.dataId[whole])
            vertices.setdefault(number, []).extend(record.region.getVertices())
    changed = False
    for record in butler.query_dimension_records(
        whole, where=f"{whole} IN (:numbers)", bind=among, limit=None, explain=False, **owner
    ):
        hull = _hull(vertices.get(record.id, []))
        if hull is not None and record.region != hull:
            row = {**record.toDict(), "region": hull}
            butler.registry.syncDimensionData(whole, row, update=True)
            changed = True
    return changed


def _hull(vertices: list[UnitVector3d]) -> ConvexPolygon | None:
    try:
        # The same order whoever asks: the same hull, bit for bit.
        ordered = sorted(vertices, key=lambda v: (v.x(), v.y(), v.z()))
        return ConvexPolygon.convexHull(ordered) if ordered else None
    except (ValueError, RuntimeError):
        # Parts on all sides of the sky have none.
        return None
