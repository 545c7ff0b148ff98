"""A kept solution as bytes: a head that says what follows, and the arrays, packed.

``RESIDUA-SOLUTION`` and a newline; one line of canonical JSON, the head, whose first entry is the
number of the form; then each array packed by LZMA2, in the head's order. The head names each
array's place, length, type and shape, and the SHA-256 of its bytes as they are after unpacking. In
the first two forms they are shuffled (all first bytes, all second ones ...) and deflated by zlib.
No pickle, no time, no path: the same solution gives the same bytes.
"""

import hashlib
import json
import lzma
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.storage.forms.solution_parts import from_parts, to_parts
from residua.subtraction.errors import DamagedSolutionError
from residua.subtraction.steps.solution import Solution

__all__ = ["FORM", "FORMS", "MEDIA_TYPE", "read_solution", "write_solution"]

FORM = 3
"""Number of the form: grows with any change of the head's fields or of an array's meaning."""
FORMS = (1, 2, FORM)
"""Those that are read: the first, the same with pieces of the kernel, and the one that is written,
which takes a tenth less."""
MEDIA_TYPE = "application/x-residua-solution"
_MAGIC = b"RESIDUA-SOLUTION\n"
_DICTIONARY = 1 << 20
_TYPES = ("<f8", "<f4", "<i8", "<i4", "<i2", "|u1")
_MOST_BYTES = 64_000_000
"""Of one array after unpacking: a solution is a thousandth of its image."""


def write_solution(solution: Solution) -> bytes:
    """Write a solution.

    Returns
    -------
    bytes
        0.08 to 0.16 MB for a detector of 4072 x 4000 px. The same solution gives the same
        bytes as long as liblzma is the same; `read_solution` gives the same solution always.
    """
    facts, arrays = to_parts(solution)
    entries: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    place = 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        plain = little.tobytes()
        packed = _packed(plain, little.itemsize)
        entries.append(
            {
                "name": name,
                "type": little.dtype.str,
                "shape": list(little.shape),
                "at": place,
                "length": len(packed),
                "sha256": hashlib.sha256(plain).hexdigest(),
            }
        )
        pieces.append(packed)
        place += len(packed)
    head = json.dumps(
        {"form": FORM, "solution": facts, "arrays": entries}, separators=(",", ":"), sort_keys=True
    )
    return b"".join([_MAGIC, head.encode("ascii"), b"\n", *pieces])


def read_solution(data: bytes) -> Solution:
    """Read a solution that `write_solution` wrote.

    Raises
    ------
    DamagedSolutionError
        If the bytes are no solution, of a form that this version does not know, cut off, or
        changed.
    """
    head, start = _head(data)
    try:
        arrays = {
            entry["name"]: _array(entry, data[start + entry["at"] :], head["form"])
            for entry in head["arrays"]
        }
        return from_parts(head["solution"], arrays)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error, lzma.LZMAError) as e:
        raise DamagedSolutionError(
            f"the solution cannot be read ({type(e).__name__}: {e}): fetch it again, or solve anew"
        ) from e


def _head(data: bytes) -> tuple[dict[str, Any], int]:
    end = data.find(b"\n", len(_MAGIC))
    if not data.startswith(_MAGIC) or end < 0:
        raise DamagedSolutionError(
            f"{len(data)} bytes that do not begin like a solution: another file, or cut off",
            bytes=len(data),
        )
    try:
        head = json.loads(data[len(_MAGIC) : end])
        form = head["form"]
    except (ValueError, KeyError, TypeError) as e:
        raise DamagedSolutionError(f"the head of the solution is no JSON of its form: {e}") from e
    if form not in FORMS:
        raise DamagedSolutionError(
            f"the solution has form {form}, this version reads {', '.join(map(str, FORMS))}: use "
            "the version that wrote it, or solve anew",
        )
    return head, end + 1


def _array(entry: Mapping[str, Any], rest: bytes, form: int) -> npt.NDArray[Any]:
    kind, shape = entry["type"], tuple(int(n) for n in entry["shape"])
    if kind not in _TYPES or any(n < 0 for n in shape):
        raise ValueError(f"array {entry['name']!r} has type {kind!r}, shape {shape}")
    size = int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
    if size > _MOST_BYTES or len(rest) < entry["length"]:
        raise ValueError(
            f"array {entry['name']!r} of {size} bytes lies beyond the end or is too large"
        )
    content = rest[: entry["length"]]
    if form < FORM:
        packed = zlib.decompressobj().decompress(content, size + 1)
        plain = _together(packed, np.dtype(kind).itemsize) if len(packed) == size else packed
    else:
        plain = _unpacked(content, size)
    if len(plain) != size:
        raise ValueError(f"array {entry['name']!r} has {len(plain)} bytes, not {size}")
    if hashlib.sha256(plain).hexdigest() != entry["sha256"]:
        raise ValueError(f"array {entry['name']!r} does not have its checksum")
    return np.frombuffer(plain, kind).reshape(shape)


def _packed(plain: bytes, size: int) -> bytes:
    """Pack numbers of so many bytes: which byte of a number it is tells most of what it may be."""
    place = size.bit_length() - 1
    search = {"preset": 6, "nice_len": 24, "depth": 6, "dict_size": _DICTIONARY}
    words = {"id": lzma.FILTER_LZMA2, "lc": 0, "lp": place, "pb": place, **search}
    return lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[words])


def _unpacked(content: bytes, size: int) -> bytes:
    """Unpack an array, and no more than a byte beyond its size."""
    words = {"id": lzma.FILTER_LZMA2, "dict_size": _DICTIONARY}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[words]).decompress(content, size + 1)


def _together(packed: bytes, size: int) -> bytes:
    return np.frombuffer(packed, np.uint8).reshape(size, -1).T.tobytes() if packed else b""
