"""Functions the translated queries call in PostgreSQL.

They say what PostgreSQL refuses to: NULL for what has no value. Their twins for SQLite are in
`residua.access.store`; whoever may connect may call them.
"""

__all__ = ["function_ddl"]

_HEAD = "LANGUAGE sql IMMUTABLE PARALLEL SAFE"
_BLOCK = "LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE"
_NUMBER = r"^[ \t\n\r\f]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\r\f]*$"
_WHOLE = r"^[ \t\n\r\f]*[+-]?[0-9]+[ \t\n\r\f]*$"
_DOUBLE = "double precision"


def function_ddl(*, spatial: bool) -> tuple[str, ...]:
    """Statements that create the functions, or bring them up to date.

    Parameters
    ----------
    spatial
        Whether pgsphere is there.
    """
    return (*_VALUES, *(_SPATIAL if spatial else ()))


def _sql(name: str, arguments: str, result: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {name}({arguments}) RETURNS {result} {_HEAD} "
        f"AS $residua$ SELECT {body} $residua$"
    )


def _plpgsql(name: str, arguments: str, result: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {name}({arguments}) RETURNS {result} {_BLOCK} "
        f"AS $residua$ {body} $residua$"
    )


def _guarded(name: str, operator: str, underflow: str) -> str:
    """One operation of doubles; too small a result is 0, too large a one NULL."""
    return _plpgsql(
        name,
        f"a {_DOUBLE}, b {_DOUBLE}",
        _DOUBLE,
        f"BEGIN RETURN a {operator} b; EXCEPTION WHEN numeric_value_out_of_range THEN "
        f"RETURN CASE WHEN {underflow} THEN 0.0 END; END",
    )


def _alphabet(name: str) -> str:
    # Not the database's language, which may know ASCII alone.
    return f"""
        DO $residua_do$ BEGIN
          IF EXISTS (SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu') THEN
            EXECUTE $residua_body$ CREATE OR REPLACE FUNCTION residua_{name}(a text) RETURNS text
              {_HEAD} AS $residua$ SELECT {name}(a COLLATE "und-x-icu") COLLATE "C" $residua$
            $residua_body$;
          ELSE
            EXECUTE $residua_body$ CREATE OR REPLACE FUNCTION residua_{name}(a text) RETURNS text
              {_HEAD} AS $residua$ SELECT {name}(a) COLLATE "C" $residua$
            $residua_body$;
          END IF;
        END $residua_do$
    """  # noqa: S608 our own words


_LONG = "BETWEEN -9223372036854775808 AND 9223372036854775807"

