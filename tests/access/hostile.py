"""What the hostile-request tests send: forbidden and mutated ADQL, odd values of parameters."""

from residua.access.store.public_tables import TABLES

FORBIDDEN = [
    "DROP TABLE obscore", "DELETE FROM ivoa.ObsCore", "UPDATE ivoa.ObsCore SET s_ra = 0",
    "INSERT INTO ivoa.ObsCore VALUES (1)", "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_catalog.pg_user", "SELECT * FROM uws_job", "SELECT * FROM obscore",
    "SELECT event FROM ivoa.ObsCore", "SELECT uri FROM ivoa.ObsCore",
    "SELECT row_id FROM ivoa.ObsCore", "SELECT s_region_spoly FROM ivoa.ObsCore",
    "SELECT load_extension('x') FROM ivoa.ObsCore", "SELECT pg_sleep(100) FROM ivoa.ObsCore",
    "SELECT readfile('/etc/passwd') FROM ivoa.ObsCore", "ATTACH DATABASE '/tmp/x' AS y",
    "COPY ivoa.ObsCore TO '/tmp/x'", "PRAGMA query_only = OFF", "VACUUM INTO '/tmp/x'",
    "SELECT * FROM ivoa.ObsCore; DELETE FROM obscore", "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT s_ra FROM ivoa.ObsCore UNION SELECT password FROM pg_shadow",
    "WITH x AS (DELETE FROM obscore RETURNING *) SELECT * FROM x",
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x",
    "SELECT * FROM generate_series(1, 1000000000)", "SELECT version() FROM ivoa.ObsCore",
    "SELECT current_user FROM ivoa.ObsCore", "SELECT $$x$$ FROM ivoa.ObsCore",
    "SELECT * FROM (VALUES (1)) AS t", "SELECT @@version", "EXPLAIN SELECT 1",
    "SELECT repeat('x', 1000000000) FROM ivoa.ObsCore", "SELECT :x FROM ivoa.ObsCore",
    "SELECT adql_contains('a', 'b') FROM ivoa.ObsCore", "SET statement_timeout = 0",
    "SELECT randomblob(1000000000) FROM ivoa.ObsCore", "SELECT * FROM obscore_rtree",
    "SELECT * FROM main.obscore", "SELECT * FROM x.ivoa.ObsCore", "BEGIN", "COMMIT",
    "SELECT s_ra::regclass FROM ivoa.ObsCore", "SELECT CAST('a' AS regclass) FROM ivoa.ObsCore",
    "SELECT (SELECT usename FROM pg_user LIMIT 1) FROM ivoa.ObsCore", "SELECT residua_spoly('x')",
]  # fmt: skip

VALID = [
    "SELECT TOP 5 * FROM ivoa.ObsCore WHERE CONTAINS(POINT('ICRS', 1.0, 2.0), s_region) = 1",
    "SELECT lsst_band, COUNT(*) AS n FROM ivoa.ObsCore GROUP BY lsst_band HAVING COUNT(*) > 1",
    "SELECT a.s_ra FROM ivoa.ObsCore AS a JOIN tap_schema.columns AS b ON b.ucd = a.o_ucd",
    "SELECT CASE WHEN s_ra > 1 THEN 'x' ELSE 'it''s' END AS y FROM ivoa.ObsCore ORDER BY y DESC",
    "WITH t AS (SELECT s_ra FROM ivoa.ObsCore) SELECT MAX(s_ra) FROM t WHERE s_ra IN (1, 2)",
    "SELECT DISTANCE(POINT(s_ra, s_dec), POINT(1, 2)) AS d FROM ivoa.ObsCore WHERE s_ra < 1e2",
]
PIECES = [
    "'", '"', "''", ";", "--", "/*", "*/", "(", ")", "((((", "%", "\\", "\x00", "\ud800", "é",
    "∞", "NaN", "1e999", "-1e999", "9" * 400, "0x1F", "NULL", "*", "..", "SELECT", "FROM", "UNION",
    "ivoa.ObsCore", "obscore", "s_region", "POLYGON(", "CIRCLE('ICRS', 1, 2, -3)", "BOX(1,2,3)",
    "POINT('GALACTIC', 1, 2)", "REGION('x')", "OR 1=1", "AND 1=CONTAINS(s_region, s_region)",
    "LIMIT ALL", "TOP -1", "OFFSET 1e9", "CAST(s_ra AS BLOB)", "::text", "||", "{fn now()}", "@x",
    "POLYGON(1,1,1,1,1,1)", "POLYGON(0,0,180,0,0,90)", "AREA(s_ra)", "COORD1(s_region)", "\n", "\t",
]  # fmt: skip


ALLOWED = {"obscore", "obscore_rtree", "t"} | {table.sql for table in TABLES}


def mutated(rng):
    text = rng.choice(VALID) if rng.random() < 0.8 else rng.choice(FORBIDDEN)
    for _ in range(rng.randint(1, 2)):
        i, j = sorted(rng.randint(0, len(text)) for _ in range(2))
        match rng.randint(0, 3):
            case 0:
                text = text[:i] + rng.choice(PIECES) + text[i:]
            case 1:
                text = text[:i] + text[min(j, i + 12) :]
            case 2:
                text = text[:i] + rng.choice(PIECES) + text[min(j, i + 6) :]
            case _:
                text += " " + rng.choice(PIECES)
    return text.replace("\ud800", "?")


VALUES = [
    "CIRCLE 1 2 3", "CIRCLE nan 2 3", "RANGE 1 2 3", "POLYGON 1 1 1 1 1 1", "1 2", "nan", "2 1",
    "POLYGON 0 90 0 -90 1 1", "RANGE -Inf +Inf -Inf +Inf", "-Inf +Inf", "' OR 1=1 --", "",
    "x" * 5_000, "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "\x00",
    "../../etc/passwd", "%00", "${jndi:ldap://x}", "3", "-1", "1e400", "9" * 30, "I",
    "image;DROP TABLE obscore", "lsst.difference_image", "RANGE 700 10 0 1", "\u202e", "ÿ",
    "CIRCLE 0 90 180", "1 2 3 4 5 6 7 8 9", "RUN", "ABORT", "DELETE", "votable", "parquet",
]  # fmt: skip
NAMES = [
    "POS", "BAND", "TIME", "POL", "FOV", "SPATRES", "SPECRP", "EXPTIME", "TIMERES", "ID",
    "COLLECTION", "CALIB", "TARGET", "FORMAT", "MAXREC", "RESPONSEFORMAT", "DPSUBTYPE",
    "CIRCLE", "POLYGON", "QUERY", "LANG", "UPLOAD", "PHASE", "ACTION", "RUNID", "CUTOUTMODE",
    "WAIT", "LAST", "AFTER", "DESTRUCTION", "EXECUTIONDURATION", "REQUEST", "FACILITY",
    "INSTRUMENT", "DPTYPE",
]  # fmt: skip
PATHS = [
    "/sia/query", "/datalink/links", "/cutout", "/tap/sync", "/tap/async", "/tap/async/x",
    "/tap/async/x/phase", "/images/x", "/images/../../etc/passwd", "/previews/%00",
    "/images/x/progenitors/-1", "/tap/tables", "/tap/examples", "/sia/availability",
]  # fmt: skip


def parameters(rng):
    """Some names with some values."""
    return [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randint(1, 4))]
