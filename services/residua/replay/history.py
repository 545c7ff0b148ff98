"""What the topics tell about each visit-detector: arrivals, outcomes, dead letters."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from residua.messaging.envelopes import read_value
from residua.messaging.events import IncomingRecord
from residua.replay.selection import Selection, State
from residua_schemas import DeadLetter, VisitArrival, VisitDetector, outcome_from_json

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
        The newest revision.
    timestamp_ms
        When the visit-detector was first announced.
    places
        (partition, offset) of all its records in the arrivals' topic, the newest revision's
        last; empty when only its outcome is left.
    """

    arrival: VisitArrival
    timestamp_ms: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class KnownOutcome:
    """The newest outcome of a visit-detector in a run."""

    state: State
    revision: int
    day_obs: int | None


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
    _arrivals: dict[VisitDetector, KnownArrival] = field(default_factory=dict)
    _outcomes: dict[tuple[str, VisitDetector], KnownOutcome] = field(default_factory=dict)
    _dead: set[tuple[int, int]] = field(default_factory=set)
    _runs: dict[str, int] = field(default_factory=dict)

    def add_arrival(self, record: IncomingRecord) -> None:
        """Take in a record of the arrivals' topic."""
        arrival = _arrival(record.value)
        if arrival is not None:
            self._keep(arrival, record.timestamp_ms, (record.partition, record.offset))
        else:
            self.unreadable += 1

    def add_outcome(self, record: IncomingRecord) -> None:
        """Take in a record of the outcomes' topic."""
        try:
            outcome = read_value(record.value or b"", outcome_from_json)
        except ValidationError:
            return
        self._runs[outcome.run] = max(record.timestamp_ms, self._runs.get(outcome.run, 0))
        who = outcome.visit_detector
        if not self.selection.has_identity(who):
            return
        known = self._outcomes.get((outcome.run, who))
        if known is None or outcome.revision >= known.revision:
            day_obs = getattr(outcome, "day_obs", None) or outcome.arrival.day_obs
            self._outcomes[outcome.run, who] = KnownOutcome(
                outcome.outcome, outcome.revision, day_obs
            )
        if who not in self._arrivals:
            # The arrival's record is past its retention: the outcome holds it whole.
            self._keep(outcome.arrival, record.timestamp_ms, None)

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
            self._keep(arrival, record.timestamp_ms, place)

    def newest_run(self) -> str | None:
        """Return the run without a label that the newest outcome belongs to."""
        unlabelled = {run: t for run, t in self._runs.items() if run == base_run(run)}
        return max(unlabelled, key=lambda run: (unlabelled[run], run), default=None)

    def arrivals(self) -> Iterator[KnownArrival]:
        """Newest arrival of each visit-detector, in the order they were first announced."""
        order = sorted(
            self._arrivals.values(),
            key=lambda a: (a.timestamp_ms, a.places[:1], a.arrival.visit_detector.key),
        )
        yield from order

    def outcome(self, run: str | None, who: VisitDetector) -> KnownOutcome | None:
        """Newest outcome of a visit-detector in a run."""
        return None if run is None else self._outcomes.get((run, who))

    def is_dead(self, known: KnownArrival) -> bool:
        """Whether the record of its newest revision became a dead letter."""
        return bool(known.places) and known.places[-1] in self._dead

    def _keep(
        self, arrival: VisitArrival, timestamp_ms: int, place: tuple[int, int] | None
    ) -> None:
        who = arrival.visit_detector
        if not self.selection.has_identity(who):
            return
        known = self._arrivals.get(who)
        places = () if place is None else (place,)
        if known is None:
            self._arrivals[who] = KnownArrival(arrival, timestamp_ms, places)
            return
        if arrival.revision > known.arrival.revision:
            newest, places = arrival, (*known.places, *places)
        else:
            newest, places = known.arrival, (*places, *known.places)
        self._arrivals[who] = KnownArrival(newest, min(timestamp_ms, known.timestamp_ms), places)


def _arrival(value: bytes | None) -> VisitArrival | None:
    try:
        return read_value(value or b"", VisitArrival.model_validate_json)
    except ValidationError:
        return None
