"""HEALPix cells in the nested scheme, Gorski et al. 2005 (ApJ 622, 759)."""

import math

__all__ = ["cell_center", "cell_of"]

_MAX_ORDER = 29
# Of each of the 12 base pixels: the ring of its northern corner, and its longitude.
_RING = (2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4)
_LONGITUDE = (1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7)


def cell_of(order: int, ra: float, dec: float) -> int | None:
    """Return the number of the cell that holds a position (degrees); `None` for no such order."""
    if not 0 <= order <= _MAX_ORDER or not -90.0 <= dec <= 90.0:
        return None
    nside = 1 << order
    z = math.sin(math.radians(dec))
    turn = (ra % 360.0) / 90.0
    if abs(z) <= 2.0 / 3.0:
        face, ix, iy = _equatorial(nside, z, turn)
    else:
        face, ix, iy = _polar(nside, dec, turn)
    return face * nside * nside + _spread(ix) + 2 * _spread(iy)


def cell_center(order: int, index: int) -> tuple[float, float] | None:
    """Return right ascension and declination (degrees) of a cell's centre."""
    if not 0 <= order <= _MAX_ORDER:
        return None
    nside = 1 << order
    if not 0 <= index < 12 * nside * nside:
        return None
    face, rest = divmod(index, nside * nside)
    ix, iy = _gathered(rest), _gathered(rest >> 1)
    ring = _RING[face] * nside - ix - iy - 1
    if ring < nside:
        width, z, shift = ring, 1.0 - ring * ring / (3.0 * nside * nside), 0
    elif ring > 3 * nside:
        width = 4 * nside - ring
        z, shift = width * width / (3.0 * nside * nside) - 1.0, 0
    else:
        width, shift = nside, (ring - nside) & 1
        z = (2 * nside - ring) * 2.0 / (3.0 * nside)
    place = (_LONGITUDE[face] * width + ix - iy + 1 + shift) // 2
    place = (place - 1) % (4 * nside) + 1
    ra = (place - (shift + 1) / 2.0) * 90.0 / width
    if abs(z) > 0.99:
        # Near a pole the height loses the digits that this keeps.
        small = width / (math.sqrt(3.0) * nside)
        dec = 90.0 - math.degrees(2.0 * math.asin(small / math.sqrt(2.0)))
        return ra % 360.0, math.copysign(dec, z)
    return ra % 360.0, math.degrees(math.asin(z))


def _equatorial(nside: int, z: float, turn: float) -> tuple[int, int, int]:
    up = nside * (0.5 + turn - 0.75 * z)
    down = nside * (0.5 + turn + 0.75 * z)
    jp, jm = int(up), int(down)
    fp, fm = jp // nside, jm // nside
    if fp == fm:
        face = (fp & 3) + 4
    elif fp < fm:
        face = fp & 3
    else:
        face = (fm & 3) + 8
    return face, jm % nside, nside - jp % nside - 1


def _polar(nside: int, dec: float, turn: float) -> tuple[int, int, int]:
    quarter = min(3, int(turn))
    t = turn - quarter
    # sqrt(3 (1 - |z|)), of an angle that keeps its digits near the pole.
    small = math.sin(math.radians(90.0 - abs(dec)) / 2.0)
    scale = nside * math.sqrt(6.0) * small
    jp = min(nside - 1, int(t * scale))
    jm = min(nside - 1, int((1.0 - t) * scale))
    if dec > 0:
        return quarter, nside - jm - 1, nside - jp - 1
    return quarter + 8, jp, jm


def _spread(value: int) -> int:
    """Put a 0 between every two bits."""
    result = 0
    for bit in range(value.bit_length()):
        result |= ((value >> bit) & 1) << (2 * bit)
    return result


def _gathered(value: int) -> int:
    """Return every second bit."""
    result = 0
    for bit in range(0, value.bit_length(), 2):
        result |= ((value >> bit) & 1) << (bit // 2)
    return result
