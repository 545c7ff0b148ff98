"""Zero points: what each card means, whose it is, and how counts become nJy.

AB magnitudes: ``m = -2.5 log10(f / nJy) + 31.4``, which is ``-2.5 log10(f / (erg / s / cm^2 /
Hz)) - 48.60`` of Oke & Gunn (1983).
"""

import math
import re
from dataclasses import dataclass

from astropy.io.fits import Header

from residua.instruments import Instrument
from residua.storage.conventions.magnitude_systems import shift_to_ab, system_assumed
from residua.storage.conventions.units import PixelUnit, pixel_unit
from residua.storage.conventions.values import (
    contradictions,
    first_number,
    number,
    text_cards,
    unreadable,
)

__all__ = ["NJY_ZERO_POINT", "Calibration", "calibrate"]

NJY_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""


@dataclass(frozen=True)
class _Card:
    # `per`: the magnitude of one unit of the image ("exposure"), or of one a second ("second").
    # `whose`: pattern of the cards that name telescope, instrument and origin.
    name: str
    per: str = "exposure"
    system: str = "AB"
    whose: str = ""
    offsets: str = ""


# Asked in this order; what belongs to somebody comes first.
_CARDS = (
    _Card("MAGZP", system="Vega", whose="WISE", offsets="wise"),
    _Card("MAGZP", system="Vega", whose="2MASS", offsets="2mass"),
    _Card("MAGZPT", "second", "Vega", "VIRCAM|VISTA", "vista"),
    _Card("MAGZPT", "second", "Vega", "WFCAM|UKIRT", "wfcam"),
    # CASU calibrates these in Vega magnitudes as well (its page on the photometric calibration of
    # the VST; that of IGAPS on its headers, which advises to take PHOTZP).
    _Card("PHOTZP", system="Vega", whose=r"\bINT WFC\b"),
    _Card("MAGZPT", "second", "Vega", r"OMEGACAM|ESO-VST|\bINT WFC\b"),
    _Card("MAGZERO"),
    _Card("MAGZP"),
    _Card("PHOTZP"),
    _Card("ZEROPT"),
    _Card("ZEROPOIN"),
    _Card("IMAGEZPT"),
    _Card("ZPTMAG"),
    _Card("ABZP"),
    _Card("MAGZEROP"),
    _Card("ZPAPPROX"),
    _Card("MAGZPT", "second"),
    _Card("ZPT_OBS", "second"),
    _Card("FPA.ZP", "second"),
    _Card("L1ZP", "second"),
    _Card("PC-ZP", "second"),
)

# As comments have it: "zero point for 1 ADU/s".
_PER_SECOND = re.compile(
    r"(adu|dn|counts?|electrons?|e-?|cts?)\s*(/|per )\s*s(ec(ond)?)?\b", re.IGNORECASE
)
_LOOKS_LIKE = re.compile(
    r"(MAG|PHOT|FLUX).{0,4}Z|.*ZP|ZERO?[_-]?P|.*\.ZP|PHOTFLAM|FLUXMAG0|PHOT_C\d?$|Z(ERO)?MAG|MAG_?0|MZERO"
    r"|ZPOINT|ZEROMAG|ABMAG"
)
_SAME_AREA = 0.2
_LEAST, _MOST = 5.0, 45.0
"""Between these lie the zero points of all telescopes, per second or per exposure."""


@dataclass(frozen=True)
class Calibration:
    """How pixel values become fluxes.

    Parameters
    ----------
    unit_found
        Unit of the file's pixels.
    scaling
        nJy per native unit; `None` when nothing says so.
    source
        Where the scaling comes from: ``MAGZERO = 27.5 (AB, per exposure)``.
    zero_point
        AB magnitude of one unit of the image, where the scaling is one.
    notes
        What was assumed, and calibration cards that were not used.
    """

    unit_found: PixelUnit
    scaling: float | None
    source: str = ""
    zero_point: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def native_unit(self) -> str:
        """Unit of the file's pixels, in FITS notation where FITS has one."""
        return self.unit_found.label

    @property
    def unit(self) -> str:
        """Unit of the pixels once scaled: nJy, or the native unit if there is no scaling."""
        return "nJy" if self.scaling is not None else self.native_unit

    @property
    def factor(self) -> float:
        """What pixels are multiplied by."""
        return 1.0 if self.scaling is None else self.scaling


