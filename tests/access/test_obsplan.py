"""``ivoa.obsplan`` on both databases: written by the catalog, asked by TAP, shown on the page."""

import csv
import io

import httpx
import pytest
from tests.access.conftest import serving
from tests.unit.catalog import test_plans as night

from residua.access.page.search import EXAMPLES
from residua.access.settings import AccessSettings
from residua.catalog.writing.transaction import open_database

[ACCOUNT] = [adql for name, adql in EXAMPLES.items() if "account" in name]
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def base(request, tmp_path_factory):
    """A service over a night of four planned detectors: two arrived, one made, one failed."""
    folder = tmp_path_factory.mktemp("plans")
    if request.param == "sqlite":
        url = f"sqlite:///{folder}/catalog.sqlite"
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database("residua_plans", ["pg_sphere"])
    engine = open_database(url)
    records = [
        night.announced(0, 1, 2, 3, 4, visit=None, group=night.GROUP),
        *(night.arrived(n, n, night.GROUP) for n in (1, 2)),
        night.outcome(5, 1),
        night.outcome(6, 2, night.FAILED),
        # A replay into a run of its own, which is accounted for by itself.
        night.outcome(7, 1, run="residua/0/dp1/3f2a9c51d0be/shadow"),
    ]
    night.write(engine, *records)
    night.write(engine, *reversed(records), at_once=True)
    engine.dispose()
    with serving(AccessSettings(catalog_url=url, results_directory=folder / "results")) as address:
        yield address


def ask(base, adql):
    query = {"LANG": "ADQL", "QUERY": adql, "RESPONSEFORMAT": "csv"}
    answer = httpx.get(f"{base}/tap/sync", params=query, timeout=60)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_one_query_accounts_for_the_night(base):
    rows = ask(base, ACCOUNT.replace("20261122", str(night.DAY)))
    names = ("known", "planned", "exposed", "arrived", "created", "skipped", "failed", "public")
    again = [row for row in rows if row["run"].endswith("/shadow")]
    of_night = [row for row in rows if row not in again]
    counted = {name: sum(int(row[name]) for row in of_night) for name in names}
    assert counted == dict(zip(names, (4, 4, 4, 2, 1, 0, 1, 1), strict=True))
    # The images of one run are not counted for the other.
    assert [tuple(int(row[name]) for name in names) for row in again] == [(1, 1, 1, 1, 1, 0, 0, 1)]


def test_plans_are_found_by_place_and_time(base):
    circle = "1 = INTERSECTS(s_region, CIRCLE('ICRS', 53.23, -28.11, {}))"
    for radius, there in ((0.01, 4), (1.0, 4)):
        found = ask(base, f"SELECT * FROM ivoa.obsplan WHERE {circle.format(radius)}")
        assert len(found) == there
    far = "SELECT * FROM ivoa.obsplan WHERE 1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE(200, 1, 3))"
    assert ask(base, far) == []
    found = ask(base, "SELECT * FROM ivoa.obsplan WHERE t_min < 60624 AND t_max > 60622")
    assert {row["execution_status"] for row in found} == {"Performed"}
    assert {row["category"] for row in found} == {"Other"}


def test_the_page_shows_the_account(base):
    page = httpx.get(f"{base}/night/{night.DAY}", headers=HTML, timeout=60)
    assert page.status_code == 200
    row = page.text.split('id="account"')[1].split("<tbody>")[1].split("</tbody>")[0]
    numbers = [cell.split("<")[0] for cell in row.split('">')[2:]]
    assert numbers[-8:] == ["1", "4", "4", "2", "1", "0", "1", "1"]
    tonight = httpx.get(f"{base}/tonight", headers=HTML, timeout=60).text
    assert "1 visits announced, 4 visit-detectors planned, 2 arrived" in tonight
