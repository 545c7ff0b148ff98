"""The detections of two runs on the same images: which are the same, which one run has alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PairOfImages", "paired", "value_of"]

_MATCHED_ARCSEC = 1.0
_BRIGHT = 7.0


@dataclass(frozen=True)
class PairOfImages:
    """One visit-detector that both runs made.

    Parameters
    ----------
    a, b
        Datasets.
    common, lost, gained
        Detections in both, in a alone, in b alone.
    lost_bright, gained_bright
        Those of abs(S/N) of 7 and more.
    cpu_a, cpu_b
        CPU seconds of making them; NaN where the catalog does not know.
    """

    instrument: str
    visit: int
    detector: int
    a: str
    b: str
    common: int
    lost: int
    gained: int
    lost_bright: int
    gained_bright: int
    change_of_s: float
    cpu_a: float
    cpu_b: float


def paired(
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    found_a: Mapping[int, npt.NDArray[np.float64]],
    found_b: Mapping[int, npt.NDArray[np.float64]],
) -> list[PairOfImages]:
    """Match what was found, all images at once: ten thousand small trees would take seconds."""
    none = np.empty((0, 3))
    in_a = [found_a.get(int(a["visitdetectorid"]), none) for a, _ in rows]
    in_b = [found_b.get(int(b["visitdetectorid"]), none) for _, b in rows]
    image_a, image_b = (np.repeat(np.arange(len(rows)), list(map(len, n))) for n in (in_a, in_b))
    all_a, all_b = (np.concatenate([none, *n]) for n in (in_a, in_b))
    matched_a, matched_b = _matched(all_a, image_a, all_b, image_b)

    def count(images: npt.NDArray[Any]) -> list[int]:
        return [int(n) for n in np.bincount(images, minlength=len(rows))]

    common = count(image_a[matched_a])
    lost, gained = count(image_a[~matched_a]), count(image_b[~matched_b])
    bright_a, bright_b = (np.abs(n[:, 2]) >= _BRIGHT for n in (all_a, all_b))
    lost_bright = count(image_a[~matched_a & bright_a])
    gained_bright = count(image_b[~matched_b & bright_b])
    name = "matched_filter_sn_std"
    return [
        PairOfImages(
            str(a["instrument"]),
            int(a["visit"]),
            int(a["detector"]),
            str(a["dataset_id"]),
            str(b["dataset_id"]),
            common[n],
            lost[n],
            gained[n],
            lost_bright[n],
            gained_bright[n],
            value_of(b[name]) - value_of(a[name]),
            value_of(a["cpu_seconds"]),
            value_of(b["cpu_seconds"]),
        )
        for n, (a, b) in enumerate(rows)
    ]


def _matched(
    a: npt.NDArray[np.float64],
    image_a: npt.NDArray[Any],
    b: npt.NDArray[np.float64],
    image_b: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say which lie within an arc second of one of the other run, each the other's nearest."""
    if not (len(a) and len(b)):
        return np.zeros(len(a), bool), np.zeros(len(b), bool)
    from scipy.spatial import cKDTree

    reach = math.radians(_MATCHED_ARCSEC / 3600.0)
    # The image is a fourth coordinate: those of different images are far apart.
    places_a, places_b = (
        np.column_stack([_vectors(n), 10.0 * i]) for n, i in ((a, image_a), (b, image_b))
    )
    to_b: Any = cKDTree(places_b).query(places_a, distance_upper_bound=reach)
    to_a: Any = cKDTree(places_a).query(places_b, distance_upper_bound=reach)
    # Beyond the reach the nearest is none, a number past the end.
    back = np.append(to_a[1], len(a))[to_b[1]]
    matched_a = np.isfinite(to_b[0]) & (back == np.arange(len(a)))
    matched_b = np.zeros(len(b), bool)
    matched_b[to_b[1][matched_a]] = True
    return matched_a, matched_b


def _vectors(sky: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ra, dec = np.radians(sky[:, :2]).T
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def value_of(value: object) -> float:
    """Return a number, NaN for none."""
    return float(value) if isinstance(value, int | float) else math.nan
