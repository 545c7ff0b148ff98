"""The file of a difference image without its pixels: headers, tables of tiles, tree, PSF.

What a part of an image that is not stored needs beside its solution: how it is described, in which
steps each tile was coded, and what its inputs looked like. ``RESIDUA-HOLLOW`` and a newline; a
line with the SHA-256 of all that follows; one line of JSON, the head; then the pieces, each
deflated. It is made when the image is written and lies beside it under the same name, with the
suffix ``.hollow``; whoever makes the image again makes it again.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from residua.errors import ResiduaError
from residua.storage.regions.byte_ranges import MemorySource
from residua.storage.regions.open_file import OpenFile, UnknownFormError
from residua.storage.regions.tiles import Tiles

__all__ = [
    "SUFFIX",
    "DamagedHollowError",
    "HollowFile",
    "hollowed",
    "inputs_digest",
    "read_hollow",
]

SUFFIX = ".hollow"
PLANES = ("IMAGE", "VARIANCE", "MASK")
"""What is left out."""

_MAGIC = b"RESIDUA-HOLLOW\n"
_FORM = 1
_DIGEST_LENGTH = 64
_MOST_BYTES = 64_000_000


class DamagedHollowError(ResiduaError):
    """The bytes are no hollow file, of an unknown form, cut off or changed."""

    responsible = "operator"


@dataclass(frozen=True)
class HollowFile:
    """A file without its pixels.

    Parameters
    ----------
    checksum, size
        Of the whole file.
    pieces
        What is there: bytes by the place where they begin.
    kernel
        Place and length of the kernel's basis (float64, big-endian), which the solution has.
    inputs
        Digests of the contents of its inputs (`inputs_digest`), by their checksums.
    """

    checksum: str
    size: int
    pieces: Mapping[int, bytes]
    kernel: tuple[int, int] | None
    inputs: Mapping[str, str]


def inputs_digest(content: bytes) -> str | None:
    """Return `OpenFile.contents_digest` of a file; `None` for one that is not read by parts."""
    try:
        return OpenFile(MemorySource(content), "", Tiles(0)).contents_digest
    except (UnknownFormError, KeyError, ValueError, TypeError):
        return None


def hollowed(content: bytes, checksum: str, kernel: bytes, inputs: Mapping[str, str]) -> bytes:
    """Leave out the pixels of a file that `write_difference_image` wrote.

    Parameters
    ----------
    content, checksum
        Of the file.
    kernel
        The kernel's basis as it stands in the file; left out too.
    inputs
        See `HollowFile`.

    Returns
    -------
    bytes
        20 to 60 kB; the same file gives the same bytes.
    """
    file = OpenFile(MemorySource(content), "", Tiles(0))
    left_out: list[tuple[int, int]] = []
    # Tables are shuffled by their rows, a PSF by its numbers, text not at all.
    widths = {
        data: 4 for name, data in file.data_starts.items() if name not in {*PLANES, "JSON", "INDEX"}
    }
    for name in PLANES:
        plane = file.plane(name)
        if plane.table is None:
            raise UnknownFormError
        widths[plane.data_start] = plane.table.rows.dtype.itemsize
        start = plane.data_start + plane.table.heap_start
        left_out.append((start, start + plane.header["PCOUNT"]))
    basis = content.find(kernel) if kernel else -1
    if basis >= 0:
        left_out.append((basis, basis + len(kernel)))
    starts = [0, *sorted(stop for _, stop in left_out)]
    stops = [*sorted(start for start, _ in left_out), len(content)]
    cuts = sorted({*widths, *file.data_starts.values()})
    entries, packed = [], []
    for start, stop in zip(starts, stops, strict=True):
        # Tables and headers are unlike: each is deflated by itself.
        inner = [start, *(c for c in cuts if start < c < stop), stop]
        for a, b in pairwise(inner):
            if a == b:
                continue
            plain = content[a:b]
            width = widths.get(a, 1)
            small = zlib.compress(_shuffled(plain, width), 6)
            entries.append([a, b - a, len(small), width])
            packed.append(small)
    head = {
        "form": _FORM,
        "checksum": checksum,
        "size": len(content),
        "pieces": entries,
        "kernel": None if basis < 0 else [basis, len(kernel)],
        "inputs": dict(inputs),
    }
    line = json.dumps(head, separators=(",", ":"), sort_keys=True).encode()
    rest = b"".join([line, b"\n", *packed])
    return b"".join([_MAGIC, _digest(rest), b"\n", rest])


def read_hollow(data: bytes) -> HollowFile:
    """Read what `hollowed` made.

    Raises
    ------
    DamagedHollowError
        It is not that.
    """
    begin = len(_MAGIC) + _DIGEST_LENGTH + 1
    if not data.startswith(_MAGIC):
        raise DamagedHollowError(f"{len(data)} bytes that do not begin like a hollow file")
    if data[len(_MAGIC) : begin - 1] != _digest(data[begin:]):
        raise DamagedHollowError(f"the hollow file of {len(data)} bytes does not have its checksum")
    end = data.find(b"\n", begin)
    try:
        head: dict[str, Any] = json.loads(data[begin:end])
        if head["form"] != _FORM:
            raise DamagedHollowError(
                f"a hollow file of form {head['form']}, this release reads {_FORM}: make the "
                "image again, or use the release that wrote it"
            )
        pieces: dict[int, bytes] = {}
        place = end + 1
        for start, length, packed, width in head["pieces"]:
            pieces[start] = _piece(data[place : place + packed], length, width)
            place += packed
        kernel = head["kernel"]
        found = HollowFile(
            head["checksum"],
            head["size"],
            pieces,
            None if kernel is None else (kernel[0], kernel[1]),
            head["inputs"],
        )
    except (KeyError, TypeError, ValueError, zlib.error) as e:
        raise DamagedHollowError(f"the hollow file cannot be read ({type(e).__name__}: {e})") from e
    return found


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _piece(packed: bytes, length: int, width: int) -> bytes:
    if not 0 <= length <= _MOST_BYTES or not 0 < width < 4096:
        raise ValueError(f"a piece of {length} bytes, shuffled by {width}")
    plain = zlib.decompressobj().decompress(packed, length + 1)
    if len(plain) != length:
        raise ValueError(f"a piece of {len(plain)} bytes, not {length}")
    whole = length // width * width
    if width == 1 or not whole:
        return plain
    return np.frombuffer(plain, np.uint8, whole).reshape(width, -1).T.tobytes() + plain[whole:]


def _shuffled(plain: bytes, width: int) -> bytes:
    """All first bytes of ``width``, then all second ones; what is left over last."""
    whole = len(plain) // width * width
    if width == 1 or not whole:
        return plain
    return np.frombuffer(plain, np.uint8, whole).reshape(-1, width).T.tobytes() + plain[whole:]
