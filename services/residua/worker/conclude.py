"""From an arrival to the outcome that is committed: look, make, commit, and look again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from residua.errors import ResiduaError, SupersededArrivalError
from residua.ledger import (
    Entry,
    Identity,
    Kind,
    Lower,
    Repeat,
    Superseded,
    content_of,
    decide,
    identity_of,
    order_of,
    overtaken,
    rank,
)
from residua.outcomes import Outcome, failed
from residua_schemas import (
    ArrivalPlace,
    DifferenceImageCreated,
    VisitArrival,
)

__all__ = ["Conclusion", "Healing", "Ledger", "conclude"]


class Ledger(Protocol):
    """The ledger of one visit-detector; see `residua.storage.runs.ledger_files.LedgerFiles`."""

    @property
    def run(self) -> str:
        """Name of the run."""
        ...

    def read(self) -> list[Entry]:
        """Read all entries."""
        ...

    def commit(self, entry: Entry) -> bool:
        """Put an entry under its number, if that is free."""
        ...

    def salvage(self, number: int, identity: Identity) -> DifferenceImageCreated | None:
        """Find the whole image that an earlier try left under a number."""
        ...


@dataclass(frozen=True)
class Healing:
    """An arrival that is the newest though a later entry is in force: send it again.

    Parameters
    ----------
    arrival
        With the remake it is to have.
    place
        What it repeats.
    """

    arrival: VisitArrival
    place: ArrivalPlace


@dataclass(frozen=True)
class Conclusion:
    """What stands in the ledger for an arrival: publish it, then acknowledge.

    Parameters
    ----------
    healing
        What is to be sent again before the acknowledgement.
    """

    outcome: Outcome
    healing: Healing | None = None


def conclude(
    ledger: Ledger,
    arrival: VisitArrival,
    place: ArrivalPlace,
    make: Callable[[int], Outcome],
    content: Callable[[], str] = str,
) -> Conclusion:
    """Commit the outcome of an arrival, or find the one it has.

    Every kind of outcome takes this way: whoever comes late, was frozen, or fails where another
    succeeded finds a number taken, and repeats what stands there.

    Parameters
    ----------
    place
        Where the record stands in its topic, or the one it repeats.
    make
        Makes the image and the outcome of a number; called when this arrival is the newest.
    content
        Checksum of the image as it is now, empty if it cannot be read; asked only for words that
        are known already.

    Raises
    ------
    residua.errors.TransientError
        The store does not answer.
    """
    order = order_of(place)
    while True:
        entries = ledger.read()
        identity = _identity(entries, arrival, content)
        decision = decide(entries, identity, order)
        if isinstance(decision, Repeat):
            assert decision.entry.outcome is not None
            return Conclusion(decision.entry.outcome, _healing(entries))
        if isinstance(decision, Lower):
            # Then it is a repeat; when another was faster, we look again in any case.
            ledger.commit(Entry(decision.number, "lower", identity, order))
            continue
        number = decision.number
        if isinstance(decision, Superseded):
            outcome: Outcome = _superseded(ledger.run, arrival, decision.by, number)
            kind: Kind = "superseded"
        else:
            outcome = make(number)
            if not isinstance(outcome, DifferenceImageCreated):
                outcome = ledger.salvage(number, identity) or outcome
            kind = outcome.outcome
        outcome = outcome.model_copy(update={"place": place})
        if arrival.image_checksum is None:
            if outcome.visit_image_metadata is None:
                # Also of bytes that could not be used: the same ones again are the same arrival,
                # after a rebuild too.
                outcome = outcome.model_copy(update={"content_checksum": content() or None})
            identity = identity_of(arrival, content_of(outcome))
        if ledger.commit(Entry(number, kind, identity, order, outcome)):
            return Conclusion(outcome)


def _identity(entries: list[Entry], arrival: VisitArrival, content: Callable[[], str]) -> Identity:
    plain = identity_of(arrival)
    alike = [e.identity for e in entries if e.identity and e.identity.words == plain.words]
    if arrival.image_checksum is not None or not alike:
        return plain
    # The same words: about the same bytes? A file may be replaced in place.
    now = content()
    if now:
        return identity_of(arrival, now)
    mine = [i for i in alike if (i.revision, i.remake) == (plain.revision, plain.remake)]
    return mine[-1] if mine else identity_of(arrival, alike[-1].content)


def _superseded(run: str, arrival: VisitArrival, by: Entry, number: int) -> Outcome:
    assert by.identity is not None
    error: ResiduaError = SupersededArrivalError(
        f"{arrival.visit_detector} revision {arrival.revision} is outranked by the image in force "
        f"(revision {by.identity.revision}, number {by.number}); a correction needs a higher "
        "revision, or to arrive later",
        revision=arrival.revision,
        revision_in_force=by.identity.revision,
        number_in_force=by.number,
    )
    return failed(arrival, run, error, error.responsible, number=number)


def _healing(entries: list[Entry]) -> Healing | None:
    newest = overtaken(entries)
    if newest is None or newest.outcome is None or newest.identity is None:
        return None
    again = replace(newest.identity, remake=newest.identity.remake + 1)
    if newest.order is None or any(e.identity == again for e in entries):
        # Done already, and it failed.
        return None
    _, (time, partition, offset), _ = rank(entries, newest.identity, newest.order)
    # What releases before the ledger made has no place: before all others.
    place = ArrivalPlace(append_time_ms=time, partition=max(0, partition), offset=max(0, offset))
    arrival = newest.outcome.arrival.model_copy(update={"remake": again.remake})
    return Healing(arrival, place)
