"""The ledger on a store, and outcomes committed there by workers that meet."""

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lsst.resources import ResourcePath
from tests.support.kafka_tools import arrival

from residua.errors import CorruptFileError, TransientError, WorkerCrashError
from residua.identity import number_of_key, object_key, outcome_key
from residua.ledger import Entry, identity_of
from residua.outcomes import failed
from residua.storage.objects import checksum_of, publish_bytes
from residua.storage.runs.ledger_files import LedgerFiles
from residua.storage.runs.sweeping import sweep_visit_detector
from residua.worker.conclude import conclude
from residua_schemas import ArrivalPlace, DifferenceImageCreated
from residua_schemas.examples import examples

EXAMPLE = examples()[DifferenceImageCreated]
RUN = EXAMPLE.run


def place(offset, partition=0):
    return ArrivalPlace(append_time_ms=0, partition=partition, offset=offset)


class Worker:
    """Makes small files as a real one does: draft, file; then the ledger is asked."""

    def __init__(self, root, run=RUN, tell=lambda _: None):
        self.root, self.run, self.tell = str(root), run, tell

    def make(self, event, bits="", *, until="file"):
        ledger = LedgerFiles(self.root, self.run, event.visit_detector)

        def made(number):
            if "fail" in event.image_uri:
                return failed(event, self.run, CorruptFileError("x"), "producer", number=number)
            content = f"{event.image_uri} {bits}".encode()
            checksum = checksum_of(content)
            night = event.day_obs or 20261122
            key = object_key(self.run, event.visit_detector, night, number, checksum)
            location = ResourcePath(self.root, forceDirectory=True).join(key)
            outcome = EXAMPLE.model_copy(
                update={
                    "arrival": event,
                    "visit_detector": event.visit_detector,
                    "revision": number,
                    "uri": location.geturl(),
                    "checksum": checksum,
                    "run": self.run,
                }
            )
            ledger.draft(outcome)
            if until == "draft":
                raise KeyboardInterrupt
            publish_bytes(location, content)
            if until == "file":
                return outcome
            raise KeyboardInterrupt

        return ledger, made

    def conclude(self, event, where, bits="", *, until="file"):
        ledger, made = self.make(event, bits, until=until)
        found = conclude(ledger, event, where, made)
        self.tell(found.outcome)
        return found


def files(root):
    return sorted(p.name for p in Path(root).rglob("*.fits"))


def test_an_outcome_is_found_for_its_arrival_whoever_asks(tmp_path):
    one, other = Worker(tmp_path), Worker(tmp_path)
    first = one.conclude(arrival(1), place(4))
    assert other.conclude(arrival(1), place(9), "other bits") == first
    assert first.outcome.place == place(4)
    assert Worker(tmp_path, f"{RUN}/again").conclude(arrival(1), place(4)).outcome.revision == 0
    assert len(files(tmp_path)) == 2


def test_an_image_that_was_stored_settles_a_later_failure(tmp_path):
    """Killed between store and commit; then the input is gone."""
    worker = Worker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        worker.conclude(arrival(1), place(4), until="nothing")
    [left] = files(tmp_path)

    def gone(number):
        return failed(arrival(1), RUN, CorruptFileError("gone"), "producer", number=number)

    ledger, _ = worker.make(arrival(1))
    found = conclude(ledger, arrival(1), place(4), gone).outcome
    assert found.outcome == "created"
    assert found.uri.endswith(left)


@pytest.mark.parametrize("content", [None, b"half"])
def test_a_file_that_never_came_or_another_does_not(tmp_path, content):
    worker = Worker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        worker.conclude(arrival(1), place(4), until="draft" if content is None else "nothing")
    for path in Path(tmp_path).rglob("*.fits"):
        path.write_bytes(content)
    failure = failed(arrival(1), RUN, WorkerCrashError("died"), "operator")
    ledger, _ = worker.make(arrival(1))
    found = conclude(ledger, arrival(1), place(4), lambda _: failure).outcome
    assert found == failure.model_copy(update={"place": place(4)})
    # And it is final.
    assert worker.conclude(arrival(1), place(4)).outcome == found


