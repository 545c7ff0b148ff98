"""What a campaign must have come to: which outcome each arrival has, which image is in force.

Computed here from what was sent and where it stands in the topic, not with the code under test.
"""

import asyncio
import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import Engine, select
from tests.support.kafka_tools import Delivery
from tests.support.stand_in import stand_in_content

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository, register_dataset_types
from residua.identity import number_of_key
from residua.instruments import InstrumentRegistry
from residua.ledger import is_garbage
from residua.messaging.client import read_to_end
from residua.obscore import image_storage, obscore
from residua.outcomes import Outcome
from residua.storage.runs.ledger_files import LedgerFiles
from residua_schemas import (
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    DifferenceImageCreated,
    VisitArrival,
    outcome_from_json,
)

__all__ = ["Verdict", "judge"]

SUPERSEDED = "SupersededArrivalError producer"
# A subtraction whose process is killed twice, or hangs and is killed, is a failure: that may meet
# an arrival by chance.
UNLUCKY = {"WorkerCrashError residua", "SubtractionTimeoutError operator"}


@dataclass
class Verdict:
    """Complaints, in words; and how many arrivals had bad luck."""

    complaints: list[str] = field(default_factory=list)
    unlucky: int = 0
    garbage: int = 0
    superseded: int = 0


def expected(event: VisitArrival) -> str:
    """Return the outcome an arrival must have if it is the newest."""
    wish = parse_qs(urlsplit(event.image_uri).query, keep_blank_values=True)
    if "crash" in wish and "kill-after-publish" in wish:
        return "WorkerCrashError residua"
    if "once" in wish or "crash-after-store" in wish:
        return "created"
    if "hang" in wish:
        return "SubtractionTimeoutError operator"
    if "raise" in wish:
        return "InternalError residua"
    if "fail" in wish:
        return "CorruptFileError producer"
    return "skipped" if "template" in wish else "created"


def told(outcome: Outcome) -> str:
    """Return an outcome in the words of `expected`."""
    if outcome.outcome == "failed":
        return f"{outcome.error} {outcome.responsible}"
    return outcome.outcome


def _identity(event: VisitArrival) -> tuple[int, str, int]:
    return event.revision, event.image_uri, event.remake


def judge(
    delivery: Delivery,
    sent: Iterable[VisitArrival],
    ghosts: Iterable[VisitArrival],
    content_of: Callable[[str], bytes],
    files: frozenset[str],
    most: int | None = None,
) -> Verdict:
    """Compare everything with everything.

    Parameters
    ----------
    content_of
        Reads a file of the store.
    most
        Visits whose files are read, and that go through Butler, beside those of several
        outcomes; by default all.
    """
    verdict = Verdict()
    complain = verdict.complaints.append
    outcomes, places = asyncio.run(_read(delivery))
    by_visit: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_visit[outcome.visit_detector.visit].append(outcome)
    wanted: dict[int, list[VisitArrival]] = defaultdict(list)
    for event in sent:
        wanted[event.visit_detector.visit].append(event)
    rows = _rows(delivery.engine)
    files, gone = _check_let_go(delivery, outcomes, files, content_of, complain)
    looked_into = _chosen(by_visit, most)
    for visit, events in wanted.items():
        found = {_identity(o.arrival): told(o) for o in by_visit[visit]}
        good = [e for e in events if found.get(_identity(e)) == "created"]
        able = [e for e in events if expected(e) == "created"]
        for event in events:
            answer, right = found.get(_identity(event)), expected(event)
            if answer in UNLUCKY and answer != right:
                verdict.unlucky += 1
            elif answer == SUPERSEDED and len(events) > 1:
                verdict.superseded += 1
            elif answer != right:
                complain(f"{visit} {_identity(event)}: {answer}, not {right}")
        lucky = [e for e in able if found.get(_identity(e)) not in UNLUCKY]
        newest = max(
            lucky, key=lambda e: (e.revision, places[visit, e.image_uri], e.remake), default=None
        )
        row = rows.get(visit)
        if newest is None:
            if row is not None:
                complain(f"{visit}: a row of nothing")
            continue
        if newest not in good or row is None:
            complain(f"{visit}: the newest {_identity(newest)} has no row")
            continue
        uri, checksum, image_uri = row
        if image_uri != newest.image_uri:
            complain(f"{visit}: row of {image_uri}, not of {newest.image_uri}")
        if uri in gone:
            continue
        if uri not in files:
            complain(f"{visit}: the row's file {uri} is not there")
        elif visit in looked_into and _checksum(content_of(uri)) != checksum:
            complain(f"{visit}: the file differs from its row")
    for ghost in ghosts:
        if by_visit[ghost.visit_detector.visit]:
            complain(f"{ghost.visit_detector}: an outcome of an aborted transaction")
    verdict.garbage = _check_files(delivery, outcomes, rows, files, gone, complain)
    chosen = [o for o in outcomes if o.visit_detector.visit in looked_into and not _recent(o)]
    _check_butler(delivery, chosen, rows, complain)
    return verdict


