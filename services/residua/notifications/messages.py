"""S3 event notifications in the form of AWS, as AWS, MinIO, Ceph and versitygw send them."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote_plus

from residua.errors import MalformedEventError
from residua.messaging.records.events import IncomingRecord, record_value

__all__ = ["CreatedObject", "Ignored", "Notification", "read_notification"]

type Ignored = Literal["test_event", "not_created", "directory"]
"""Why a part of a notification is no new object."""

_MOST_RECORDS = 1000
_MOST_KEY_BYTES = 1024


@dataclass(frozen=True)
class CreatedObject:
    """An object that was written.

    Parameters
    ----------
    bucket
        Name of the bucket, with Ceph's ``tenant:`` before it where there is one.
    keys
        What its key may be, the most probable first: stores differ in whether the key in a
        notification is URL-encoded, and some keys can be read both ways.
    """

    bucket: str
    keys: tuple[str, ...]

    @property
    def uris(self) -> tuple[str, ...]:
        """URI for each of the keys, percent-encoded."""
        return tuple(f"s3://{self.bucket}/{quote(key)}" for key in self.keys)


@dataclass(frozen=True)
class Notification:
    """What one message says: objects that were written, and what else it held."""

    created: tuple[CreatedObject, ...]
    ignored: tuple[Ignored, ...] = ()


def read_notification(record: IncomingRecord) -> Notification:
    """Read a message.

    Raises
    ------
    MalformedEventError
        It is not a notification in the form of AWS.
    """
    try:
        body = json.loads(record_value(record))
    except (ValueError, RecursionError) as e:
        raise MalformedEventError(
            f"{record.place} is not JSON ({e}); send S3 event notifications in the form of AWS"
        ) from e
    if not isinstance(body, dict):
        raise _no_notification(record, "it is no JSON object")
    if body.get("Event") == "s3:TestEvent":
        return Notification((), ("test_event",))
    entries = body.get("Records")
    if not isinstance(entries, list) or not entries:
        raise _no_notification(record, "it has no Records")
    if len(entries) > _MOST_RECORDS:
        raise _no_notification(record, f"it has {len(entries)} Records, {_MOST_RECORDS} are read")
    created: list[CreatedObject] = []
    ignored: list[Ignored] = []
    for entry in entries:
        found = _entry(record, entry)
        if isinstance(found, CreatedObject):
            created.append(found)
        else:
            ignored.append(found)
    return Notification(tuple(created), tuple(ignored))


def _entry(record: IncomingRecord, entry: Any) -> CreatedObject | Ignored:
    try:
        name = str(entry["eventName"]).removeprefix("s3:")
        if name == "TestEvent":
            return "test_event"
        bucket, key = entry["s3"]["bucket"]["name"], entry["s3"]["object"]["key"]
    except (KeyError, TypeError, AttributeError) as e:
        raise _no_notification(record, f"a record lacks {e}") from e
    if not name.startswith("ObjectCreated:"):
        return "not_created"
    if not isinstance(bucket, str) or not isinstance(key, str) or not bucket or not key:
        raise _no_notification(record, "bucket and key must be words")
    # Ceph writes a bucket of another tenant as tenant:bucket.
    tenant, colon, plain = bucket.rpartition(":")
    names = (tenant, plain) if colon else (plain,)
    if not all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names):
        raise _no_notification(record, f"{bucket!r:.80} is no name of a bucket")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as e:
        raise _no_notification(record, f"the key is no Unicode: {e.reason}") from e
    # URL-encoded, a byte takes three.
    if size > 3 * _MOST_KEY_BYTES:
        raise _no_notification(record, f"the key is longer than {_MOST_KEY_BYTES} bytes")
    keys = _keys(key)
    if keys[0].endswith("/"):
        return "directory"
    return CreatedObject(bucket, keys)


def _keys(key: str) -> tuple[str, ...]:
    try:
        decoded = unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        decoded = key
    # An encoded key holds neither blanks nor anything but ASCII.
    if decoded == key or " " in key or not key.isascii():
        return (key,)
    return (decoded, key)


def _no_notification(record: IncomingRecord, reason: str) -> MalformedEventError:
    return MalformedEventError(
        f"{record.place} is no S3 event notification in the form of AWS: {reason}"
    )
