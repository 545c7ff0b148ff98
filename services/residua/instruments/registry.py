"""Descriptions of instruments, read from YAML files; operators add directories of their own."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from residua.errors import UnknownInstrumentError

__all__ = ["Filter", "Instrument", "InstrumentRegistry", "load_instrument"]


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
    """

    physical_filter: str
    band: str
    em_min: float | None = None
    em_max: float | None = None


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
    filters
        Its physical filters.
    detectors
        Names of its detectors by number; may be empty.
    detector_shape
        (ny, nx) of one detector, pixels.
    pixel_scale
        arcsec.
    pixel_size
        Side of a pixel, mm.
    latitude, longitude, height
        Site: geodetic degrees (east positive) and m above the ellipsoid.
    day_obs_offset
        Hours subtracted from TAI before the date is taken as day_obs.
    """

    name: str
    facility_name: str
    recognise: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    detectors: dict[int, str] = field(default_factory=dict)
    detector_shape: tuple[int, int] | None = None
    pixel_scale: float | None = None
    pixel_size: float = 0.01
    latitude: float | None = None
    longitude: float | None = None
    height: float | None = None
    day_obs_offset: float = 12.0

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


class InstrumentRegistry:
    """The instruments known to this installation.

    Parameters
    ----------
    directories
        Directories with more YAML files; a file there replaces a shipped one of the same name.
    strict
        Refuse unknown instruments instead of describing them generically.

    Raises
    ------
    residua.errors.UnknownInstrumentError
        A YAML file is not an instrument description.
    """

    def __init__(self, directories: Iterable[Path] = (), *, strict: bool = False) -> None:
        self._instruments = {i.name: i for i in _shipped()}
        for directory in directories:
            for path in sorted(directory.glob("*.yaml")):
                instrument = _parse(path.read_text(), str(path))
                self._instruments[instrument.name] = instrument
        self._strict = strict

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._instruments.values())

    def get(self, name: str) -> Instrument:
        """Return an instrument by name.

        Raises
        ------
        residua.errors.UnknownInstrumentError
            Unknown, and the registry is strict.
        """
        if name in self._instruments:
            return self._instruments[name]
        if self._strict:
            known = ", ".join(sorted(self._instruments))
            raise UnknownInstrumentError(
                f"instrument {name} has no description here (known: {known}); add a YAML file"
            )
        return Instrument(name=name, facility_name=name)

    def recognise(self, words: str) -> str | None:
        """Return the name of the instrument that header cards speak of, or `None`.

        Parameters
        ----------
        words
            The values of the cards that may name it, joined.
        """
        text = re.sub(r"[^a-z0-9]+", " ", words.casefold())
        for instrument in self._instruments.values():
            for word in (instrument.name, *instrument.recognise):
                if f" {word.casefold()} " in f" {text} ":
                    return instrument.name
        return None


@cache
def _shipped() -> tuple[Instrument, ...]:
    folder = files("residua.instruments")
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".yaml"))
    return tuple(_parse(folder.joinpath(name).read_text(), name) for name in names)


def _parse(text: str, name: str) -> Instrument:
    try:
        content: dict[str, Any] = yaml.safe_load(text)
        bands = content.pop("bands", {})
        filters = tuple(
            Filter(physical_filter, band, *bands.get(band, (None, None)))
            for physical_filter, band in content.pop("filters", {}).items()
        )
        shape = content.pop("detector_shape", None)
        return Instrument(
            **{
                **content,
                "filters": filters,
                "recognise": tuple(content.get("recognise", ())),
                "detector_shape": None if shape is None else (int(shape[0]), int(shape[1])),
                "detectors": dict(content.get("detectors", {})),
            }
        )
    except (yaml.YAMLError, TypeError, AttributeError, ValueError, KeyError) as e:
        raise UnknownInstrumentError(f"{name} is not an instrument description: {e}") from e


@cache
def _default_registry() -> InstrumentRegistry:
    return InstrumentRegistry()


def load_instrument(name: str) -> Instrument:
    """Return a shipped instrument by name; a generic description if there is none."""
    return _default_registry().get(name)
