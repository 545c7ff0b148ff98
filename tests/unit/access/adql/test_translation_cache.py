"""One translation serves all queries of a shape, with their own numbers."""

import pytest

from residua.access.adql import TranslationCache, translate
from residua.access.dali.parameters import Parameters
from residua.access.protocols.sia import sia_adql
from residua.access.store.public_tables import TABLES

CONE = (
    "SELECT TOP 100 * FROM ivoa.ObsCore WHERE CONTAINS(POINT('ICRS', s_ra, s_dec), "
    "CIRCLE('ICRS', {}, {}, {})) = 1 AND lsst_band = '{}' AND t_min > {}"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def cache(request):
    return TranslationCache(TABLES, request.param)


def fresh(cache, adql, max_rows):
    return translate(adql, TABLES, cache._database, max_rows=max_rows)


def test_cones_with_other_numbers_are_one_statement(cache):
    for ra, dec, radius, band, t_min, rows in (
        (53.1, -28.1, 0.5, "r", 60000.0, 100),
        (0.1, 89.9, 3.25, "g", 61000.5, 101),
        (359.0, 0.0, 1.0, "it''s", 0.5, 5),
    ):
        adql = CONE.format(ra, dec, radius, band, t_min)
        assert cache.translate(adql, rows) == fresh(cache, adql, rows)
    assert cache.translated == 1


def test_every_shape_of_sia_is_one_statement(cache):
    shapes = [
        [{"POS": [f"CIRCLE {ra} -28.5 0.25"]} for ra in (1.5, 53.1, 200.0)],
        [{"POS": [f"POLYGON {ra} 0.5 {ra + 1} 0.5 {ra + 1} 1.5"]} for ra in (1.5, 53.1)],
        [{"POS": ["CIRCLE 1.5 2.5 1.5"], "BAND": [f"{b} 7e-07"]} for b in (5e-07, 6e-07)],
        [{"TIME": [f"{t} 61000.5"], "DPSUBTYPE": ["x"], "CALIB": ["3"]} for t in (1.5, 60000.25)],
    ]
    for number, shape in enumerate(shapes, 1):
        for values in shape:
            adql = sia_adql(Parameters(values))
            assert cache.translate(adql, 11) == fresh(cache, adql, 11)
        assert cache.translated == number


def test_what_changes_the_statement_is_translated_anew(cache):
    queries = [
        CONE.format(1.5, 2.5, 0.5, "r", 1.5).replace("TOP 100", "TOP 5"),
        CONE.format(1.5, 2.5, 120.5, "r", 1.5),
        CONE.format(1.5, 2.5, 0.5, "r", 1.5).replace("= 1", "= 0"),
        "SELECT ROUND(s_ra, 2) AS x, 'a' AS y FROM ivoa.ObsCore GROUP BY ROUND(s_ra, 2)",
        "SELECT ROUND(s_ra, 3) AS x, 'b' AS y FROM ivoa.ObsCore GROUP BY ROUND(s_ra, 3)",
        "SELECT s_ra FROM ivoa.ObsCore WHERE DISTANCE(POINT(s_ra, s_dec), POINT(1, 2)) < 0.5",
        "SELECT s_ra FROM ivoa.ObsCore WHERE DISTANCE(POINT(s_ra, s_dec), POINT(1, 2)) < 400.5",
    ]
    for adql in queries * 2:
        assert cache.translate(adql, 11) == fresh(cache, adql, 11), adql
    assert cache.translated <= len(queries)


def test_wrong_regions_are_refused_from_the_cache_as_well(cache):
    from residua.access.adql import AdqlError

    cache.translate(CONE.format(1.5, 2.5, 0.5, "r", 1.5), 11)
    with pytest.raises(AdqlError, match="not a position"):
        cache.translate(CONE.format(1.5, 92.5, 0.5, "r", 1.5), 11)


def test_what_is_known_needs_no_thread(cache):
    query = "SELECT TOP 5 obs_id FROM ivoa.ObsCore WHERE s_ra > {}"
    assert cache.known(query.format(1.5), 10) is None
    assert cache.translated == 0
    translated = cache.translate(query.format(1.5), 10)
    assert cache.known(query.format(1.5), 10) == translated
    other = cache.known(query.format(2.5), 10)
    assert other.sql == translated.sql
    assert set(other.parameters.values()) == {2.5, 5}
    # Errors are told by the translation itself; long queries are read in a thread.
    assert cache.known("SELECT nothing LIMIT 5", 10) is None
    long = f"SELECT obs_id FROM ivoa.ObsCore WHERE obs_id = '{'x' * 2_000}'"
    cache.translate(long, 10)
    assert cache.known(long, 10) is None
