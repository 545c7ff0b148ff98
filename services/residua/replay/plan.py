"""From the history of the topics to the arrivals that are to be sent again. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from residua.replay.history import History, KnownArrival, KnownOutcome
from residua.replay.selection import Selection, State
from residua_schemas import ArrivalPlace, VisitArrival

if TYPE_CHECKING:
    from residua.replay.plain import PlainArrivals

__all__ = ["PlannedArrival", "ReplayPlan", "Target", "plan_replay"]


@dataclass(frozen=True)
class Target:
    """The run that is replayed into.

    Parameters
    ----------
    run
        Run whose outcomes count; `None` for the one of the newest outcome.
    label
        Set for a new run beside it, which workers make when they see the label.
    force
        Raise the remake where an outcome exists, so that the image is made again. The
        revision stays: a correction wins though its producer knows nothing of replays.
    """

    run: str | None = None
    label: str = ""
    force: bool = False


@dataclass(frozen=True)
class PlannedArrival:
    """An arrival as it will be sent, and what had become of it.

    Parameters
    ----------
    arrival
        With the remake it will have.
    place
        Of the record it repeats: it keeps its rank.
    state
        Its outcome in the run that was looked at.
    timestamp_ms
        When it was announced.
    """

    arrival: VisitArrival
    place: ArrivalPlace
    state: State
    timestamp_ms: int = 0

    @property
    def name(self) -> str:
        """Visit-detector, revision and remake: unique within a plan."""
        return f"{self.arrival.visit_detector}@{self.arrival.revision}.{self.arrival.remake}"


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay will do.

    Parameters
    ----------
    run
        Run that was looked at; `None` when there are no outcomes at all.
    target_run
        Run the new outcomes will belong to, when it is known.
    arrivals
        To be sent, in this order.
    selected
        Number of arrivals that meet the selection, by what had become of them.
    already_done
        Number of these that have an outcome in the target run, and so are left alone.
    unreadable
        Records of the arrivals' topic that are no arrival; `residua dead-letters` shows them.
    plain
        More to be sent, which are read when their turn comes; see `residua.replay.plain`.
    """

    run: str | None
    target_run: str | None
    arrivals: tuple[PlannedArrival, ...]
    selected: Mapping[str, int]
    already_done: int
    unreadable: int
    plain: "PlainArrivals | None" = None

    @property
    def number(self) -> int:
        """Number of arrivals to be sent."""
        return len(self.arrivals) + (sum(self.plain.selected.values()) if self.plain else 0)


def plan_replay(history: History, selection: Selection, target: Target) -> ReplayPlan:
    """Choose the arrivals to send again: of each visit-detector the one the rule has in force.

    Where the target run has an outcome of that arrival, sending it again would change
    nothing: it is left alone, unless forced. Same history, same plan.
    """
    run = target.run or history.newest_run()
    target_run = f"{run}/{target.label}" if run and target.label else run
    if target.label and run is None:
        target_run = None
    planned: list[PlannedArrival] = []
    selected: Counter[str] = Counter()
    already_done = 0
    for known in history.arrivals():
        outcome = history.outcome(run, known)
        state = _state(history, known, outcome)
        if not _is_selected(selection, known, outcome, state):
            continue
        selected[state] += 1
        done = outcome if target_run == run else history.outcome(target_run, known)
        remake = 0
        if done is not None:
            if not target.force:
                already_done += 1
                continue
            remake = done.remake + 1
        arrival = known.arrival.model_copy(update={"remake": remake})
        planned.append(PlannedArrival(arrival, known.place, state, known.timestamp_ms))
    return ReplayPlan(
        run, target_run, tuple(planned), dict(selected), already_done, history.unreadable
    )


def _state(history: History, known: KnownArrival, outcome: KnownOutcome | None) -> State:
    if outcome is not None:
        return outcome.state
    return "dead" if history.is_dead(known) else "none"


def _is_selected(
    selection: Selection, known: KnownArrival, outcome: KnownOutcome | None, state: State
) -> bool:
    day_obs = known.arrival.day_obs or (outcome.day_obs if outcome else None)
    return (
        selection.has_identity(known.arrival.visit_detector)
        and selection.has_time(known.timestamp_ms)
        and selection.has_place(known.places)
        and selection.has_day(day_obs)
        and selection.has_state(state)
    )
