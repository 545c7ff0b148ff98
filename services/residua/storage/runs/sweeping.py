"""Dropping superseded files: those nobody can come to need, by the ledger and without a clock.

The clock is a courtesy to readers that hold an old address; see `residua.ledger.is_garbage`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lsst.resources import ResourcePath

from residua.identity import number_of_key
from residua.ledger import Entry, is_garbage, next_number
from residua.storage.objects import attempt
from residua.storage.runs.ledger_files import LedgerFiles
from residua_schemas import DifferenceImageCreated, VisitDetector

__all__ = ["Sweep", "sweep_solutions", "sweep_visit_detector"]

type Held = Callable[[str, VisitDetector], Sequence[int | None]]
"""From run and visit-detector to the number each consumer has of it now; `None`: none."""


@dataclass(frozen=True)
class Sweep:
    """A file that goes, and why.

    Parameters
    ----------
    number
        Of its name.
    """

    uri: str
    number: int


def sweep_visit_detector(
    ledger: LedgerFiles,
    files: Sequence[ResourcePath],
    held: Held,
    *,
    older_than: timedelta,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Iterator[Sweep]:
    """Remove the garbage among the files of one visit-detector in a run.

    A file of the next free number may be somebody's who is about to commit it: the number is closed
    first, so that he finds it taken and makes his file under another name.

    Parameters
    ----------
    files
        All files of the visit-detector, with those beside them (previews).
    held
        Asked after the ledger was read, so that a row can only be newer than what was decided.
    older_than
        How long a file stays for readers that hold its address.
    now
        By default the time.
    dry_run
        Only say what would go; closes no number.

    Yields
    ------
    sweep
        After it was removed.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    limit = (now or datetime.now(UTC)) - older_than
    old = [f for f in files if number_of_key(f.geturl()) and _changed(f) < limit]
    if not old:
        return
    entries = ledger.read()
    numbers = [named[0] for f in old if (named := number_of_key(f.geturl())) is not None]
    if any(n >= next_number(entries) for n in numbers) and not dry_run:
        while max(numbers) >= next_number(entries):
            ledger.commit(Entry(next_number(entries), "swept"))
            entries = ledger.read()
    rows = held(ledger.run, ledger.who)
    for file in old:
        named = number_of_key(file.geturl())
        if named is not None and is_garbage(entries, *named, rows):
            if not dry_run:
                attempt(file, file.remove)
            yield Sweep(file.geturl(), named[0])


def sweep_solutions(
    ledger: LedgerFiles,
    files: Sequence[ResourcePath],
    *,
    older_than: timedelta,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Iterator[Sweep]:
    """Remove the solutions of one visit-detector in a run that no outcome refers to.

    They were left by tries that ended without a created outcome, and by passes of an earlier
    arithmetic. A worker that is at it still finds its solution gone at worst and solves again;
    what it made of it stays what it is.

    Parameters
    ----------
    files
        All its solutions.
    older_than, now, dry_run
        As for `sweep_visit_detector`.

    Yields
    ------
    sweep
        After it was removed; its number is -1.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    limit = (now or datetime.now(UTC)) - older_than
    old = [f for f in files if _changed(f) < limit]
    if not old:
        return
    # By name: roots may have moved.
    used = {
        ResourcePath(e.outcome.solution.uri).basename()
        for e in ledger.read()
        if isinstance(e.outcome, DifferenceImageCreated) and e.outcome.solution is not None
    }
    for file in old:
        if file.basename() not in used:
            if not dry_run:
                attempt(file, file.remove)
            yield Sweep(file.geturl(), -1)


def _changed(file: ResourcePath) -> datetime:
    info = attempt(file, file.get_info)
    changed = info.last_modified
    if changed is None:
        return datetime.now(UTC)
    return changed if changed.tzinfo else changed.replace(tzinfo=UTC)
