"""Footprint overlap against a brute-force check on random polygons, the wrap and the poles."""

import numpy as np
import pytest

from residua.sphere.overlap import regions_overlap
from residua_schemas import SkyPolygon


def square(ra: float, dec: float, half: float, angle: float = 0.0) -> SkyPolygon:
    """Square on the sky by gnomonic deprojection; sizes in degrees."""
    corners = np.radians(half) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    xi, eta = (corners @ np.array([[c, s], [-s, c]])).T
    a, d = np.radians(ra), np.radians(dec)
    center = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    north = np.cross(center, east)
    v = center + xi[:, None] * east + eta[:, None] * north
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    lon, lat = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360, np.degrees(np.arcsin(v[:, 2]))
    return SkyPolygon(vertices=tuple(zip(lon.tolist(), lat.tolist(), strict=True)))


def contains(region: SkyPolygon, points: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(np.array(region.vertices)).T
    v = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    sides = np.cross(v, np.roll(v, -1, axis=0)) @ points.T
    return np.all(sides > 0, axis=0) | np.all(sides < 0, axis=0)


@pytest.mark.parametrize(
    ("ra0", "dec0"), [(30.0, 10.0), (0.0, -45.0), (200.0, 89.95), (90.0, -90.0)]
)
def test_overlap_agrees_with_brute_force(ra0: float, dec0: float):
    rng = np.random.default_rng(7)
    a = square(ra0, dec0, 0.1, 20.0)
    overlapping = 0
    for _ in range(150):
        spread = 0.35 / max(np.cos(np.radians(dec0)), 0.002)
        b = square(
            (ra0 + rng.uniform(-spread, spread)) % 360.0,
            float(np.clip(dec0 + rng.uniform(-0.35, 0.35), -90, 90)),
            rng.uniform(0.02, 0.15),
            rng.uniform(0, 90),
        )
        center = np.radians(b.center)
        c = np.array(
            [
                np.cos(center[1]) * np.cos(center[0]),
                np.cos(center[1]) * np.sin(center[0]),
                np.sin(center[1]),
            ]
        )
        points = c + np.radians(b.radius) * rng.uniform(-1, 1, (40_000, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        brute = bool(np.any(contains(a, points) & contains(b, points)))
        overlap = regions_overlap(a, b)
        assert overlap == regions_overlap(b, a)
        if brute:
            assert overlap
        elif overlap:
            # Only a sliver may escape the random points.
            shrunk = square(*b.center, b.radius / np.sqrt(2) * 0.9)
            assert not np.any(contains(a, points) & contains(shrunk, points))
        overlapping += overlap
    assert 10 < overlapping < 140


def test_neighbours_that_share_an_edge_do_not_overlap():
    a = SkyPolygon(vertices=((10, 0), (11, 0), (11, 1), (10, 1)))
    b = SkyPolygon(vertices=((11, 0), (12, 0), (12, 1), (11, 1)))
    assert not regions_overlap(a, b)


def test_a_small_region_inside_a_large_one_overlaps_it():
    assert regions_overlap(square(0.0, 0.0, 1.0), square(359.9, 0.1, 0.01, 45.0))
