"""Which arrivals are meant."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from residua_schemas import VisitDetector

__all__ = ["OffsetRange", "Selection", "State"]

type State = Literal["created", "skipped", "failed", "dead", "none"]
"""What became of an arrival: its outcome, a dead letter, or nothing yet."""


@dataclass(frozen=True)
class OffsetRange:
    """Records of one partition of the arrivals' topic, both ends included."""

    partition: int
    first: int
    last: int


@dataclass(frozen=True)
class Selection:
    """Conditions that must all hold; one that is not given holds always.

    Parameters
    ----------
    since, until
        When the arrival was announced (timestamp of its record), with an offset from UTC;
        `until` is excluded.
    day_obs, visits
        First and last, both included. An arrival whose day_obs nobody knows is not selected by
        `day_obs`.
    states
        What became of it in the run that is looked at.
    offsets
        Places in the arrivals' topic.
    """

    since: datetime | None = None
    until: datetime | None = None
    day_obs: tuple[int, int] | None = None
    visits: tuple[int, int] | None = None
    instrument: str | None = None
    detectors: frozenset[int] = frozenset()
    states: frozenset[State] = frozenset()
    offsets: tuple[OffsetRange, ...] = ()

    def has_identity(self, who: VisitDetector) -> bool:
        """Whether the conditions on the identity hold."""
        return (
            (self.instrument is None or who.instrument == self.instrument)
            and _within(who.visit, self.visits)
            and (not self.detectors or who.detector in self.detectors)
        )

    def has_time(self, timestamp_ms: int) -> bool:
        """Whether a record made then (ms since 1970, UTC) lies in the time window."""
        seconds = timestamp_ms / 1000.0
        return (self.since is None or seconds >= self.since.timestamp()) and (
            self.until is None or seconds < self.until.timestamp()
        )

    def has_day(self, day_obs: int | None) -> bool:
        """Whether the observing day is selected."""
        return self.day_obs is None or (day_obs is not None and _within(day_obs, self.day_obs))

    def has_place(self, places: Iterable[tuple[int, int]]) -> bool:
        """Whether one of the (partition, offset) is selected."""
        return not self.offsets or any(
            r.partition == partition and r.first <= offset <= r.last
            for partition, offset in places
            for r in self.offsets
        )

    def has_state(self, state: State) -> bool:
        """Whether what became of it is selected."""
        return not self.states or state in self.states


def _within(value: int, limits: tuple[int, int] | None) -> bool:
    return limits is None or limits[0] <= value <= limits[1]
