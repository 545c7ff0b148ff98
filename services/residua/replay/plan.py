"""From the history of the topics to the arrivals that are to be sent again. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from residua.replay.history import History, KnownArrival, KnownOutcome
from residua.replay.selection import Selection, State
from residua_schemas import VisitArrival

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
        Raise the revision where an outcome exists, so that the image is made again.
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
        With the revision it will have.
    state
        Its outcome in the run that was looked at.
    """

    arrival: VisitArrival
    state: State

    @property
    def name(self) -> str:
        """Visit-detector and revision: unique within a plan."""
        return f"{self.arrival.visit_detector}@{self.arrival.revision}"


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
    """

    run: str | None
    target_run: str | None
    arrivals: tuple[PlannedArrival, ...]
    selected: Mapping[str, int]
    already_done: int
    unreadable: int


def plan_replay(history: History, selection: Selection, target: Target) -> ReplayPlan:
    """Choose the arrivals to send again, and their revisions.

    Where the target run has an outcome of the arrival's revision, sending it again would change
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
        outcome = history.outcome(run, known.arrival.visit_detector)
        state = _state(history, known, outcome)
        if not _is_selected(selection, known, outcome, state):
            continue
        selected[state] += 1
        done = history.outcome(target_run, known.arrival.visit_detector)
        revision = known.arrival.revision
        if done is not None and done.revision >= revision:
            if not target.force:
                already_done += 1
                continue
            revision = done.revision + 1
        arrival = known.arrival.model_copy(update={"revision": revision})
        planned.append(PlannedArrival(arrival, state))
    return ReplayPlan(
        run, target_run, tuple(planned), dict(selected), already_done, history.unreadable
    )


def _state(history: History, known: KnownArrival, outcome: KnownOutcome | None) -> State:
    if outcome is not None and outcome.revision >= known.arrival.revision:
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