def calibrate(
    bunit: str | None,
    header: Header,
    name: str,
    *,
    instrument: Instrument | None = None,
    band: str | None = None,
    exposure_time: float | None = None,
    photometric_scaling: float | None = None,
    zero_point: float | None = None,
    pixel_area: float | None = None,
) -> Calibration:
    """Find how a file's pixels become nJy.

    In order: a unit that is a flux density; a photometric scaling; a zero-point card; the
    operator's zero point.

    Parameters
    ----------
    bunit
        The ``BUNIT`` card.
    header
        Header with zero-point cards, if any.
    name
        What to call the file in errors.
    instrument
        Its description.
    band
        Band, for zero points in Vega magnitudes.
    exposure_time
        Seconds.
    photometric_scaling
        nJy per pixel unit, from the file's calibration component.
    zero_point
        AB magnitude of one unit of the image, when the file does not say.
    pixel_area
        Solid angle of a pixel, sr.

    Raises
    ------
    residua.errors.UnknownUnitError
        The unit is not understood.
    """
    area = number(header, "PIXAR_SR")
    unit = pixel_unit(
        bunit,
        name,
        pixel_area=area if area is not None and area > 0.0 else pixel_area,
        pivot_wavelength=number(header, "PHOTPLAM"),
    )
    notes = [unit.note] if unit.note else []
    if area and pixel_area and unit.note.endswith("of a pixel"):
        notes.extend(_other_area(area, pixel_area))
    if unit.to_njy is not None:
        return Calibration(unit, unit.to_njy, f"BUNIT = {bunit}", notes=tuple(notes))
    if photometric_scaling is not None:
        return Calibration(unit, photometric_scaling, "the file's photometric scaling")
    found = _from_cards(header, unit, instrument, band, exposure_time, notes)
    source, magnitude = found if found is not None else ("", None)
    if magnitude is None and zero_point is not None:
        source, magnitude = f"zero point {zero_point:g} given by hand", zero_point
    _name_the_unused(header, source, notes)
    if magnitude is None:
        return Calibration(unit, None, notes=tuple(notes))
    scaling = 10.0 ** (0.4 * (NJY_ZERO_POINT - magnitude))
    return Calibration(unit, scaling, source, magnitude, tuple(notes))


def _other_area(stated: float, measured: float) -> tuple[str, ...]:
    if abs(stated / measured - 1.0) < _SAME_AREA:
        return ()
    return (f"PIXAR_SR = {stated:.4g} is taken; by the WCS a pixel has {measured:.4g} sr",)


def _from_cards(
    header: Header,
    unit: PixelUnit,
    instrument: Instrument | None,
    band: str | None,
    exposure_time: float | None,
    notes: list[str],
) -> tuple[str, float] | None:
    own = () if instrument is None else instrument.zero_points
    cards = (*(_Card(z.card, z.per, z.system, offsets="own") for z in own), *_CARDS)
    whose = _whose(header)
    notes.extend(unreadable(header, [card.name for card in cards]))
    notes.extend(contradictions(header, [card.name for card in cards]))
    for card in cards:
        value = number(header, card.name)
        if value is None or not re.search(card.whose, whose, re.IGNORECASE):
            continue
        if not _LEAST < value < _MOST:
            notes.append(f"{card.name} = {value:g} is no zero point: not used")
            continue
        shift = shift_to_ab(card.system, card.offsets, header, instrument, band)
        if shift is None:
            notes.append(
                f"{card.name} = {value:g} may be a Vega magnitude of band {band}: not used; give "
                "the AB zero point (--zero-point)"
            )
            return None
        span = "second" if _PER_SECOND.search(header.comments[card.name]) else card.per
        per = _per_unit(span, unit, exposure_time)
        if per is None:
            notes.append(f"{card.name} = {value:g} is per second and the exposure time is unknown")
            continue
        if shift == 0.0:
            notes.extend(system_assumed(card.name, card.offsets, header, band))
        system = "AB" if shift == 0.0 else f"Vega, {shift:+.3f} to AB"
        lost = _extinction(card, header)
        air = "" if lost == 0.0 else f", {lost:.3f} mag lost in the air"
        source = f"{card.name} = {value:g} ({system}, per {span}{air})"
        return source, value + shift + per - lost
    return _from_fluxes(header, unit, exposure_time)


