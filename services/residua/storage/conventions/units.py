"""Units of pixels, in the spellings of observatories, and what makes them nJy."""

import re
from dataclasses import dataclass

import astropy.units as u

from residua.errors import UnknownUnitError

__all__ = ["PixelUnit", "pixel_unit"]

_COUNTS = {
    **dict.fromkeys(("adu", "adus", "dn", "dns", "count", "counts", "ct", "cts"), "adu"),
    **dict.fromkeys(("data number", "data numbers", "analog-to-digital units"), "adu"),
    **dict.fromkeys(("e-", "e", "electron", "electrons", "el", "elec"), "electron"),
    **dict.fromkeys(("photon", "photons", "ph"), "photon"),
}
_FLUXES = {
    **dict.fromkeys(("njy", "nanojy", "nanojansky"), 1.0),
    **dict.fromkeys(("ujy", "mujy", "\u00b5jy", "\u03bcjy", "microjy", "microjansky"), 1e3),
    **dict.fromkeys(("millijy", "millijansky"), 1e6),
    **dict.fromkeys(("megajy", "megajansky"), 1e15),
    **dict.fromkeys(("jy", "jansky", "janskys"), 1e9),
    # SDSS: 1 nanomaggy is a flux of 22.5 mag, 3.631 uJy.
    **dict.fromkeys(("nanomaggy", "nanomaggies", "nmgy", "nanomaggie"), 3631.0),
    **dict.fromkeys(("maggy", "maggies", "mgy"), 3631.0e9),
}
_SECOND = r"(?:seconds|second|secs|sec|s)"
_PER_SECOND = re.compile(
    rf"\s*(?:/\s*|\s+per\s+){_SECOND}\b\.?|[\s.*]\s*{_SECOND}(?:\^|\*\*)?\s*-\s*1",
    re.IGNORECASE,
)
_PER_PIXEL = re.compile(r"\s*(?:/\s*|\s+per\s+)(?:pix|pixel|px)\b", re.IGNORECASE)
_LIGHT = 2.99792458e18  # Angstrom / s


@dataclass(frozen=True)
class PixelUnit:
    """The unit of the pixels.

    Parameters
    ----------
    label
        In FITS notation where FITS has one.
    to_njy
        nJy per unit; `None` for counts, whose flux a zero point tells.
    rate
        Counts per second.
    electrons
        Counts of electrons or photons: their gain is one.
    note
        What was assumed; empty if nothing.
    """

    label: str
    to_njy: float | None = None
    rate: bool = False
    electrons: bool = False
    note: str = ""


def pixel_unit(
    bunit: str | None,
    name: str,
    *,
    pixel_area: float | None = None,
    pivot_wavelength: float | None = None,
) -> PixelUnit:
    """Return what a ``BUNIT`` card means; without a card, adu.

    Parameters
    ----------
    bunit
        The card.
    name
        What to call the file in errors.
    pixel_area
        Solid angle of a pixel, sr, for surface brightnesses.
    pivot_wavelength
        Angstrom, for flux densities per wavelength (``PHOTPLAM``).

    Raises
    ------
    residua.errors.UnknownUnitError
        Not understood, or neither a flux density nor counts.
    """
    text = " ".join((bunit or "").split())
    if not text:
        return PixelUnit("adu", note="no BUNIT card: pixels taken as adu")
    plain = _PER_PIXEL.sub("", text)
    core = _PER_SECOND.sub("", plain)
    rate = core != plain
    word = core.strip(" ()[]").casefold()
    if word in _COUNTS:
        label = _COUNTS[word]
        return PixelUnit(f"{label} s-1" if rate else label, rate=rate, electrons=label != "adu")
    if plain.strip() in {"mJy", "MJy"}:
        return _flux(1e6 if plain.strip() == "mJy" else 1e15)
    if plain.strip().casefold() == "mjy":
        raise UnknownUnitError(
            f"{name} is in {text!r}, which may mean millijansky (mJy) or megajansky (MJy): "
            "correct BUNIT"
        )
    if plain.casefold() in _FLUXES:
        return _flux(_FLUXES[plain.casefold()])
    return _parsed(plain, text, name, pixel_area, pivot_wavelength)


