"""Visit and detector as `astro_metadata_translator` has them, so that they are Butler's."""

import re
import warnings
from dataclasses import replace

from astro_metadata_translator import MetadataTranslator
from astropy.io.fits import Header

from residua.storage.read.metadata import FileMetadata

__all__ = ["translated"]

_CAMERAS = re.compile(r"decam|hsc|hyper suprime|suprime-?cam|megaprime|sdss", re.IGNORECASE)
_SOURCE = "astro_metadata_translator"


def translated(header: Header, found: FileMetadata) -> FileMetadata:
    """Return what was found, with visit and detector as the camera's translator numbers them.

    Parameters
    ----------
    header
        Cards of the file.
    found
        What was read from them. Kept where the translator does not know the camera, or needs
        cards that are not there.
    """
    named = " ".join(str(header.get(k, "")) for k in ("INSTRUME", "TELESCOP", "ORIGIN"))
    if not _CAMERAS.search(f"{found.instrument} {named}"):
        return found
    asked = _numbers(header)
    values = {n: v for n, v in asked.items() if v != getattr(found, n)}
    if not values:
        return found
    notes = found.notes
    if "visit" in values:
        notes = tuple(n for n in notes if "not taken for the visit" not in n)
    sources = {**found.sources, **dict.fromkeys(values, _SOURCE)}
    return replace(
        found,
        visit=values.get("visit", found.visit),
        detector=values.get("detector", found.detector),
        sources=sources,
        notes=notes,
    )


def _numbers(header: Header) -> dict[str, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            translator = MetadataTranslator.determine_translator(header)(header)
        except Exception:  # noqa: BLE001 translators raise whatever a header trips them over
            return {}
        visit = _asked(translator, "to_visit_id") or _asked(translator, "to_exposure_id")
        detector = _asked(translator, "to_detector_num")
    numbers = {"visit": visit, "detector": detector}
    return {name: value for name, value in numbers.items() if value is not None}


def _asked(translator: MetadataTranslator, name: str) -> int | None:
    try:
        value = getattr(translator, name)()
    except Exception:  # noqa: BLE001 as above: a card that is not there
        return None
    return value if isinstance(value, int) and value >= 0 else None