def _checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _chosen(by_visit: dict[int, list[Outcome]], most: int | None) -> set[int]:
    """Visits of several outcomes, and of the others as many as there may be, evenly."""
    several = {visit for visit, outcomes in by_visit.items() if len(outcomes) > 1}
    others = sorted(by_visit.keys() - several)
    step = 1 if most is None else max(1, -(-len(others) // most))
    return several | set(others[::step])


async def _read(delivery: Delivery) -> tuple[list[Outcome], dict[tuple[int, str], tuple[int, ...]]]:
    settings = delivery.settings
    outcomes = {}
    async for r in read_to_end(settings, settings.topic_name(DIFFERENCE_IMAGES)):
        outcome = outcome_from_json(r.value)
        outcomes.setdefault((outcome.dataset_id, outcome.revision), outcome)
    places: dict[tuple[int, str], tuple[int, ...]] = {}
    async for r in read_to_end(settings, settings.topic_name(VISIT_ARRIVALS)):
        try:
            event = VisitArrival.model_validate_json(r.value or b"")
        except ValueError:
            continue
        key = event.visit_detector.visit, event.image_uri
        stamped = r.timestamp if r.timestamp_type == 1 else 0
        place = (stamped, r.partition, r.offset)
        places[key] = min(place, places.get(key, place))
    return list(outcomes.values()), places


def _rows(engine: Engine) -> dict[int, tuple[str, str, str]]:
    c = obscore.c
    query = select(c.lsst_visit, c.uri, c.checksum, c.event)
    with engine.connect() as connection:
        found = connection.execute(query.where(c.dataset_type == "difference_image"))
        return {
            visit: (uri, checksum, event["arrival"]["image_uri"])
            for visit, uri, checksum, event in found
        }


def _recent(outcome: Outcome) -> bool:
    return isinstance(outcome, DifferenceImageCreated) and outcome.store == "recent"


def _check_let_go(
    delivery, outcomes, files, content_of, complain
) -> tuple[frozenset[str], frozenset[str]]:
    """What may go has gone, and can be made again, byte for byte.

    Returns
    -------
    files
        All files but those that were made again.
    gone
        Addresses of those that were let go.
    """
    with delivery.engine.connect() as connection:
        state = {r.dataset_id: r.storage for r in connection.execute(select(image_storage))}
    by_name = {o.uri.rsplit("/", 1)[1]: o for o in outcomes if _recent(o)}
    for outcome in by_name.values():
        if state.get(str(outcome.dataset_id)) != "on demand" or outcome.uri in files:
            complain(f"{outcome.uri} is not let go: {state.get(str(outcome.dataset_id))}")
        if _checksum(stand_in_content(outcome.run, outcome.arrival)) != outcome.checksum:
            complain(f"{outcome.uri} cannot be made again")
    again = {uri for uri in files if "/recreated/" in uri}
    for uri in again:
        made = by_name.get(uri.rsplit("/", 1)[1])
        if made is None or _checksum(content_of(uri)) != made.checksum:
            complain(f"{uri} was made again, and is not what it was")
    return files - again, frozenset(o.uri for o in by_name.values())


def _check_files(delivery, outcomes, rows, files, gone, complain) -> int:
    """Every file is that of a created outcome, or garbage by the rule."""
    made = {o.uri: o for o in outcomes if isinstance(o, DifferenceImageCreated)}
    for uri in made.keys() - files - gone:
        complain(f"the file {uri} of an outcome is not there")
    in_force = {uri for uri, *_ in rows.values()}
    who = {o.visit_detector.visit: o for o in outcomes}
    garbage = 0
    for uri in files - in_force:
        number, digest = number_of_key(uri) or (-1, "")
        visit = int(uri.rsplit("/", 2)[1])
        one = who.get(visit)
        if one is None:
            complain(f"{uri}: nobody's file")
            continue
        ledger = LedgerFiles(delivery.output_root, one.run, one.visit_detector)
        held = [o.revision for u, o in made.items() if u == rows.get(visit, ("",))[0]]
        if is_garbage(ledger.read(), number, digest, held):
            garbage += 1
        else:
            complain(f"{uri}: an orphan for ever")
    return garbage


def _check_butler(delivery, outcomes, rows, complain) -> None:
    """Butler, fed with the same outcomes, serves the files of the rows."""
    created = [o for o in outcomes if isinstance(o, DifferenceImageCreated)]
    with tempfile.TemporaryDirectory() as folder:
        create_repository(folder)
        with open_repository(folder, writeable=True) as butler:
            register_dataset_types(butler)
            registrar = Registrar(
                butler, instruments=InstrumentRegistry(), output_root=delivery.output_root
            )
            for n in range(0, len(created), 40):
                for rejected in registrar.register(created[n : n + 40]):
                    complain(f"Butler refuses {rejected.event.uri}: {rejected.error.message}")
            different = Counter()
            for outcome in created:
                ref = butler.get_dataset(outcome.dataset_id)
                served = None if ref is None else butler.getURI(ref).geturl()
                different[served != rows.get(outcome.visit_detector.visit, ("",))[0]] += 1
    if different[True]:
        complain(f"Butler serves other files than the rows name, {different[True]} times")