def _flux(factor: float) -> PixelUnit:
    known = {1.0: "nJy", 1e3: "uJy", 1e6: "mJy", 1e9: "Jy", 1e15: "MJy"}
    # A maggy is no unit of FITS: written as what it is.
    return PixelUnit(known.get(factor, f"{factor:g} nJy"), factor)


def _parsed(
    plain: str,
    text: str,
    name: str,
    pixel_area: float | None,
    pivot_wavelength: float | None,
) -> PixelUnit:
    spelled = re.sub(r"\bang(?:strom)?s?\b|\u00c5", "Angstrom", plain, flags=re.IGNORECASE)
    spelled = re.sub(r"\bErgs?\b", "erg", spelled, flags=re.IGNORECASE)
    # Surface brightness has no milli: no telescope's sky is that dark.
    spelled = re.sub(r"^MJY(?=\s*/\s*SR|\s+SR)", "MJy", spelled)
    spelled = re.sub(r"\bSR\b", "sr", spelled)
    for candidate in dict.fromkeys((spelled, spelled.replace("/A", "/Angstrom"), spelled.lower())):
        try:
            unit = u.Unit(candidate)
        except (ValueError, TypeError):
            continue
        found = _converted(unit, text, name, pixel_area, pivot_wavelength)
        if found is not None:
            return found
    raise UnknownUnitError(
        f"{name} is in {text!r}, which is neither a flux density (nJy, Jy, ...) nor counts "
        "(adu, electron, their rates): correct BUNIT"
    )


def _converted(
    unit: u.UnitBase,
    text: str,
    name: str,
    pixel_area: float | None,
    pivot_wavelength: float | None,
) -> PixelUnit | None:
    label = _label(unit)
    if unit.is_equivalent(u.nJy):
        return PixelUnit(label, float(unit.to(u.nJy)))
    if unit.is_equivalent(u.nJy / u.sr):
        if pixel_area is None:
            raise UnknownUnitError(f"{name} is in {text!r} and no card tells a pixel's solid angle")
        note = f"{text} times the {pixel_area:.4g} sr of a pixel"
        return PixelUnit("nJy", float(unit.to(u.nJy / u.sr)) * pixel_area, note=note)
    per_wavelength = u.erg / u.s / u.cm**2 / u.Angstrom
    if unit.is_equivalent(per_wavelength):
        if pivot_wavelength is None:
            raise UnknownUnitError(
                f"{name} is in {text!r}, a flux per wavelength: add the pivot wavelength, PHOTPLAM"
            )
        cgs = float(unit.to(per_wavelength)) * pivot_wavelength**2 / _LIGHT
        note = f"{text} at the pivot wavelength of {pivot_wavelength:g} Angstrom"
        return PixelUnit("nJy", cgs * 1e32, note=note)
    for counts in (u.adu, u.electron, u.photon, u.ct):
        for per in (u.dimensionless_unscaled, u.s):
            if unit.is_equivalent(counts / per):
                _refuse_other_scale(unit, counts / per, text, name)
                electrons = counts in (u.electron, u.photon)
                return PixelUnit(label, rate=per == u.s, electrons=electrons)
    return None


def _refuse_other_scale(unit: u.UnitBase, plain: u.UnitBase, text: str, name: str) -> None:
    # Zero points, gains and exposure times belong to counts and counts a second.
    scale = float(unit.to(plain))
    if abs(scale - 1.0) > 1e-9:
        raise UnknownUnitError(
            f"{name} is in {text!r}, {scale:g} times {plain}: multiply the pixels by {scale:g} and "
            f"write {plain} into BUNIT",
            scale=scale,
        )


def _label(unit: u.UnitBase) -> str:
    try:
        return str(unit.to_string(format="fits"))
    except ValueError:
        return str(unit.to_string())