_VALUES: tuple[str, ...] = (
    _sql("residua_long", "a numeric", "bigint", f"CASE WHEN a {_LONG} THEN a::bigint END"),
    _sql(
        "residua_within", "a bigint, most bigint", "bigint",
        "CASE WHEN a BETWEEN -most - 1 AND most THEN a END",
    ),
    _sql(
        "residua_whole", f"a {_DOUBLE}", "bigint",
        "CASE WHEN a >= -9223372036854775808::float8 AND a < 9223372036854775808::float8 "
        "THEN trunc(a)::bigint END",
    ),
    _guarded("residua_plus", "+", "false"),
    _guarded("residua_minus", "-", "false"),
    _guarded("residua_times", "*", "abs(a) < 1.0 AND abs(b) < 1.0"),
    _guarded("residua_over", "/", "abs(a) < 1.0 OR abs(b) > 1e300"),
    _sql("residua_sqrt", f"a {_DOUBLE}", _DOUBLE, "CASE WHEN a >= 0.0 THEN sqrt(a) END"),
    _sql("residua_ln", f"a {_DOUBLE}", _DOUBLE, "CASE WHEN a > 0.0 THEN ln(a) END"),
    _sql("residua_log10", f"a {_DOUBLE}", _DOUBLE, "CASE WHEN a > 0.0 THEN log(a) END"),
    _sql(
        "residua_acos", f"a {_DOUBLE}", _DOUBLE,
        "CASE WHEN a BETWEEN -1.0 AND 1.0 THEN acos(a) END",
    ),
    _sql(
        "residua_asin", f"a {_DOUBLE}", _DOUBLE,
        "CASE WHEN a BETWEEN -1.0 AND 1.0 THEN asin(a) END",
    ),
    _sql(
        "residua_exp", f"a {_DOUBLE}", _DOUBLE,
        "CASE WHEN a > 709.782712893384 THEN NULL WHEN a < -745.1332191019411 THEN 0.0 "
        "ELSE exp(a) END",
    ),
    _plpgsql(
        "residua_power", f"a {_DOUBLE}, b {_DOUBLE}", _DOUBLE,
        "BEGIN RETURN power(a, b); EXCEPTION WHEN numeric_value_out_of_range THEN "
        "RETURN CASE WHEN (abs(a) < 1.0) = (b > 0.0) THEN 0.0 END; "
        "WHEN invalid_argument_for_power_function THEN RETURN NULL; END",
    ),
    _plpgsql(
        "residua_round", f"a {_DOUBLE}, digits bigint", _DOUBLE,
        "BEGIN RETURN round(a::numeric, least(greatest(digits, -400), 400)::integer)::float8; "
        "EXCEPTION WHEN numeric_value_out_of_range THEN RETURN NULL; END",
    ),
    _plpgsql(
        "residua_truncate", f"a {_DOUBLE}, digits bigint", _DOUBLE,
        "BEGIN RETURN trunc(a::numeric, least(greatest(digits, -400), 400)::integer)::float8; "
        "EXCEPTION WHEN numeric_value_out_of_range THEN RETURN NULL; END",
    ),
    _sql(
        "residua_mod", f"a {_DOUBLE}, b {_DOUBLE}", _DOUBLE,
        "mod(a::numeric, nullif(b::numeric, 0))::float8",
    ),
    _plpgsql(
        "residua_number", "a text", _DOUBLE,
        f"BEGIN IF a !~ '{_NUMBER}' THEN RETURN NULL; END IF; RETURN a::float8; "
        "EXCEPTION WHEN numeric_value_out_of_range THEN RETURN NULL; END",
    ),
    _plpgsql(
        "residua_integer", "a text", "bigint",
        f"BEGIN IF a ~ '{_WHOLE}' THEN "
        "RETURN CASE WHEN length(btrim(a, E' \\t\\n\\r\\f')) < 40 "
        "THEN residua_long(a::numeric) END; END IF; "
        "RETURN residua_whole(residua_number(a)); END",
    ),
    _alphabet("lower"),
    _alphabet("upper"),
    _sql(
        "residua_words", "a text", "text",
        "' ' || btrim(regexp_replace(residua_lower(a), '[^[:alnum:]]+', ' ', 'g'), ' ') || ' '",
    ),
    _sql(
        "residua_hasword", "haystack text, needle text", "integer",
        "(position(residua_words(needle) IN residua_words(haystack)) > 0)::integer",
    ),
    _sql(
        "residua_hashlist_has", "hashlist text, item text", "integer",
        "(residua_lower(item) = ANY (string_to_array(residua_lower(hashlist), '#')))::integer",
    ),
)  # fmt: skip