def test_a_zombie_finds_its_number_taken_and_harms_nothing(tmp_path):
    """Frozen with the image made; meanwhile another worker makes it, and a newer one."""
    zombie, worker = Worker(tmp_path), Worker(tmp_path)
    newer = arrival(1, "newer", revision=1)
    ledger, made = zombie.make(arrival(1), "other bits")

    def slowly(number):
        if number == 0:
            worker.conclude(arrival(1), place(0))
            worker.conclude(newer, place(1))
        return made(number)

    found = conclude(ledger, arrival(1), place(0), slowly).outcome
    # It repeats what stands there for its arrival, and the newer one is in force.
    assert (found.revision, found.checksum) == (0, checksum_of(b"file:///nowhere/1.fits? "))
    assert [e.number for e in ledger.read()] == [0, 1]
    for entry in ledger.read():
        content = Path(urlsplit(entry.outcome.uri).path).read_bytes()
        assert checksum_of(content) == entry.outcome.checksum


def test_other_bytes_under_the_same_words_are_another_arrival(tmp_path):
    """README's three fields: the producer replaces the file and sends the same event."""
    worker = Worker(tmp_path)
    ledger, made = worker.make(arrival(1))
    now = {"bytes": EXAMPLE.visit_image_metadata.checksum}
    first = conclude(ledger, arrival(1), place(0), made, lambda: now["bytes"]).outcome
    again = conclude(ledger, arrival(1), place(1), made, lambda: now["bytes"]).outcome
    assert again == first
    now["bytes"] = "sha256:" + 64 * "b"
    _, replaced = worker.make(arrival(1), "replaced")
    changed = conclude(ledger, arrival(1), place(2), replaced, lambda: now["bytes"]).outcome
    assert changed.revision == 1
    # Not to be read any more: the newest of these words.
    assert conclude(ledger, arrival(1), place(2), made, str).outcome.revision in {0, 1}


def test_a_file_that_comes_after_its_failure_is_tried(tmp_path):
    ledger, made = Worker(tmp_path).make(arrival(1))
    failure = failed(arrival(1), RUN, CorruptFileError("missing"), "producer")
    first = conclude(ledger, arrival(1), place(0), lambda _: failure, str).outcome
    assert first.outcome == "failed"
    assert conclude(ledger, arrival(1), place(0), made, str).outcome == first
    content = EXAMPLE.visit_image_metadata.checksum
    assert conclude(ledger, arrival(1), place(1), made, lambda: content).outcome.revision == 1


def test_outcomes_of_releases_before_the_ledger_are_known(tmp_path):
    """Two, of which the second was a forced replay: then a raised revision of equal words."""
    root = ResourcePath(str(tmp_path), forceDirectory=True)
    for revision in (0, 1):
        event = arrival(1, revision=revision)
        old = EXAMPLE.model_copy(update={"arrival": event, "revision": revision})
        key = outcome_key(RUN, event.visit_detector, revision)
        publish_bytes(root.join(key), old.model_dump_json(exclude_none=True).encode())
    worker = Worker(tmp_path)
    assert worker.conclude(arrival(1), place(7)).outcome.revision == 0
    # Corrected by a producer that knows nothing of the replay.
    corrected = worker.conclude(arrival(1, "corrected"), place(8)).outcome
    assert (corrected.outcome, corrected.revision) == ("created", 2)


def test_an_entry_that_cannot_be_read_is_never_given_twice(tmp_path):
    worker = Worker(tmp_path)
    worker.conclude(arrival(1), place(0))
    [path] = Path(tmp_path).rglob("0.json")
    path.write_bytes(b"{")
    with pytest.raises(TransientError, match="damaged"):
        worker.conclude(arrival(1), place(0))


# Any order, repetition and interleaving of the same arrivals: a metamorphic test.

