"""Which record of a compacted topic is in force, in whatever order its partitions are read."""

from residua.messaging.records.events import IncomingRecord

__all__ = ["NewestByKey"]

_PARTITION_BITS = 20


class NewestByKey:
    """Knows of each key the newest record seen.

    A topic that was given more partitions has old records of a key in one and new ones in
    another, and they are read in any order. Within a partition the later offset is newer; of
    two partitions the record with the later timestamp, then that of the higher partition.
    """

    def __init__(self) -> None:
        # Time and partition in one number: a tuple for each of a million keys would be 100 MB.
        self._stamps: dict[bytes, int] = {}

    def take(self, key: bytes, record: IncomingRecord) -> bool:
        """Take in a record; returns whether it is the newest under its key, tombstones too."""
        stamp = record.timestamp_ms << _PARTITION_BITS | record.partition
        known = self._stamps.get(key)
        if known is not None and known > stamp and not self._same_partition(known, stamp):
            return False
        self._stamps[key] = stamp
        return True

    @staticmethod
    def _same_partition(one: int, other: int) -> bool:
        return (one ^ other) & ((1 << _PARTITION_BITS) - 1) == 0
