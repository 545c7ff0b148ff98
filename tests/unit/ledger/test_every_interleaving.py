"""Every interleaving of a small world on the real rule: `decide`, `overtaken` and `is_garbage`.

Two workers that may stand still at any step for ever (zombies) and die between any two, arrivals in
three partitions, two independent consumers, a sweeper as slow as it likes. Searched breadth first.
In every state a row's file is there with its bytes, and no number and no arrival has two outcomes.
In every final state all arrivals are answered, both consumers have the newest by the rule, a
rebuild in the log's order and in reverse gives the same, and every other file is garbage.
"""

from collections import deque
from typing import NamedTuple

import pytest

from residua.ledger import (
    Entry,
    Identity,
    Lower,
    Repeat,
    Superseded,
    decide,
    is_garbage,
    overtaken,
    rank,
)


class Record(NamedTuple):
    part: int
    body: str
    rev: int
    place: int
    remake: int = 0
    after: Identity | None = None

    @property
    def identity(self):
        return Identity(self.rev, self.body, self.remake)


class Made(NamedTuple):
    """Stands for an outcome: what the ledger's functions look at."""

    checksum: str


class Work(NamedTuple):
    part: int
    offset: int
    step: str
    entry: Entry | None
    bits: str | None


class State(NamedTuple):
    topic: tuple
    acked: tuple
    workers: tuple
    files: frozenset
    ledger: tuple
    log: tuple
    rows: tuple
    deaths: int
    sweeps: int
    sweeper: tuple | None


def hand(s, w, work):
    return s._replace(workers=(*s.workers[:w], work, *s.workers[w + 1 :]))


