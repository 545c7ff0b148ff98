"""Batches of Kafka records byte by byte: what no well-behaved client would send."""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import NotLeaderForPartitionError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c

from residua.messaging.client import producer
from residua.messaging.settings import KafkaSettings

__all__ = ["RawRecord", "raw_batch", "send_raw"]

_AFTER_CHECKSUM = struct.Struct(">hiqqqhii")


@dataclass(frozen=True)
class RawRecord:
    """A record with header names as bytes."""

    value: bytes | None
    key: bytes | None = b"raw"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def raw_batch(
    records: Sequence[RawRecord],
    *,
    timestamp_ms: int = 1_795_387_024_877,
    codec: int = 0,
    payload: bytes | None = None,
    sound: bool = True,
    base_offset: int = 0,
) -> bytes:
    """Batch in format 2.

    Parameters
    ----------
    codec
        Number of the compression that is announced.
    payload
        What stands for the records' bytes; by default the records without compression.
    sound
        Whether the checksum holds.
    """
    body = b"".join(_record(n, r) for n, r in enumerate(records)) if payload is None else payload
    count = len(records)
    last = count - 1
    times = (timestamp_ms, timestamp_ms)
    covered = _AFTER_CHECKSUM.pack(codec, last, *times, -1, -1, -1, count) + body
    checksum = calc_crc32c(covered) ^ (not sound)
    rest = struct.pack(">ibI", -1, 2, checksum) + covered
    return struct.pack(">qi", base_offset, len(rest)) + rest


async def send_raw(settings: KafkaSettings, topic: str, partition: int, batch: bytes) -> None:
    """Send a batch as it is.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker did not take it.
    """
    async with producer(settings) as sender:
        await sender.partitions_for(topic)
        node = sender.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None,
            required_acks=-1,
            timeout=10_000,
            topics=[(topic, [(partition, batch)])],
        )
        code = NotLeaderForPartitionError.errno
        while code == NotLeaderForPartitionError.errno:
            # The broker that has just made a topic answers so for a moment.
            [(_, [(_, code, *_)])] = (await sender.client.send(node, request)).topics
            await asyncio.sleep(0.2)
        if code:
            raise for_code(code)(f"{topic}/{partition}")


def _record(number: int, record: RawRecord) -> bytes:
    headers = b"".join(_text(name) + _text(value) for name, value in record.headers)
    body = (
        b"\0"
        + _varint(0)
        + _varint(number)
        + _text(record.key)
        + _text(record.value)
        + _varint(len(record.headers))
        + headers
    )
    return _varint(len(body)) + body


def _text(value: bytes | None) -> bytes:
    return _varint(-1) if value is None else _varint(len(value)) + value


def _varint(value: int) -> bytes:
    number = value << 1 ^ value >> 63
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
