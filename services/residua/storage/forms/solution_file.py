"""A kept solution as bytes: a head that says what follows, and the arrays, deflated.

``RESIDUA-SOLUTION`` and a newline; one line of canonical JSON, the head, whose first entry is the
number of the form; then each array deflated by zlib, in the head's order. The head names each
array's place, length, type and shape, and the SHA-256 of its bytes as they are after inflating.
No pickle, no time, no path: the same solution gives the same bytes.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.storage.forms.solution_parts import from_parts, to_parts
from residua.subtraction.errors import DamagedSolutionError
from residua.subtraction.steps.solution import Solution

__all__ = ["FORM", "MEDIA_TYPE", "read_solution", "write_solution"]

FORM = 1
"""Number of the form: grows with any change of the head's fields or of an array's meaning."""
FORM_WITH_PIECES = 2
"""Where the kernel has pieces, which readers of the first form would leave out."""
MEDIA_TYPE = "application/x-residua-solution"
_MAGIC = b"RESIDUA-SOLUTION\n"
_LEVEL = 9
_TYPES = ("<f8", "<f4", "<i8", "<i4", "<i2", "|u1")
_MOST_BYTES = 64_000_000
"""Of one array after inflating: a solution is a thousandth of its image."""


def write_solution(solution: Solution) -> bytes:
    """Write a solution.

    Returns
    -------
    bytes
        0.09 to 0.19 MB for a detector of 4072 x 4000 px. The same solution gives the same
        bytes as long as zlib is the same; `read_solution` gives the same solution always.
    """
    facts, arrays = to_parts(solution)
    form = FORM if solution.kernel.pieces is None else FORM_WITH_PIECES
    entries: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    place = 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        plain = little.tobytes()
        packed = zlib.compress(_shuffled(plain, little.itemsize), _LEVEL)
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
        {"form": form, "solution": facts, "arrays": entries}, separators=(",", ":"), sort_keys=True
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
            entry["name"]: _array(entry, data[start + entry["at"] :]) for entry in head["arrays"]
        }
        return from_parts(head["solution"], arrays)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as e:
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
    if form not in (FORM, FORM_WITH_PIECES):
        raise DamagedSolutionError(
            f"the solution has form {form}, this version reads {FORM} and {FORM_WITH_PIECES}: use "
            "the version that wrote it, or solve anew",
        )
    return head, end + 1


def _array(entry: Mapping[str, Any], rest: bytes) -> npt.NDArray[Any]:
    kind, shape = entry["type"], tuple(int(n) for n in entry["shape"])
    if kind not in _TYPES or any(n < 0 for n in shape):
        raise ValueError(f"array {entry['name']!r} has type {kind!r}, shape {shape}")
    size = int(np.prod(shape, dtype=object)) * np.dtype(kind).itemsize
    if size > _MOST_BYTES or len(rest) < entry["length"]:
        raise ValueError(
            f"array {entry['name']!r} of {size} bytes lies beyond the end or is too large"
        )
    inflater = zlib.decompressobj()
    packed = inflater.decompress(rest[: entry["length"]], size + 1)
    if len(packed) != size:
        raise ValueError(f"array {entry['name']!r} has {len(packed)} bytes, not {size}")
    plain = _together(packed, np.dtype(kind).itemsize)
    if hashlib.sha256(plain).hexdigest() != entry["sha256"]:
        raise ValueError(f"array {entry['name']!r} does not have its checksum")
    return np.frombuffer(plain, kind).reshape(shape)


def _shuffled(plain: bytes, size: int) -> bytes:
    """All first bytes, then all second ones ...: what is alike lies together."""
    return np.frombuffer(plain, np.uint8).reshape(-1, size).T.tobytes() if plain else b""


def _together(packed: bytes, size: int) -> bytes:
    return np.frombuffer(packed, np.uint8).reshape(size, -1).T.tobytes() if packed else b""
