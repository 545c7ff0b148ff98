"""Records no client can decode: handed out with a mark, each at its own offset, and no more."""

import gzip

import cramjam
import pytest
from aiokafka import TopicPartition
from tests.support.raw_records import RawRecord, raw_batch

from residua.errors import UnreadableRecordError
from residua.messaging.records import lenient
from residua.messaging.records.events import dead_letter, incoming, parse_event
from residua.messaging.records.lenient import TRIES, _KeptRecords, _LenientRecords, read_leniently
from residua_schemas import VisitArrival

GOOD = RawRecord(b"good")
ODD_HEADER = RawRecord(b"odd", headers=((b"\xff\xfe\x80bad", b"1"), (b"fine", None)))


def read(*batches, start=0, isolation=1):
    """All that comes of fetching again from where the last fetch ended, and the fetches."""
    place, found, fetches = TopicPartition("t", 0), [], 0
    _LenientRecords._failures.clear()
    while True:
        rest = [b for b in batches if int.from_bytes(b[:8]) + count(b) > start]
        if not rest:
            return [incoming(r) for r in found], fetches
        fetches += 1
        fetched = _LenientRecords(
            place, _KeptRecords(b"".join(rest)), [], start, None, None, True, isolation
        )
        found += fetched
        assert fetches < 100
        start = fetched.next_fetch_offset


def count(batch):
    return int.from_bytes(batch[23:27]) + 1


def batches(bad):
    return raw_batch([GOOD] * 2), bad, raw_batch([GOOD], base_offset=2 + count(bad))


def test_what_can_be_decoded_is_read_as_it_is():
    found, fetches = read(*batches(raw_batch([GOOD], base_offset=2)))
    assert [r.offset for r in found] == [0, 1, 2, 3]
    assert fetches == 1
    assert all(r.value == b"good" and r.unreadable is None for r in found)


def test_a_header_name_that_is_no_text_costs_nobody_anything():
    bad = raw_batch([GOOD, ODD_HEADER, GOOD, GOOD], base_offset=2)
    found, fetches = read(*batches(bad))
    assert [r.offset for r in found] == list(range(7))
    assert [r.value for r in found] == [b"good"] * 3 + [b"odd"] + [b"good"] * 3
    assert all(r.unreadable is None for r in found)
    assert found[3].headers == (("\ufffd\ufffd\ufffdbad", b"1"), ("fine", None))
    assert found[3].timestamp_ms == found[2].timestamp_ms
    assert fetches == TRIES + 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (raw_batch([GOOD] * 3, codec=7, base_offset=2), "0x07"),
        (raw_batch([GOOD] * 3, codec=4, base_offset=2), ""),
        (raw_batch([GOOD] * 3, payload=b"\x10\0\0", base_offset=2), "announced"),
        (raw_batch([GOOD] * 3, payload=b"\xff" * 40, base_offset=2), "without end"),
        (raw_batch([GOOD] * 3, sound=False, base_offset=2), "CRC"),
    ],
    ids=["unknown codec", "no zstd", "cut short", "no number", "checksum"],
)
def test_what_nobody_can_decode_is_marked_offset_by_offset(bad, said):
    found, _ = read(*batches(bad))
    assert [r.offset for r in found] == list(range(6))
    assert [r.unreadable is not None for r in found] == [False] * 2 + [True] * 3 + [False]
    assert all(said in r.unreadable for r in found[2:5])
    assert not any(r.is_tombstone for r in found)


COMPRESS = {
    1: gzip.compress,
    2: cramjam.snappy.compress_raw,
    3: cramjam.lz4.compress,
    4: cramjam.zstd.compress,
}


def compressed(codec, value, **options):
    plain = raw_batch([RawRecord(value)])
    payload = bytes(COMPRESS[codec](plain[61:]))
    return raw_batch([RawRecord(value)], codec=codec, payload=payload, **options)


@pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=["gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_are_read_as_they_are(codec):
    read_leniently()
    value = b"an arrival, " * 20_000
    [record], fetches = read(compressed(codec, value))
    assert record.value == value
    assert fetches == 1


@pytest.mark.parametrize("codec", [1, 3, 4], ids=["gzip", "lz4", "zstd"])
def test_what_inflates_without_bound_is_buried_and_those_behind_it_are_read(codec, monkeypatch):
    read_leniently()
    monkeypatch.setattr(lenient, "MAX_BATCH_BYTES", 1_000_000)
    bomb = compressed(codec, bytes(40_000_000), base_offset=2)
    assert len(bomb) < 200_000
    found, _ = read(*batches(bomb))
    assert [r.offset for r in found] == [0, 1, 2, 3]
    assert [r.unreadable is not None for r in found] == [False, False, True, False]
    assert "inflate beyond 1000000" in found[2].unreadable


def test_it_is_fetched_again_before_it_is_passed_over():
    bad = raw_batch([GOOD], sound=False)
    records = [
        _LenientRecords(TopicPartition("u", 0), _KeptRecords(bad), [], 0, None, None, True, 1)
        for _ in range(TRIES)
    ]
    assert [len(list(r)) for r in records] == [0] * (TRIES - 1) + [1]


def test_a_damaged_header_cannot_name_a_billion_offsets():
    bad = bytearray(raw_batch([GOOD]))
    bad[23:27] = (2**31 - 2).to_bytes(4)
    fetched = None
    for _ in range(TRIES):
        fetched = _LenientRecords(
            TopicPartition("v", 0), _KeptRecords(bytes(bad)), [], 0, None, None, True, 1
        )
        found = list(fetched)
    assert len(found) == 1
    assert fetched.next_fetch_offset == 1


def test_it_becomes_a_dead_letter_of_its_place_and_its_reason():
    [record], _ = read(raw_batch([GOOD], codec=7))
    with pytest.raises(UnreadableRecordError, match=r"t/0/0 cannot be decoded .* 0x07") as e:
        parse_event(record, VisitArrival.model_validate_json, "visit arrival")
    letter = dead_letter(record, e.value, service="worker")
    assert letter.model_validate_json(letter.model_dump_json()).headers == ()
    assert (letter.topic, letter.partition, letter.offset) == ("t", 0, 0)


def test_a_producer_cannot_send_the_mark():
    [record], _ = read(raw_batch([RawRecord(b"x", headers=((b"residua-unreadable", b"no"),))]))
    assert record.unreadable is None
