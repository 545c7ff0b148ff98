"""What is known about an instrument, once its description has been read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Filter", "Instrument", "ZeroPointCard"]


@dataclass(frozen=True)
class Filter:
    """A physical filter.

    Parameters
    ----------
    physical_filter
        Its name as in Butler.
    band
        The band it realises.
    em_min, em_max
        Blue and red end of the band, m, vacuum.
    vega_to_ab
        AB minus Vega magnitude of the filter, for zero points that are Vega's.
    """

    physical_filter: str
    band: str
    em_min: float | None = None
    em_max: float | None = None
    vega_to_ab: float | None = None


@dataclass(frozen=True)
class ZeroPointCard:
    """What a zero-point card of this instrument means.

    Parameters
    ----------
    card
        Its keyword.
    per
        ``exposure``: the magnitude of one unit of the image; ``second``: of one unit a second.
    system
        AB or Vega.
    """

    card: str
    per: str = "exposure"
    system: str = "AB"


@dataclass(frozen=True)
class Instrument:
    """An instrument on its telescope.

    Parameters
    ----------
    name
        Instrument name as in Butler.
    facility_name
        Observatory and telescope, as ObsCore's ``facility_name``.
    recognise
        Words that, found in the header cards naming an instrument, mean this one.
    recognise_cards
        Sets of cards and regular expressions; a header that matches all of one set means this
        instrument.
    filters
        Its physical filters.
    detectors
        Names of its detectors by number; may be empty.
    detector_shape
        (ny, nx) of one detector, pixels.
    detector_centers
        Where detectors lie in the focal plane, (x, y) in mm by number: x along a detector's rows.
    detector_rotations
        By how many degrees detectors are turned in it, counter-clockwise, by number; else not.
    pixel_scale
        arcsec.
    pixel_size
        Side of a pixel, mm.
    latitude, longitude, height
        Site: geodetic degrees (east positive) and m above the ellipsoid.
    day_obs_offset
        Hours subtracted from TAI before the date is taken as day_obs.
    visit_from, detector_from
        Cards the visit and detector numbers come from, see
        `residua.storage.conventions.file_identity`; empty: the usual ones.
    filter_from, gain_from, read_noise_from, saturation_from
        Cards that are asked before the usual ones.
    zero_points
        Zero-point cards that are asked before the usual ones.
    exposure_time_unit
        Unit of its exposure time cards.
    mask_names
        Names of `residua.subtraction.masks.MaskBit` planes by bit number of its mask files.
    harmless_bits
        Bits of its mask files that leave a pixel usable; of an unlisted instrument, none.
    overheads
        Seconds between exposures and the like, by name.
    generic
        Nothing is known but the name.
    """

    name: str
    facility_name: str
    recognise: tuple[str, ...] = ()
    recognise_cards: tuple[Mapping[str, str], ...] = ()
    filters: tuple[Filter, ...] = ()
    detectors: dict[int, str] = field(default_factory=dict)
    detector_shape: tuple[int, int] | None = None
    detector_centers: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    detector_rotations: Mapping[int, float] = field(default_factory=dict)
    pixel_scale: float | None = None
    pixel_size: float = 0.01
    latitude: float | None = None
    longitude: float | None = None
    height: float | None = None
    day_obs_offset: float = 12.0
    visit_from: tuple[str, ...] = ()
    detector_from: tuple[str, ...] = ()
    filter_from: tuple[str, ...] = ()
    gain_from: tuple[str, ...] = ()
    read_noise_from: tuple[str, ...] = ()
    saturation_from: tuple[str, ...] = ()
    zero_points: tuple[ZeroPointCard, ...] = ()
    exposure_time_unit: str = "s"
    mask_names: Mapping[int, str] = field(default_factory=dict)
    harmless_bits: tuple[int, ...] = ()
    overheads: Mapping[str, float] = field(default_factory=dict)
    generic: bool = False

    def find_filter(self, physical_filter: str | None, band: str | None = None) -> Filter | None:
        """Return the filter of a name, else the first of a band, else `None`.

        A header's filter card may carry more words after the name (DECam's
        ``i DECam SDSS c0003 7835.0 1470.0``).
        """
        if physical_filter:
            wanted = physical_filter.strip().casefold()
            for f in self.filters:
                name = f.physical_filter.casefold()
                if wanted == name or wanted.startswith(f"{name} ") or name.startswith(f"{wanted} "):
                    return f
        return next((f for f in self.filters if band is not None and f.band == band), None)

    def find_detector(self, name: str) -> int | None:
        """Return the number of the detector of a name, whatever its case, or `None`."""
        wanted = name.strip().casefold()
        return next((n for n, text in self.detectors.items() if text.casefold() == wanted), None)

    def is_named(self, words: str, cards: Mapping[str, str]) -> bool:
        """Whether header cards speak of this instrument.

        Parameters
        ----------
        words
            The values of the cards that may name an instrument, joined.
        cards
            The header's cards as text.
        """
        text = f" {_plain(words)} "
        # Where cards are asked for, the name alone (ACS) says too little.
        own = () if self.recognise_cards else (self.name,)
        if any(f" {_plain(word)} " in text for word in (*own, *self.recognise)):
            return True
        return any(
            wanted
            and all(
                key in cards and re.search(pattern, cards[key], re.IGNORECASE)
                for key, pattern in wanted.items()
            )
            for wanted in self.recognise_cards
        )


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()