class World:
    def __init__(self, records, hosts=(0, 0), sweeps=0, deaths=1):
        self.hosts = hosts
        topic = tuple(tuple(r for r in records if r.part == p) for p in range(3))
        nobody = tuple(() for _ in hosts)
        self.begin = State(
            topic, (0, 0, 0), nobody, frozenset(), (), (), ((0, None),) * 2, deaths, sweeps, None
        )

    def look(self, s, w, work):
        record, order = s.topic[work.part][work.offset], None
        order = (0, 0, record.place)
        decision = decide(s.ledger, record.identity, order)
        if isinstance(decision, Repeat):
            return work._replace(step="repeat", entry=decision.entry)
        n = decision.number
        if isinstance(decision, Lower):
            entry = Entry(n, "lower", record.identity, order)
            return work._replace(step="commit", entry=entry)
        if isinstance(decision, Superseded):
            entry = Entry(n, "superseded", record.identity, order, Made(""))
            return work._replace(step="commit", entry=entry)
        # Hosts of another kind make other bits.
        bits = work.bits or f"{record.body}{self.hosts[w]}"
        entry = Entry(n, "created", record.identity, order, Made(bits))
        return work._replace(step="put", entry=entry, bits=bits)

    def step(self, s, w):
        work = s.workers[w]
        if not work:
            for part, (offset, records) in enumerate(zip(s.acked, s.topic, strict=True)):
                if offset < len(records) and (
                    records[offset].after is None
                    or any(e.identity == records[offset].after for e in s.log)
                ):
                    yield hand(s, w, self.look(s, w, Work(part, offset, "", None, None)))
            return
        entry = work.entry

        def to(step, t=s):
            return hand(t, w, work._replace(step=step))

        if work.step == "put":
            file = (entry.number, entry.outcome.checksum)
            yield to("commit")._replace(files=s.files | {file})
        elif work.step == "commit" and len(s.ledger) > entry.number:
            yield hand(s, w, self.look(s, w, work))
        elif work.step == "commit":
            t = s._replace(ledger=(*s.ledger, entry))
            first = next(e for e in t.ledger if e.identity == entry.identity and e.outcome)
            step = "repeat" if entry.kind == "lower" else "publish"
            yield hand(t, w, work._replace(step=step, entry=first))
        elif work.step in {"publish", "repeat"}:
            t = s if entry in s.log else s._replace(log=(*s.log, entry))
            yield to("heal" if work.step == "repeat" else "ack", t)
        elif work.step == "heal":
            topic, newest = s.topic, overtaken(s.ledger)
            if newest is not None:
                i, (_, (_, _, place), _) = (
                    newest.identity,
                    rank(s.ledger, newest.identity, newest.order),
                )
                again = Record(0, i.words, i.revision, place, i.remake + 1)
                topic = ((*topic[0], again), *topic[1:])
            yield to("ack", s._replace(topic=topic))
        elif s.acked[work.part] != work.offset:
            yield hand(s, w, ())  # the broker refuses a zombie's
        else:
            acked = tuple(o + (p == work.part) for p, o in enumerate(s.acked))
            yield hand(s, w, ())._replace(acked=acked)

    @staticmethod
    def takes(held, e):
        return e.kind == "created" and (held is None or e.number > held.number)

    def read(self, row, log, most):
        seen, held = row
        while seen < len(log) and (most or not self.takes(held, log[seen])):
            if self.takes(held, log[seen]):
                held, most = log[seen], most - 1
            seen += 1
        return seen, held

    def garbage(self, s, file):
        held = [None if h is None else h.number for _, h in s.rows]
        return is_garbage(s.ledger, *file, held)

    def successors(self, s):
        for w, work in enumerate(s.workers):
            yield from self.step(s, w)
            if work and s.deaths:
                yield hand(s, w, ())._replace(deaths=s.deaths - 1)
        for c, row in enumerate(s.rows):
            if row[0] < len(s.log):
                rows = tuple(self.read(r, s.log, 1) if c == k else r for k, r in enumerate(s.rows))
                yield s._replace(rows=rows)
        if s.sweeper:
            yield s._replace(sweeper=None, files=s.files - {s.sweeper})
        elif s.sweeps:
            n = len(s.ledger)
            for file in s.files:
                if self.garbage(s, file):
                    yield s._replace(sweeper=file, sweeps=s.sweeps - 1)
                elif file[0] == n:  # nobody's yet: the number is closed first
                    yield s._replace(ledger=(*s.ledger, Entry(n, "swept")), sweeps=s.sweeps - 1)

    def normal(self, s):
        rows = tuple(self.read(row, s.log, 0) for row in s.rows)
        workers = s.workers
        if len(set(self.hosts)) == 1:
            workers = tuple(sorted(workers, key=hash))
        order = sorted(rows, key=lambda r: (r[0], -1 if r[1] is None else r[1].number))
        return s._replace(rows=tuple(order), workers=workers)

    def check(self, s):
        for _, held in s.rows:
            assert held is None or (held.number, held.outcome.checksum) in s.files, "row, no file"
        told = {(e.number, e.identity, e.kind, e.outcome) for e in s.log}
        assert len({t[0] for t in told}) == len(told), "two outcomes of one number"
        assert len({t[1] for t in told}) == len(told), "two outcomes of one arrival"

    def check_last(self, s):
        records = [r for part in s.topic for r in part]
        held = [h for _, h in s.rows]
        assert {r.identity for r in records} <= {e.identity for e in s.log}, "no outcome"
        ranks = {
            r.identity: (
                r.rev,
                min(q.place for q in records if (q.body, q.rev) == (r.body, r.rev)),
                r.remake,
            )
            for r in records
        }
        newest = max(ranks, key=ranks.get)
        assert [h and h.identity for h in held] == [newest, newest], "the newest does not win"
        for log in (s.log, s.log[::-1]):
            assert self.read((0, None), log, len(log))[1] == held[0], "a rebuild differs"
        for file in s.files:
            is_held = (held[0].number, held[0].outcome.checksum) == file
            assert is_held or self.garbage(s, file) or file[0] >= len(s.ledger), "an orphan stays"

    def explore(self):
        seen, queue = {self.begin}, deque([self.begin])
        ends = 0
        while queue:
            s = queue.popleft()
            self.check(s)
            busy = any(s.workers) or s.sweeper or any(r[0] < len(s.log) for r in s.rows)
            if s.acked == tuple(map(len, s.topic)) and not busy:
                ends += 1
                self.check_last(s)
            for t in map(self.normal, self.successors(s)):
                if t not in seen:
                    seen.add(t)
                    queue.append(t)
        return len(seen), ends


A, B, AGAIN = Record(0, "A", 0, 0), Record(1, "B", 0, 2), Record(1, "A", 0, 3)
FORCED = Record(0, "A", 0, 0, remake=1, after=Identity(0, "A"))


def slow(*values, name):
    return pytest.param(*values, id=name, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World((A, Record(1, "B", 1, 1), Record(1, "A", 0, 2)), deaths=0), id="late"),
        pytest.param(World((A, FORCED, B), deaths=0), id="corrected"),
        pytest.param(World((A, B), sweeps=1), id="swept"),
        pytest.param(World((A, B, AGAIN), deaths=0), id="overtaken"),
        slow(World((A, Record(1, "B", 1, 1), Record(1, "A", 0, 2)), sweeps=1), name="late and all"),
        slow(World((A, FORCED, B)), name="corrected with deaths"),
        slow(World((A, B, AGAIN)), name="overtaken with deaths"),
        slow(World((A, AGAIN), (0, 1), sweeps=2), name="hosts with other bits"),
        slow(
            World((A, Record(2, "B", 0, 1), Record(1, "A", 0, 2))), name="three partitions"
        ),
    ],
)  # fmt: skip
def test_every_interleaving(world):
    states, ends = world.explore()
    assert states > 100
    assert ends > 1
