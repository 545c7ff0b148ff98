"""One night: how good it was and how fast, where, and what failed for whom to mend."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from residua.access.dali.errors import NotFoundError, UsageError
from residua.access.page.choice import Choice, whole_number
from residua.access.page.drawing.maps import ColorScale, focal_plane, sky_map
from residua.access.page.records import Records
from residua.access.page.render import base_path, page
from residua.access.work.context import access_of, caller_of
from residua.errors import UnknownInstrumentError
from residua.instruments import Instrument, InstrumentRegistry

__all__ = ["QUANTITIES", "router"]

router = APIRouter(prefix="/night", tags=["Page"], include_in_schema=False)

QUANTITIES = {
    "matched_filter_sn_std": "S: standard deviation of S/N, free sky",
    "pull_rms": "pull: rms of difference / sigma",
    "latency": "latency, s",
    "seeing": "seeing, arcsec",
    "limiting_magnitude": "depth, 5 sigma, AB mag",
    "coverage": "coverage by templates",
    "masked_fraction": "masked fraction",
    "relative_residual": "what is left of stars",
    "astrometric_shift": "shift, pixels",
    "kernel_sum": "photometric scale",
    "sources": "detections",
}
"""What can be looked at over a night, in words."""

_MJD_OF_1970 = 40_587.0


@router.get("")
async def newest(request: Request) -> Response:
    """Show the newest night."""
    nights = await to_thread.run_sync(_records(request).nights)
    if not nights:
        return page(request, "no_night.html", tab="night")
    return RedirectResponse(f"{base_path(request)}/night/{nights[0]}", status_code=307)


@router.get("/{day}")
async def night(request: Request, day: str) -> Response:
    """Show a night, by its observing day."""
    records, choice, quantity = _records(request), Choice.of(request), _quantity(request)
    return await to_thread.run_sync(partial(_night, request, records, choice, _day(day), quantity))


@router.get("/{day}/series.json")
async def series(request: Request, day: str) -> Response:
    """Return times, values and bands of a night's images."""
    records, choice, quantity = _records(request), Choice.of(request), _quantity(request)
    rows = await to_thread.run_sync(records.of_night, _day(day), choice)
    known = sorted(
        (r for r in rows if r["expmidptmjd"] is not None and r[quantity] is not None),
        key=lambda r: float(r["expmidptmjd"]),
    )
    return JSONResponse(
        {
            "label": QUANTITIES[quantity],
            "time": [round((r["expmidptmjd"] - _MJD_OF_1970) * 86_400.0, 1) for r in known],
            "value": [float(f"{r[quantity]:.5g}") for r in known],
            "band": [r["band"] or "?" for r in known],
            "name": [f"{r['visit']}/{r['detector']}" for r in known],
        },
        headers={"Cache-Control": "private, no-cache"},
    )


def _night(request: Request, records: Records, choice: Choice, day: int, quantity: str) -> Response:
    rows = records.of_night(day, choice)
    nights = records.nights()
    if not rows and day not in nights:
        raise NotFoundError(f"no outcome of {day}")
    created = [r for r in rows if r["outcome"] == "created"]
    by_detector: dict[int, list[float]] = defaultdict(list)
    for r in created:
        by_detector[int(r["detector"])].append(_value(r[quantity]))
    medians = {d: _median(v) for d, v in by_detector.items()}
    words = {d: f"{_shown(medians[d])} in {len(v)} images" for d, v in by_detector.items()}
    base = f"{base_path(request)}/night/{day}"
    plane = focal_plane(medians, words, _instrument(rows), base) if medians else ""
    values = [_value(r[quantity]) for r in created]
    return page(
        request,
        "night.html",
        tab="night",
        day=day,
        nights=nights,
        choice=choice.fields,
        filtered=bool(choice.words),
        quantity=quantity,
        quantities=QUANTITIES,
        counts=_counts(rows),
        accounts=records.accounts(day),
        bands=_by_band(created),
        failures=_failures(rows, day),
        plane=plane,
        plane_scale=ColorScale.of(list(medians.values())),
        sky=sky_map([r["s_region"] for r in created], values),
        sky_scale=ColorScale.of(values),
    )


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = dict.fromkeys(("outcomes", "created", "skipped", "failed", "flagged"), 0)
    found["outcomes"] = len(rows)
    for r in rows:
        found[r["outcome"]] += 1
        found["flagged"] += r["quality_flags"] is not None
    return found


def _by_band(created: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for r in created:
        groups[str(r["band"] or "?")].append(r)
    return [
        {
            "band": band,
            "number": len(rows),
            **{name: _median([_value(r[name]) for r in rows]) for name in _OF_BANDS},
            "latency_95": _percentile([_value(r["latency"]) for r in rows], 95.0),
            "flagged": sum(r["quality_flags"] is not None for r in rows),
        }
        for band, rows in sorted(groups.items(), key=lambda g: "ugrizy".find(g[0][:1]))
    ]


_OF_BANDS = ("matched_filter_sn_std", "pull_rms", "seeing", "limiting_magnitude", "latency")


def _failures(rows: Sequence[Mapping[str, Any]], day: int) -> list[dict[str, Any]]:
    """Group what has no image by its cause, the commonest first."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for r in rows:
        if r["outcome"] != "created":
            cause = (r["outcome"], str(r["reason"] or "?"), str(r["responsible"] or ""))
            groups[cause].append(r)
    found = []
    for (outcome, reason, responsible), group in groups.items():
        visits = sorted(int(r["visit"]) for r in group)
        found.append(
            {
                "outcome": outcome,
                "reason": reason,
                "responsible": responsible,
                "number": len(group),
                "detectors": len({r["detector"] for r in group}),
                "example": group[0],
                "command": f"residua replay --day-obs {day} --visits {visits[0]}:{visits[-1]} "
                f"--outcome {outcome} --force",
            }
        )
    return sorted(found, key=lambda g: (g["outcome"] != "failed", -g["number"]))


def _instrument(rows: Sequence[Mapping[str, Any]]) -> Instrument | None:
    names = {str(r["instrument"]) for r in rows}
    if len(names) != 1:
        return None
    try:
        return InstrumentRegistry().get(names.pop())
    except UnknownInstrumentError:
        return None


def _records(request: Request) -> Records:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    return Records(access, caller)


def _day(text: str) -> int:
    day = whole_number("day_obs", text)
    if day is None or len(text) != 8:
        raise UsageError(f"{text[:20]!r} is not an observing day, YYYYMMDD")
    return day


def _quantity(request: Request) -> str:
    name = request.query_params.get("quantity") or "matched_filter_sn_std"
    if name not in QUANTITIES:
        raise UsageError(f"quantity {name[:30]!r} is none of {', '.join(QUANTITIES)}")
    return name


def _value(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _median(values: Sequence[float]) -> float:
    return _percentile(values, 50.0)


def _percentile(values: Sequence[float], percent: float) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.percentile(finite, percent)) if finite else math.nan


def _shown(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not measured"
