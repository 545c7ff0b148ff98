"""Expiring and recreating while things die: catalog, Butler and files agree afterwards.

The fault campaign's kinds for images that are not stored, on a real night: its own images are
stand-ins, which nobody can make again.
"""

import os
import random
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial

import pytest
from lsst.daf.butler import Butler
from lsst.images import Box
from lsst.resources import ResourcePath
from sqlalchemy import create_engine, select
from tests.support.night import copied_night
from tests.support.servers.faulty_store import running_faulty_store
from tests.support.servers.s3 import running_s3, s3_missing

from residua.butler.letting_go import prepare_butler
from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository
from residua.errors import TransientError
from residua.instruments import InstrumentRegistry
from residua.obscore import image_storage, obscore
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.expire import Expiry, expire
from residua.recreation.shared import make_shared, shared_place
from residua.storage.objects import checksum_of, local_path


class Place:
    """A night with a catalog and a Butler, and what must hold of it whatever died."""

    def __init__(self, night, folder):
        self.night, self.folder = night, folder
        self.url = night.fill(f"sqlite:///{folder}/catalog.sqlite")
        self.repo = str(folder / "repo")
        create_repository(self.repo)
        with open_repository(self.repo, writeable=True) as butler:
            registrar = Registrar(
                butler, instruments=InstrumentRegistry(), output_root=night.output_root
            )
            assert registrar.register(night.created) == []
        self.before = self.rows()

    def rows(self):
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = connection.execute(select(obscore).order_by(obscore.c.dataset_id)).all()
        engine.dispose()
        return found

    def storage(self):
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = {r.dataset_id: r.storage for r in connection.execute(select(image_storage))}
        engine.dispose()
        return found

    def expire(self, before_files_go=lambda: None):
        engine = create_engine(self.url)
        recreator = Recreator(RecreationSettings(), self.folder / "sample")
        expiry = Expiry(self.night.output_root, timedelta(0), everything=True, sample=0)
        with open_repository(self.repo, writeable=True) as butler:
            prepare = partial(prepare_butler, butler)

            def prepared(created):
                prepare(created)
                before_files_go()

            try:
                return [one.result for one in expire(engine, recreator, [prepared], expiry)]
            finally:
                engine.dispose()

    def agrees(self):
        """Look from every side; return which images are stored."""
        assert self.rows() == self.before
        storage, stored = self.storage(), []
        recreator = Recreator(RecreationSettings(), self.folder / "made")
        with Butler.from_config(self.repo, collections="residua") as butler:
            for created in self.night.created:
                is_there = ResourcePath(created.uri).exists()
                stored.append(is_there)
                state = storage.get(str(created.dataset_id))
                # Only in between may either be so.
                assert state == "expiring" or (state == "on demand") is not is_there
                content = (
                    ResourcePath(created.uri).read()
                    if is_there
                    else recreator.as_made(created).path.read_bytes()
                )
                assert checksum_of(content) == created.checksum
                ref = butler.get_dataset(created.dataset_id)
                assert butler.getURI(ref).geturl() == created.uri
                box = Box.factory[200:220, 300:320]
                part = butler.get(ref, parameters={"bbox": box})
                assert part.image.array.shape == (20, 20)
        return stored


