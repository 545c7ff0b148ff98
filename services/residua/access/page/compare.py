"""The same visits under two runs: what one found and the other did not, and how good both are."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from residua.access.page.matched import PairOfImages, paired, value_of

__all__ = ["COMPARED", "Comparison", "Spread", "compare_runs"]

type Ask = Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]

COMPARED = {
    "matched_filter_sn_std": "S",
    "pull_rms": "pull",
    "relative_residual": "left of stars",
    "astrometric_shift": "shift, pixels",
    "coverage": "coverage",
    "limiting_magnitude": "depth, mag",
    "psf_fwhm": "FWHM, arcsec",
    "kernel_sum": "photometric scale",
    "latency": "latency, s",
    "cpu_seconds": "CPU, s",
}
"""What is compared, in words."""

_COLUMNS = ", ".join(
    f"v.{name}"
    for name in (
        "visitdetectorid", "dataset_id", "instrument", "visit", "detector", "band", "outcome",
        "reason", "quality_flags", "sources", *COMPARED,
    )
)  # fmt: skip
_OF_RUN = "SELECT a.dataset_id FROM arrival_outcome a WHERE a.run = :run"


@dataclass(frozen=True)
class Spread:
    """One number in both runs, over the images that both have.

    Parameters
    ----------
    a, b
        Medians.
    change
        Median of b less a, image by image.
    largest
        95th percentile of the absolute change.
    images
        In how many both runs have it.
    """

    name: str
    a: float
    b: float
    change: float
    largest: float
    images: int


@dataclass(frozen=True)
class Comparison:
    """Two runs, side by side.

    Parameters
    ----------
    both, only_a, only_b
        Visit-detectors with an outcome in both, or in one alone.
    outcomes
        How often each pair of outcomes, ``created > failed``, was seen.
    detections
        Sums over ``pairs``; the same by detector.
    cpu_seconds
        Sums over the images of which both runs say what they cost, and how many these are.
    flags
        By quality flag: in how many images a had it alone, b alone, both.
    pairs
        Every image of both, those whose detections differ most first.
    """

    run_a: str
    run_b: str
    day_obs: tuple[int, int] | None
    both: int
    only_a: int
    only_b: int
    outcomes: Mapping[str, int]
    spreads: Sequence[Spread]
    detections: Mapping[str, int]
    by_detector: Mapping[int, Mapping[str, Any]]
    cpu_seconds: Mapping[str, float]
    flags: Mapping[str, Mapping[str, int]]
    pairs: Sequence[PairOfImages]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON; what was not measured is null."""
        found: dict[str, Any] = _without_nan(asdict(self))
        return found


def compare_runs(
    ask: Ask, run_a: str, run_b: str, day_obs: tuple[int, int] | None = None
) -> Comparison:
    """Compare two runs of one catalog.

    Parameters
    ----------
    ask
        Runs a statement with values and returns its rows.
    day_obs
        First and last observing day; `None` for all there are.
    """
    a, b = (_images(ask, run, day_obs) for run in (run_a, run_b))
    keys = sorted(a.keys() & b.keys())
    created = [k for k in keys if a[k]["outcome"] == b[k]["outcome"] == "created"]
    found_a, found_b = (_detections(ask, run, day_obs) for run in (run_a, run_b))
    rows = [(a[k], b[k]) for k in created]
    pairs = paired(rows, found_a, found_b)
    pairs.sort(key=lambda p: (-p.lost_bright - p.gained_bright, -p.lost - p.gained, p.visit))
    return Comparison(
        run_a,
        run_b,
        day_obs,
        both=len(keys),
        only_a=len(a.keys() - b.keys()),
        only_b=len(b.keys() - a.keys()),
        outcomes=dict(Counter(f"{a[k]['outcome']} > {b[k]['outcome']}" for k in keys)),
        spreads=_spreads(rows),
        detections=_summed(pairs),
        by_detector=_by_detector(pairs),
        cpu_seconds=_cost(pairs),
        flags=_flags(rows),
        pairs=pairs,
    )


def _where(day_obs: tuple[int, int] | None) -> str:
    return "" if day_obs is None else " AND a.day_obs BETWEEN :first AND :last"


