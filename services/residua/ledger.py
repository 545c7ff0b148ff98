"""The one rule of revisions: which image of a visit-detector is in force. Pure functions.

Each outcome of a visit-detector in a run is an entry of its ledger, with a number. An entry is put
only if its number is free, and never changed: that is the commit, and whoever is slow, dead or
mistaken finds the number taken, looks again and repeats what stands there. Everybody else (rows,
Butler, dashboards, rebuild) knows one sentence only: of one dataset the highest number wins.

The rule stands here, where an entry is committed:

1. The higher revision of the producer wins.
2. Of equal revisions the one that was appended later to the topic of arrivals. Equal words about
   equal bytes are one arrival, and its first place counts: a late duplicate changes nothing.
3. Of one arrival the higher ``remake``: `residua replay --force` raises that, never the revision,
   so that a correction wins although its producer knows none of our numbers.
4. Failed and skipped outcomes displace nothing: the last good image stays.
5. An arrival that is outranked when its turn comes is not subtracted.
6. A repeat that turns out to have been sent before the place noted (a duplicate had overtaken it
   through another partition) lowers the place; if another arrival is the newest then, it is sent
   again.

``docs/delivery.md`` says what follows for operators; a model of the protocol, every interleaving of
a small world, is one of the tests.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from residua_schemas import ArrivalPlace, DifferenceImageOutcome, VisitArrival

__all__ = [
    "Decision",
    "Entry",
    "Identity",
    "Kind",
    "Lower",
    "Make",
    "Order",
    "Repeat",
    "Superseded",
    "best",
    "content_of",
    "decide",
    "identity_of",
    "input_rank",
    "is_garbage",
    "next_number",
    "order_of",
    "overtaken",
    "rank",
]


@dataclass(frozen=True)
class Identity:
    """Which arrival it is, in a run.

    Parameters
    ----------
    words
        sha256 of the arrival's canonical JSON without `revision`, `remake` and the version.
    content
        Checksum of the image's bytes where the words do not say it; empty where they do, or where
        it could not be read.
    """

    revision: int
    words: str
    remake: int = 0
    content: str = ""


type Order = tuple[int, int, int]
"""A place in the order of arrivals: append time, partition, offset."""


type Kind = Literal["created", "skipped", "failed", "superseded", "lower", "swept"]


@dataclass(frozen=True)
class Entry:
    """One entry of a ledger.

    Parameters
    ----------
    number
        Its place in the ledger; also the ``revision`` of its outcome.
    kind
        That of the outcome; ``superseded``: outranked, not subtracted; ``lower``: notes an
        earlier place of an arrival; ``swept``: the number was closed by the sweeper.
    identity, order
        Of the arrival; `None` for a swept number.
    outcome
        What was published, or will be by whoever comes next.
    """

    number: int
    kind: Kind
    identity: Identity | None = None
    order: Order | None = None
    outcome: DifferenceImageOutcome | None = None


@dataclass(frozen=True)
class Repeat:
    """The arrival has its outcome: publish it again."""

    entry: Entry


@dataclass(frozen=True)
class Lower:
    """Note the earlier place of a known arrival under this number, then repeat its outcome."""

    number: int


@dataclass(frozen=True)
class Superseded:
    """Outranked by an image in force: commit that under this number."""

    number: int
    by: Entry


@dataclass(frozen=True)
class Make:
    """Make the image, and commit what came of it under this number."""

    number: int


type Decision = Repeat | Lower | Superseded | Make

_NOT_WORDS = {"revision", "remake", "schema_version"}


def identity_of(arrival: VisitArrival, content: str = "") -> Identity:
    """Return the identity of an arrival.

    Parameters
    ----------
    content
        Checksum of the image's bytes, if it was read; used where the arrival announces none.
    """
    body = arrival.model_dump(mode="json", exclude_none=True, exclude=_NOT_WORDS)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    words = hashlib.sha256(text.encode()).hexdigest()
    told = arrival.image_checksum is not None
    return Identity(arrival.revision, words, arrival.remake, "" if told else content)


def content_of(outcome: DifferenceImageOutcome) -> str:
    """Return the checksum of the bytes an outcome is about; empty if they were not read."""
    image = outcome.visit_image_metadata
    return (outcome.content_checksum or "") if image is None else image.checksum


def order_of(place: ArrivalPlace) -> Order:
    """Order of a place: by append time; where brokers do not stamp it, within a partition only."""
    return place.append_time_ms, place.partition, place.offset


def input_rank(outcome: DifferenceImageOutcome) -> int:
    """Return what decides between outcomes of *different runs* which visit image is in force.

    The rule in one number, since numbers of one run say nothing of another: the producer's
    revision, the place in the topic, and whether the image was subtracted (then more is known).
    """
    place = outcome.place
    # Without stamps the place within the partition; always less than a stamp.
    time = 0 if place is None else place.append_time_ms or place.offset
    revision = min(outcome.arrival.revision, 2**18 - 1)
    return revision << 44 | min(max(time, 0), 2**43 - 1) << 1 | (outcome.outcome == "created")


def next_number(entries: Sequence[Entry]) -> int:
    """Return the first free number."""
    return max((e.number for e in entries), default=-1) + 1


def rank(entries: Sequence[Entry], identity: Identity, order: Order) -> tuple[int, Order, int]:
    """Return what THE RULE compares: producer's revision, first place in the topic, our remake."""
    places = [e.order for e in entries if e.order is not None and _same(e.identity, identity)]
    return identity.revision, min([order, *places]), identity.remake


