"""Looking for a place on the sky, for an answer of TAP; two runs side by side."""

from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from residua.access.dali.errors import NotFoundError, RequestError, UsageError
from residua.access.limits.places import in_thread
from residua.access.page.choice import whole_number
from residua.access.page.compare import COMPARED, compare_runs
from residua.access.page.records import Records
from residua.access.page.render import base_path, page
from residua.access.rights.release import may_see_all
from residua.access.store.query_limits import Limits
from residua.access.work.context import access_of, caller_of, cancellation_of, public_url
from residua.access.work.query import translated, views_of
from residua.sphere.regions import RegionError, parse_region

__all__ = ["router"]

router = APIRouter(tags=["Page"], include_in_schema=False)

_ROWS = 200
_PAIRS = 50

_CONE = """SELECT TOP 200 o.lsst_visit, o.lsst_detector, o.lsst_band, o.t_min, o.s_ra, o.s_dec,
  o.obs_publisher_did
FROM ivoa.ObsCore AS o
WHERE o.dataproduct_subtype = 'lsst.difference_image'
  AND 1 = INTERSECTS(CIRCLE('ICRS', {ra!r}, {dec!r}, {radius!r}), o.s_region)
ORDER BY o.t_min DESC"""

EXAMPLES = {
    "The newest detections of high significance": """SELECT TOP 50 d.visit, d.detector, d.ra, d.dec,
  d.snr, d.psfFlux, d.psfFluxErr
FROM residua.dia_source AS d
WHERE d.snr > 10 AND d.pixelFlags = 0
ORDER BY d.midpointMjdTai DESC""",
    "What failed, and for whom to mend": """SELECT v.reason, v.responsible, COUNT(*) AS n
FROM residua.visit_detector AS v
WHERE v.outcome = 'failed'
GROUP BY v.reason, v.responsible""",
    "A night's account: planned, arrived, and what became of it": """SELECT p.day_obs, v.run,
  COUNT(p.obs_id) AS known, SUM(p.planned) AS planned,
  SUM(CASE WHEN p.execution_status = 'Performed' THEN 1 ELSE 0 END) AS exposed,
  SUM(p.arrived) AS arrived,
  SUM(CASE WHEN v.outcome = 'created' THEN 1 ELSE 0 END) AS created,
  SUM(CASE WHEN v.outcome = 'skipped' THEN 1 ELSE 0 END) AS skipped,
  SUM(CASE WHEN v.outcome = 'failed' THEN 1 ELSE 0 END) AS failed,
  SUM(CASE WHEN o.obs_id IS NOT NULL AND o.obs_release_date IS NULL THEN 1 ELSE 0 END) AS public
FROM ivoa.obsplan AS p
LEFT JOIN residua.visit_detector AS v ON v.instrument = p.instrument_name
  AND v.visit = p.lsst_visit AND v.detector = p.lsst_detector
LEFT JOIN ivoa.ObsCore AS o ON o.instrument_name = p.instrument_name
  AND o.lsst_visit = p.lsst_visit AND o.lsst_detector = p.lsst_detector
  AND o.obs_publisher_did LIKE '%' || v.dataset_id
WHERE p.day_obs = 20261122
GROUP BY p.day_obs, v.run""",
    "Noise and depth by band": """SELECT v.band, COUNT(*) AS images,
  AVG(v.matched_filter_sn_std) AS s, AVG(v.limiting_magnitude) AS depth
FROM residua.visit_detector AS v
WHERE v.outcome = 'created'
GROUP BY v.band""",
}


@router.get("/search")
async def search(request: Request) -> Response:
    """Ask by place, or in ADQL; the answer's first rows."""
    asked = request.query_params
    adql, problem = asked.get("adql", "").strip(), None
    cone = {name: asked.get(name, "").strip() for name in ("ra", "dec", "radius")}
    columns: list[str] = []
    rows: list[tuple[Any, ...]] = []
    try:
        if cone["ra"] or cone["dec"]:
            adql = _cone(cone)
        if adql:
            columns, rows = await _answer(request, adql)
    except RequestError as e:
        problem = e.message
    return page(
        request,
        "search.html",
        tab="search",
        cone=cone,
        adql=adql,
        problem=problem,
        columns=columns,
        rows=rows[:_ROWS],
        more=len(rows) > _ROWS,
        examples=EXAMPLES,
        lengths={"did": "obs_publisher_did"},
    )


@router.get("/explain/{visit}/{detector}")
async def explained(request: Request, visit: int, detector: int) -> Response:
    """Lead to the newest image of a visit-detector, and what is said of it."""
    found = await to_thread.run_sync(_records(request).of_visit, visit, detector)
    if not found:
        raise NotFoundError(f"no outcome of {visit}/{detector}")
    query = f"?{request.url.query}" if request.url.query else ""
    target = f"{base_path(request)}/view/{found[0]['dataset_id']}{query}#explained"
    return RedirectResponse(target, status_code=307)


@router.get("/compare")
async def compare(request: Request) -> Response:
    """Show two runs side by side, over one night."""
    asked, records = request.query_params, _records(request)
    run_a, run_b = asked.get("a", "").strip(), asked.get("b", "").strip()
    nights = await to_thread.run_sync(records.nights)
    day = whole_number("day", asked.get("day") or None)
    if day is None and nights:
        day = nights[0]
    runs = [] if day is None else await to_thread.run_sync(records.runs, day)
    found = None
    if run_a and run_b and day is not None:
        access, caller = access_of(request), caller_of(request)
        async with access.queries.place(caller.key):
            work = partial(compare_runs, records.ask, run_a, run_b, (day, day))
            found = await in_thread(work)
    return page(
        request,
        "compare.html",
        tab="compare",
        runs=runs,
        a=run_a,
        b=run_b,
        day=day,
        nights=nights,
        found=found,
        words=COMPARED,
        most=_PAIRS,
    )


def _cone(cone: dict[str, str]) -> str:
    radius = cone["radius"] or "0.01"
    try:
        parse_region(f"CIRCLE {cone['ra']} {cone['dec']} {radius}")
        values = {"ra": float(cone["ra"]), "dec": float(cone["dec"]), "radius": float(radius)}
    except (RegionError, ValueError) as e:
        raise UsageError(f"not a place on the sky: {e}") from e
    return _CONE.format(**values)


async def _answer(request: Request, adql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run a query as TAP does, with its rights, its limits and its place in the line."""
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.tap_scope)

    def run() -> tuple[list[str], list[tuple[Any, ...]]]:
        translation = translated(access, adql, _ROWS)
        limits = Limits(access.settings.sync_seconds, cancellation_of(request))
        views = views_of(access, sees_all=may_see_all(access.settings, caller))
        batches = access.catalog.rows(translation, limits, views, service=public_url(request))
        rows = [row for batch in batches for row in batch]
        return [c.display or c.name for c in translation.columns], rows

    async with access.queries.place(caller.key):
        return await in_thread(run)


def _records(request: Request) -> Records:
    access, caller = access_of(request), caller_of(request)
    caller.require(access.settings.read_scope)
    return Records(access, caller)