def _values(run: str, day_obs: tuple[int, int] | None) -> dict[str, Any]:
    days = {} if day_obs is None else {"first": day_obs[0], "last": day_obs[1]}
    return {"run": run, **days}


def _images(
    ask: Ask, run: str, day_obs: tuple[int, int] | None
) -> dict[tuple[str, int, int], Mapping[str, Any]]:
    rows = ask(
        f'SELECT {_COLUMNS} FROM "visit_detector" v '  # noqa: S608 our own words
        f"WHERE v.dataset_id IN ({_OF_RUN}{_where(day_obs)})",
        _values(run, day_obs),
    )
    return {(str(r["instrument"]), int(r["visit"]), int(r["detector"])): r for r in rows}


def _detections(
    ask: Ask, run: str, day_obs: tuple[int, int] | None
) -> dict[int, npt.NDArray[np.float64]]:
    """Return right ascension, declination and S/N of what was found, by row of the image."""
    rows = ask(
        'SELECT d.visitdetectorid AS image, d.ra, d."dec", d.snr FROM "dia_source" d '  # noqa: S608 our own words
        'WHERE d.visitdetectorid IN (SELECT v.visitdetectorid FROM "visit_detector" v '
        f"WHERE v.dataset_id IN ({_OF_RUN}{_where(day_obs)}))",
        _values(run, day_obs),
    )
    found: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    for r in rows:
        if r["ra"] is not None and r["dec"] is not None:
            found[int(r["image"])].append((r["ra"], r["dec"], value_of(r["snr"])))
    return {image: np.array(values) for image, values in found.items()}


def _spreads(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Spread]:
    # None becomes NaN.
    a, b = (
        np.array([[row[side][name] for name in COMPARED] for row in rows], np.float64).reshape(
            -1, len(COMPARED)
        )
        for side in (0, 1)
    )
    return [_spread(name, np.column_stack([a[:, n], b[:, n]])) for n, name in enumerate(COMPARED)]


def _spread(name: str, values: npt.NDArray[np.float64]) -> Spread:
    known = values[np.isfinite(values).all(axis=1)]
    if not len(known):
        return Spread(name, math.nan, math.nan, math.nan, math.nan, 0)
    change = known[:, 1] - known[:, 0]
    a, b = (float(v) for v in np.median(known, axis=0))
    largest = float(np.percentile(np.abs(change), 95.0))
    return Spread(name, a, b, float(np.median(change)), largest, len(known))


def _summed(pairs: Sequence[PairOfImages]) -> dict[str, int]:
    names = ("common", "lost", "gained", "lost_bright", "gained_bright")
    return {name: sum(getattr(p, name) for p in pairs) for name in names}


def _cost(pairs: Sequence[PairOfImages]) -> dict[str, float]:
    known = [p for p in pairs if math.isfinite(p.cpu_a) and math.isfinite(p.cpu_b)]
    a, b = sum(p.cpu_a for p in known), sum(p.cpu_b for p in known)
    return {"a": a, "b": b, "images": len(known)}


def _by_detector(pairs: Sequence[PairOfImages]) -> dict[int, dict[str, Any]]:
    groups: dict[int, list[PairOfImages]] = defaultdict(list)
    for pair in pairs:
        groups[pair.detector].append(pair)
    found: dict[int, dict[str, Any]] = {}
    for detector, group in sorted(groups.items()):
        found[detector] = {
            "images": len(group),
            **_summed(group),
            **{
                name: _median([getattr(p, name) for p in group])
                for name in ("change_of_s", "cpu_a", "cpu_b")
            },
        }
    return found


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.median(known)) if known else math.nan


def _flags(
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for a, b in rows:
        in_a, in_b = (set(str(r["quality_flags"] or "").split("/")) - {""} for r in (a, b))
        for flag in in_a | in_b:
            kind = "both" if flag in in_a & in_b else "a" if flag in in_a else "b"
            found[flag][kind] += 1
    return {flag: {k: found[flag][k] for k in ("a", "b", "both")} for flag in sorted(found)}


def _without_nan(value: Any) -> Any:
    match value:
        case dict():
            return {k: _without_nan(v) for k, v in value.items()}
        case list() | tuple():
            return [_without_nan(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
