"""Access URLs are made by who answers, of the dataset's identity: they are one value everywhere."""

import io

import httpx
from astropy.io.votable import parse_single_table
from astropy.table import Table
from sqlalchemy import create_engine, inspect, text
from tests.access.test_upload import votable

from residua.access.limits.cancellation import Cancellation
from residua.access.store.catalog_reader import open_catalog
from residua.access.store.query_limits import Limits

HERE = "https://o'data.example:8443/api"


def query(service, adql, **files):
    data = {"LANG": "ADQL", "QUERY": adql, "MAXREC": "1000"}
    if files:
        data["UPLOAD"] = "urls,param:urls"
    answer = httpx.post(f"{service}/tap/sync", data=data, files=files or None, timeout=60.0)
    assert answer.status_code == 200, answer.text
    return parse_single_table(io.BytesIO(answer.content)).to_table()


def test_the_value_of_the_result_is_that_of_conditions_groups_and_orders(service):
    rows = query(service, "SELECT obs_publisher_did, access_url FROM ivoa.ObsCore")
    for row in rows:
        address, _, name = str(row["access_url"]).partition("?ID=")
        assert address == f"{service}/datalink/links"
        assert str(httpx.QueryParams(f"ID={name}")["ID"]) == row["obs_publisher_did"]
    one = str(rows["access_url"][7])
    where = query(service, f"SELECT obs_publisher_did FROM ivoa.ObsCore WHERE access_url = '{one}'")
    assert list(where["obs_publisher_did"]) == [rows["obs_publisher_did"][7]]
    polar = query(service, "SELECT access_url FROM ivoa.ObsCore WHERE s_dec > 80")
    count = "SELECT COUNT(*) AS n FROM"
    expected = {
        f"{count} ivoa.ObsCore WHERE access_url LIKE '{service}/%'": len(rows),
        f"{count} ivoa.ObsCore WHERE access_url LIKE '%localhost%'": 0,
        "SELECT COUNT(DISTINCT access_url) AS n FROM ivoa.ObsCore": len(rows),
        f"{count} (SELECT access_url FROM ivoa.ObsCore) AS found WHERE access_url > ''": len(rows),
        f"{count} ivoa.ObsCore a JOIN ivoa.ObsCore b ON a.access_url = b.access_url "
        "WHERE a.s_dec > 80": len(polar),
        f"{count} (SELECT access_url, COUNT(*) AS m FROM ivoa.ObsCore GROUP BY access_url "
        "HAVING COUNT(*) = 1) AS groups": len(rows),
    }
    for adql, number in expected.items():
        assert int(query(service, adql)["n"][0]) == number, adql
    first = query(service, "SELECT TOP 3 access_url FROM ivoa.ObsCore ORDER BY access_url DESC")
    assert list(first["access_url"]) == sorted(rows["access_url"], reverse=True)[:3]


def test_a_table_of_urls_is_joined_with_them(service):
    found = query(service, "SELECT TOP 20 access_url FROM ivoa.ObsCore WHERE s_dec > 0")
    urls = [*map(str, found["access_url"]), "http://localhost:8080/datalink/links?ID=none"]
    joined = query(
        service,
        "SELECT o.obs_publisher_did, t.access_url FROM TAP_UPLOAD.urls AS t "
        "JOIN ivoa.ObsCore AS o ON o.access_url = t.access_url",
        urls=("urls.xml", votable(Table({"access_url": urls})), "application/x-votable+xml"),
    )
    assert sorted(joined["access_url"]) == sorted(urls[:-1])


def test_the_address_is_a_value_not_words_of_the_statement_and_is_stored_nowhere(catalog_url):
    catalog = open_catalog(catalog_url, 1)
    try:
        statement = catalog.translate("SELECT TOP 5 access_url, s_ra FROM ivoa.ObsCore", 10)
        batches = catalog.rows(statement, Limits(60.0, Cancellation()), service=HERE)
        urls = [row[0] for batch in batches for row in batch]
    finally:
        catalog.engine.dispose()
    assert len(urls) == 5
    assert all(url.startswith(f"{HERE}/datalink/links?ID=ivo%3A%2F%2F") for url in urls)
    engine = create_engine(catalog_url)
    assert "access_url" not in {c["name"] for c in inspect(engine).get_columns("obscore")}
    engine.dispose()


def test_a_database_that_was_not_migrated_answers_the_same(make_catalog, rows, tmp_path):
    url = f"sqlite:///{tmp_path}/old.sqlite"
    make_catalog(url, rows[:3])
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE obscore ADD COLUMN access_url TEXT DEFAULT 'old'"))
    engine.dispose()
    catalog = open_catalog(url, 1)
    statement = catalog.translate("SELECT * FROM ivoa.ObsCore WHERE access_url <> 'old'", 10)
    batches = catalog.rows(statement, Limits(60.0), service="http://new")
    place = [c.name for c in statement.columns].index("access_url")
    found = [row[place] for batch in batches for row in batch]
    catalog.engine.dispose()
    assert [url.split("?")[0] for url in found] == ["http://new/datalink/links"] * 3
