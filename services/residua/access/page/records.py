"""What the catalog knows, as the page asks for it; nobody sees rows that are not theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from residua.access.page.choice import Choice
from residua.access.rights.release import may_see_all
from residua.access.rights.tokens import Caller
from residua.access.store.query_limits import Limits
from residua.access.work.context import Access
from residua.access.work.query import views_of
from residua.obscore.nights import LEDGER_SQL, ledger_values

__all__ = ["Counts", "Records"]

type Found = Sequence[Mapping[str, Any]]

_DAY_MS = 86_400_000
_NIGHTS = 40
_RUNS = 5

_LISTED = """
SELECT a.dataset_id, a.number, a.run, a.instrument, a.visit, a.detector, a.outcome, a.day_obs,
  a.recorded_ms, v.visitdetectorid, v.outcome AS in_force, v.revision, v.reason, v.responsible,
  v.message, v.band, v.latency, v.seeing, v.psf_fwhm, v.matched_filter_sn_std, v.pull_rms,
  v.coverage, v.limiting_magnitude, v.detections_positive, v.detections_negative, v.sources,
  v.quality_flags, v.expmidptmjd
FROM arrival_outcome a JOIN "visit_detector" v ON v.dataset_id = a.dataset_id
"""

_OF_NIGHTS = """
v.dataset_id, v.instrument, v.visit, v.detector, v.run, v.outcome, v.reason, v.responsible,
v.message, v.band, v.expmidptmjd, v.latency, v.seeing, v.matched_filter_sn_std, v.pull_rms,
v.limiting_magnitude, v.coverage, v.masked_fraction, v.relative_residual, v.astrometric_shift,
v.kernel_sum, v.sources, v.quality_flags
"""


@dataclass(frozen=True)
class Counts:
    """Outcomes within a window.

    Parameters
    ----------
    since, until
        Times of their records, ms since 1970.
    lately
        Outcomes within the last five minutes of the window.
    """

    since: int
    until: int
    created: int = 0
    skipped: int = 0
    failed: int = 0
    lately: int = 0

    @property
    def outcomes(self) -> int:
        """All of them."""
        return self.created + self.skipped + self.failed


@dataclass(frozen=True)
class Records:
    """Asks the catalog for one caller."""

    access: Access
    caller: Caller

    def ask(self, sql: str, values: Mapping[str, Any] | None = None) -> Found:
        """Run a statement of ours; tables in quotes stand for the rows the caller may see."""
        settings = self.access.settings
        views = views_of(self.access, sees_all=may_see_all(settings, self.caller))
        limits = Limits(settings.sync_seconds)
        return self.access.catalog.select(sql, values or {}, limits, views)

    def window(self) -> tuple[int, int]:
        """Return the day before the newest outcome: beginning and end, ms since 1970."""
        [row] = self.ask("SELECT MAX(recorded_ms) AS newest FROM arrival_outcome")
        newest = int(row["newest"] or 0)
        return max(0, newest - _DAY_MS), newest

    def state(self) -> tuple[int, int]:
        """Return what changes with every outcome: newest record and how many there are of late."""
        since, until = self.window()
        [row] = self.ask(
            "SELECT COUNT(*) AS n FROM arrival_outcome WHERE recorded_ms >= :since",
            {"since": since},
        )
        return until, int(row["n"])

    def counts(self, choice: Choice) -> Counts:
        """Count the outcomes of the last day there are any of."""
        since, until = self.window()
        conditions, values = choice.conditions()
        # Without filters an index alone answers.
        joined = bool(conditions) or not self.access.settings.list_unreleased
        join = 'JOIN "visit_detector" v ON v.dataset_id = a.dataset_id' if joined else ""
        where = " AND ".join(["a.recorded_ms >= :since", *conditions])
        rows = self.ask(
            f"SELECT a.outcome AS outcome, COUNT(*) AS n, "  # noqa: S608 our own words
            "SUM(CASE WHEN a.recorded_ms >= :lately THEN 1 ELSE 0 END) AS lately "
            f"FROM arrival_outcome a {join} WHERE {where} GROUP BY a.outcome",
            {**values, "since": since, "lately": until - 300_000},
        )
        found = {str(row["outcome"]): int(row["n"]) for row in rows}
        return Counts(since, until, **found, lately=sum(int(r["lately"] or 0) for r in rows))

    def newest(self, choice: Choice, number: int) -> Found:
        """List the newest outcomes of the last day there are any of."""
        conditions, values = choice.conditions()
        where = " AND ".join(["a.recorded_ms >= :since", *conditions])
        return self.ask(
            f"{_LISTED} WHERE {where} ORDER BY a.recorded_ms DESC, a.dataset_id LIMIT :number",
            {**values, "since": self.window()[0], "number": number},
        )

    def nights(self, number: int = _NIGHTS) -> list[int]:
        """Observing days with outcomes, the newest first, by as many looks into an index."""
        found: list[int] = []
        day = 10**9
        while len(found) < number:
            sql = "SELECT MAX(day_obs) AS day FROM arrival_outcome WHERE day_obs < :day"
            [row] = self.ask(sql, {"day": day})
            if row["day"] is None:
                break
            day = int(row["day"])
            found.append(day)
        return found

    def plan(self, day: int) -> Mapping[str, int]:
        """Count what of an observing day was announced, planned and has arrived."""
        if not self._knows_plans():
            return {}
        [row] = self.ask(
            "SELECT COUNT(DISTINCT CASE WHEN planned = 1 OR lsst_detector IS NULL "
            "THEN obs_id END) AS announced, SUM(planned) AS planned, SUM(arrived) AS arrived "
            'FROM "obsplan" p WHERE day_obs = :day',
            {"day": day},
        )
        return {name: int(row[name] or 0) for name in ("announced", "planned", "arrived")}

    def accounts(self, day: int) -> list[dict[str, Any]]:
        """Account for an observing day: planned to public, one entry an instrument and run."""
        if not self._knows_plans():
            return []
        found: list[dict[str, Any]] = []
        asked = 'SELECT DISTINCT instrument_name AS name FROM "obsplan" p WHERE day_obs = :day'
        for instrument in sorted(str(row["name"]) for row in self.ask(asked, {"day": day})):
            runs = self.ask(
                "SELECT run FROM arrival_outcome WHERE day_obs = :day AND instrument = :instrument "
                "GROUP BY run ORDER BY MAX(recorded_ms) DESC, run LIMIT :number",
                {"day": day, "instrument": instrument, "number": _RUNS},
            )
            for run in [str(row["run"]) for row in runs] or [""]:
                sql = LEDGER_SQL.format(
                    plan='"obsplan"', outcomes='"visit_detector"', images='"obscore"'
                )
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
                values = {"day": day, "instrument": instrument, "run": run, "now": now}
                [row] = self.ask(sql, values)
                found.append({"instrument": instrument, "run": run, **ledger_values(row)})
        return found

    def _knows_plans(self) -> bool:
        """Whether the catalog has the table; one that no newer consumer has opened lacks it."""
        if self.access.catalog.kind == "postgresql":
            sql = "SELECT has_table_privilege(to_regclass('obsplan'), 'SELECT') AS there"
        else:
            sql = "SELECT COUNT(*) AS there FROM sqlite_master WHERE name = 'obsplan'"
        [row] = self.ask(sql)
        return bool(row["there"])

    def visit_detector(self, dataset_id: str) -> Mapping[str, Any] | None:
        """Return what became of one visit-detector in one run."""
        sql = 'SELECT v.* FROM "visit_detector" v WHERE v.dataset_id = :dataset_id'
        return next(iter(self.ask(sql, {"dataset_id": dataset_id})), None)

    def of_visit(self, visit: int, detector: int, instrument: str | None = None) -> Found:
        """Return the rows of a visit-detector, one a run, the newest first."""
        more = " AND v.instrument = :instrument" if instrument else ""
        return self.ask(
            'SELECT v.* FROM "visit_detector" v WHERE v.visit = :visit '  # noqa: S608 our own words
            f"AND v.detector = :detector{more} ORDER BY v.visitdetectorid DESC",
            {"visit": visit, "detector": detector, "instrument": instrument},
        )

    def history(self, dataset_id: str) -> Found:
        """Return every outcome of a dataset, the newest first."""
        return self.ask(
            "SELECT number, outcome, recorded_ms, arrival FROM arrival_outcome "
            "WHERE dataset_id = :dataset_id ORDER BY number DESC",
            {"dataset_id": dataset_id},
        )

    def detections(self, image: int, number: int) -> Found:
        """Return the detections on an image, by row of ``visit_detector``, the brightest first."""
        return self.ask(
            'SELECT d.* FROM "dia_source" d WHERE d.visitdetectorid = :image '
            "ORDER BY ABS(d.snr) DESC, d.diasourceid LIMIT :number",
            {"image": image, "number": number},
        )

    def of_night(self, day: int, choice: Choice) -> Found:
        """Return what became of the visit-detectors of an observing day, with footprints."""
        conditions, values = replace(choice, before=None).conditions()
        where = "".join(f" AND {c.replace('a.outcome', 'v.outcome')}" for c in conditions)
        return self.ask(
            f'SELECT {_OF_NIGHTS}, o.s_region FROM "visit_detector" v '  # noqa: S608 our own words
            'LEFT JOIN "obscore" o ON o.dataset_id = v.dataset_id '
            "WHERE v.dataset_id IN (SELECT dataset_id FROM arrival_outcome WHERE day_obs = :day)"
            f"{where}",
            {**values, "day": day},
        )

    def runs(self, day: int) -> list[str]:
        """Return the runs that have outcomes of an observing day."""
        sql = "SELECT DISTINCT run FROM arrival_outcome WHERE day_obs = :day ORDER BY run"
        return [str(row["run"]) for row in self.ask(sql, {"day": day})]
