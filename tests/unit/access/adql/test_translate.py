"""The translator: what it writes for each database, and what its columns mean."""

import pytest

from residua.access.adql import AdqlError, translate
from residua.access.store.public_tables import TABLES

DATABASES = ["sqlite", "postgresql"]


def sql(query, database="sqlite", **options):
    return translate(query, TABLES, database, **options).sql


@pytest.mark.parametrize("database", DATABASES)
def test_the_number_of_rows_is_bounded(database):
    query = "SELECT {} s_ra FROM ivoa.ObsCore"
    for top, rows in (("", 11), ("TOP 5", 5), ("TOP 50", 11)):
        translation = translate(query.format(top), TABLES, database, max_rows=11)
        assert "LIMIT" in translation.sql
        assert translation.parameters["row_limit"] == rows
    union = "SELECT s_ra FROM ivoa.ObsCore UNION SELECT 1 FROM ivoa.ObsCore"
    assert translate(union, TABLES, database, max_rows=11).parameters["row_limit"] == 11


def test_columns_keep_their_meaning_through_aliases_and_subqueries():
    query = (
        "WITH t AS (SELECT s_ra AS x, t_min FROM ivoa.ObsCore) "
        "SELECT Y.x, MAX(Y.t_min) AS Latest, COUNT(*), 1.5 * x, DISTANCE(POINT(x, 1), POINT(2, 3)) "
        "FROM (SELECT x, t_min FROM t) AS Y GROUP BY x"
    )
    columns = translate(query, TABLES, "postgresql").columns
    assert [c.name for c in columns] == ["x", "Latest", "count", "column_4", "distance"]
    assert [c.kind for c in columns] == ["double", "double", "long", "double", "double"]
    assert [c.unit for c in columns] == ["deg", "d", None, None, "deg"]
    assert columns[0].ucd == "pos.eq.ra"


def test_pgsphere_gets_operators_on_indexed_columns():
    text = sql(
        "SELECT s_ra FROM ivoa.ObsCore AS o WHERE 1 = CONTAINS(POINT('ICRS', 1, 2), o.s_region) "
        "AND 0 = INTERSECTS(o.s_region, POLYGON('ICRS', 1, 2, 3, 4, 5, 2))",
        "postgresql",
    )
    assert 'OPERATOR(<@) "o"."s_region_spoly"' in text
    assert "NOT" in text
    assert "CAST(%(s0)s AS spoly)" in text


def test_regions_of_subqueries_are_read_from_their_text():
    text = sql(
        "SELECT r FROM (SELECT s_region AS r FROM ivoa.ObsCore) AS t "
        "WHERE 1 = CONTAINS(POINT(1, 2), t.r)",
        "postgresql",
    )
    assert 'RESIDUA_SPOLY("t"."r")' in text


def test_texts_stay_texts():
    nasty = "it''s; DROP TABLE obscore; -- \\ % :x ? /* */"
    for database in DATABASES:
        query = f"SELECT s_ra, '{nasty}' AS t FROM ivoa.ObsCore WHERE obs_id = '{nasty}'"
        translation = translate(query, TABLES, database)
        assert "DROP" not in translation.sql
        assert set(translation.parameters.values()) == {nasty.replace("''", "'")}


def test_comments_do_not_reach_the_database():
    text = sql("SELECT s_ra /* one */ FROM ivoa.ObsCore -- two\n WHERE s_ra > 1")
    assert "one" not in text
    assert "two" not in text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM ivoa.Nothing", "no table ivoa.nothing"),
        ("SELECT nothing FROM ivoa.ObsCore", "nothing"),
        ("SELECT SLEEP(1) FROM ivoa.ObsCore", "no function SLEEP"),
        ("SELECT REGION('CIRCLE 1 2 3') FROM ivoa.ObsCore", "REGION is not offered"),
        ("SELECT COUNT(1, 2) FROM ivoa.ObsCore", "COUNT takes 1 arguments"),
        ("SELECT 1 FROM ivoa.ObsCore WHERE 1 = CONTAINS(POINT('GALACTIC', 1, 2), s_region)",
         "not ICRS"),
        ("SELECT 1 FROM ivoa.ObsCore WHERE 1 = CONTAINS(POINT(1, 95), s_region)", "not a position"),
        ("SELECT 1 FROM ivoa.ObsCore WHERE 1 = CONTAINS(obs_id, s_region)", "no region"),
        ("SELECT 1 FROM ivoa.ObsCore WHERE POINT(1, 2) = POINT(1, 2)", "geometries are compared"),
        ("SELECT s_ra FROM ivoa.ObsCore NATURAL JOIN tap_schema.tables", "NATURAL JOIN is not"),
        ("SELECT", "SELECT"),
        ("", "0 statements"),
        ("SELECT s_ra FROM ivoa.ObsCore WHERE (((", "not ADQL"),
        ("SELECT " + "(" * 5_000 + "1", "nested too deeply"),
        ("SELECT " + "1+" * 40_000 + "1", "characters"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(query, words):
    for database in DATABASES:
        with pytest.raises(AdqlError, match=words.replace("(", r"\(")):
            sql(query, database)


def test_deep_queries_are_refused_before_they_take_seconds():
    where = "SELECT s_ra FROM ivoa.ObsCore WHERE "
    for deep in (" OR ".join(["s_ra = 1"] * 5_000), "NOT " * 15_000 + "s_ra = 1"):
        with pytest.raises(AdqlError, match="nested too deeply"):
            translate(where + deep, TABLES, "sqlite")
    many = f"s_ra IN ({', '.join(['1'] * 5_000)})"
    assert len(translate(where + many, TABLES, "sqlite").parameters) == 5_000


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_texts_cannot_be_doubled_through_subqueries(database):
    doubling = (
        "WITH a AS (SELECT s_region || s_region AS x FROM ivoa.ObsCore), "
        "b AS (SELECT x || x AS x FROM a) SELECT x || x FROM b"
    )
    with pytest.raises(AdqlError, match="outermost SELECT"):
        translate(doubling, TABLES, database)
    once = "SELECT lsst_band || ' ' || obs_id AS x FROM ivoa.ObsCore"
    assert "||" in translate(once, TABLES, database).sql
