"""One strict check of a header's WCS: what it lacks is said, and nothing is made up.

Frames: ICRS, and FK5 of any equinox, which is precessed to J2000 (FITS Standard 4.0, section
8.3). FK5 J2000 and ICRS differ by less than 25 mas and are not told apart.
"""

import math
import re
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning

from residua.errors import NoWcsError
from residua.storage.conventions.values import as_number, contradictions, number, text

__all__ = ["celestial_wcs"]

_SCALES = (1e-3, 1e3)
"""arcsec per pixel that a telescope's image may have."""
_MOST_SKEW = 20.0
_AGREEMENT = 1e-3 / 3600.0
_UNSUPPORTED = {
    "TNX": "IRAF's TNX distortion",
    "ZPX": "IRAF's ZPX distortion",
    "DSS": "the plate solution of the Digitized Sky Survey",
    "PLP": "a plate polynomial",
}
_TIME_CARDS = ("DATE", "MJD", "TIME", "OBSGEO", "TELAPSE", "TREF")
_SIP = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d_\d)")


def celestial_wcs(
    header: fits.Header, name: str, hdus: fits.HDUList | None = None
) -> tuple[WCS, tuple[str, ...]]:
    """Return the celestial WCS of a header, in ICRS or FK5 J2000, and what was done to it.

    Parameters
    ----------
    header
        Header of the image plane, with ``NAXIS1`` and ``NAXIS2``.
    name
        What to call the file in errors.
    hdus
        Its file, for distortions that are kept in tables.

    Returns
    -------
    wcs, notes
        Two celestial axes, right ascension first.

    Raises
    ------
    residua.errors.NoWcsError
        Cards are missing, are no numbers, contradict each other or speak of another frame.
    """
    notes: list[str] = []
    cards = _checked_cards(header, name, notes)
    equinox = _equinox(header, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(cards, fobj=hdus, naxis=2)
            wcs.wcs.set()
        except MemoryError:
            raise
        except Exception as e:
            raise NoWcsError(
                f"{name} has a WCS that cannot be used ({_summary(header)}): check CTYPE, CRVAL, "
                "CD and PV cards, or plate-solve the image again"
            ) from e
    if not (wcs.has_celestial and wcs.naxis == 2):
        raise _nothing(name)
    _check_scale(wcs, header, name)
    if equinox is not None:
        wcs = _precessed(wcs, equinox, header, name)
        notes.append(f"positions precessed from equinox {equinox:g} to J2000")
    return wcs, tuple(notes)


def _nothing(name: str) -> NoWcsError:
    return NoWcsError(
        f"{name} has no celestial WCS: add CTYPE1/2 (RA---TAN or alike), CRVAL, CRPIX and CD "
        "cards, for example by plate-solving it"
    )


def _summary(header: fits.Header) -> str:
    keys = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2")
    return ", ".join(f"{k} = {header.get(k)!r}" for k in keys)


def _checked_cards(header: fits.Header, name: str, notes: list[str]) -> fits.Header:
    types = [text(header, k) or "" for k in ("CTYPE1", "CTYPE2")]
    if not all(types):
        raise _nothing(name)
    if not types[0].upper().startswith("RA--") or not types[1].upper().startswith("DEC-"):
        raise NoWcsError(
            f"{name} has a WCS in {types[0]}, {types[1]}; needed is right ascension and "
            "declination in ICRS or FK5, right ascension first"
        )
    form = types[0][5:8].upper()
    if form in _UNSUPPORTED:
        raise NoWcsError(
            f"{name} has a WCS with {_UNSUPPORTED[form]} ({types[0]}), which is not supported: "
            "rewrite it as TPV or TAN-SIP, or plate-solve the image again"
        )
    # Times do not belong to the projection, and wcslib complains about many of them.
    found = fits.Header([c for c in header.cards if not c.keyword.startswith(_TIME_CARDS)])
    needed = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
    matrix = [f"{m}{i}_{j}" for m in ("CD", "PC") for i in (1, 2) for j in (1, 2)]
    others = (*matrix, "CDELT1", "CDELT2", "CROTA1", "CROTA2", "LONPOLE", "LATPOLE")
    twice = contradictions(header, ("CTYPE1", "CTYPE2", *needed, *others))
    if twice:
        # Which of them the image was solved with nobody can tell.
        what = twice[0].removesuffix(": the first is taken")
        raise NoWcsError(f"{name} has two WCSs in one header: {what}; remove the old one")
    for key in needed:
        _make_number(found, key, name, notes, needed=True)
    for key in others:
        _make_number(found, key, name, notes)
    has_matrix = any(k in found for k in matrix[:4])
    has_scale = any(k in found for k in matrix[4:]) or ("CDELT1" in found and "CDELT2" in found)
    if not has_matrix and not has_scale:
        raise NoWcsError(
            f"{name} has a WCS without a scale: add CD1_1 ... CD2_2, or CDELT1 and CDELT2"
        )
    turned = number(found, "CROTA1")
    if turned and not has_matrix and not any(k in found for k in (*matrix[4:], "CROTA2")):
        raise NoWcsError(
            f"{name} has CROTA1 = {turned:g} and no CROTA2, where FITS keeps the rotation: rename "
            "it, or plate-solve the image again"
        )
    if has_matrix:
        rows = [[float(found.get(f"CD{i}_{j}", 0.0)) for j in (1, 2)] for i in (1, 2)]
        _refuse_singular(np.array(rows), name)
    if not -90.0 <= float(found["CRVAL2"]) <= 90.0:
        raise NoWcsError(f"{name} has a WCS at declination CRVAL2 = {found['CRVAL2']}")
    if "A_ORDER" in found and not types[0].upper().endswith("-SIP"):
        for key in [k for k in found if _SIP.fullmatch(k)]:
            del found[key]
        notes.append(
            f"SIP coefficients are there, but CTYPE1 is {types[0]}: taken as left over from "
            "before the image was rectified, and not applied"
        )
    if "TR1_0" in found and "TR2_0" in found:
        notes.append("the plate polynomial of PinPoint (TR1_0 ...) is not applied")
    for key in ("RADESYS", "RADECSYS", "EQUINOX", "EPOCH"):
        # Told by `_equinox`; wcslib would read some of it differently.
        if key in found:
            del found[key]
    return found


def _make_number(
    header: fits.Header, key: str, name: str, notes: list[str], *, needed: bool = False
) -> None:
    if key not in header:
        if needed:
            raise NoWcsError(f"{name} has a WCS without {key}: add it, or plate-solve the image")
        return
    value = header[key]
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and (found := as_number(value)) is not None:
        header[key] = found
        good = True
        notes.append(f"{key} is the text {value!r}, read as a number")
    if not good or not math.isfinite(float(header[key])):
        raise NoWcsError(f"{name} has a WCS whose {key} is {value!r}: give it as a number")


def _equinox(header: fits.Header, name: str) -> float | None:
    """Return the equinox to precess from; `None` for ICRS and J2000."""
    system = (text(header, "RADESYS", "RADECSYS") or "").upper()
    equinox = number(header, "EQUINOX", "EPOCH")
    if equinox is None and (written := text(header, "EQUINOX", "EPOCH")):
        match = re.fullmatch(r"([JB]?)\s*(\d{4}(\.\d*)?)", written.upper())
        if match is None:
            raise NoWcsError(f"{name} has a WCS of EQUINOX {written!r}: give a year")
        equinox = float(match[2])
        system = system or ("FK4" if match[1] == "B" else "FK5")
    if system in {"ICRS", "ICRF", "J2000"}:
        return None
    if text(header, "EQUINOX") is None and number(header, "EQUINOX") is None and not system:
        _refuse_other_epoch(number(header, "EPOCH"), name)
    old = equinox is not None and 0.0 < equinox < 1984.0 and not system
    if old or system not in {"", "FK5"}:
        raise NoWcsError(
            f"{name} has a WCS in {system or 'FK4'} (RADESYS {system or 'absent'}, EQUINOX "
            f"{equinox or 'absent'}); needed is ICRS or FK5: transform its positions"
        )
    if equinox is None or equinox == 0.0:
        return None
    if not 1900.0 <= equinox <= 2100.0:
        raise NoWcsError(f"{name} has a WCS of EQUINOX {equinox:g}: give a year")
    return None if abs(equinox - 2000.0) < 1e-3 else equinox


def _refuse_other_epoch(epoch: float | None, name: str) -> None:
    # Once the equinox of the coordinates, today as often the date of the exposure.
    if epoch is not None and epoch > 1984.0 and abs(epoch - 2000.0) > 1e-3:
        raise NoWcsError(
            f"{name} has EPOCH = {epoch:g} and neither RADESYS nor EQUINOX: an equinox, or the "
            "date of the exposure? Add EQUINOX (2000.0 for plate-solved images)"
        )


def _check_scale(wcs: WCS, header: fits.Header, name: str) -> None:
    matrix = 3600.0 * np.asarray(wcs.pixel_scale_matrix, np.float64)
    scale = math.sqrt(abs(float(np.linalg.det(matrix))))
    sizes = np.linalg.svd(matrix, compute_uv=False)
    _refuse_singular(matrix, name)
    if not _SCALES[0] <= scale <= _SCALES[1]:
        raise NoWcsError(
            f"{name} has a WCS of {scale:.3g} arcsec per pixel; check CD or CDELT (degrees)",
            pixel_scale=scale,
        )
    if sizes[0] > _MOST_SKEW * sizes[1]:
        raise NoWcsError(
            f"{name} has a WCS whose pixels are {sizes[0] / sizes[1]:.0f} times longer than wide; "
            "check the CD matrix",
            skew=float(sizes[0] / sizes[1]),
        )
    x, y = (float(header.get(f"NAXIS{i}", 1)) / 2.0 for i in (1, 2))
    ra, dec = wcs.pixel_to_world_values(x, y)
    if not (np.isfinite(ra) and np.isfinite(dec)):
        raise NoWcsError(f"{name} has a WCS that gives no position at the image's centre")


def _refuse_singular(matrix: npt.NDArray[np.float64], name: str) -> None:
    sizes = np.linalg.svd(matrix, compute_uv=False)
    if not sizes[1] > 1e-6 * sizes[0]:
        raise NoWcsError(f"{name} has a WCS whose CD matrix is singular: plate-solve it again")


def _precessed(wcs: WCS, equinox: float, header: fits.Header, name: str) -> WCS:
    # Precession turns the sphere; a turned projection has another reference point and, as
    # north is elsewhere, another LONPOLE. Which sign that has depends on the projection.
    frame = FK5(equinox=Time(equinox, format="jyear"))
    target = FK5(equinox="J2000")

    def moved(ra: Any, dec: Any) -> tuple[Any, Any]:
        there = SkyCoord(ra, dec, unit="deg", frame=frame).transform_to(target)
        return there.ra.deg, there.dec.deg

    ra, dec = wcs.wcs.crval
    (ra0, dec0), (pole_ra, pole_dec) = moved(ra, dec), moved(0.0, 90.0)
    # Position angle, at the reference point, of the pole that was.
    east = np.cos(np.radians(pole_dec)) * np.sin(np.radians(pole_ra - ra0))
    north = np.sin(np.radians(pole_dec)) * np.cos(np.radians(dec0))
    north -= (
        np.cos(np.radians(pole_dec)) * np.sin(np.radians(dec0)) * np.cos(np.radians(pole_ra - ra0))
    )
    angle = float(np.degrees(np.arctan2(east, north)))
    size = [float(header.get(f"NAXIS{i}", 1)) for i in (1, 2)]
    x, y = (a.ravel() for a in np.meshgrid(*(np.linspace(0.0, s - 1.0, 3) for s in size)))
    wanted = SkyCoord(*moved(*wcs.pixel_to_world_values(x, y)), unit="deg")
    for sign in (1.0, -1.0):
        turned = wcs.deepcopy()
        turned.wcs.crval = [ra0, dec0]
        turned.wcs.lonpole = (wcs.wcs.lonpole + sign * angle) % 360.0
        turned.wcs.latpole = 90.0
        turned.wcs.set()
        got = SkyCoord(*turned.pixel_to_world_values(x, y), unit="deg")
        if float(got.separation(wanted).deg.max()) < _AGREEMENT:
            return turned
    raise NoWcsError(
        f"{name} has a WCS of equinox {equinox:g} that cannot be brought to J2000: transform its "
        "positions, or plate-solve it again"
    )
