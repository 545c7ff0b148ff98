"""The visits of a simulated survey: pointings, times, weather."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from residua.simulation.sky.scene import SceneConfig

__all__ = ["VisitMetadata", "plan_visits"]

FIRST_EXPOSURE = datetime(2026, 11, 22, 3, 4, 5)  # noqa: DTZ001 (TAI has no time zone)


@dataclass(frozen=True)
class VisitMetadata:
    """What an observatory knows about one visit.

    Parameters
    ----------
    instrument, visit, day_obs, band, physical_filter, target_name
        Names and numbers as in Butler; ``visit`` is day_obs followed by five digits.
    begin_tai, end_tai
        Start and end of the exposure, TAI.
    exposure_time
        Seconds.
    airmass
        At mid-exposure.
    temperature, pressure, relative_humidity
        Weather: degrees Celsius, Pa, per cent.
    boresight_ra, boresight_dec
        ICRS, degrees.
    rotation
        Position angle of the detectors' y axis, degrees.
    """

    instrument: str
    visit: int
    day_obs: int
    band: str
    physical_filter: str
    target_name: str
    begin_tai: datetime
    end_tai: datetime
    exposure_time: float
    airmass: float
    temperature: float
    pressure: float
    relative_humidity: float
    boresight_ra: float
    boresight_dec: float
    rotation: float


def plan_visits(config: SceneConfig, seed: int, count: int) -> tuple[VisitMetadata, ...]:
    """Plan visits dithered by a tenth of a detector; the last one points elsewhere.

    Parameters
    ----------
    config
        Where the field is, and the detector's size.
    seed
        The same arguments give the same visits.
    count
        How many.
    """
    rng = np.random.default_rng([seed, 9])
    plans = []
    for index in range(count):
        dither = rng.uniform(-0.1, 0.1, 2) * min(config.shape) * config.pixel_scale / 3600.0
        begin = FIRST_EXPOSURE + timedelta(seconds=39 * index)
        outside = index == count - 1
        plans.append(
            VisitMetadata(
                instrument="Simulated",
                visit=20261122 * 100_000 + 101 + index,
                day_obs=20261122,
                band="r",
                physical_filter="r_sim",
                target_name="outside" if outside else "field",
                begin_tai=begin,
                end_tai=begin + timedelta(seconds=30),
                exposure_time=30.0,
                airmass=round(1.1 + 0.01 * index, 3),
                temperature=round(float(rng.normal(11.0, 0.5)), 2),
                pressure=round(float(rng.normal(74_300.0, 50.0)), 1),
                relative_humidity=round(float(rng.uniform(15.0, 40.0)), 1),
                boresight_ra=float(
                    (config.ra + dither[0] / np.cos(np.radians(config.dec)) + 5.0 * outside) % 360.0
                ),
                boresight_dec=float(config.dec + dither[1] + 3.0 * outside),
                rotation=float((config.rotation + rng.uniform(-20.0, 20.0)) % 360.0),
            )
        )
    return tuple(plans)
