"""AB and Vega: which system a zero point is in, and what lies between the two.

Vega magnitudes become AB by the survey's own offsets, else by those of Blanton & Roweis (2007,
AJ 133, 734), good to some hundredths of a magnitude.
"""

import re
from collections.abc import Mapping

from astropy.io.fits import Header

from residua.instruments import Instrument
from residua.storage.conventions.values import text

__all__ = ["shift_to_ab", "system_assumed"]

_VEGA_TO_AB = {
    "wise": {"W1": 2.699, "W2": 3.339, "W3": 5.174, "W4": 6.620},
    "2mass": {"J": 0.91, "H": 1.39, "K": 1.85, "Ks": 1.85},
    "vista": {"Z": 0.502, "Y": 0.600, "J": 0.916, "H": 1.366, "Ks": 1.827},
    "wfcam": {"Z": 0.528, "Y": 0.634, "J": 0.938, "H": 1.379, "K": 1.900},
    # Blanton & Roweis (2007).
    "": {
        "U": 0.79,
        "B": -0.09,
        "V": 0.02,
        "R": 0.21,
        "I": 0.45,
        "J": 0.91,
        "H": 1.39,
        "K": 1.85,
        "Ks": 1.85,
        "u": 0.91,
        "g": -0.08,
        "r": 0.16,
        "i": 0.37,
        "z": 0.54,
    },
}
_INFRARED = re.compile(
    r"[jhk]\d?|w[1-4]|ks|k[ _-]?short|k[ _-]?prime|k[ _]s|kp|ch[1-4]|[jhk]s?[ _-]?cont",
    re.IGNORECASE,
)
_NO_SYSTEM_SAID = 0.15
"""Magnitudes between AB and Vega from which on it is said that AB was assumed."""
_BANDS_OF_VEGA = frozenset("UBVRI")


def shift_to_ab(
    system: str, offsets: str, header: Header, instrument: Instrument | None, band: str | None
) -> float | None:
    """Return AB minus a zero point's own magnitudes; `None` where that cannot be told.

    Parameters
    ----------
    system
        ``AB`` or ``Vega``, what the card usually means; a card of the header is believed first.
    offsets
        Whose the card is: ``wise``, ``2mass``, ``vista``, ``wfcam``, ``own`` for the
        instrument's description, empty for anybody's.
    header
        Cards of the file.
    instrument
        Its description.
    band
        Its band.
    """
    stated = _stated_system(header)
    system = "Vega" if "VEGA" in stated else "AB" if "AB" in stated else system
    if system == "Vega":
        if instrument is not None and offsets == "own":
            glass = instrument.find_filter(None, band)
            if glass is not None and glass.vega_to_ab is not None:
                return glass.vega_to_ab
        return _offset(_VEGA_TO_AB.get(offsets, _VEGA_TO_AB[""]), band or "")
    said = bool(stated) or offsets == "own"
    # In the infrared most zero points are Vega's; without a word on it, neither is assumed.
    return None if not said and _INFRARED.fullmatch(band or "") else 0.0


def system_assumed(card: str, offsets: str, header: Header, band: str | None) -> tuple[str, ...]:
    """Return a note where AB was assumed and Vega is as likely; parameters as `shift_to_ab`."""
    # Johnson's and Cousins' bands are Vega's in most catalogues, though not in all.
    if _stated_system(header) or offsets == "own" or band not in _BANDS_OF_VEGA:
        return ()
    shift = _VEGA_TO_AB[""][band]
    if abs(shift) < _NO_SYSTEM_SAID:
        return ()
    said = (
        f"no card says the magnitude system of {card}: taken as AB; as Vega of band {band} "
        f"fluxes would be {10.0 ** (-0.4 * shift):.2f} times these (PHOTSYS, --zero-point)"
    )
    return (said,)


def _offset(offsets: Mapping[str, float], band: str) -> float | None:
    # 2MASS writes its bands in lower case, and K-short in many ways.
    if band not in offsets and _INFRARED.fullmatch(band):
        plain = band[0].upper() if band[0].lower() in "jhk" else band.upper()
        return offsets.get("Ks" if plain == "K" and "Ks" in offsets else plain)
    return offsets.get(band)


def _stated_system(header: Header) -> str:
    return (text(header, "PHOTSYS", "MAGSYS", "ZPSYS", "MAGTYPE") or "").upper()
