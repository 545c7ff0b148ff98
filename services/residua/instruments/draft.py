"""A first description of an instrument from one of its headers, for a person to complete."""

import re
from collections.abc import Iterable, Mapping

import yaml

__all__ = ["draft_description"]


def draft_description(
    cards: Mapping[str, object],
    *,
    name: str,
    facility_name: str,
    filters: Mapping[str, str],
    visit_cards: Iterable[str],
    detector_cards: Iterable[str],
    shape: tuple[int, int],
    pixel_scale: float | None,
) -> str:
    """Return YAML that describes the instrument of a header as far as the header tells.

    Parameters
    ----------
    cards
        The header.
    name, facility_name
        Of the instrument.
    filters
        Band by physical filter, as understood.
    visit_cards, detector_cards
        Cards that may hold the numbers.
    shape
        (ny, nx) of the image.
    pixel_scale
        arcsec.
    """
    lines = [
        "# Drafted from a header: complete and correct it, then `residua instruments check FILE`.",
        f"name: {_text(name)}",
        f"facility_name: {_text(facility_name)}",
    ]
    recognised = {
        key: f"^{re.escape(str(cards[key]))}$"
        for key in ("INSTRUME", "TELESCOP")
        if isinstance(cards.get(key), str) and str(cards[key]).strip()
    }
    lines += [f"recognise: [{_flow(recognised)}]"] if recognised else []
    lines += [f"detector_shape: [{shape[0]}, {shape[1]}]"]
    lines += [] if pixel_scale is None else [f"pixel_scale: {pixel_scale:.4g}"]
    lines += ["# Geodetic site, degrees (east positive) and m."]
    for field, keys in _SITE.items():
        value = next((cards[k] for k in keys if isinstance(cards.get(k), int | float)), None)
        lines.append(
            f"{field}: {float(value)}" if isinstance(value, int | float) else f"# {field}:"
        )
    lines += ["# Blue and red end of each band, m: without them rows have no wavelengths."]
    lines += ["bands: {}", f"filters: {_flow(dict(filters))}"]
    visits, detectors = list(visit_cards), list(detector_cards)
    candidates = ", ".join(f"{k} = {cards[k]}" for k in visits) or "none"
    lines += [
        "# Cards that number exposures, if they never begin again. Found here: " + candidates,
        f"visit_from: [{visits[0] if visits else 'time'}]",
        f"detector_from: [{', '.join(detectors)}]",
        "# Names of the detectors by number, bits of the mask files that leave a pixel usable.",
        "detectors: {}",
        "harmless_bits: []",
    ]
    return "\n".join(lines) + "\n"


_SITE = {
    "latitude": ("LATITUDE", "SITELAT", "LAT-OBS", "OBS-LAT"),
    "longitude": ("LONGITUD", "SITELONG", "LONG-OBS", "OBS-LONG"),
    "height": ("HEIGHT", "SITEALT", "ALTITUDE", "ALT-OBS", "OBS-ELEV"),
}


def _text(value: str) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True)).split("\n", 1)[0]


def _flow(value: Mapping[str, str]) -> str:
    return str(yaml.safe_dump(dict(value), default_flow_style=True, width=10000)).strip()
