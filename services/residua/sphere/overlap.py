"""Whether two footprints overlap on the sphere."""

import numpy as np
import numpy.typing as npt

from residua_schemas import SkyPolygon

__all__ = ["regions_overlap"]


def regions_overlap(a: SkyPolygon, b: SkyPolygon) -> bool:
    """Whether two convex polygons share more than a border.

    Exact on the sphere: convex spherical polygons (each inside a hemisphere) are disjoint if
    and only if a great circle separates them, and one through an edge of either or through a
    vertex of each does. Works across RA 0/360 and at the poles.
    """
    va, vb = _vectors(a), _vectors(b)
    normals = [_edge_normals(va), _edge_normals(vb)]
    cross = np.cross(va[:, None, :], vb[None, :, :]).reshape(-1, 3)
    for n in np.concatenate([*normals, cross]):
        length = np.linalg.norm(n)
        if length < 1e-15:
            continue
        sa, sb = va @ n / length, vb @ n / length
        tolerance = 1e-12
        if (sa.max() <= tolerance and sb.min() >= -tolerance) or (
            sb.max() <= tolerance and sa.min() >= -tolerance
        ):
            return False
    return True


def _vectors(region: SkyPolygon) -> npt.NDArray[np.float64]:
    ra, dec = np.radians(np.asarray(region.vertices, np.float64)).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _edge_normals(vertices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cross(vertices, np.roll(vertices, -1, axis=0))