NIGHT = [
    (arrival(1, "first"), place(0)),
    (arrival(1, "second"), place(1)),
    (arrival(1, "fail"), place(2)),
    (arrival(1, "corrected", revision=1), place(3)),
    (arrival(1, "night", revision=2).model_copy(update={"day_obs": 20261123}), place(4)),
    (arrival(1, "late", revision=1), place(5)),
    (arrival(1, "first"), place(6)),
    (arrival(2, "alone"), place(7)),
]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_any_order_repetition_and_interleaving_ends_the_same(tmp_path, workers, seed):
    rng = random.Random(seed)
    told, lock = [], threading.Lock()
    todo = NIGHT * 3
    rng.shuffle(todo)
    if seed % 2 == 0 and workers == 1:
        todo = sorted(todo, key=lambda pair: pair[1].offset)
    queue, healed = iter(todo), []

    def tell(outcome):
        with lock:
            told.append(outcome)

    def work(_n):
        worker = Worker(tmp_path, tell=tell)
        while True:
            with lock:
                one = healed.pop() if healed else next(queue, None)
            if one is None:
                return
            time.sleep(rng.uniform(0, 0.002))
            found = worker.conclude(*one)
            if found.healing is not None:
                with lock:
                    healed.append((found.healing.arrival, found.healing.place))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
    work(0)
    numbers = {}
    for outcome in told:
        key = outcome.visit_detector.visit, outcome.revision
        assert numbers.setdefault(key, outcome) == outcome
    rows = {}
    for outcome in rng.sample(told, len(told)):
        held = rows.get(outcome.visit_detector.visit)
        if outcome.outcome == "created" and (held is None or outcome.revision > held.revision):
            rows[outcome.visit_detector.visit] = outcome
    assert rows[1].arrival.image_uri == arrival(1, "night").image_uri
    assert rows[2].arrival == arrival(2, "alone")
    for outcome in rows.values():
        content = Path(urlsplit(outcome.uri).path).read_bytes()
        assert checksum_of(content) == outcome.checksum
        assert number_of_key(outcome.uri) == (outcome.revision, outcome.checksum[7:19])
    answered = {identity_of(o.arrival) for o in told}
    assert answered >= {identity_of(event) for event, _ in NIGHT}


def test_a_swept_number_is_passed_over(tmp_path):
    worker = Worker(tmp_path)
    ledger, _ = worker.make(arrival(1))
    assert ledger.commit(Entry(0, "swept"))
    assert not ledger.commit(Entry(0, "swept", identity_of(arrival(1)), (0, 0, 0)))
    assert worker.conclude(arrival(1), place(0)).outcome.revision == 1
    assert list(itertools.islice((e.kind for e in ledger.read()), 3)) == ["swept", "created"]


def test_a_sweep_removes_what_nobody_can_come_to_need(tmp_path):
    """A superseded file, one whose number another got, and one that was never committed."""
    worker = Worker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        # Killed with its file in place; another arrival then gets the number.
        worker.conclude(arrival(1, "killed"), place(0), until="nothing")
    for n, wish in enumerate(["old", "new"]):
        worker.conclude(arrival(1, wish), place(n + 1))
    with pytest.raises(KeyboardInterrupt):
        worker.conclude(arrival(1, "on its way", revision=1), place(5), until="nothing")
    ledger, _ = worker.make(arrival(1))

    def swept(rows, **options):
        there = [ResourcePath(str(p)) for p in sorted(Path(tmp_path).rglob("*.fits"))]
        found = sweep_visit_detector(
            ledger, there, lambda *_: rows, older_than=timedelta(0), **options
        )
        return sorted(one.number for one in found)

    assert len(files(tmp_path)) == 4
    # Nobody has the new one yet: only what lost its number goes.
    assert swept([0, None], dry_run=True) == [0]
    assert len(files(tmp_path)) == 4
    # Both have it. What was on its way has its number closed, and goes too.
    assert swept([1, 1]) == [0, 0, 2]
    [left] = files(tmp_path)
    assert left.startswith("difference_image_Sim_1_0_1_")
    assert worker.conclude(arrival(1, "on its way", revision=1), place(5)).outcome.revision == 3
    assert swept([3, 1]) == []
    # Young files stay for readers.
    there = [ResourcePath(str(p)) for p in Path(tmp_path).rglob("*.fits")]
    held = lambda *_: [3, 3]  # noqa: E731
    assert list(sweep_visit_detector(ledger, there, held, older_than=timedelta(days=7))) == []
    assert swept([3, 3]) == [1]
