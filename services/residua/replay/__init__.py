"""Sending arrivals again: what to choose, into which run, and how to go on after a stop."""

from residua.replay.history import History
from residua.replay.plan import PlannedArrival, ReplayPlan, Target, plan_replay
from residua.replay.progress import ProgressFile
from residua.replay.record_headers import (
    REPLAY_HEADER,
    RUN_LABEL_HEADER,
    replay_headers,
    run_label,
)
from residua.replay.selection import OffsetRange, Selection
from residua.replay.sending import send_planned

__all__ = [
    "REPLAY_HEADER",
    "RUN_LABEL_HEADER",
    "History",
    "OffsetRange",
    "PlannedArrival",
    "ProgressFile",
    "ReplayPlan",
    "Selection",
    "Target",
    "plan_replay",
    "replay_headers",
    "run_label",
    "send_planned",
]
