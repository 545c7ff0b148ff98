"""Letting files go that can be made again, and asking whether they would come back."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler
from lsst.images import Box
from sqlalchemy import create_engine, select
from tests.support.night import copied_night
from typer.testing import CliRunner

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository, repository_contents
from residua.cli.main import app
from residua.instruments import InstrumentRegistry
from residua.obscore import image_storage, obscore
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.expire import Expiry, expire
from residua.storage.objects import local_path
from residua_schemas import ImageReading


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def storage(url):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {r.dataset_id: r.storage for r in connection.execute(select(image_storage))}
    engine.dispose()
    return found


def rows(url):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(select(obscore).order_by(obscore.c.dataset_id)).all()
    engine.dispose()
    return found


def test_files_go_rows_stay_and_the_butler_makes_them_again(place):
    night, url, repo = place
    before, files = rows(url), {c.uri: local_path(c.uri).read_bytes() for c in night.created}
    common = ("expire", night.output_root, "--catalog", url, "--butler", repo, "--json")
    dry = invoke(*common, "--all", "--older-than", "0d", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert json.loads(dry.stdout)["removed"] == 2
    assert json.loads(dry.stdout)["images_not_listed"] == 0
    assert all(local_path(uri).exists() for uri in files)
    # Of millions not all are named.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("residua.cli.images.expire._LISTED", 1)
        few = json.loads(invoke(*common, "--all", "--older-than", "0d", "--dry-run").stdout)
    assert (few["removed"], len(few["images"]), few["images_not_listed"]) == (2, 1, 1)
    # They were meant to be kept, and nothing is 20,000 days old.
    for options, said in (
        (["--older-than", "0d"], "2 images of that age were meant to be kept"),
        (["--all", "--older-than", "20000d"], ""),
    ):
        none = invoke(*common, *options)
        assert json.loads(none.stdout)["images"] == []
        assert said in none.stderr
    done = invoke(*common, "--all", "--older-than", "0d", "--sample", "1")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["removed"] == 2
    assert answer["bytes"] == sum(map(len, files.values()))
    assert not any(local_path(uri).exists() for uri in files)
    assert all(local_path(c.preview_uri).exists() for c in night.created)
    assert rows(url) == before
    assert set(storage(url).values()) == {"on demand"}
    assert json.loads(invoke(*common, "--all", "--older-than", "0d").stdout)["images"] == []
    # Outcomes that are read again change nothing.
    night.fill(url)
    assert set(storage(url).values()) == {"on demand"}
    created = night.created[0]
    with Butler.from_config(repo, collections="residua") as butler:
        ref = butler.get_dataset(created.dataset_id)
        image = butler.get(ref)
        assert image.image.array.shape == created.shape
        assert butler.getURI(ref).geturl() == created.uri
        # Of a part no more is made than the part.
        box = Box.factory[200:251, 300:340]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recreator, "as_made", lambda *_: pytest.fail("made whole"))
            part = butler.get(ref, parameters={"bbox": box})
            plane = butler.get(ref.makeComponentRef("image"), parameters={"bbox": box})
        np.testing.assert_array_equal(part.image.array, image.image[box].array)
        np.testing.assert_array_equal(part.variance.array, image.variance[box].array)
        np.testing.assert_array_equal(plane.array, image.image[box].array)
        [count] = [c for c in repository_contents(butler) if c.dataset_type == "difference_image"]
        assert (count.datasets, count.on_demand) == (2, 2)
    status = json.loads(invoke("butler", "status", repo, "--json").stdout.splitlines()[0])
    assert status["on_demand"] in {0, 2}


def test_nothing_goes_when_the_sample_does_not_come_back(place):
    night, url, _ = place
    template = local_path(night.templates[0].uri)
    template.write_bytes(template.read_bytes() + b"\0" * 2880)
    done = invoke(
        "expire", night.output_root, "--catalog", url, "--no-butler", "--all", "--older-than", "0h"
    )
    assert done.exit_code == 1, done.output
    assert "keeps its files" in done.output
    assert "ChangedInputError" in done.output
    assert all(local_path(c.uri).exists() for c in night.created)
    assert storage(url) == {}


def test_an_image_whose_input_is_gone_is_kept(place):
    night, url, _ = place
    gone = night.created[0]
    local_path(gone.visit_image.uri).unlink()
    options = ("--no-butler", "--all", "--older-than", "0d", "--sample", "0", "--json")
    done = invoke("expire", night.output_root, "--catalog", url, *options)
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["removed"], answer["kept"]) == (1, 1)
    assert local_path(gone.uri).exists()
    assert str(gone.dataset_id) not in storage(url)


def test_whatever_else_an_image_needs_and_is_gone_keeps_it(night, tmp_path):
    gone = "file:///nowhere/gone.fits"
    first, other = night.created
    template = first.templates[0]
    of_template = template.model_copy(update={"reading": ImageReading(weight_uri=gone)})
    arrival = first.arrival.model_copy(update={"reading": ImageReading(mask_uri=gone)})
    solution = first.solution.model_copy(update={"uri": gone})
    recreator = Recreator(RecreationSettings(), tmp_path / "scratch")
    for n, (change, said) in enumerate(
        [
            (
                {"arrival": arrival},
                "the mask file of its visit image file:///nowhere/gone.fits is not there",
            ),
            (
                {"templates": (of_template, *first.templates[1:])},
                "the weight file of its template file:///nowhere/gone.fits is not there",
            ),
            ({"solution": solution}, "its solution file:///nowhere/gone.fits is not there"),
            ({}, None),
        ]
    ):
        changed = replace(night, outcomes=[first.model_copy(update=change), other])
        engine = create_engine(changed.fill(f"sqlite:///{tmp_path}/{n}.sqlite"))
        expiry = Expiry(night.output_root, timedelta(0), everything=True, sample=0, dry_run=True)
        found = {one.uri: one for one in expire(engine, recreator, [], expiry)}
        engine.dispose()
        assert found[other.uri].result == "removed"
        assert found[first.uri].result == ("kept" if said else "removed")
        assert (said or "") in (found[first.uri].reason or "")


KILLED = """
import sys, time
from datetime import timedelta
from pathlib import Path
from sqlalchemy import create_engine
from residua.recreation import RecreationSettings, Recreator, expire as module

