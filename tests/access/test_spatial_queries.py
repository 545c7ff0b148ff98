"""Random spatial queries: both databases and a brute-force check give the same rows.

The check shares no code with the service: it works on densely sampled borders with numpy.
"""

import numpy as np
import pytest

from residua.access.adql import translate
from residua.access.dali.parameters import Parameters
from residua.access.protocols.sia import sia_adql
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.public_tables import TABLES
from residua.access.store.query_limits import Limits
from residua.access.store.seen import SERVICE, as_seen

QUERIES = 500


def unit(ra, dec):
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def separation(a, b):
    return np.degrees(2.0 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2.0, 0.0, 1.0)))


def border(corners, step=48):
    """Points along the great-circle edges."""
    v = unit(*np.array(corners, float).T)
    t = np.linspace(0.0, 1.0, step, endpoint=False)[:, None]
    parts = [a + t * (b - a) for a, b in zip(v, np.roll(v, -1, axis=0), strict=True)]
    points = np.concatenate(parts)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def winding(corners, points):
    """Turns (of 2 pi) the polygon makes around each point, seen from outside the sphere."""
    v = border(corners, 8)
    # Bearings of the border around each point; the sum of the steps is the winding number.
    p = np.atleast_2d(points)
    helper = np.where(np.abs(p[:, 2:3]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    east = np.cross(helper, p)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(p, east)
    bearing = np.arctan2(v @ east.T, v @ north.T)
    step = np.diff(np.concatenate([bearing, bearing[:1]]), axis=0)
    turns = np.round(((step + np.pi) % (2.0 * np.pi) - np.pi).sum(axis=0) / (2.0 * np.pi))
    # The antipode of an inner point is also gone around: only the near side counts.
    center = v.mean(axis=0)
    return np.where(p @ center > 0.0, turns, 0.0)


def inside(corners, points):
    return winding(corners, points) != 0.0


class Brute:
    """Answers of the check, and rows so close to a border that it cannot tell."""

    def __init__(self, rows):
        self.ids = [row["obs_publisher_did"] for row in rows]
        self.corners = [self._corners(row["s_region"]) for row in rows]
        self.borders = [border(c) for c in self.corners]
        self.centers = unit([r["s_ra"] for r in rows], [r["s_dec"] for r in rows])
        self.fov = np.array([r["s_fov"] for r in rows])

    @staticmethod
    def _corners(s_region):
        numbers = [float(w) for w in s_region.split()[2:]]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def near(self, p, reach):
        """Rows whose footprint is not certainly farther away than this, degrees."""
        close = np.flatnonzero(separation(self.centers, p) <= reach + self.fov + 1.0)
        return [(i, self.corners[i], self.borders[i]) for i in close]

    def point(self, ra, dec):
        p = unit(ra, dec)
        hits, unsure = set(), set()
        for i, corners, edge in self.near(p, 0.0):
            if separation(edge, p).min() < 0.02:
                unsure.add(self.ids[i])
            if inside(corners, p)[0]:
                hits.add(self.ids[i])
        return hits, unsure

    def cone(self, ra, dec, radius):
        d = separation(self.centers, unit(ra, dec))
        hits = {self.ids[i] for i in np.flatnonzero(d <= radius)}
        return hits, {self.ids[i] for i in np.flatnonzero(np.abs(d - radius) < 1e-6)}

    def circle(self, ra, dec, radius):
        p = unit(ra, dec)
        hits, unsure = set(), set()
        for i, corners, edge in self.near(p, radius):
            d = separation(edge, p).min()
            if abs(d - radius) < 0.01:
                unsure.add(self.ids[i])
            if d <= radius or inside(corners, p)[0]:
                hits.add(self.ids[i])
        return hits, unsure

    def polygon(self, query):
        query_border = border(query)
        hits, unsure = set(), set()
        for i, corners, edge in self.near(query_border[0], 30.0):
            if inside(query, edge).any() or inside(corners, query_border).any():
                hits.add(self.ids[i])
            nearest = (edge @ query_border.T).max()
            if np.degrees(np.arccos(min(1.0, nearest))) < 0.1:
                unsure.add(self.ids[i])
        return hits, unsure - hits | {i for i in unsure & hits if not self._deep(i, query)}

    def _deep(self, did, query):
        edge = self.borders[self.ids.index(did)]
        return inside(query, edge).sum() > 8


def random_polygon(rng, ra, dec):
    """A star-shaped polygon, often not convex."""
    n = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0.0, 2.0 * np.pi, n) + np.linspace(0, 1e-3, n))
    while np.diff(np.concatenate([angles, [angles[0] + 2 * np.pi]])).max() > 2.8:
        angles = np.sort(rng.uniform(0.0, 2.0 * np.pi, n))
    radii = np.tan(np.radians(rng.uniform(2.0, 12.0, n)))
    a, d = np.radians([ra, dec])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    v = unit(ra, dec) + radii[:, None] * (
        np.cos(angles)[:, None] * east + np.sin(angles)[:, None] * north
    )
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return [
        (float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arcsin(z))))
        for x, y, z in v
    ]