@pytest.fixture
def store(monkeypatch):
    """A proxy before an S3 store; clients give up soon."""
    if reason := s3_missing():
        pytest.skip(reason)
    with (
        running_s3("night") as server,
        running_faulty_store(server.environment["S3_ENDPOINT_URL"]) as proxy,
    ):
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("S3_ENDPOINT_URL", proxy.address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield proxy


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_store_that_is_down_while_images_are_let_go_or_made(night, store, tmp_path):
    copy = copied_night(night, "s3://night/of")
    place = Place(copy, tmp_path)

    def goes_down():
        store.mode = "503"

    with pytest.raises(TransientError):
        place.expire(goes_down)
    store.mode = "ok"
    assert place.agrees() == [True, True]
    assert sorted(place.storage().values()) == ["expiring"]
    assert place.expire() == ["removed", "removed"]
    assert place.agrees() == [False, False]
    created = copy.created[0]
    recreator = Recreator(RecreationSettings(), tmp_path / "scratch")
    store.mode = "503"
    with pytest.raises(TransientError):
        recreator.as_made(created)
    store.mode = "ok"
    assert list((tmp_path / "scratch").glob("*")) == []
    # Down when the image is made and is to be put where all can read it.
    real = recreator.as_made

    def made_then_down(outcome):
        made = real(outcome)
        store.mode = "503"
        return made

    recreator.as_made = made_then_down
    with pytest.raises(TransientError):
        make_shared(recreator, created, copy.output_root)
    store.mode = "ok"
    recreator.as_made = real
    assert not shared_place(created, {}).exists()
    assert list((tmp_path / "scratch").glob("*")) == []
    put = make_shared(recreator, created, copy.output_root)
    assert checksum_of(put.read()) == created.checksum
    assert place.agrees() == [False, False]


KILLED = """
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from sqlalchemy import create_engine
from residua.butler.letting_go import prepare_butler
from residua.butler.repository import open_repository
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.expire import Expiry, expire
from residua.recreation.shared import make_shared
from residua_schemas import outcome_from_json
url, repo, root, scratch, what = sys.argv[1:]
outcomes = [outcome_from_json(line) for line in sys.stdin]
recreator = Recreator(RecreationSettings(), Path(scratch))
print("begun", flush=True)
if what == "expire":
    with open_repository(repo, writeable=True) as butler:
        expiry = Expiry(root, timedelta(0), everything=True, sample=1)
        list(expire(create_engine(url), recreator, [partial(prepare_butler, butler)], expiry))
else:
    while True:
        for outcome in outcomes:
            make_shared(recreator, outcome, root).remove()
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_killed_at_any_moment_all_sides_agree(night, tmp_path, seed):
    copy = copied_night(night, str(tmp_path / "night"))
    place = Place(copy, tmp_path)
    chance = random.Random(seed)
    lines = "\n".join(o.model_dump_json() for o in copy.created)
    for what in ("expire", "recreate"):
        arguments = [place.url, place.repo, copy.output_root, str(tmp_path / "scratch"), what]
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        process.stdin.write(lines)
        process.stdin.close()
        assert process.stdout.readline() == "begun\n"
        time.sleep(chance.uniform(0.0, 3.0))
        process.kill()
        process.wait()
        process.stdout.close()
        place.agrees()
        for created in copy.created:
            put = shared_place(created, {})
            # Whole, or not there: whoever finds it may serve it.
            assert not put.exists() or checksum_of(put.read()) == created.checksum
    place.expire()
    assert place.agrees() == [False, False]
    assert set(place.storage().values()) == {"on demand"}


def test_whoever_is_killed_while_making_an_image_leaves_nothing_that_is_served(night, tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from residua.recreation import RecreationSettings, Recreator\n"
        "from residua_schemas import outcome_from_json\n"
        "outcome = outcome_from_json(sys.stdin.readline())\n"
        "recreator = Recreator(RecreationSettings(), Path(sys.argv[1]))\n"
        "while True: recreator.as_made(outcome).path.unlink()"
    )
    folder, created = tmp_path / "made", night.created[0]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, text=True
    )
    process.stdin.write(f"{created.model_dump_json()}\n")
    process.stdin.close()
    half_made = []
    while not half_made:
        assert process.poll() is None
        half_made = list(folder.glob(".*.part"))
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(folder.glob("*.fits")) == []
    assert list(folder.glob(".*.part")) == half_made
    # Swept by whoever works there later, not at once: it might be another's.
    recreator = Recreator(RecreationSettings(), folder)
    assert recreator.as_made(created).path.read_bytes() == local_path(created.uri).read_bytes()
    assert half_made[0].exists()
    os.utime(half_made[0], (0, 0))
    recreator.as_made(created)
    assert not half_made[0].exists()
