"""The form of an instrument's YAML file, checked: what is wrong in it is named."""

import re
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from residua.errors import UnknownInstrumentError
from residua.instruments.model import Filter, Instrument, ZeroPointCard

try:
    from yaml import CSafeLoader as _Loader
except ImportError:
    # A yaml without its C library reads the same, seven times slower.
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

__all__ = ["FilterEntry", "InstrumentFile", "ZeroPointEntry", "instrument_from_yaml"]

type Cards = Annotated[
    tuple[str, ...],
    Field(description="Header keywords, asked in order; A/B joins two cards with a slash."),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilterEntry(_Part):
    """A physical filter: its band and, where it differs from the band's, its wavelengths."""

    band: str = Field(pattern=r"^[A-Za-z0-9_+-]{1,10}$", description="Band name.")
    wavelengths: tuple[float, float] | None = Field(
        None, description="Blue and red end, m, vacuum; default: the band's."
    )
    vega_to_ab: float | None = Field(
        None, description="AB minus Vega magnitude, for zero points that are Vega's."
    )


class ZeroPointEntry(_Part):
    """What a zero-point card means."""

    per: Literal["exposure", "second"] = Field(
        "exposure", description="Magnitude of one unit of the image, or of one unit a second."
    )
    system: Literal["AB", "Vega"] = Field("AB", description="Magnitude system.")


class InstrumentFile(_Part):
    """Description of an instrument: one YAML file."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$", description="Instrument name as in Butler."
    )
    facility_name: str = Field(
        min_length=1, max_length=64, description="Observatory and telescope: CTIO:Blanco."
    )
    recognise: tuple[str | dict[str, str], ...] = Field(
        (),
        description="Words of the cards naming an instrument that mean this one, or mappings of "
        "card to regular expression that must all match.",
    )
    bands: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="Blue and red end of each band, m, vacuum."
    )
    filters: dict[str, str | FilterEntry] = Field(
        default_factory=dict, description="Band of each physical filter, or more about it."
    )
    detectors: dict[int, str] = Field(
        default_factory=dict, description="Name of each detector by its number."
    )
    detector_shape: tuple[int, int] | None = Field(None, description="Rows and columns, pixels.")
    detector_centers: dict[int, tuple[float, float]] = Field(
        default_factory=dict,
        description="Centre of each detector in the focal plane, (x, y) in mm; x runs along the "
        "rows of a detector. The origin is the boresight.",
    )
    detector_rotations: dict[int, float] = Field(
        default_factory=dict,
        description="Degrees by which a detector is turned in the focal plane, from x to y.",
    )
    pixel_scale: float | None = Field(None, gt=0, description="arcsec.")
    pixel_size: float = Field(0.01, gt=0, description="Side of a pixel, mm.")
    latitude: float | None = Field(None, ge=-90, le=90, description="Geodetic, degrees.")
    longitude: float | None = Field(None, ge=-180, le=360, description="East positive, degrees.")
    height: float | None = Field(None, description="m above the ellipsoid.")
    day_obs_offset: float = Field(
        12.0, description="Hours subtracted from TAI before the date is taken as day_obs."
    )
    visit_from: Cards = ()
    detector_from: Cards = ()
    filter_from: Cards = ()
    gain_from: Cards = ()
    read_noise_from: Cards = ()
    saturation_from: Cards = ()
    zero_points: dict[str, ZeroPointEntry] = Field(
        default_factory=dict, description="What zero-point cards mean, in the order to ask them."
    )
    exposure_time_unit: Literal["s", "min", "d"] = Field(
        "s", description="Unit of its exposure time cards."
    )
    mask_names: dict[int, str] = Field(
        default_factory=dict, description="Mask plane names by bit number of its mask files."
    )
    harmless_bits: tuple[Annotated[int, Field(ge=0, le=62)], ...] = Field(
        (), description="Bit numbers of its mask files that leave a pixel usable."
    )
    overheads: dict[str, float] = Field(
        default_factory=dict, description="Seconds between exposures and the like, by name."
    )

    @field_validator("bands", mode="after")
    @classmethod
    def _in_metres(cls, bands: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for band, (low, high) in bands.items():
            if not 1e-9 < low < high < 1e-3:
                raise ValueError(
                    f"band {band} goes from {low} to {high}; give the blue and the red end in m "
                    "(551.0e-9)"
                )
        return bands

    @field_validator("recognise", mode="after")
    @classmethod
    def _patterns(
        cls, recognise: tuple[str | dict[str, str], ...]
    ) -> tuple[str | dict[str, str], ...]:
        for entry in recognise:
            for pattern in entry.values() if isinstance(entry, dict) else ():
                try:
                    re.compile(pattern)
                except re.error as e:
                    raise ValueError(f"{pattern!r} is not a regular expression: {e}") from e
        return recognise

    @model_validator(mode="after")
    def _distinct_detectors(self) -> Self:
        names = [n.casefold() for n in self.detectors.values()]
        if len(set(names)) < len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"detectors named more than once: {', '.join(twice[:5])}")
        return self

    def instrument(self) -> Instrument:
        """Return what the file describes."""
        values = self.model_dump(exclude={"recognise", "bands", "filters", "zero_points"})
        return Instrument(
            **values,
            recognise=tuple(r for r in self.recognise if isinstance(r, str)),
            recognise_cards=tuple(r for r in self.recognise if isinstance(r, dict)),
            filters=tuple(self._filter(n, entry) for n, entry in self.filters.items()),
            zero_points=tuple(
                ZeroPointCard(card, entry.per, entry.system)
                for card, entry in self.zero_points.items()
            ),
        )

    def _filter(self, name: str, entry: str | FilterEntry) -> Filter:
        full = entry if isinstance(entry, FilterEntry) else FilterEntry(band=entry)
        low, high = full.wavelengths or self.bands.get(full.band) or (None, None)
        return Filter(name, full.band, low, high, full.vega_to_ab)


def instrument_from_yaml(text: str, name: str) -> Instrument:
    """Read a description.

    Parameters
    ----------
    text
        YAML.
    name
        What to call the file in errors.

    Raises
    ------
    residua.errors.UnknownInstrumentError
        Not a description; the message names the field and what is wrong with it.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as e:
        raise UnknownInstrumentError(
            f"{name} is not an instrument description: it is no YAML: {' '.join(str(e).split())}"
        ) from e
    try:
        return InstrumentFile.model_validate(content).instrument()
    except ValidationError as e:
        problems = "; ".join(
            f"{'.'.join(str(p) for p in error['loc']) or 'the file'}: {error['msg']}"
            for error in e.errors(include_url=False, include_input=False)[:5]
        )
        raise UnknownInstrumentError(
            f"{name} is not an instrument description: {problems}", problems=e.error_count()
        ) from e