def _extinction(card: _Card, header: Header) -> float:
    if card.name == "MAGZPT" and card.whose:
        # CASU's zero points hold at the zenith.
        ends = [number(header, f"ESO TEL AIRM {end}") or 0.0 for end in ("START", "END")]
        airmass = 0.5 * sum(ends) if all(ends) else number(header, "AIRMASS")
        return _lost(number(header, "EXTINCT"), airmass, above=1.0)
    if card.name == "PC-ZP":
        # BlackBOX's hold above the atmosphere; combined frames are scaled to the zenith.
        combined = {"R-V", "R-COMB-M"} & set(header)
        airmass = 1.0 if combined else number(header, "AIRMASSC", "AIRMASS")
        return _lost(number(header, "PC-EXTCO"), airmass, above=0.0)
    return 0.0


def _lost(coefficient: float | None, airmass: float | None, above: float) -> float:
    if coefficient is None or airmass is None:
        return 0.0
    usual = 0.0 <= coefficient < 2.0 and 1.0 <= airmass < 10.0
    return coefficient * (airmass - above) if usual else 0.0


def _per_unit(per: str, unit: PixelUnit, exposure_time: float | None) -> float | None:
    if per == "exposure" or unit.rate:
        # A card "per exposure" speaks of the image's own unit, whatever that is.
        return 0.0
    if exposure_time is None or exposure_time <= 0.0:
        return None
    # m = zp - 2.5 log10(counts / t), hence zp + 2.5 log10 t for the counts themselves.
    return 2.5 * math.log10(exposure_time)


def _from_fluxes(
    header: Header, unit: PixelUnit, exposure_time: float | None
) -> tuple[str, float] | None:
    counts = number(header, "FLUXMAG0")
    if counts is not None and counts > 0.0:
        return f"FLUXMAG0 = {counts:g}", 2.5 * math.log10(counts)
    flam, pivot = number(header, "PHOTFLAM"), number(header, "PHOTPLAM")
    if flam is not None and pivot is not None and 0.0 < flam < 1e-10 and pivot > 100.0:
        # HST: erg / s / cm^2 / Angstrom of one count a second.
        magnitude = -2.5 * math.log10(flam) - 21.10 - 5.0 * math.log10(pivot) + 18.6921
        per = _per_unit("second", unit, exposure_time)
        if per is not None:
            return f"PHOTFLAM = {flam:g}, PHOTPLAM = {pivot:g} (per second)", magnitude + per
    return None


def _whose(header: Header) -> str:
    cards = text_cards(header)
    return " ".join(cards.get(k, "") for k in ("TELESCOP", "INSTRUME", "ORIGIN", "SURVEY"))


def _name_the_unused(header: Header, source: str, notes: list[str]) -> None:
    used = {word.strip(",") for word in source.split()}
    said = " ".join(notes)
    for key in header:
        if key in used or key in said or not _LOOKS_LIKE.match(key):
            continue
        found = first_number(header, (key,))
        if found is None:
            continue
        likely = _LEAST < found[0] < _MOST or (key in {"PHOTFLAM", "FLUXMAG0"} and found[0] > 0.0)
        if likely:
            notes.append(f"{key} = {found[0]:g} looks like a calibration and is not used")
