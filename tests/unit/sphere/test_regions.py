"""Regions: their syntax, and how they lie to each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.sphere.overlap import regions_overlap
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    RegionError,
    parse_region,
)
from residua.sphere.relations import (
    area,
    bounding_cap,
    contains,
    intersects,
)
from residua.sphere.vectors import angle, arc_distance, unit_vector
from residua_schemas import SkyPolygon

POSITIONS = st.tuples(st.floats(0.0, 359.99), st.floats(-89.9, 89.9))


def square(ra, dec, half):
    w = half / math.cos(math.radians(dec))
    corners = (
        (ra - w, dec - half),
        (ra + w, dec - half),
        (ra + w, dec + half),
        (ra - w, dec + half),
    )
    return Polygon(corners)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("CIRCLE 10 -20 0.5", Circle(10, -20, 0.5)),
        ("circle icrs 10,-20,0.5", Circle(10, -20, 0.5)),
        ("POINT ICRS 1 2", Point(1, 2)),
        ("POSITION 1 2", Point(1, 2)),
        ("POLYGON ICRS 0 0 1 0 1 1", Polygon(((0, 0), (1, 0), (1, 1)))),
        ("POLYGON 0 0 1 0 1 1 0 0", Polygon(((0, 0), (1, 0), (1, 1)))),
        ("RANGE 350 10 -5 5", Range(350, 10, -5, 5)),
        ("RANGE -Inf +Inf 80 +Inf", Range(0, 360, 80, 90)),
        ("RANGE -Inf 53.1 -Inf 10", Range(0, 53.1, -90, 10)),
        ("RANGE 53.1 +Inf -10 90", Range(53.1, 360, -10, 90)),
    ],
)
def test_regions_are_read_from_their_text(text, region):
    assert parse_region(text) == region
    assert parse_region(str(region)) == region


@pytest.mark.parametrize(
    "text",
    [
        "", "CIRCLE", "CIRCLE 1 2", "CIRCLE 1 2 -1", "CIRCLE 1 91 1", "CIRCLE nan 0 1",
        "CIRCLE 1 2 inf", "POLYGON 0 0 1 1", "POLYGON 0 0 0 0 0 0", "POLYGON 0 0 120 0 240 0",
        "BOX 1 2 3 4", "RANGE 1 2 5 4", "CIRCLE a b c", "POINT 1 2 3",
    ],
)  # fmt: skip
def test_nonsense_is_refused(text):
    with pytest.raises(RegionError):
        parse_region(text)


def test_known_areas():
    assert area(Circle(5, 5, 180)) == pytest.approx(4 * math.pi * math.degrees(1) ** 2)
    octant = Polygon(((0.0, 0.0), (90.0, 0.0), (0.0, 90.0)))
    assert area(octant) == pytest.approx(4 * math.pi * math.degrees(1) ** 2 / 8)
    assert area(Range(0, 360, 0, 90)) == pytest.approx(2 * math.pi * math.degrees(1) ** 2)
    assert area(square(0.0, 0.0, 0.5)) == pytest.approx(1.0, rel=1e-4)


def test_a_notched_polygon_does_not_hold_its_notch():
    notched = Polygon(((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 2.0), (0.0, 10.0)))
    assert contains(Point(1.0, 3.0), notched)
    assert not contains(Point(5.0, 6.0), notched)
    assert not intersects(Circle(5.0, 8.0, 0.5), notched)
    assert not contains(Circle(2.0, 2.0, 2.5), notched)
    assert contains(Circle(2.0, 2.0, 1.0), notched)


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.5, 89.5])
@pytest.mark.parametrize("ra", [0.0, 359.9, 180.0])
def test_borders_of_right_ascension_and_poles_are_nothing_special(ra, dec):
    circle = Circle(ra, dec, 1.0)
    for bearing in np.linspace(0.0, 2 * np.pi, 17):
        c, s = math.cos(math.radians(0.99)), math.sin(math.radians(0.99))
        center = np.array(unit_vector(ra, dec))
        helper = np.array([0.0, 0.0, 1.0] if abs(dec) < 50 else [1.0, 0.0, 0.0])
        east = np.cross(helper, center)
        east /= np.linalg.norm(east)
        v = c * center + s * (np.cos(bearing) * east + np.sin(bearing) * np.cross(center, east))
        point = Point(
            float(np.degrees(np.arctan2(v[1], v[0])) % 360.0), float(np.degrees(np.arcsin(v[2])))
        )
        assert contains(point, circle)
        assert intersects(circle, Circle(point.ra, point.dec, 0.02))


def test_a_polygon_around_the_pole_holds_it():
    cap = Polygon(((0.0, 85.0), (90.0, 85.0), (180.0, 85.0), (270.0, 85.0)))
    assert contains(Point(123.0, 90.0), cap)
    assert contains(Point(45.0, 88.0), cap)
    assert not contains(Point(45.0, 84.9), cap)
    assert intersects(Range(30.0, 40.0, 89.0, 90.0), cap)


def test_ranges_go_eastward_and_meet_what_crosses_them():
    box = Range(350.0, 10.0, -5.0, 5.0)
    assert contains(Point(359.0, 0.0), box)
    assert not contains(Point(20.0, 0.0), box)
    assert intersects(Circle(12.0, 0.0, 2.5), box)
    assert not intersects(Circle(12.0, 0.0, 1.5), box)
    # Crosses it without a corner of either in the other.
    assert intersects(Polygon(((0.0, -20.0), (1.0, -20.0), (1.0, 20.0), (0.0, 20.0))), box)
    # Two corners below the parallel: the edge between them bulges over it.
    bulge = Polygon(((330.0, 59.9), (30.0, 59.9), (0.0, 40.0)))
    assert intersects(bulge, Range(355.0, 5.0, 62.0, 70.0))
    assert not intersects(bulge, Range(355.0, 5.0, 70.0, 80.0))


@given(
    st.tuples(st.floats(0.0, 359.0), st.floats(-75.0, 75.0)),
    POSITIONS,
    st.floats(0.01, 3.0),
    st.floats(0.01, 3.0),
)
def test_squares_overlap_as_the_footprint_test_says(a, b, half_a, half_b):
    first, second = square(*a, half_a), square(a[0] + b[0] / 60.0, a[1] * 0.99, half_b)
    overlap = regions_overlap(
        SkyPolygon(vertices=first.corners), SkyPolygon(vertices=second.corners)
    )
    # Either may call what merely touches.
    grown = regions_overlap(
        SkyPolygon(vertices=square(*a, half_a * 1.001).corners),
        SkyPolygon(vertices=second.corners),
    )
    if overlap == grown:
        assert intersects(first, second) == overlap
        assert intersects(second, first) == overlap


def test_a_region_meets_and_lies_in_itself():
    one = square(10.0, 20.0, 0.5)
    assert intersects(one, one)
    assert contains(one, one)
    # A neighbour that shares a corner, or an edge.
    assert intersects(one, Polygon((one.corners[2], (12.0, 20.6), (12.0, 21.0))))
    assert intersects(one, Polygon((one.corners[1], one.corners[2], (12.0, 20.0))))


@given(POSITIONS, st.floats(0.01, 60.0), POSITIONS)
def test_bounding_caps_bound(center, radius, position):
    circle = Circle(*center, radius)
    point = Point(*position)
    direction, cap = bounding_cap(circle)
    if contains(point, circle):
        assert angle(point.vector, direction) <= cap + 1e-9


@given(POSITIONS, POSITIONS, POSITIONS)
def test_the_distance_of_an_arc_is_that_of_its_nearest_point(p, a, b):
    va, vb, vp = (np.array(unit_vector(*x)) for x in (a, b, p))
    if np.linalg.norm(va + vb) < 0.1:
        return
    t = np.linspace(0.0, 1.0, 2000)[:, None]
    arc = va + t * (vb - va)
    arc /= np.linalg.norm(arc, axis=1, keepdims=True)
    nearest = np.degrees(2 * np.arcsin(np.linalg.norm(arc - vp, axis=1).min() / 2))
    assert arc_distance(tuple(vp), tuple(va), tuple(vb)) == pytest.approx(nearest, abs=0.1)
