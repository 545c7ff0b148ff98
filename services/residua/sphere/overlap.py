"""Whether footprints overlap on the sphere."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from residua_schemas import SkyPolygon

__all__ = ["overlapping", "regions_overlap"]


def regions_overlap(a: SkyPolygon, b: SkyPolygon) -> bool:
    """Whether two convex polygons share more than a border.

    Exact on the sphere: convex spherical polygons (each inside a hemisphere) are disjoint if
    and only if a great circle separates them, and one through an edge of either or through a
    vertex of each does. Works across RA 0/360 and at the poles.
    """
    return _overlap(_vectors(a), _vectors(b)[None])[0]


def overlapping(region: SkyPolygon, others: Sequence[SkyPolygon]) -> list[bool]:
    """Return of each of some polygons whether it overlaps the first; see `regions_overlap`.

    Polygons of as many corners are tested together, which costs little more than one alone.
    """
    found = [False] * len(others)
    groups: dict[int, list[int]] = {}
    for n, other in enumerate(others):
        groups.setdefault(len(other.vertices), []).append(n)
    a = _vectors(region)
    for members in groups.values():
        b = np.stack([_vectors(others[n]) for n in members])
        for n, flag in zip(members, _overlap(a, b), strict=True):
            found[n] = flag
    return found


def _overlap(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> list[bool]:
    """Test one polygon (n, 3) against many (k, m, 3)."""
    k, m, _ = b.shape
    n = len(a)
    normals = np.concatenate(
        [
            np.broadcast_to(np.cross(a, np.roll(a, -1, axis=0)), (k, n, 3)),
            np.cross(b, np.roll(b, -1, axis=1)),
            np.cross(a[None, :, None, :], b[:, None, :, :]).reshape(k, n * m, 3),
        ],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    is_plane = length[..., 0] >= 1e-15
    normals = normals / np.where(length < 1e-15, 1.0, length)
    sa, sb = normals @ a.T, normals @ b.transpose(0, 2, 1)
    tolerance = 1e-12
    parted = (sa.max(axis=2) <= tolerance) & (sb.min(axis=2) >= -tolerance)
    parted |= (sb.max(axis=2) <= tolerance) & (sa.min(axis=2) >= -tolerance)
    return [not flag for flag in np.any(parted & is_plane, axis=1).tolist()]


def _vectors(region: SkyPolygon) -> npt.NDArray[np.float64]:
    ra, dec = np.radians(np.asarray(region.vertices, np.float64)).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
