"""Reading on past records that the Kafka client cannot decode.

aiokafka raises out of its fetch what it trips over in a record: a header name that is no UTF-8, a
codec it does not know, a checksum that does not hold. The offset stays where it is, so that each
new start meets the same record, and all behind it wait for ever. Here such a record is tried
again `TRIES` times and then handed out: read as Java's client reads it where that can be done,
else with a mark in place of its contents, so that whoever consumes buries it by its place.
"""

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, override

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

__all__ = ["TRIES", "UNREADABLE", "read_leniently"]

TRIES = 3
"""Fetches of the same offset before it is passed over."""


class _Mark(str):
    __slots__ = ()


UNREADABLE: str = _Mark("residua-unreadable")
"""Name of the one header of a record that cannot be read; its value is the reason.

Compared by identity: no producer can send this object.
"""

# Offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and last
# timestamp, producer id and epoch, sequence, number of records (KIP-98).
_HEADER = struct.Struct(">qiibIhiqqqhii")
_PREFIX = 12
_DECOMPRESS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_OLDEST_MAGIC = 2

_log = logging.getLogger(__name__)


def read_leniently() -> None:
    """Let all consumers of this process read past what cannot be decoded; may be called again.

    aiokafka offers no other place for it: its fetcher makes these two by name.
    """
    fetcher.MemoryRecords = _KeptRecords
    fetcher.PartitionRecords = _LenientRecords


class _KeptRecords(MemoryRecords):
    """aiokafka's batches, and the bytes they came from."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _LenientRecords(fetcher.PartitionRecords):
    """aiokafka's records of one partition, and what is left when it gives up."""

    next_fetch_offset: int
    _failures: ClassVar[dict[TopicPartition, tuple[int, int]]] = {}

    @override
    def _unpack_records(self) -> Iterator[ConsumerRecord]:
        try:
            yield from super()._unpack_records()
        except Exception as e:  # noqa: BLE001 whatever the decoder trips over
            place, offset = self._tp, self.next_fetch_offset
            last, tries = self._failures.get(place, (-1, 0))
            tries = tries + 1 if last == offset else 1
            self._failures[place] = (offset, tries)
            _log.info("%s offset %d, try %d: %s: %s", place, offset, tries, type(e).__name__, e)
            # Ending here, the client fetches from this offset again.
            if tries >= TRIES:
                del self._failures[place]
                yield from self._what_is_left(e)

    def _what_is_left(self, error: Exception) -> Iterator[ConsumerRecord]:
        wanted = self.next_fetch_offset
        batch = _batch_with(self._records.data, wanted)
        for parts in batch.records(f"{type(error).__name__}: {error}"):
            if parts.offset < self.next_fetch_offset:
                continue
            self.next_fetch_offset = parts.offset + 1
            yield ConsumerRecord(
                self._tp.topic,
                self._tp.partition,
                parts.offset,
                parts.timestamp,
                batch.timestamp_type,
                parts.key,
                parts.value,
                None,
                len(parts.key or b""),
                len(parts.value or b""),
                parts.headers,
            )
        self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)


@dataclass(frozen=True)
class _Parts:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class _Batch:
    """Offsets to be handed out, and the records they hold where ``data`` can be trusted."""

    data: bytes
    base_offset: int
    next_offset: int
    attributes: int = 0
    first_timestamp: int = 0
    last_timestamp: int = 0
    count: int = 0

    @property
    def timestamp_type(self) -> int:
        return self.attributes >> 3 & 1

    def records(self, reason: str) -> Iterator[_Parts]:
        """All its records in order; a mark for each offset that cannot be read."""
        offset = self.base_offset
        try:
            for parts in self._decoded():
                yield parts
                offset = parts.offset + 1
        except Exception as e:  # noqa: BLE001 foreign bytes
            reason = reason if str(e) in reason else f"{reason}; {type(e).__name__}: {e}"
        mark = ((UNREADABLE, reason[:500].encode()),)
        for left in range(offset, self.next_offset):
            yield _Parts(left, self.first_timestamp, None, None, mark)

    def _decoded(self) -> Iterator[_Parts]:
        payload = self.data[_HEADER.size :]
        if codec := self.attributes & 7:
            payload = _DECOMPRESS[codec](payload)
        cursor = _Cursor(payload)
        for _ in range(self.count):
            parts = _record(_Cursor(cursor.take(cursor.number())), self)
            yield replace(parts, timestamp=self.last_timestamp) if self.timestamp_type else parts


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, size: int) -> bytes:
        end = self._position + size
        if size < 0 or end > len(self._data):
            raise ValueError(f"{size} bytes announced, {len(self._data) - self._position} left")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self) -> int:
        """Kafka's varint: seven bits a byte, the sign in the lowest bit."""
        value = shift = 0
        while True:
            [byte] = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)
            shift += 7
            if shift > 63:
                raise ValueError("a number without end")

    def bytes_or_none(self) -> bytes | None:
        size = self.number()
        return None if size < 0 else self.take(size)


def _record(cursor: _Cursor, batch: _Batch) -> _Parts:
    cursor.take(1)
    timestamp = batch.first_timestamp + cursor.number()
    offset = batch.base_offset + cursor.number()
    key, value = cursor.bytes_or_none(), cursor.bytes_or_none()
    headers = tuple(
        # As Java's client reads a name that is no UTF-8.
        ((cursor.bytes_or_none() or b"").decode(errors="replace"), cursor.bytes_or_none())
        for _ in range(cursor.number())
    )
    return _Parts(offset, timestamp, key, value, headers)


def _batch_with(data: bytes, wanted: int) -> _Batch:
    """Batch that holds an offset, or the next; of damaged ones that offset alone."""
    start = 0
    while start + _HEADER.size <= len(data):
        fields: tuple[int, ...] = _HEADER.unpack_from(data, start)
        base, length, _, magic, _, attributes, last_delta, first, last, *_, count = fields
        end = start + _PREFIX + length
        if magic < _OLDEST_MAGIC or length < 0 or end > len(data):
            break
        batch = data[start:end]
        if not MemoryRecords(batch).next_batch().validate_crc():
            # Nothing in it can be trusted, the number of its offsets least of all.
            break
        if base + last_delta >= wanted:
            return _Batch(batch, base, base + last_delta + 1, attributes, first, last, count)
        start = end
    return _Batch(b"", wanted, wanted + 1)
