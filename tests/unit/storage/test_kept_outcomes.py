"""Outcomes that are written down: found for the same arrival, and never against the file."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from residua.errors import TransientError, WorkerCrashError
from residua.identity import object_key
from residua.outcomes import failed
from residua.storage import kept_outcomes
from residua.storage.kept_outcomes import find_failure, keep_outcome, settle_failure
from residua.storage.objects import checksum_of
from residua_schemas import DifferenceImageCreated
from residua_schemas.examples import examples

CONTENT = b"a difference image"


@pytest.fixture
def made(tmp_path):
    """A created outcome whose file may be at its place under ``tmp_path``."""
    event = examples()[DifferenceImageCreated]
    place = tmp_path / object_key(event.run, event.visit_detector, event.day_obs)
    place.parent.mkdir(parents=True)
    return event.model_copy(
        update={"uri": place.as_uri(), "checksum": checksum_of(CONTENT), "size_bytes": len(CONTENT)}
    )


@pytest.fixture
def failure(made):
    return failed(made.arrival, made.run, WorkerCrashError("died"), "operator")


def put(made, content=CONTENT):
    Path(urlsplit(made.uri).path).write_bytes(content)


def test_a_failure_is_found_for_its_arrival_alone(tmp_path, failure):
    root, arrival = str(tmp_path), failure.arrival
    assert find_failure(root, failure.run, arrival) is None
    assert settle_failure(root, failure) == failure
    assert find_failure(root, failure.run, arrival) == failure
    for changes in ({"revision": arrival.revision + 1}, {"image_uri": "file:///other.fits"}):
        assert find_failure(root, failure.run, arrival.model_copy(update=changes)) is None
    assert find_failure(root, f"{failure.run}/again", arrival) is None


def test_a_made_image_is_no_failure_to_find(tmp_path, made):
    keep_outcome(str(tmp_path), made)
    assert find_failure(str(tmp_path), made.run, made.arrival) is None


def test_a_file_that_is_there_settles_a_failure(tmp_path, made, failure):
    keep_outcome(str(tmp_path), made)
    put(made)
    assert settle_failure(str(tmp_path), failure) == made
    assert find_failure(str(tmp_path), made.run, made.arrival) is None


@pytest.mark.parametrize("content", [None, b"half", b"A DIFFERENCE IMAGE"])
def test_a_file_that_is_not_there_or_another_does_not(tmp_path, made, failure, content):
    keep_outcome(str(tmp_path), made)
    if content is not None:
        put(made, content)
    assert settle_failure(str(tmp_path), failure) == failure
    assert find_failure(str(tmp_path), made.run, made.arrival) == failure


@pytest.mark.parametrize("content", [b"", b"{", b'{"outcome": "created", "schema_version": "9.0"}'])
def test_what_cannot_be_read_is_as_good_as_none(tmp_path, failure, content):
    settle_failure(str(tmp_path), failure)
    [kept] = tmp_path.rglob("outcomes/*/*.json")
    kept.write_bytes(content)
    assert find_failure(str(tmp_path), failure.run, failure.arrival) is None
    assert settle_failure(str(tmp_path), failure) == failure
    assert find_failure(str(tmp_path), failure.run, failure.arrival) == failure


def test_a_store_that_is_late_with_a_file_has_the_last_word(tmp_path, made, failure, monkeypatch):
    keep_outcome(str(tmp_path), made)
    keep = kept_outcomes.keep_outcome

    def late(root, outcome):
        keep(root, outcome)
        put(made)

    monkeypatch.setattr(kept_outcomes, "keep_outcome", late)
    assert settle_failure(str(tmp_path), failure) == made
    assert find_failure(str(tmp_path), made.run, made.arrival) is None


def test_a_store_that_does_not_answer_is_said(tmp_path, failure):
    (tmp_path / "file").touch()
    with pytest.raises(TransientError):
        settle_failure(str(tmp_path / "file" / "below"), failure)
