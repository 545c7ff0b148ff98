"""What the topics tell about each visit-detector: arrivals, outcomes, dead letters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from residua.ledger import Order, identity_of, order_of
from residua.messaging.records.envelopes import read_value
from residua.messaging.records.events import IncomingRecord
from residua.replay.record_headers import place_of
from residua.replay.selection import Selection, State
from residua_schemas import ArrivalPlace, DeadLetter, VisitArrival, VisitDetector, outcome_from_json

__all__ = ["History", "KnownArrival", "KnownOutcome", "base_run"]

_BASE_PARTS = 4


def base_run(run: str) -> str:
    """Name of a run without its label: ``residua/0/dp1/3f2a9c51d0be``."""
    return "/".join(run.split("/")[:_BASE_PARTS])


@dataclass(frozen=True)
class KnownArrival:
    """An arrival and where it was read.

    Parameters
    ----------
    arrival
        As it was first sent: without a remake.
    place
        Of its first record in the arrivals' topic: of equal revisions the later wins.
    timestamp_ms
        When it was first announced.
    places
        (partition, offset) of its records in the arrivals' topic; empty when only its outcome is
        left.
    words
        Digest of what it says (`residua.ledger.identity_of`): worked out once, it costs more than
        reading the arrival.
    """

    arrival: VisitArrival
    place: ArrivalPlace
    timestamp_ms: int
    places: tuple[tuple[int, int], ...]
    words: str


@dataclass(frozen=True)
class KnownOutcome:
    """The newest outcome of an arrival in a run.

    Parameters
    ----------
    number
        Among the outcomes of its dataset.
    remake
        Of the arrival, as it was made.
    """

    state: State
    number: int
    remake: int
    day_obs: int | None


type _Words = tuple[int, str]


@dataclass
class History:
    """Filled record by record: arrivals first, then outcomes, then dead letters.

    Parameters
    ----------
    selection
        Only identities it wants are kept.
    arrivals_topic
        Full name of the arrivals' topic: dead letters of other topics are not ours.
    """

    selection: Selection
    arrivals_topic: str
    unreadable: int = 0
    _arrivals: dict[VisitDetector, dict[_Words, KnownArrival]] = field(default_factory=dict)
    _outcomes: dict[tuple[str, VisitDetector, _Words], KnownOutcome] = field(default_factory=dict)
    _dead: set[tuple[int, int]] = field(default_factory=set)
    _runs: dict[str, int] = field(default_factory=dict)

    def add_arrival(self, record: IncomingRecord) -> None:
        """Take in a record of the arrivals' topic."""
        arrival = _arrival(record.value)
        if arrival is not None:
            place = (record.partition, record.offset)
            words = identity_of(arrival).words
            self._keep(arrival, words, place_of(record), record.timestamp_ms, place)
        else:
            self.unreadable += 1

    def add_outcome(self, record: IncomingRecord) -> None:
        """Take in a record of the outcomes' topic."""
        try:
            outcome = read_value(record.value or b"", outcome_from_json)
        except ValidationError:
            return
        day_obs = getattr(outcome, "day_obs", None) or outcome.arrival.day_obs
        known = KnownOutcome(outcome.outcome, outcome.revision, outcome.arrival.remake, day_obs)
        self.keep_outcome(outcome.run, outcome.arrival, known, outcome.place, record.timestamp_ms)

    def note_run(self, run: str, timestamp_ms: int) -> None:
        """Take in that a run has an outcome of that time."""
        self._runs[run] = max(timestamp_ms, self._runs.get(run, 0))

    def keep_outcome(
        self,
        run: str,
        arrival: VisitArrival,
        known: KnownOutcome,
        place: ArrivalPlace | None,
        timestamp_ms: int,
    ) -> None:
        """Take in an outcome, wherever it was read."""
        self.note_run(run, timestamp_ms)
        who = arrival.visit_detector
        if not self.selection.has_identity(who):
            return
        words = identity_of(arrival).words
        key = (run, who, (arrival.revision, words))
        held = self._outcomes.get(key)
        if held is None or known.number >= held.number:
            self._outcomes[key] = known
        if (arrival.revision, words) not in self._arrivals.get(who, {}):
            # The arrival's record is past its retention: the outcome holds it whole.
            place = place or ArrivalPlace(append_time_ms=0, partition=0, offset=0)
            self._keep(arrival, words, place, timestamp_ms, None)

    def add_dead_letter(self, record: IncomingRecord) -> None:
        """Take in a record of the dead letters' topic."""
        try:
            letter = read_value(record.value or b"", DeadLetter.model_validate_json)
        except ValidationError:
            return
        if letter.topic != self.arrivals_topic:
            return
        place = (letter.partition, letter.offset)
        self._dead.add(place)
        arrival = _arrival(letter.value)
        if arrival is not None:
            words = identity_of(arrival).words
            self._keep(arrival, words, None, record.timestamp_ms, place)

    @property
    def identities(self) -> Iterator[VisitDetector]:
        """Of which anything is known."""
        yield from self._arrivals

    @property
    def runs(self) -> Mapping[str, int]:
        """When each run had its newest outcome, ms since 1970."""
        return self._runs

    def newest_run(self) -> str | None:
        """Return the run without a label that the newest outcome belongs to."""
        unlabelled = {run: t for run, t in self._runs.items() if run == base_run(run)}
        return max(unlabelled, key=lambda run: (unlabelled[run], run), default=None)

    def arrivals(self) -> Iterator[KnownArrival]:
        """Newest arrival of each visit-detector by the rule, in the order of their announcement."""
        order = sorted(
            (max(known.values(), key=_rank) for known in self._arrivals.values()),
            key=lambda a: (a.timestamp_ms, a.places[:1], a.arrival.visit_detector.key),
        )
        yield from order

    def outcome(self, run: str | None, known: KnownArrival) -> KnownOutcome | None:
        """Newest outcome of an arrival in a run."""
        if run is None:
            return None
        arrival = known.arrival
        return self._outcomes.get((run, arrival.visit_detector, (arrival.revision, known.words)))

    def is_dead(self, known: KnownArrival) -> bool:
        """Whether its last record became a dead letter."""
        return bool(known.places) and known.places[-1] in self._dead

    def _keep(
        self,
        arrival: VisitArrival,
        words: str,
        origin: ArrivalPlace | None,
        timestamp_ms: int,
        place: tuple[int, int] | None,
    ) -> None:
        who = arrival.visit_detector
        if not self.selection.has_identity(who):
            return
        first = arrival.model_copy(update={"remake": 0})
        places = () if place is None else (place,)
        known = self._arrivals.setdefault(who, {})
        held = known.get((arrival.revision, words))
        if held is not None:
            places = (*(p for p in held.places if p not in places), *places)
            timestamp_ms = min(timestamp_ms, held.timestamp_ms)
            origin = held.place if origin is None else min(origin, held.place, key=order_of)
        if origin is None:
            # Its record is past its retention: only a letter is left, which has no time.
            partition, offset = place or (0, 0)
            origin = ArrivalPlace(append_time_ms=0, partition=partition, offset=offset)
        known[arrival.revision, words] = KnownArrival(first, origin, timestamp_ms, places, words)


def _rank(known: KnownArrival) -> tuple[int, Order]:
    # `residua.ledger`'s rule, without remakes: those have the place of the first.
    return known.arrival.revision, order_of(known.place)


def _arrival(value: bytes | None) -> VisitArrival | None:
    try:
        return read_value(value or b"", VisitArrival.model_validate_json)
    except ValidationError:
        return None