def best(entries: Sequence[Entry], *kinds: str) -> Entry | None:
    """Return the entry of some kinds that ranks highest; `None` if there is none."""
    return max(
        (e for e in entries if e.kind in kinds), key=lambda e: _rank_of(entries, e), default=None
    )


def decide(entries: Sequence[Entry], identity: Identity, order: Order) -> Decision:
    """Say what is to be done with an arrival.

    Parameters
    ----------
    entries
        All of the visit-detector's ledger, in any order.
    order
        Of the place the record has, or repeats.
    """
    number = next_number(entries)
    known = min(
        (e for e in entries if e.identity == identity and e.outcome is not None),
        key=lambda e: e.number,
        default=None,
    )
    if known is not None:
        if order < _rank_of(entries, known)[1]:
            return Lower(number)
        return Repeat(known)
    top = best(entries, "created")
    if top is not None and _rank_of(entries, top) > rank(entries, identity, order):
        return Superseded(number, top)
    return Make(number)


def overtaken(entries: Sequence[Entry]) -> Entry | None:
    """Return what turns out to be the newest though a later entry is in force: to be sent again."""
    top = best(entries, "created", "superseded")
    last = max((e for e in entries if e.kind == "created"), key=lambda e: e.number, default=top)
    return None if top is None or top == last else top


def is_garbage(
    entries: Sequence[Entry], number: int, checksum: str, held: Sequence[int | None]
) -> bool:
    """Whether nobody can come to need the file of a number any more.

    Numbers are never free again and rows only rise: what is garbage stays so, without a clock.

    Parameters
    ----------
    number, checksum
        Of the file, from its name; the checksum may be shortened.
    held
        The number each consumer (catalog, Butler) has of this dataset now; `None`: none.

    Returns
    -------
    garbage
        Another entry has the number, or every consumer has a later one. Of the next free number
        nothing is garbage: close it first.
    """
    if number >= next_number(entries):
        return False
    of_number = [e for e in entries if e.number == number]
    if not any(
        getattr(e.outcome, "checksum", "").removeprefix("sha256:").startswith(checksum)
        for e in of_number
        if e.kind == "created"
    ):
        return True
    return bool(held) and all(h is not None and h > number for h in held)


def _rank_of(entries: Sequence[Entry], entry: Entry) -> tuple[int, Order, int]:
    assert entry.identity is not None
    assert entry.order is not None
    return rank(entries, entry.identity, entry.order)


def _same(a: Identity | None, b: Identity) -> bool:
    return a is not None and (a.revision, a.words, a.content) == (b.revision, b.words, b.content)
