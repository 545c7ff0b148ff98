"""The registrar on SQLite and PostgreSQL: once, twice, out of place, in conflict, in outage."""

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lsst.daf.butler import Butler
from sqlalchemy.exc import OperationalError

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import (
    COLLECTION,
    create_repository,
    open_repository,
    repository_contents,
)
from residua.errors import TransientError
from residua.instruments import InstrumentRegistry
from residua.testing.difference_images import difference_image_event, template_event
from residua_schemas import SkyPolygon

VISIT = 2024110800253


def found(repo: str, name: str = "difference_image", **arguments) -> list:
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        return sorted(butler.query_datasets(name, explain=False, **arguments))


def snapshot(repo: str) -> list:
    """Every dimension record, dataset and file record."""
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        rows = [
            record.toDict()
            for element in butler.dimensions.elements
            if element.has_own_table and not element.name.startswith("ssp")
            for record in butler.registry.queryDimensionRecords(element)
        ]
        datasets = [
            (str(ref), str(ref.id), str(butler.getURI(ref)))
            for name in ("difference_image", "template_coadd")
            for ref in butler.query_datasets(name, explain=False)
        ]
        chain = butler.collections.get_info(COLLECTION).children
    return [sorted(map(repr, rows)), sorted(datasets), chain]


def test_events_become_datasets_with_their_ids(repo, registrar, empty_files):
    uris = empty_files(4)
    events = [difference_image_event(VISIT + n // 2, n % 2, uris[n]) for n in range(4)]
    assert registrar.register(events) == []
    refs = found(repo)
    assert {ref.id for ref in refs} == {event.dataset_id for event in events}
    assert {ref.run for ref in refs} == {events[0].run}
    with open_repository(repo) as butler:
        assert {str(butler.getURI(ref)) for ref in refs} == set(uris)


def test_registering_again_changes_nothing(repo, registrar, empty_files):
    uris = empty_files(6)
    events = [difference_image_event(VISIT + n, 4, uris[n]) for n in range(5)]
    events.append(template_event(3, uris[5]))
    assert registrar.register(events) == []
    before = snapshot(repo)
    assert registrar.register(events[:2]) == []
    assert registrar.register(events + events) == []
    assert snapshot(repo) == before
    # Also when the files are gone by now.
    for uri in uris:
        Path(uri.removeprefix("file://")).unlink()
    assert registrar.register(events) == []
    assert snapshot(repo) == before


def test_order_of_the_events_does_not_matter(tmp_path, empty_files):
    uris = empty_files(6)
    events = [difference_image_event(VISIT + n // 2, n, uris[n]) for n in range(6)]
    snapshots = []
    for name, order in (("a", events), ("b", events[::-1])):
        repo = str(tmp_path / name)
        create_repository(repo)
        with open_repository(repo, writeable=True) as butler:
            registrar = Registrar(
                butler, instruments=InstrumentRegistry(), output_root=str(tmp_path)
            )
            for event in order:
                assert registrar.register([event]) == []
        snapshots.append(snapshot(repo))
    assert snapshots[0] == snapshots[1]


def test_files_inside_the_root_are_recorded_by_relative_path(repo, tmp_path, registrar):
    inside, outside = Path(repo) / "sub" / "in.fits", tmp_path / "out.fits"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.touch()
    assert not registrar.register(
        [
            difference_image_event(VISIT, 1, inside.as_uri()),
            difference_image_event(VISIT, 2, outside.as_uri()),
        ]
    )
    with open_repository(repo, writeable=True) as butler:
        refs = butler.query_datasets("difference_image", collections=COLLECTION)
        paths = {
            ref.dataId["detector"]: butler._datastore.getStoredItemsInfo(ref)[0].path
            for ref in refs
        }
        assert paths == {1: "sub/in.fits", 2: outside.as_uri()}
        # What lies elsewhere is not Butler's to delete.
        butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    assert outside.exists()
    assert not inside.exists()


def test_one_bad_event_does_not_stop_the_batch(repo, registrar, empty_files, tmp_path):
    uris = empty_files(4)
    good = [difference_image_event(VISIT + n, 4, uris[n]) for n in range(4)]
    missing = difference_image_event(VISIT, 5, (tmp_path / "never.fits").as_uri())
    outside = difference_image_event(VISIT, 6, "file:///etc/hostname")
    climbing = difference_image_event(VISIT, 7, (tmp_path / "a" / "../../x").as_uri())
    line = difference_image_event(VISIT, 8, uris[0]).model_copy(
        update={"region": SkyPolygon(vertices=((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)))}
    )
    long_name = difference_image_event(VISIT + 9, 4, uris[0]).model_copy(
        update={"physical_filter": "x" * 200}
    )
    other_id = good[0].model_copy(update={"dataset_id": missing.dataset_id})
    bad = [missing, outside, climbing, line, long_name]
    rejected = registrar.register([*good[:2], *bad, *good[2:]])
    assert [r.event for r in rejected] == bad
    assert [(type(r.error).__name__, r.error.responsible) for r in rejected] == [
        ("MissingFileError", "producer"),
        ("UriNotAllowedError", "producer"),
        ("UriNotAllowedError", "producer"),
        ("MalformedEventError", "producer"),
        ("ConflictError", "operator"),
    ]
    assert [ref.id for ref in found(repo)] == [event.dataset_id for event in good]
    [conflict] = registrar.register([other_id])
    assert type(conflict.error).__name__ == "ConflictError"
    assert [ref.id for ref in found(repo)] == [event.dataset_id for event in good]


def test_an_image_made_again_may_move_its_footprint(repo, registrar, empty_files):
    [uri] = empty_files(1)
    first = difference_image_event(VISIT, 4, uri)
    again = difference_image_event(VISIT, 4, uri, revision=1, position=(53.2, -27.740))
    for events in ([first], [again], [first], [again]):
        assert registrar.register(events) == []
    where = "visit_detector_region.region OVERLAPS POINT(:ra, :dec)"
    assert len(found(repo, where=where, bind={"ra": 53.2, "dec": -27.740})) == 1
    assert not found(repo, where=where, bind={"ra": 53.125, "dec": -27.740})


@pytest.mark.parametrize("order", ["in order", "newest first", "one batch", "one by one, twice"])
def test_butler_serves_the_file_of_the_highest_number_and_its_night(
    repo, registrar, empty_files, tmp_path, order
):
    """A correction that changes the night moves the file; nobody deletes the old one."""
    uris = empty_files(3)
    events = []
    for number, uri in enumerate(uris):
        day_obs = 20241122 + (number == 2)
        path = Path(urlsplit(uri).path)
        named = path.with_name(f"difference_image_{number}_{number:012x}.fits")
        path.rename(named)
        event = difference_image_event(VISIT, 4, named.as_uri(), revision=number)
        events.append(event.model_copy(update={"day_obs": day_obs}))
    batches = {
        "in order": [[e] for e in events],
        "newest first": [[e] for e in reversed(events)],
        "one batch": [[events[2], events[0], events[1]]],
        "one by one, twice": [[e] for e in [*events, *events]],
    }[order]
    for batch in batches:
        assert registrar.register(batch) == []
    with open_repository(repo) as butler:
        [ref] = found(repo)
        assert butler.getURI(ref).geturl() == events[2].uri
        [visit] = butler.query_dimension_records("visit", instrument="LSSTComCam")
        assert visit.day_obs == 20241123
    assert all(Path(urlsplit(e.uri).path).exists() for e in events)


def test_templates(repo, registrar, empty_files):
    uris = empty_files(2)
    events = [template_event(3, uris[0]), template_event(3, uris[1], band="i")]
    assert registrar.register(events) == []
    [ref] = found(
        repo, "template_coadd", where="band='i' AND patch.region OVERLAPS POINT(53.125, -27.740)"
    )
    assert ref.id == events[1].dataset_id
    assert ref.run == "residua/templates/dp1"
    assert dict(ref.dataId.mapping)["patch"] == 3


def test_difference_images_are_found_by_tract_and_patch(repo, registrar, empty_files):
    uris = empty_files(3)
    near = difference_image_event(VISIT, 4, uris[0])
    far = difference_image_event(VISIT + 1, 4, uris[1], position=(200.0, 10.0))
    assert registrar.register([near, far, template_event(3, uris[2])]) == []
    refs = found(repo, where="skymap='lsst_cells_v1' AND tract=5063 AND patch=3")
    assert [ref.id for ref in refs] == [near.dataset_id]


def test_the_chain_has_the_newest_run_first_and_templates_last(repo, registrar, empty_files):
    uris = empty_files(3)
    registrar.register([template_event(3, uris[2])])
    registrar.register([difference_image_event(VISIT, 4, uris[0], run="residua/0/dp1/one")])
    newest = difference_image_event(VISIT, 4, uris[1], run="residua/0/dp1/two")
    registrar.register([newest])
    with Butler.from_config(repo, collections=COLLECTION) as butler:
        assert butler.collections.get_info(COLLECTION).children == (
            "residua/0/dp1/two",
            "residua/0/dp1/one",
            "residua/templates/dp1",
        )
        # The newest run is the one that a data id finds.
        ref = butler.find_dataset(
            "difference_image", instrument="LSSTComCam", visit=VISIT, detector=4
        )
        assert ref.id == newest.dataset_id
        assert [(c.run, c.datasets) for c in repository_contents(butler)] == [
            ("residua/0/dp1/one", 1),
            ("residua/0/dp1/two", 1),
            ("residua/templates/dp1", 1),
        ]


def test_an_outage_is_no_fault_of_the_events(tmp_path, repo, empty_files, monkeypatch):
    events = [difference_image_event(VISIT, 4, empty_files(1)[0])]
    pauses = []
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(),
            output_root=str(tmp_path),
            attempts=3,
            pause=pauses.append,
        )

        def away(*_, **__):
            raise OperationalError("insert", {}, sqlite3.OperationalError("database is locked"))

        with monkeypatch.context() as patch:
            patch.setattr(butler, "ingest", away)
            with pytest.raises(TransientError, match="locked"):
                registrar.register(events)
        assert len(pauses) == 2
        assert all(0 < p <= 2 for p in pauses)
        assert registrar.register(events) == []
    assert len(found(repo)) == 1
