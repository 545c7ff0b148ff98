"""Reading on past records that the Kafka client cannot decode.

aiokafka raises out of its fetch what it trips over in a record: a header name that is no UTF-8, a
codec it does not know, a checksum that does not hold. The offset stays where it is, so that each
new start meets the same record, and all behind it wait for ever. Here such a record is tried
again `TRIES` times and then handed out: read as Java's client reads it where that can be done,
else with a mark in place of its contents, so that whoever consumes buries it by its place.
"""

import logging
import struct
import zlib
from collections.abc import Buffer, Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, override

import cramjam
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import snappy_decode
from aiokafka.consumer import fetcher
from aiokafka.record import default_records as python_records
from aiokafka.record.memory_records import MemoryRecords

__all__ = ["MAX_BATCH_BYTES", "TRIES", "UNREADABLE", "read_leniently"]

MAX_BATCH_BYTES = 128 * 1024 * 1024
"""A batch of records that inflates beyond this is not read: Kafka limits what is sent alone."""

_PIECE = 4096
"""Compressed bytes inflated at once: of zstd they may become 128 MiB, of gzip 4 MiB."""

_MOST_OF_LZ4 = 255
"""Bytes that one of lz4 can become."""

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
_OLDEST_MAGIC = 2

_log = logging.getLogger(__name__)


def read_leniently() -> None:
    """Let all consumers of this process read past what cannot be decoded; may be called again.

    aiokafka offers no other place for it: its fetcher makes these two by name.
    """
    fetcher.MemoryRecords = _KeptRecords
    fetcher.PartitionRecords = _LenientRecords
    for module in _decoding_modules():
        for codec, decode in _DECOMPRESS.items():
            setattr(module, f"{_NAMES[codec]}_decode", decode)


def _decoding_modules() -> list[ModuleType]:
    """Both implementations of aiokafka's batches: in C where there is one, and in Python."""
    try:
        from aiokafka.record._crecords import default_records as compiled
    except ImportError:
        return [python_records]
    return [python_records, compiled]


def _inflate(
    decompress: Callable[[bytes], object], payload: bytes, size: Callable[[], int]
) -> None:
    for start in range(0, len(payload), _PIECE):
        decompress(payload[start : start + _PIECE])
        if size() > MAX_BATCH_BYTES:
            raise _too_much(payload)


def _too_much(payload: bytes) -> ValueError:
    return ValueError(
        f"{len(payload)} compressed bytes inflate beyond {MAX_BATCH_BYTES}; send smaller batches"
    )


def _zstd(payload: Buffer) -> bytes:
    inside = cramjam.zstd.Decompressor()
    _inflate(inside.decompress, bytes(payload), inside.len)
    return bytes(inside.finish())


def _lz4(payload: Buffer) -> bytes:
    data = bytes(payload)
    if len(data) * _MOST_OF_LZ4 <= MAX_BATCH_BYTES:
        return bytes(cramjam.lz4.decompress(data))
    # cramjam takes frames of lz4 in one piece only.
    room = bytearray(MAX_BATCH_BYTES)
    try:
        size = cramjam.lz4.decompress_into(data, room)
    except cramjam.DecompressionError as e:
        raise _too_much(data) from e
    return bytes(memoryview(room)[:size])


def _gzip(payload: Buffer) -> bytes:
    inside, found = zlib.decompressobj(zlib.MAX_WBITS | 16), bytearray()
    _inflate(lambda piece: found.extend(inside.decompress(piece)), bytes(payload), found.__len__)
    found.extend(inside.flush())
    if not inside.eof:
        raise ValueError("the gzip data end too early")
    return bytes(found)


# Snappy cannot make more than some twenty bytes of one.
_DECOMPRESS = {1: _gzip, 2: snappy_decode, 3: _lz4, 4: _zstd}
_NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


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