def random_query(rng, brute, rows):
    row = rows[int(rng.integers(len(rows)))]
    ra = float((row["s_ra"] + rng.normal(0.0, 1.0)) % 360.0)
    dec = float(np.clip(row["s_dec"] + rng.normal(0.0, 1.0), -89.9, 89.9))
    match int(rng.integers(5)):
        case 0:
            return f"CONTAINS(POINT('ICRS', {ra!r}, {dec!r}), s_region) = 1", brute.point(ra, dec)
        case 1:
            radius = float(rng.choice([0.3, 3.0, 30.0, 120.0]))
            where = (
                f"1 = CONTAINS(POINT('ICRS', s_ra, s_dec), CIRCLE('', {ra!r}, {dec!r}, {radius}))"
            )
            return where, brute.cone(ra, dec, radius)
        case 2:
            radius = float(rng.choice([0.1, 2.0, 20.0]))
            where = f"INTERSECTS(CIRCLE('ICRS', {ra!r}, {dec!r}, {radius}), s_region) = 1"
            return where, brute.circle(ra, dec, radius)
        case 3:
            radius = float(rng.choice([0.5, 5.0]))
            where = f"DISTANCE(POINT(s_ra, s_dec), POINT({ra!r}, {dec!r})) < {radius}"
            return where, brute.cone(ra, dec, radius)
        case _:
            corners = random_polygon(rng, ra, dec)
            numbers = ", ".join(f"{a!r}, {d!r}" for a, d in corners)
            return f"INTERSECTS(POLYGON('ICRS', {numbers}), s_region) = 1", brute.polygon(corners)


def answered(catalog, adql):
    translation = translate(adql, TABLES, catalog.kind)
    batches = catalog.rows(translation, Limits(60.0))
    return {row[0] for batch in batches for row in batch}


@pytest.fixture(scope="module")
def catalog(catalog_url):
    catalog = open_catalog(catalog_url, 2)
    yield catalog
    catalog.engine.dispose()


@pytest.fixture(scope="session")
def checked(rows):
    """Conditions, rows the check finds, and rows of which it is not sure: for both databases."""
    rng, brute = np.random.default_rng(6), Brute(rows)
    return [random_query(rng, brute, rows) for _ in range(QUERIES)]


def test_random_spatial_queries_give_the_rows_of_the_brute_force_check(catalog, checked):
    found = 0
    for where, (expected, unsure) in checked:
        got = answered(catalog, f"SELECT obs_publisher_did FROM ivoa.ObsCore WHERE {where}")
        assert got - unsure == expected - unsure, where
        found += len(got)
    assert found > 5 * QUERIES


def test_negation_and_constants_keep_the_meaning(catalog, rows):
    everything = {row["obs_publisher_did"] for row in rows}
    select = "SELECT obs_publisher_did FROM ivoa.ObsCore WHERE"
    region = "CIRCLE('ICRS', 0.5, 0.5, 8.0)"
    inside_ids = answered(catalog, f"{select} INTERSECTS({region}, s_region) = 1")
    outside_ids = answered(catalog, f"{select} INTERSECTS({region}, s_region) = 0")
    assert inside_ids
    assert inside_ids | outside_ids == everything
    assert not inside_ids & outside_ids
    assert answered(catalog, f"{select} NOT 1 = INTERSECTS(s_region, {region})") == outside_ids
    assert answered(catalog, f"{select} INTERSECTS({region}, s_region) > 0") == inside_ids


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((350.0, 10.0, -20.0, 20.0), lambda r: abs((r["s_ra"] + 180) % 360 - 180) <= 10),
        ((0.0, 360.0, 80.0, 90.0), lambda _: True),
        ((100.0, 300.0, -90.0, -85.0), lambda r: 100 <= r["s_ra"] <= 300),
    ],
)
def test_sia_ranges_find_at_least_the_centres_inside(catalog, rows, box, expected):
    text = "RANGE " + " ".join(map(str, box))
    query = sia_adql(Parameters({"POS": [text]})).replace("SELECT *", "SELECT obs_publisher_did")
    found = answered(catalog, query)
    for row in rows:
        center_inside = box[2] <= row["s_dec"] <= box[3] and expected(row)
        far = min(abs(row["s_dec"] - box[2]), abs(row["s_dec"] - box[3])) > 5 and not (
            box[2] <= row["s_dec"] <= box[3]
        )
        if center_inside:
            assert row["obs_publisher_did"] in found, row["s_region"]
        if far:
            assert row["obs_publisher_did"] not in found, row["s_region"]


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("1 = CONTAINS(POINT('', s_ra, s_dec), CIRCLE('', 1, 2, 0.1))", "obscore_point"),
        ("DISTANCE(POINT(s_ra, s_dec), POINT(1, 2)) < 0.1", "obscore_point"),
        ("1 = CONTAINS(POINT('', 1, 2), s_region)", "obscore_bounds"),
        ("1 = INTERSECTS(POLYGON('', 1, 2, 3, 2, 3, 4), s_region)", "obscore_bounds"),
        ("t_min BETWEEN 60000 AND 60001", "obscore_newest"),
        ("instrument_name = 'X' AND lsst_visit = 1", "obscore_lsst_visit"),
        ("obs_publisher_did = 'ivo://x'", "obscore_did"),
    ],
)
def test_queries_use_an_index(catalog, where, index):
    translation = translate(f"SELECT * FROM ivoa.ObsCore WHERE {where}", TABLES, catalog.kind)
    is_sqlite = catalog.kind == "sqlite"
    with catalog.engine.connect() as connection:
        if not is_sqlite:
            # The table is so small that reading it all would be quicker.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        sql = f"{explain} {as_seen(translation.sql, catalog.kind, {})}"
        parameters = {**translation.parameters, SERVICE: "http://localhost"}
        plan = str(connection.exec_driver_sql(sql, parameters).all())
    if is_sqlite and index in {"obscore_point", "obscore_bounds"}:
        index = "obscore_rtree VIRTUAL TABLE INDEX"
    assert index in plan
    assert "SCAN obscore " not in plan
