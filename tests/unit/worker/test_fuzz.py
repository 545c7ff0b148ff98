"""Ten thousand mutated records: each ends as a dead letter or a valid outcome, none raises."""

import asyncio
import json
import random
from collections import Counter
from copy import deepcopy

from residua.errors import CorruptFileError
from residua.messaging.records.events import IncomingRecord
from residua.metrics import Metrics
from residua.outcomes import failed
from residua.worker.handler import ArrivalHandler
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.child import ChildAnswer
from residua.worker.templates.in_force import Templates
from residua_schemas import DeadLetter, VisitArrival, outcome_from_json
from residua_schemas.examples import examples

NUMBER = 10_000
ODD_VALUES = [
    None, True, -1, 0, 2**63, 2**64, 1e308, -0.5, "", "x" * 5000, "\x00", "\ud800", "NaN", [], {},
    [[]], "../../etc/passwd", "1.0", "2.0", "9999-99-99", "2026-01-01T00:00:00",
    "2026-01-01T00:00Z",
    [[0, 91], [1, 1], [2, 2]], {"vertices": [[0, 0], [1, 0], [1, 1]]},
]  # fmt: skip
ODD_TEXTS = [b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"{" * 300, b"9" * 5000, b"\x00", b"\xff"]


def paths(value, at=()):
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*at, key))
    if isinstance(value, list):
        for n, inner in enumerate(value):
            yield from paths(inner, (*at, n))


def mutate_fields(rng, body):
    body = json.loads(json.dumps(body))
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(list(paths(body)))
        if not at:
            continue
        holder = body
        for step in at[:-1]:
            holder = holder[step]
        action = rng.random()
        if action < 0.3:
            del holder[at[-1]]
        elif action < 0.5 and isinstance(holder, dict):
            key = rng.choice(["extra", "visit", "schema_version", "outcome"])
            holder[key] = deepcopy(rng.choice(ODD_VALUES))
        else:
            holder[at[-1]] = deepcopy(rng.choice(ODD_VALUES))
    return json.dumps(body).encode(errors="surrogatepass")


def mutate_bytes(rng, value):
    data = bytearray(value)
    for _ in range(rng.randint(1, 8)):
        start = rng.randrange(len(data) + 1)
        action = rng.random()
        if action < 0.4:
            data[start : start + 1] = rng.randbytes(1)
        elif action < 0.6:
            del data[start : start + rng.randint(1, 40)]
        elif action < 0.8:
            data[start:start] = rng.choice(ODD_TEXTS)
        else:
            data = data[: rng.randrange(len(data) + 1)] or bytearray(b"x")
    return bytes(data)


def mutants(seed):
    rng = random.Random(seed)
    event = examples()[VisitArrival]
    body, value = event.model_dump(mode="json"), event.model_dump_json().encode()
    for n in range(NUMBER):
        kind = n % 4
        if kind == 3:
            yield rng.randbytes(rng.randrange(200))
        else:
            yield mutate_fields(rng, body) if kind else mutate_bytes(rng, value)


class RefusingPool:
    """Answers every arrival with a failed outcome, so that the handler does all its work."""

    def __init__(self, run):
        self._run = run

    async def run(self, arrival, candidates, place, label=None):
        error = CorruptFileError("there are no files in this test")
        return ChildAnswer("outcome", outcome=failed(arrival, self._run, error, "producer"))


def test_no_mutated_event_stops_the_handler(tmp_path):
    settings = WorkerSettings(output_root=str(tmp_path))

    async def nothing():
        pass

    handler = ArrivalHandler(
        settings, RefusingPool(settings.run.name), Templates("default"), nothing, nothing, Metrics()
    )

    async def handle_all():
        kinds = Counter()
        for n, value in enumerate(mutants(20261122)):
            record = IncomingRecord("visit-arrivals", n % 4, n, b"k", value, 1_795_387_024_877)
            *_, out = await handler(record)
            if out.topic == "dead-letters":
                letter = DeadLetter.model_validate_json(out.value)
                assert letter.value == value
                kinds[letter.error] += 1
            else:
                kinds[outcome_from_json(out.value).outcome] += 1
        return kinds

    kinds = asyncio.run(handle_all())
    assert sum(kinds.values()) == NUMBER
    assert kinds["MalformedEventError"] > 2000
    assert kinds["UnsupportedVersionError"] > 10
    assert kinds["failed"] > 100
