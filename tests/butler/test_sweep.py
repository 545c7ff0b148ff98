"""`residua sweep` with all it asks: files and ledger in S3, the catalog, a Butler repository."""

import json

import pytest
from lsst.resources import ResourcePath
from sqlalchemy import create_engine
from typer.testing import CliRunner

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository
from residua.catalog.rows import Site, difference_image_row
from residua.catalog.writing.upsert import upsert_rows
from residua.cli.main import app
from residua.identity import object_key
from residua.instruments import InstrumentRegistry
from residua.ledger import Entry, identity_of
from residua.obscore import create_tables
from residua.storage.objects import checksum_of, publish_bytes
from residua.storage.runs.ledger_files import LedgerFiles
from residua.testing.difference_images import difference_image_event

VISIT = 2024110800253


@pytest.fixture
def root(s3_bucket, monkeypatch):
    server, bucket = s3_bucket
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket}/swept"


def committed(root, number):
    """Put the file of a number and its entry; return its outcome."""
    event = difference_image_event(VISIT, 4, "", revision=number)
    content = f"image {number}".encode()
    checksum = checksum_of(content)
    key = object_key(event.run, event.visit_detector, event.day_obs, number, checksum)
    location = ResourcePath(root, forceDirectory=True).join(key)
    publish_bytes(location, content)
    event = event.model_copy(update={"uri": location.geturl(), "checksum": checksum})
    ledger = LedgerFiles(root, event.run, event.visit_detector)
    entry = Entry(number, "created", identity_of(event.arrival), (0, 0, number), event)
    assert ledger.commit(entry)
    return event


def test_a_superseded_file_in_s3_goes_when_catalog_and_butler_have_the_newer_one(root, tmp_path):
    first, second = committed(root, 0), committed(root, 1)
    url, repository = f"sqlite:///{tmp_path / 'catalog.sqlite'}", str(tmp_path / "repo")
    engine = create_engine(url)
    create_tables(engine)
    create_repository(repository)

    def register(event):
        with open_repository(repository, writeable=True) as butler:
            registrar = Registrar(butler, instruments=InstrumentRegistry(), output_root=root)
            assert registrar.register([event]) == []

    def sweep(*options):
        command = ["sweep", root, "--catalog", url, "--butler", repository, "--json", *options]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["removed"]

    def there():
        return [ResourcePath(event.uri).exists() for event in (first, second)]

    register(first)
    with engine.begin() as connection:
        upsert_rows(connection, [difference_image_row(second, Site())])
    # Butler still serves the first one.
    assert sweep("--older-than", "0") == []
    register(second)
    # Readers may hold its address.
    assert sweep() == []
    assert sweep("--older-than", "0", "--dry-run") == [first.uri]
    assert there() == [True, True]
    assert sweep("--older-than", "0") == [first.uri]
    assert there() == [False, True]
    assert sweep("--older-than", "0") == []
    with open_repository(repository) as butler:
        assert butler.getURI(butler.get_dataset(second.dataset_id)).geturl() == second.uri
    entries = LedgerFiles(root, first.run, first.visit_detector).read()
    assert [e.number for e in entries] == [0, 1]
    engine.dispose()