url, root, scratch, dies = sys.argv[1:]

def stop(*_):
    print("now", flush=True)
    time.sleep(600)

real = module._note
if dies == "after":
    module._note = lambda e, c, state: stop() if state == "on demand" else real(e, c, state)
expiry = module.Expiry(root, timedelta(0), everything=True, sample=0)
recreator = Recreator(RecreationSettings(), Path(scratch))
prepares = [stop] if dies == "before" else []
list(module.expire(create_engine(url), recreator, prepares, expiry))
"""


@pytest.mark.parametrize("dies", ["before", "after"])
def test_whoever_is_killed_while_expiring_leaves_what_the_next_call_ends(place, dies, tmp_path):
    # Before: the catalog says so; no Butler was told, no file is gone. After: the file is gone.
    night, url, _ = place
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, night.output_root, str(tmp_path / "s"), dies],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "now\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    there = [local_path(c.uri).exists() for c in night.created]
    assert sorted(there) == ([True, True] if dies == "before" else [False, True])
    assert list(storage(url).values()) == ["expiring"]
    # Whoever reads meanwhile gets the file, or the image made again: the same bytes.
    recreator = Recreator(RecreationSettings(), tmp_path / "scratch")
    for created in night.created:
        path = local_path(created.uri)
        content = path.read_bytes() if path.exists() else None
        made = recreator.as_made(created).path.read_bytes()
        assert content in {None, made}
    # Whatever its age now.
    engine = create_engine(url)
    later = Expiry(night.output_root, timedelta(days=20_000), everything=False, sample=0)
    results = [one.result for one in expire(engine, recreator, [], later)]
    assert results == (["removed"] if dies == "before" else ["absent"])
    assert list(storage(url).values()) == ["on demand"]
    engine.dispose()


def test_recent_images_go_by_their_age(burnable, tmp_path):
    recent = [o.model_copy(update={"store": "recent"}) for o in burnable.created]
    kept = replace(burnable, outcomes=recent)
    url = kept.fill(f"sqlite:///{tmp_path}/recent.sqlite")
    assert set(storage(url).values()) == {"recent"}
    when = datetime(2026, 5, 1, tzinfo=UTC)
    engine = create_engine(url)
    recreator = Recreator(RecreationSettings(), tmp_path / "scratch")
    expiry = Expiry(kept.output_root, timedelta(days=30), now=when, sample=0)
    assert list(expire(engine, recreator, [], expiry)) == []
    expiry = Expiry(
        kept.output_root, timedelta(days=30), sample=0, now=datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert [one.result for one in expire(engine, recreator, [], expiry)] == ["removed"] * 2
    engine.dispose()


def test_a_run_that_stores_none_has_all_of_them_made(night, tmp_path):
    none = copied_night(night, str(tmp_path / "none"), store="none", previews=False)
    assert {c.store for c in none.created} == {"none"}
    url = none.fill(f"sqlite:///{tmp_path}/none.sqlite")
    assert set(storage(url).values()) == {"on demand"}
    assert list(Path(none.output_root).rglob("*.fits")) == []
    assert list(Path(none.output_root).rglob("*.png")) == []
    assert {c.preview_uri for c in none.created} == {None}
    assert len(list(Path(none.output_root).rglob("*.parquet"))) == 2
    repo = str(tmp_path / "repo")
    create_repository(repo)
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler, instruments=InstrumentRegistry(), output_root=none.output_root
        )
        assert registrar.register(none.created) == []
        assert registrar.register(none.created) == []
    with Butler.from_config(repo, collections="residua") as butler:
        for created in none.created:
            ref = butler.get_dataset(created.dataset_id)
            assert butler.get(ref).image.array.shape == created.shape
        counts = {c.dataset_type: c for c in repository_contents(butler)}
        assert counts["difference_image"].on_demand == 2
        assert counts["dia_source_detector"].on_demand == 0
    # How long it is kept is no property of an image.
    stored = {c.visit_detector: c.checksum for c in night.created}
    assert {c.visit_detector: c.checksum for c in none.created} == stored
