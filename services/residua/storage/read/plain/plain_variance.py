"""The variance of a plain image's pixels: given or predicted, and compared with what they show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from residua.errors import UnusableImageError
from residua.storage.conventions.noise import NoiseCheck, check_noise, sampled
from residua.storage.conventions.plane_roles import Plane, Role
from residua.storage.read.plain.companions import companion_plane
from residua.storage.read.plain.count_noise import count_variance
from residua.storage.read.plain.sky_level import SkyModel

__all__ = ["GivenNoise", "checked_variance", "given_noise", "predicted_variance"]

_ROLES: tuple[Role, ...] = ("variance", "inverse variance", "sigma", "weight")
# What a plane may hold besides what its name says.
_ALTERNATIVES: Mapping[Role, tuple[Role, ...]] = {
    "variance": ("variance", "sigma", "inverse variance"),
    "inverse variance": ("inverse variance", "variance"),
    "sigma": ("sigma", "variance", "inverse variance"),
    "weight": ("inverse variance", "variance"),
    "mask": (),
}


@dataclass(frozen=True)
class GivenNoise:
    """A plane that came with the image.

    Parameters
    ----------
    plane
        float (ny, nx), as in its file.
    role
        What its name says it holds.
    source
        Where it comes from.
    certain
        Its role was stated (``UTYPE``), not told from its name.
    """

    plane: npt.NDArray[Any]
    role: Role
    source: str
    certain: bool


def given_noise(
    planes: Sequence[Plane], companions: Mapping[str, bytes], shape: tuple[int, int], image: Any
) -> GivenNoise | None:
    """Return the noise plane of an image, if one came with it; a file of its own comes first."""
    for role in _ROLES:
        if role in companions:
            plane, _ = companion_plane(companions[role], role, shape, image)
            return GivenNoise(plane, role, f"the {role} file", certain=False)
    for role in _ROLES:
        for candidate in planes:
            if candidate.role == role:
                plane = np.asarray(candidate.hdu.data).reshape(shape)
                certain = candidate.source.startswith("UTYPE")
                return GivenNoise(plane, role, candidate.source, certain)
    return None


def checked_variance(
    given: GivenNoise,
    flat: npt.NDArray[np.float32],
    free: npt.NDArray[np.bool_],
    factor: float,
    notes: list[str],
) -> tuple[npt.NDArray[np.float32], NoiseCheck]:
    """Return the variance a plane means, in the square of the image's unit, and its check.

    A plane known by its name alone is taken for what fits the noise of the pixels: variance,
    inverse variance or standard deviation. What fits by no reading is scaled to the noise.

    Parameters
    ----------
    given
        The plane.
    flat
        float32 (ny, nx), sky subtracted, or as good as gone.
    free
        bool (ny, nx), pixels of the sky and its sources.
    factor
        Unit of the image per unit of the file (the pixels have been scaled by it).
    notes
        Where it is said what was done.
    """
    readings = (given.role,) if given.certain else _ALTERNATIVES[given.role]
    if given.certain and given.role == "weight":
        readings = ("inverse variance",)
    pixels, strips, usable = sampled(flat), sampled(given.plane), sampled(free)
    first: NoiseCheck | None = None
    for role in readings:
        check = check_noise(pixels, _as_variance(strips, role, factor**2), usable)
        if check.believed:
            if role != readings[0]:
                notes.append(f"{given.source} holds the {role}, as the pixels' noise shows")
            return _as_variance(given.plane, role, factor**2), check
        first = first or check
    assert first is not None
    what = "relative" if given.role == "weight" else "not that of the pixels"
    notes.append(
        f"{given.source} is {what}: it predicts a noise of {first.predicted:.4g} where "
        f"{first.measured:.4g} is measured; scaled to the measured noise"
    )
    variance = _as_variance(given.plane, readings[0], factor**2 * first.ratio)
    return variance, check_noise(pixels, sampled(variance), usable)


def _as_variance(plane: npt.NDArray[Any], role: Role, scale: float) -> npt.NDArray[np.float32]:
    kind = {"variance": 0, "sigma": 1}.get(role, 2)
    native = np.ascontiguousarray(plane, plane.dtype.newbyteorder("="))
    variance = np.empty(plane.shape, np.float32)
    _to_variance(native, kind, scale, variance)
    return variance


@numba.njit(nogil=True, cache=True)
def _to_variance(
    plane: npt.NDArray[Any], kind: int, scale: float, out: npt.NDArray[np.float32]
) -> None:
    # Squared in double precision and scaled before it is rounded: fluxes in cgs units vanish.
    ny, nx = plane.shape
    for j in range(ny):
        for i in range(nx):
            value = float(plane[j, i])
            if not (value > 0.0 and np.isfinite(value)):
                out[j, i] = np.nan
                continue
            if kind == 1:
                value = value * value
            elif kind == 2:
                value = 1.0 / value
            out[j, i] = value * scale


def predicted_variance(
    data: npt.NDArray[np.float32],
    flat: npt.NDArray[np.float32],
    free: npt.NDArray[np.bool_],
    sky: SkyModel,
    header: Header,
    name: str,
    *,
    gain: float | None,
    read_noise: float,
    scale: float,
    notes: list[str],
) -> tuple[npt.NDArray[np.float32], str]:
    """Return variance and where it comes from, for an image that came without.

    Parameters
    ----------
    data, flat
        float32 (ny, nx), with and without sky.
    free
        bool (ny, nx), pixels of the sky and its sources.
    sky
        The sky.
    header
        Header, for a sky level.
    name
        What to call the file in errors.
    gain
        Electrons per count; `None` where no count belongs to these pixels.
    read_noise
        Electrons.
    scale
        Counts per unit of the pixels (the exposure time for rates).
    notes
        Where it is said what was done.

    Raises
    ------
    residua.errors.UnusableImageError
        There is no noise to be had.
    """
    if gain is not None:
        variance, said = count_variance(
            data, sky, header, gain, read_noise, scale=scale, check=_check(flat, free)
        )
        notes.extend(said)
        return variance, "gain and sky"
    if not (np.isfinite(sky.noise) and sky.noise > 0.0):
        raise UnusableImageError(
            f"{name} has no variance plane, no gain and no measurable noise: add one (--gain, "
            "--variance)"
        )
    notes.append("noise of the sky measured from the pixels; that of bright sources is not known")
    return np.full(data.shape, sky.noise**2, np.float32), "the pixels' own noise"


def _check(flat: npt.NDArray[np.float32], free: npt.NDArray[np.bool_]) -> Callable[[float], float]:
    pixels, usable = sampled(flat), sampled(free)

    def ratio(variance: float) -> float:
        plane = np.broadcast_to(np.float32(variance), pixels.shape)
        return check_noise(pixels, plane, usable).ratio

    return ratio
