"""Which extension of a file is the image, its noise, its weight or its mask."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from astropy.io import fits

from residua.errors import UnusableImageError
from residua.storage.conventions.values import text

__all__ = ["Plane", "Role", "find_image", "other_planes", "plane_shape", "refuse_other_products"]

type Role = Literal["variance", "inverse variance", "sigma", "weight", "mask"]

_NAMES: dict[str, Role] = {
    **dict.fromkeys(("VARIANCE", "VAR", "VARIMAGE", "VAR_POISSON_TOTAL"), "variance"),
    **dict.fromkeys(("IVAR", "INVVAR", "INVVARIANCE", "INVERSE_VARIANCE"), "inverse variance"),
    **dict.fromkeys(
        ("WEIGHT", "WGT", "WT", "WTMAP", "WEIGHT_MAP", "WEIGHTMAP", "WHT", "CONF", "CONFIDENCE"),
        "weight",
    ),
    **dict.fromkeys(
        ("ERR", "ERROR", "SIGMA", "UNCERT", "UNCERTAINTY", "RMS", "STD", "STDEV", "NOISE"), "sigma"
    ),
    **dict.fromkeys(
        ("MASK", "MSK", "DQ", "FLAGS", "FLAG", "BPM", "DQM", "QUALITY", "BADPIX"), "mask"
    ),
}
_UTYPES: dict[str, Role] = {
    "variance": "variance",
    "varianceuncertainty": "variance",
    "inversevariance": "inverse variance",
    "ivar": "inverse variance",
    "stddevuncertainty": "sigma",
    "std": "sigma",
}
_IMAGE_NAMES = ("SCI", "IMAGE", "SCIENCE", "PRIMARY_IMAGE")
_OTHER_PRODUCTS = re.compile(
    r"w(eigh)?t(map)?|.*mask.*|dq.*|bpm|sky|back.*|catalog.*", re.IGNORECASE
)
_CALIBRATION = re.compile(
    r"(master[ _-]?)?(bias|zero|dark|((dome|sky|twilight|lamp)[ _-]?)?flat|arc|comp|lamp|focus)"
    r"([ _-]?(field|frame|image))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Plane:
    """A plane beside the image.

    Parameters
    ----------
    hdu
        Its extension.
    role
        What it holds.
    source
        How that is known: ``UTYPE``, or its name.
    """

    hdu: Any
    role: Role
    source: str


def plane_shape(hdu: Any) -> tuple[int, int] | None:
    """Return (ny, nx) of an image, axes of length one taken away; `None` if it is none."""
    if not getattr(hdu, "is_image", False):
        return None
    shape = tuple(hdu.shape)
    if len(shape) < 2 or any(n != 1 for n in shape[:-2]):
        return None
    return int(shape[-2]), int(shape[-1])


def find_image(hdus: fits.HDUList, name: str, extension: str | None = None) -> Any:
    """Return the image on the sky among a file's extensions.

    Parameters
    ----------
    hdus
        The file.
    name
        What to call it in errors.
    extension
        Name or number of the extension to take, when the file holds several images.

    Raises
    ------
    residua.errors.UnusableImageError
        No two-dimensional image, several of them, or no such extension.
    """
    if extension is not None:
        return _chosen(hdus, name, extension)
    images = [h for h in hdus if plane_shape(h) is not None and _role(h) is None]
    if not images:
        cubes = [h.shape for h in hdus if getattr(h, "is_image", False) and len(h.shape) > 2]
        what = f": its image has the shape {cubes[0]}" if cubes else ""
        raise UnusableImageError(f"{name} holds no two-dimensional image{what}")
    for wanted in _IMAGE_NAMES:
        named = [h for h in images if h.name.upper() == wanted]
        if len(named) == 1:
            return named[0]
    on_sky = [h for h in images if "CTYPE1" in h.header]
    if len(on_sky) > 1:
        first = on_sky[0].name or hdus.index_of(on_sky[0])
        raise UnusableImageError(
            f"{name} holds {len(on_sky)} images on the sky ({_listed(on_sky)}); choose one with "
            f"--ext {first} or {name}[{first}], or give each detector a file of its own",
            images=len(on_sky),
        )
    return (on_sky or images)[0]


def _chosen(hdus: fits.HDUList, name: str, extension: str) -> Any:
    try:
        hdu = hdus[int(extension) if extension.isdigit() else extension]
    except (KeyError, IndexError) as e:
        raise UnusableImageError(
            f"{name} has no extension {extension}; it has {_listed(list(hdus))}"
        ) from e
    if plane_shape(hdu) is None:
        raise UnusableImageError(f"extension {extension} of {name} is no two-dimensional image")
    return hdu


def _listed(hdus: Sequence[Any]) -> str:
    names = [h.name or str(n) for n, h in enumerate(hdus)]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def other_planes(
    hdus: fits.HDUList, image: Any, extension: str | None
) -> tuple[list[Plane], tuple[str, ...]]:
    """Return the planes that belong to an image, and a note of those nobody understands."""
    shape = plane_shape(image)
    planes, strange, others = [], [], []
    for hdu in hdus:
        if hdu is image:
            continue
        role = _role(hdu)
        if plane_shape(hdu) != shape:
            if role is not None and plane_shape(hdu) is not None and extension is None:
                others.append(f"{hdu.name} {plane_shape(hdu)}")
            continue
        if role is not None:
            planes.append(Plane(hdu, *role))
        elif extension is None and hdu.name not in _IMAGE_NAMES:
            strange.append(hdu.name or "unnamed")
    if extension is not None:
        # Of a mosaic, planes belong to the image they name, not to whichever has its shape.
        version = image.header.get("EXTVER", 1)
        planes = [p for p in planes if p.hdu.header.get("EXTVER", 1) == version]
        planes = planes if len({p.role for p in planes}) == len(planes) else []
    notes = []
    if strange:
        notes.append(f"planes not understood and not used: {', '.join(strange)}")
    if others:
        what = ", ".join(others[:5])
        notes.append(f"planes of another shape than the image's {shape}, not used: {what}")
    return planes, tuple(notes)


def _role(hdu: Any) -> tuple[Role, str] | None:
    utype = text(hdu.header, "UTYPE")
    if utype is not None and utype.casefold() in _UTYPES:
        return _UTYPES[utype.casefold()], f"UTYPE {utype}"
    for key in ("EXTNAME", "EXTTYPE"):
        name = hdu.name if key == "EXTNAME" else text(hdu.header, key)
        role = _NAMES.get((name or "").upper())
        if role is not None:
            squared = str(hdu.header.get("BUNIT", "")).strip().endswith("2")
            return ("variance" if role == "sigma" and squared else role), f"{key} {name}"
    return None


def refuse_other_products(header: fits.Header, name: str) -> None:
    """Refuse a file that calls itself a weight map, a mask, a sky, or a colour mosaic.

    Raises
    ------
    residua.errors.UnusableImageError
        It does.
    """
    product = text(header, "PRODTYPE", "DATATYPE")
    if product is not None and _OTHER_PRODUCTS.fullmatch(product):
        raise UnusableImageError(
            f"{name} is a {product} (PRODTYPE), not an image; give the image, and this file with "
            "--weight, --variance or --mask"
        )
    for card in ("IMAGETYP", "OBSTYPE", "IMGTYPE", "OBS_TYPE", "FRMTYPE"):
        kind = text(header, card)
        if kind is not None and _CALIBRATION.fullmatch(kind):
            raise UnusableImageError(f"{name} is a {kind} ({card}), not an image of the sky")
    if (text(header, "ESO DPR CATG") or "").upper() == "CALIB":
        what = text(header, "ESO DPR TYPE") or "calibration"
        raise UnusableImageError(f"{name} is a calibration, {what} (ESO DPR CATG), not of the sky")
    pattern = text(header, "BAYERPAT", "COLORTYP")
    if pattern is not None and set(pattern.upper()) == set("RGB"):
        raise UnusableImageError(
            f"{name} is a colour mosaic (BAYERPAT {pattern!r}): neighbouring pixels have other "
            "filters; extract one colour, or debayer, and remove the card"
        )
