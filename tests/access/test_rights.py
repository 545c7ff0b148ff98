"""Rights belong to the file handed out, on every way to its bytes and to rows."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import numpy as np
import pytest
from sqlalchemy import create_engine, select, text, update
from tests.support.servers.certificates import make_token_issuer

from residua.access.rights.release import released, released_sql
from residua.access.settings import AccessSettings
from residua.catalog.rows import Site, difference_image_row, visit_image_row
from residua.obscore import obscore
from residua.testing.difference_images import difference_image_event, write_file
from residua_schemas import DifferenceImageCreated
from residua_schemas.examples import examples

FAR = "2099-01-01T00:00:00.000Z"
HIDDEN = ({"data_rights": "proprietary"}, {"obs_release_date": FAR})


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return make_token_issuer(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A difference image with its preview, and the files it was made of."""
    directory = tmp_path_factory.mktemp("images")
    event = difference_image_event(2026112200101, 4, "", shape=(60, 80))
    event = write_file(directory / "difference_image.fits", event)
    for name in ("preview.png", "visit.fits"):
        (directory / name).write_bytes(name.encode())
    uri = (directory / "visit.fits").as_uri()
    image = event.visit_image.model_copy(update={"uri": uri})
    described = examples()[DifferenceImageCreated].visit_image_metadata.model_copy(
        update={"uri": uri, "checksum": image.checksum, "region": event.region}
    )
    event = event.model_copy(
        update={
            "visit_image": image,
            "visit_image_metadata": described,
            "preview_uri": (directory / "preview.png").as_uri(),
            "templates": (),
        }
    )
    return directory, event


def served(files, issuer, tmp_path, make_catalog, run_service, changes, **settings):
    """Serve both rows, with values of the columns of each dataset type."""
    directory, event = files
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    make_catalog(url, [difference_image_row(event, Site()), visit_image_row(event, Site())])
    engine = create_engine(url)
    with engine.begin() as connection:
        for dataset_type, values in changes.items():
            where = obscore.c.dataset_type == dataset_type
            connection.execute(update(obscore).where(where).values(**values))
    engine.dispose()
    return run_service(
        AccessSettings(
            catalog_url=url,
            image_roots=(str(directory),),
            jwks_url=str(issuer.key_set),
            token_issuer=issuer.issuer,
            token_audience=issuer.audience,
            **settings,
        )
    )


def headers(issuer, scope="read:image read:tap", subject="vera"):
    claims = {
        "sub": subject,
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "exp": int(time.time()) + 600,
        "scope": scope,
    }
    bearer = jwt.encode(claims, issuer.private_key, algorithm="RS256", headers={"kid": "test"})
    return {"Authorization": f"Bearer {bearer}"}


def ways(base, event):
    """Every address of bytes, by what they are made of."""
    image, did = f"{base}/images/{event.dataset_id}", event.obs_publisher_did
    ra, dec = event.region.center
    cutout = f"{base}/cutout?ID={did}&CIRCLE={ra}+{dec}+0.001&CUTOUTMODE="
    visit = str(visit_image_row(event, Site())["dataset_id"])
    return {
        "difference_image": [
            image,
            f"{base}/previews/{event.dataset_id}",
            *(cutout + mode for mode in ("image", "masked-image", "exposure")),
        ],
        "visit_image": [f"{base}/images/{visit}", f"{image}/progenitors/0"],
    }


@pytest.mark.parametrize("values", HIDDEN, ids=["proprietary", "embargoed"])
@pytest.mark.parametrize("hidden", ["difference_image", "visit_image"])
def test_no_way_leads_round_the_rights_of_a_file(
    files, issuer, tmp_path, make_catalog, run_service, hidden, values
):
    changes = {hidden: values}
    with served(files, issuer, tmp_path, make_catalog, run_service, changes) as base:
        addresses = ways(base, files[1])
        other = "visit_image" if hidden == "difference_image" else "difference_image"
        for url in addresses[hidden]:
            for method in ("GET", "HEAD"):
                if method == "HEAD" and "/cutout" in url:
                    continue
                answer = httpx.request(method, url, headers=headers(issuer))
                assert answer.status_code == 403, (method, url)
        insider = headers(issuer, "read:image read:tap read:embargoed")
        for url in addresses[hidden]:
            assert httpx.get(url, headers=insider, timeout=60).status_code == 200, url
        # The public file is still there, unless it is reached by way of the hidden one.
        for url in addresses[other]:
            expected = 403 if hidden == "difference_image" and "progenitors" in url else 200
            assert httpx.get(url, headers=headers(issuer), timeout=60).status_code == expected, url


