"""The rule of revisions: what is decided about an arrival, given what stands in the ledger."""

from dataclasses import replace

import pytest
from tests.support.kafka_tools import arrival

from residua.errors import CorruptFileError
from residua.ledger import (
    Entry,
    Lower,
    Make,
    Repeat,
    Superseded,
    decide,
    identity_of,
    input_rank,
    is_garbage,
    next_number,
    overtaken,
)
from residua.outcomes import failed
from residua_schemas import ArrivalPlace, DifferenceImageCreated
from residua_schemas.examples import examples

EXAMPLE = examples()[DifferenceImageCreated]


def made(number, of, order, kind="created"):
    outcome = (
        EXAMPLE.model_copy(update={"arrival": of, "revision": number})
        if kind == "created"
        else failed(of, "run", CorruptFileError("x"), "producer", number=number)
    )
    return Entry(number, kind, identity_of(of), (0, 0, order), outcome)


def decided(entries, of, order):
    return decide(entries, identity_of(of), (0, 0, order))


OLD, NEW = arrival(1, "old"), arrival(1, "new")


def test_the_first_arrival_is_made_and_a_repeat_repeats():
    assert decided([], OLD, 0) == Make(0)
    first = made(0, OLD, 0)
    assert decided([first], OLD, 0) == Repeat(first)
    assert decided([first], OLD, 7) == Repeat(first)


def test_an_older_revision_that_comes_late_is_outranked():
    newer = made(0, NEW.model_copy(update={"revision": 1}), 5)
    assert decided([newer], OLD, 9) == Superseded(1, newer)


def test_a_correction_wins_without_knowing_of_replays():
    """Forced twice, then corrected by a producer that still says revision 0."""
    entries = [made(0, OLD, 0)]
    for remake in (1, 2):
        again = OLD.model_copy(update={"remake": remake})
        assert decided(entries, again, 0) == Make(remake)
        entries.append(made(remake, again, 0))
    assert decided(entries, NEW, 30) == Make(3)
    entries.append(made(3, NEW, 30))
    # A late duplicate of the old one, or of its replay, changes nothing.
    assert decided(entries, OLD, 40) == Repeat(entries[0])
    assert decided(entries, OLD.model_copy(update={"remake": 2}), 0) == Repeat(entries[2])
    assert isinstance(decided(entries, OLD.model_copy(update={"remake": 3}), 0), Superseded)


def test_of_equal_revisions_the_later_place_wins_whatever_is_handled_first():
    assert decided([made(0, OLD, 3)], NEW, 4) == Make(1)
    assert isinstance(decided([made(0, NEW, 4)], OLD, 3), Superseded)


def test_failures_displace_nothing_and_forbid_nothing():
    entries = [made(0, OLD, 0), made(1, NEW, 1, "failed")]
    third = arrival(1, "third")
    assert decided(entries, third, 2) == Make(2)
    assert decided(entries, NEW, 1) == Repeat(entries[1])


def test_what_a_duplicate_had_overtaken_is_found():
    entries = [made(0, OLD, 9), made(1, NEW, 5, "superseded")]
    # The original of OLD turns up: it was sent before NEW.
    assert decided(entries, OLD, 2) == Lower(2)
    entries.append(Entry(2, "lower", identity_of(OLD), (0, 0, 2)))
    assert overtaken(entries) == entries[1]
    entries.append(made(3, NEW.model_copy(update={"remake": 1}), 5))
    assert overtaken(entries) is None


def test_equal_words_about_other_bytes_are_another_arrival():
    assert identity_of(OLD, "sha256:1") != identity_of(OLD, "sha256:2")
    told = OLD.model_copy(update={"image_checksum": "sha256:" + 64 * "a"})
    assert identity_of(told, "sha256:1") == identity_of(told, "")
    assert identity_of(OLD) == identity_of(OLD.model_copy(update={"schema_version": "1.0"}))


def test_a_file_is_garbage_when_nobody_can_come_to_need_it():
    entries = [made(0, OLD, 0), made(1, NEW, 1)]
    mine = EXAMPLE.checksum.removeprefix("sha256:")[:12]
    assert not is_garbage(entries, 0, mine, [0, 1])
    assert not is_garbage(entries, 0, mine, [None, 1])
    assert not is_garbage(entries, 0, mine, [])
    assert is_garbage(entries, 0, mine, [1, 1])
    assert not is_garbage(entries, 1, mine, [1, 1])
    # Another try's, whose number another got.
    assert is_garbage(entries, 0, 12 * "0", [None])
    # The next number may be on its way.
    assert not is_garbage(entries, next_number(entries), 12 * "0", [1])
    closed = [*entries, Entry(2, "swept")]
    assert is_garbage(closed, 2, 12 * "0", [1])


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ({}, {"arrival": EXAMPLE.arrival.model_copy(update={"revision": 1})}),
        ({"place": 5}, {"place": 6}),
        ({"place": 6}, {"arrival": EXAMPLE.arrival.model_copy(update={"revision": 1}), "place": 5}),
    ],
)
def test_of_runs_the_newest_arrival_describes_the_visit_image(lower, higher):
    def outcome(changes):
        time = changes.pop("place", 0)
        place = ArrivalPlace(append_time_ms=1_795_000_000_000 + time, partition=0, offset=0)
        return EXAMPLE.model_copy(update={"place": place, **changes})

    low, high = input_rank(outcome(dict(lower))), input_rank(outcome(dict(higher)))
    assert low < high < 2**63


def test_an_order_never_depends_on_the_number_of_an_entry():
    entries = [made(0, OLD, 3), made(1, NEW, 4)]
    swapped = [replace(entries[0], number=1), replace(entries[1], number=0)]
    assert isinstance(decided(swapped, arrival(1, "older still"), 1), Superseded)
