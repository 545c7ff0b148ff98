"""Records nobody should send: valid events with something wrong, and plain noise.

Mutations know the contracts (fields of wrong type, range, length or number) and do not (bytes
flipped, cut, inserted; other encodings; noise). Seeded: the same seed gives the same records.
"""

import gzip
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from residua_schemas import Event

__all__ = ["MutatedRecord", "mutated_records"]

_ODD_TEXT = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[31m",
    "\ufeff",
    "\u202e",
    "\U0001f52d" * 20,
    "e\u0301" * 40,
    "..",
    "../../../../etc/passwd",
    "file:///etc/passwd",
    "file:///tmp/../etc/passwd",
    "file://elsewhere/x.fits",
    "s3://other/../visits/x.fits",
    "s3://",
    "http://127.0.0.1:9/x.fits",
    "gs://b/x",
    "://",
    "%2e%2e/%2e%2e/x.fits",
    "x.fits#frag?query",
    "'; DROP TABLE obscore; --",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "[bold]x[/bold]",
    "NaN",
    "1e400",
    "null",
    "x" * 5_000,
    "\u00fc" * 3_000,
)
_ODD_NUMBERS = (
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40, 10**400),
    *(0.0, -0.0, 1e-320, 1e308, -1e308, 0.1, 90.0000001, -90.5, 360.0, 1e22),
)
_ODD_TIMES = (
    *("2026-11-22T03:04:05Z", "2026-11-22T03:04:05+02:00", "0001-01-01T00:00:00"),
    *("9999-12-31T23:59:59.999999", "2026-02-30T00:00:00", "2026-11-22", "22/11/2026", 1e12),
)
_ODD_VERSIONS = ("0.9", "1.0.0", "1.99", "2.0", "1.", "one", 1, 1.0, None, "1.0\n")
_ODD_HEADERS = (
    ("residua-run-label", b""),
    ("residua-run-label", b"../../x"),
    ("residua-run-label", b"better"),
    ("residua-run-label", b"\xff\xfe"),
    ("residua-replay", b"\x00\xff"),
    ("ce_id", b"x" * 2_000),
    ("ce_type", b"nonsense"),
    ("content-type", b"text/html"),
    ("", b""),
    ("\u00fc" * 50, b"\x80"),
)