def test_hidden_rows_are_hidden_in_joins_counts_and_results(
    files, issuer, tmp_path, make_catalog, run_service
):
    changes = {"visit_image": HIDDEN[0]}
    queries = {
        "SELECT COUNT(*) AS n FROM ivoa.ObsCore": ("1", "2"),
        "SELECT COUNT(*) AS n FROM ivoa.ObsCore AS a JOIN ivoa.ObsCore AS b "
        "ON a.lsst_visit = b.lsst_visit": ("1", "4"),
        "SELECT COUNT(*) AS n FROM (SELECT * FROM ivoa.ObsCore) AS s "
        "WHERE dataproduct_subtype = 'lsst.visit_image'": ("0", "1"),
        "WITH x AS (SELECT * FROM ivoa.ObsCore) SELECT COUNT(*) AS n FROM x": ("1", "2"),
        "SELECT COUNT(*) AS n FROM tap_schema.schemas WHERE schema_name = 'ivoa' AND EXISTS "
        "(SELECT 1 FROM ivoa.ObsCore WHERE data_rights = 'proprietary')": ("0", "1"),
        "SELECT COUNT(*) AS n FROM ivoa.ObsCore WHERE 1 = CONTAINS(POINT('ICRS', s_ra, s_dec), "
        "CIRCLE('ICRS', 53.125, -27.74, 90))": ("1", "2"),
    }
    insider = headers(issuer, "read:image read:tap read:embargoed")
    with served(
        files, issuer, tmp_path, make_catalog, run_service, changes, list_unreleased=False
    ) as base:
        for query, expected in queries.items():
            data = {"LANG": "ADQL", "QUERY": query, "FORMAT": "csv"}
            for who, count in zip((headers(issuer), insider), expected, strict=True):
                answer = httpx.post(f"{base}/tap/sync", data=data, headers=who)
                assert answer.text.split() == ["n", count], query
                job = httpx.post(f"{base}/tap/async", data={**data, "PHASE": "RUN"}, headers=who)
                place = job.headers["location"]
                httpx.get(place, params={"WAIT": 20, "PHASE": "QUEUED"}, headers=who, timeout=30)
                httpx.get(place, params={"WAIT": 20, "PHASE": "EXECUTING"}, headers=who, timeout=30)
                result = f"{place}/results/result"
                assert httpx.get(result, headers=who).text.split() == ["n", count], query
        # The same person, with a token that lifts no embargo, may not read what the other token
        # found.
        assert httpx.get(result, headers=headers(issuer)).status_code == 403
        again = {"LANG": "ADQL", "QUERY": "SELECT * FROM TAP_UPLOAD.t", "UPLOAD": f"t,{result}"}
        for who, words in (
            (headers(issuer), "may hold what is not public yet"),
            (headers(issuer, subject="mallory"), "has no result here that is yours"),
            # Its own: as CSV no table that can be queried.
            (insider, "no VOTable"),
        ):
            refused = httpx.post(f"{base}/tap/sync", data=again, headers=who)
            assert refused.status_code == 400
            assert words in refused.text, refused.text
        for who, count in ((headers(issuer), 1), (insider, 2)):
            assert httpx.get(f"{base}/sia/query", headers=who).text.count("<TR>") == count
        did = str(visit_image_row(files[1], Site())["obs_publisher_did"])
        links = {"ID": did}
        found = httpx.get(f"{base}/datalink/links", params=links, headers=headers(issuer))
        assert "NotFoundFault" in found.text


@pytest.mark.parametrize("embargo_hours", [0.0, 80.0])
def test_the_database_decides_as_we_do(catalog_url, embargo_hours):
    """The condition in SQL against the function, over every kind of date and word."""
    settings = AccessSettings(catalog_url=catalog_url, embargo_hours=embargo_hours)
    now = datetime.now(UTC)
    mjd = (now - datetime(1858, 11, 17, tzinfo=UTC)) / timedelta(days=1)
    rng = np.random.default_rng(3)
    dates = [None, "", FAR, "2020-01-01T00:00:00Z", "2020-01-01", "2026-01-01T00:00:00.123"]
    dates += [
        (now + timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%S.000Z") for h in (-30, -1, 1, 30)
    ]
    engine = create_engine(catalog_url)
    columns = (obscore.c.row_id, obscore.c.obs_release_date, obscore.c.t_max, obscore.c.data_rights)
    with engine.connect() as connection:
        for i in connection.scalars(select(obscore.c.row_id)).all():
            values = {
                "obs_release_date": dates[rng.integers(len(dates))],
                "t_max": None if rng.random() < 0.2 else mjd - rng.uniform(0.0, 8.0),
                "data_rights": [None, "", "public", "Public", "proprietary", "secure"][
                    rng.integers(6)
                ],
            }
            connection.execute(update(obscore).where(obscore.c.row_id == i).values(**values))
        rows = connection.execute(select(*columns)).mappings().all()
        condition = text(released_sql(settings, engine.dialect.name).replace(":", "\\:"))
        found = set(connection.scalars(select(obscore.c.row_id).where(condition)))
        connection.rollback()
    engine.dispose()
    expected = {row["row_id"] for row in rows if released(row, settings)}
    assert found == expected
    assert 0 < len(expected) < len(rows)
