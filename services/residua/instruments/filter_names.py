"""Names of filters: the band a name means, and whether two names mean the same glass.

A filter's name is taken whole, except where a system is known by its form: ``SDSS r``,
``ZTF_g``, ``r.00000`` (Pan-STARRS), ``HSC-R``, ``r_03`` (Rubin), ``i DECam SDSS c0003 ...``.
The name of a survey, of a maker or the number of a wheel's slot alone is no band.
"""

import hashlib
import re
from dataclasses import dataclass

__all__ = ["FilterName", "band_of_name", "filter_name", "is_of_one_camera", "same_filter"]

_LOWER = {
    "sdss": "sdss",
    "sloan": "sdss",
    "ps1": "ps1",
    "panstarrs": "ps1",
    "pan-starrs": "ps1",
    "panstarrs1": "ps1",
    "pan-starrs1": "ps1",
    "ztf": "ztf",
    "decam": "decam",
    "des": "decam",
    "hsc": "hsc",
    "skymapper": "skymapper",
    "sm": "skymapper",
    "lsst": "lsst",
    "rubin": "lsst",
    "atlas": "atlas",
    "kmtnet": "kmtnet",
    "gaia": "gaia",
}
_UPPER = {
    "johnson": "johnson",
    "cousins": "bessell",
    "johnson-cousins": "bessell",
    "kron-cousins": "bessell",
    "bessell": "bessell",
    "bessel": "bessell",
    "harris": "harris",
}
# Whose filters come in several systems: the name is kept as the system.
_MAKERS = ("astrodon", "baader", "chroma", "optolong", "omega", "eso", "2mass", "mko", "ukidss")
_SYSTEMS = {**_LOWER, **_UPPER, **{m: m for m in _MAKERS}, "vista": "vista", "ukirt": "mko"}
_TOKEN = "|".join(sorted(map(re.escape, _SYSTEMS), key=len, reverse=True))
_LETTER = r"Ks|[A-Za-z]"
_PRIME = r"(?:'|p|_?prime)?"
_BEFORE = re.compile(
    rf"(?P<system>{_TOKEN})[\s_.:-]*\(?(?P<letter>{_LETTER}){_PRIME}2?\)?", re.IGNORECASE
)
_AFTER = re.compile(
    rf"(?P<letter>{_LETTER}){_PRIME}[\s_.:-]+\(?(?P<system>{_TOKEN})\)?", re.IGNORECASE
)
# Forms that one set of filters has; without a system, the second group names it.
_FORMS = (
    (re.compile(r"([ugrizy])_\d\d"), "lsst"),
    (re.compile(r"([ugrizy])_(sim)"), None),
    (re.compile(r"([A-Za-z]{1,2}|N\d+) DECam\b.*"), "decam"),
    (re.compile(r"([grizyw])\.0{5}"), "ps1"),
    (re.compile(r"([ugriz])[._](MP\d{4})"), None),
    (re.compile(r"([ugriz])_G\d{4}"), "gmos"),
    (re.compile(r"OCAM_([ugriz])_SDSS"), "sdss"),
    (re.compile(r"([ugriz])(?:'|_?prime)"), "sdss"),
)
_CAMERAS = frozenset({"lsst", "hsc", "ztf", "decam"})
_SLOT = re.compile(r"^(?:#\s*\d{1,2}|\d{1,2}\s*[:#)]|\d{1,2}(?=\s*\())[\s:#)]*")
_BAND_LENGTH = 10


@dataclass(frozen=True)
class FilterName:
    """What a filter's name means.

    Parameters
    ----------
    band
        Its band.
    system
        The photometric system or set it belongs to; `None` if the name tells none.
    """

    band: str
    system: str | None = None


def filter_name(text: str) -> FilterName | None:
    """Return band and system of a filter's name; `None` if there is no band in it.

    A name of no known form is its own band, cleaned of what band names cannot hold.
    """
    name = _without_slot(text)
    if not name or name.casefold() in _SYSTEMS:
        return None
    for form, system in _FORMS:
        if match := form.fullmatch(name):
            return FilterName(match[1], system or match[2])
    if match := _BEFORE.fullmatch(name) or _AFTER.fullmatch(name):
        return _in_system(match["letter"], _SYSTEMS[match["system"].casefold()])
    return FilterName(band_of_name(name))


def _without_slot(text: str) -> str:
    name = " ".join(text.split())
    without = _SLOT.sub("", name)
    name = without or name
    return name[1:-1].strip() if re.fullmatch(r"\([^()]*\)", name) else name


def _in_system(letter: str, system: str) -> FilterName:
    if system in set(_LOWER.values()) and letter.upper() in set("UGRIZYW"):
        letter = "Y" if system == "decam" and letter.upper() == "Y" else letter.lower()
    elif system in set(_UPPER.values()):
        letter = letter.upper()
        # Johnson's B and V are everybody's; his R and I are others than Cousins'.
        system = "bessell" if system == "johnson" and letter in "UBV" else system
    return FilterName(letter, system)


def is_of_one_camera(text: str) -> bool:
    """Whether a filter's name is of a set that one camera has (``r_57``, ``HSC-R``)."""
    found = filter_name(text)
    return found is not None and found.system in _CAMERAS


def band_of_name(name: str) -> str:
    """Return a name as a band: at most ten letters, digits, ``_``, ``+`` and ``-``.

    Longer names end in a digest, so that different names stay different bands.
    """
    cleaned = re.sub(r"[^A-Za-z0-9_+-]+", "_", name).strip("_")
    if len(cleaned) <= _BAND_LENGTH and cleaned:
        return cleaned
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()[:4]
    return f"{cleaned[:5]}_{digest}"


def same_filter(one: str | None, other: str | None, band: str) -> bool:
    """Whether two images of a band may be subtracted, by the names of their filters.

    Where a name by itself means another band than the one the image is said to be in,
    somebody has mapped it (``--band``, an instrument's description), and that is believed. A
    name without a system (``r``) goes with every system.

    Parameters
    ----------
    one, other
        Physical filters; `None` where none is known.
    band
        The band both images are said to be in.
    """
    if one is None or other is None or one.casefold() == other.casefold():
        return True
    a, b = filter_name(one), filter_name(other)
    if a is None or b is None or a.band != band or b.band != band:
        return True
    return a.system is None or b.system is None or a.system == b.system