@dataclass(frozen=True)
class MutatedRecord:
    """A record, and how it was made.

    Parameters
    ----------
    how
        Names of the mutations, in order.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    how: tuple[str, ...]


def mutated_records(
    events: list[tuple[bytes, Event]], number: int, seed: int
) -> Iterator[MutatedRecord]:
    """Make records out of valid events.

    Parameters
    ----------
    events
        Keys and events to start from.
    number
        How many.
    seed
        Of the random numbers.
    """
    rng = random.Random(seed)
    sources = [(key, event.model_dump(mode="json")) for key, event in events]
    for _ in range(number):
        key, body = rng.choice(sources)
        body = json.loads(json.dumps(body))
        how: list[str] = []
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
            mutation = rng.choice(_BODY_MUTATIONS)
            body = mutation(rng, body)
            how.append(mutation.__name__.strip("_"))
        value: bytes | None = _to_bytes(rng, body, how)
        if rng.random() < 0.4:
            mutate_bytes = rng.choice(_BYTE_MUTATIONS)
            value = mutate_bytes(rng, value or b"")
            how.append(mutate_bytes.__name__.strip("_"))
        # A record has a key or a value: clients refuse to send one without both.
        sent_key = key if value is None else _key(rng, key)
        yield MutatedRecord(sent_key, value, _headers(rng), tuple(how))


def _to_bytes(rng: random.Random, body: Any, how: list[str]) -> bytes:
    try:
        # Lone surrogates cannot be written as UTF-8, only escaped.
        text = json.dumps(body, ensure_ascii=rng.random() < 0.5)
        return text.encode()
    except UnicodeEncodeError:
        how.append("surrogate_bytes")
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(body, dict):
        inner = [p for name, value in body.items() for p in _places(value, (*path, name))]
    elif isinstance(body, list):
        inner = [p for number, value in enumerate(body) for p in _places(value, (*path, number))]
    else:
        inner = []
    return [path, *inner] if path else inner


def _change(rng: random.Random, body: Any, change: Callable[[Any], Any]) -> Any:
    places = _places(body)
    if not places:
        return change(body)
    *way, last = rng.choice(places)
    inside = body
    for step in way:
        inside = inside[step]
    inside[last] = change(inside[last])
    return body


def _other_value(rng: random.Random, body: Any) -> Any:
    values: tuple[Any, ...] = (None, True, [], {}, [[]], {"a": 1}, [1, 2, 3], "x", 7)
    return _change(rng, body, lambda _: rng.choice(values))


def _odd_text(rng: random.Random, body: Any) -> Any:
    return _change(rng, body, lambda _: rng.choice((*_ODD_TEXT, "\ud800", "a\udfffb")))


def _odd_number(rng: random.Random, body: Any) -> Any:
    return _change(rng, body, lambda _: rng.choice(_ODD_NUMBERS))


def _not_finite(rng: random.Random, body: Any) -> Any:
    values = (float("nan"), float("inf"), float("-inf"))
    return _change(rng, body, lambda _: rng.choice(values))


def _odd_time(rng: random.Random, body: Any) -> Any:
    return _change(rng, body, lambda _: rng.choice(_ODD_TIMES))


def _odd_version(rng: random.Random, body: Any) -> Any:
    if isinstance(body, dict):
        body["schema_version"] = rng.choice(_ODD_VERSIONS)
    return body


def _lost_field(rng: random.Random, body: Any) -> Any:
    if isinstance(body, dict) and body:
        inner = [v for v in body.values() if isinstance(v, dict) and v]
        target = rng.choice([body, *inner])
        del target[rng.choice(list(target))]
    return body


def _extra_field(rng: random.Random, body: Any) -> Any:
    if isinstance(body, dict):
        body[rng.choice(("future", "", "outcome", "__class__", "\u00fc"))] = rng.choice(_ODD_TEXT)
    return body


def _numbers_as_text(rng: random.Random, body: Any) -> Any:
    return _change(rng, body, str)


def _wrapped(rng: random.Random, body: Any) -> Any:
    return rng.choice(([body], {"event": body}, json.dumps(body), 42, None))


def _deep(rng: random.Random, body: Any) -> Any:
    nested: Any = 0
    for _ in range(rng.choice((50, 150, 300))):
        nested = [nested]
    return _change(rng, body, lambda _: nested)


def _wide(rng: random.Random, body: Any) -> Any:
    wide = [[float(n), 0.0] for n in range(rng.choice((65, 2_000)))]
    return _change(rng, body, lambda _: wide)


def _flipped(rng: random.Random, value: bytes) -> bytes:
    changed = bytearray(value or b"x")
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, value: bytes) -> bytes:
    return value[: rng.randrange(len(value) + 1)]


def _inserted(rng: random.Random, value: bytes) -> bytes:
    at = rng.randrange(len(value) + 1)
    return value[:at] + rng.randbytes(rng.randint(1, 20)) + value[at:]


def _repeated(rng: random.Random, value: bytes) -> bytes:
    return value * rng.randint(2, 3)


def _encoded(rng: random.Random, value: bytes) -> bytes:
    text = value.decode(errors="replace")
    return rng.choice(
        (text.encode("utf-16"), b"\xef\xbb\xbf" + value, gzip.compress(value, mtime=0))
    )


def _noise(rng: random.Random, _value: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 10, 1_000)))


def _text_noise(rng: random.Random, _value: bytes) -> bytes:
    return "".join(rng.choices(string.printable, k=200)).encode()


def _brackets(rng: random.Random, _value: bytes) -> bytes:
    return rng.choice((b"[", b'{"a":')) * rng.choice((100, 100_000))


def _long_number(rng: random.Random, value: bytes) -> bytes:
    return value.replace(b"20241108", b"9" * rng.choice((30, 5_000)), 1)


def _nothing(_rng: random.Random, _value: bytes) -> None:
    return None


def _key(rng: random.Random, key: bytes) -> bytes | None:
    return rng.choice((key, key, key, None, b"", rng.randbytes(12)))


def _headers(rng: random.Random) -> tuple[tuple[str, bytes], ...]:
    return tuple(rng.choices(_ODD_HEADERS, k=rng.choice((0, 0, 1, 2))))


_BODY_MUTATIONS: tuple[Callable[[random.Random, Any], Any], ...] = (
    *(_other_value, _odd_text, _odd_number, _not_finite, _odd_time, _odd_version, _lost_field),
    *(_extra_field, _numbers_as_text, _wrapped, _deep, _wide, _odd_text, _odd_number),
)
_BYTE_MUTATIONS: tuple[Callable[[random.Random, bytes], bytes | None], ...] = (
    *(_flipped, _cut, _inserted, _repeated, _encoded, _noise, _text_noise, _brackets),
    *(_long_number, _nothing),
)