_SPATIAL: tuple[str, ...] = (
    _sql(
        "residua_point", f"ra {_DOUBLE}, declination {_DOUBLE}", "spoint",
        "CASE WHEN declination BETWEEN -90.0 AND 90.0 AND ra BETWEEN -360.0 AND 720.0 "
        "THEN spoint(radians(ra), radians(declination)) END",
    ),
    _sql(
        "residua_circle", f"center spoint, radius {_DOUBLE}", "scircle",
        "CASE WHEN radius BETWEEN 0.0 AND 90.0 THEN scircle(center, radians(radius)) END",
    ),
    _plpgsql(
        "residua_polygon", f"corners {_DOUBLE}[]", "spoly",
        """
        DECLARE words text := ''; i integer;
        BEGIN
          FOR i IN 1 .. array_length(corners, 1) / 2 LOOP
            IF corners[2 * i] NOT BETWEEN -90.0 AND 90.0 OR corners[2 * i] IS NULL
               OR corners[2 * i - 1] NOT BETWEEN -360.0 AND 720.0 OR corners[2 * i - 1] IS NULL
            THEN RETURN NULL; END IF;
            words := words || CASE WHEN i > 1 THEN ',' ELSE '' END || '('
              || (corners[2 * i - 1] - 360.0 * floor(corners[2 * i - 1] / 360.0)) || 'd,'
              || corners[2 * i] || 'd)';
          END LOOP;
          RETURN ('{' || words || '}')::spoly;
        EXCEPTION WHEN data_exception OR internal_error OR syntax_error THEN RETURN NULL;
        END
        """,
    ),
    _plpgsql(
        "residua_corners", "region text", f"{_DOUBLE}[]",
        """
        BEGIN
          IF region !~* '^\\s*POLYGON\\s' THEN RETURN NULL; END IF;
          RETURN string_to_array(
            btrim(regexp_replace(regexp_replace(region, '^\\s*POLYGON\\s+(ICRS\\s+)?', '', 'i'),
                                 '\\s+', ' ', 'g')), ' ')::float8[];
        END
        """,
    ),
    _plpgsql(
        "residua_centroid", f"corners {_DOUBLE}[]", "spoint",
        # As `residua.sphere.regions.Polygon.centroid`: the area's first moment is the sum of
        # the edges' angles times their normals.
        """
        DECLARE
          n integer := array_length(corners, 1) / 2; i integer; j integer;
          x float8[]; y float8[]; z float8[];
          nx float8; ny float8; nz float8; size float8; theta float8;
          mx float8 := 0; my float8 := 0; mz float8 := 0;
          cx float8 := 0; cy float8 := 0; cz float8 := 0;
        BEGIN
          IF residua_polygon(corners) IS NULL THEN RETURN NULL; END IF;
          FOR i IN 1 .. n LOOP
            x[i] := cos(radians(corners[2*i])) * cos(radians(corners[2*i-1]));
            y[i] := cos(radians(corners[2*i])) * sin(radians(corners[2*i-1]));
            z[i] := sin(radians(corners[2*i]));
            cx := cx + x[i]; cy := cy + y[i]; cz := cz + z[i];
          END LOOP;
          FOR i IN 1 .. n LOOP
            j := mod(i, n) + 1;
            nx := y[i]*z[j] - z[i]*y[j]; ny := z[i]*x[j] - x[i]*z[j]; nz := x[i]*y[j] - y[i]*x[j];
            size := sqrt(nx*nx + ny*ny + nz*nz);
            IF size > 0 THEN
              theta := atan2(size, x[i]*x[j] + y[i]*y[j] + z[i]*z[j]);
              mx := mx + theta*nx/size; my := my + theta*ny/size; mz := mz + theta*nz/size;
            END IF;
          END LOOP;
          IF mx*cx + my*cy + mz*cz < 0 THEN mx := -mx; my := -my; mz := -mz; END IF;
          RETURN spoint(atan2(my, mx), atan2(mz, sqrt(mx*mx + my*my)));
        END
        """,
    ),
    # Resolved when called: pgsphere may be built without them.
    _plpgsql(
        "residua_healpix_index", f"cells bigint, ra {_DOUBLE}, declination {_DOUBLE}", "bigint",
        "BEGIN IF cells NOT BETWEEN 0 AND 29 OR declination NOT BETWEEN -90.0 AND 90.0 THEN "
        "RETURN NULL; END IF; RETURN healpix_nest(cells::integer, "
        "spoint(radians(ra - 360.0 * floor(ra / 360.0)), radians(declination))); END",
    ),
    _plpgsql(
        "residua_healpix_center", "cells bigint, index bigint", "spoint",
        "BEGIN IF cells NOT BETWEEN 0 AND 29 OR index < 0 "
        "OR index >= 12 * (1::bigint << (2 * cells)::integer) THEN RETURN NULL; END IF; "
        "RETURN centre_of_healpix_nest(cells::integer, index); END",
    ),
)  # fmt: skip
