"""Photometric calibration of what a file holds: the factor that makes it nJy, if there is one.

AB magnitudes: ``m = -2.5 log10(f / nJy) + 31.4``, which is ``-2.5 log10(f / (erg / s / cm^2 /
Hz)) - 48.60`` of Oke & Gunn (1983).
"""

import math
from dataclasses import dataclass

import astropy.units as u
from astropy.io.fits import Header

from residua.errors import UnknownUnitError

__all__ = ["Calibration", "calibrate", "native_unit", "zero_point_from_header"]

NJY_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""

PER_EXPOSURE = (
    "MAGZERO",
    "MAGZP",
    "PHOTZP",
    "ZEROPT",
    "ZEROPOIN",
    "IMAGEZPT",
    "ZPTMAG",
    "ABZP",
)
"""Cards that give the AB magnitude of one unit of the image as it stands."""

PER_SECOND = ("MAGZPT", "ZPT_OBS")
"""Cards that give the AB magnitude of one count per second."""

_ALIASES = {
    "": "adu",
    "adu": "adu",
    "adus": "adu",
    "dn": "adu",
    "count": "adu",
    "counts": "adu",
    "ct": "adu",
    "e-": "electron",
    "e": "electron",
    "electrons": "electron",
    "electron": "electron",
    "photons": "photon",
    "nmgy": "nmgy",
    "nanomaggy": "nmgy",
    "nanomaggies": "nmgy",
}

_INSTRUMENTAL = (u.adu, u.electron, u.photon, u.ct)


@dataclass(frozen=True)
class Calibration:
    """How pixel values become fluxes.

    Parameters
    ----------
    native_unit
        Unit of the file's pixels, in FITS notation where FITS has one.
    scaling
        nJy per native unit; `None` when nothing says so.
    """

    native_unit: str
    scaling: float | None

    @property
    def unit(self) -> str:
        """Unit of the pixels once scaled: nJy, or the native unit if there is no scaling."""
        return "nJy" if self.scaling is not None else self.native_unit

    @property
    def factor(self) -> float:
        """What pixels are multiplied by."""
        return 1.0 if self.scaling is None else self.scaling


def native_unit(bunit: str | None, name: str) -> u.UnitBase:
    """Return the unit a ``BUNIT`` card means; without a card, adu.

    Raises
    ------
    residua.errors.UnknownUnitError
        Not understood, or neither a flux density nor counts.
    """
    text = (bunit or "").strip()
    numerator, slash, denominator = text.partition("/")
    core = _ALIASES.get(numerator.strip().casefold(), numerator.strip())
    if core == "nmgy":
        # SDSS: a flux of 22.5 mag, 3.631 uJy.
        return u.def_unit("nmgy", 3631.0 * u.nJy) if not slash else _unknown(text, name)
    try:
        unit = u.Unit(f"{core}{slash}{denominator}")
    except (ValueError, TypeError) as e:
        raise _error(text, name) from e
    flux = unit.is_equivalent(u.nJy)
    counts = any(unit.is_equivalent(i) or unit.is_equivalent(i / u.s) for i in _INSTRUMENTAL)
    return unit if flux or counts else _unknown(text, name)


def _unknown(text: str, name: str) -> u.UnitBase:
    raise _error(text, name)


def _error(text: str, name: str) -> UnknownUnitError:
    return UnknownUnitError(
        f"{name} is in {text!r}, which is neither a flux density (nJy, Jy, ...) nor counts "
        "(adu, electron, their rates): correct BUNIT"
    )


def zero_point_from_header(
    header: Header, exposure_time: float | None, *, rate: bool
) -> float | None:
    """Return the AB magnitude of one unit of the image from its header, or `None`.

    Parameters
    ----------
    header
        Header of the image.
    exposure_time
        Seconds; needed where the card is per second and the pixels are not.
    rate
        Whether the pixels are counts per second already.
    """
    for key in PER_EXPOSURE:
        value = _number(header, key)
        if value is not None:
            return value
    for key in PER_SECOND:
        value = _number(header, key)
        if value is not None and (rate or (exposure_time is not None and exposure_time > 0.0)):
            # m = zp - 2.5 log10(counts / t), hence zp + 2.5 log10 t for the counts themselves.
            return value if rate else value + 2.5 * math.log10(exposure_time or 1.0)
    return None


def _number(header: Header, key: str) -> float | None:
    value = header.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 100.0:
        return float(value)
    return None


def calibrate(
    bunit: str | None,
    header: Header,
    name: str,
    *,
    exposure_time: float | None = None,
    photometric_scaling: float | None = None,
    zero_point: float | None = None,
) -> Calibration:
    """Find how a file's pixels become nJy.

    In order: a unit that is a flux density; a photometric scaling; a zero-point card
    (`PER_EXPOSURE`, then `PER_SECOND` with the exposure time); the operator's zero point.

    Parameters
    ----------
    bunit
        The ``BUNIT`` card.
    header
        Header with zero-point cards, if any.
    name
        What to call the file in errors.
    exposure_time
        Seconds.
    photometric_scaling
        nJy per pixel unit, from the file's calibration component.
    zero_point
        AB magnitude of one unit of the image, when the file does not say.

    Raises
    ------
    residua.errors.UnknownUnitError
        The unit is not understood.
    """
    unit = native_unit(bunit, name)
    label = _label(unit)
    if unit.is_equivalent(u.nJy):
        return Calibration(label, float(unit.to(u.nJy)))
    if photometric_scaling is not None:
        return Calibration(label, photometric_scaling)
    rate = not any(unit.is_equivalent(i) for i in _INSTRUMENTAL)
    magnitude = zero_point_from_header(header, exposure_time, rate=rate)
    if magnitude is None:
        magnitude = zero_point
    if magnitude is None:
        return Calibration(label, None)
    return Calibration(label, 10.0 ** (0.4 * (NJY_ZERO_POINT - magnitude)))


def _label(unit: u.UnitBase) -> str:
    try:
        return str(unit.to_string(format="fits"))
    except ValueError:
        return str(unit.to_string())
