"""A night's account, asked for in one query: planned, exposed, arrived, and what became of it."""

from collections.abc import Mapping
from typing import Any

__all__ = ["LEDGER_SQL", "ledger_values"]

LEDGER_SQL = """
SELECT COUNT(DISTINCT p.obs_id) AS visits,
  SUM(p.planned) AS planned,
  SUM(CASE WHEN p.execution_status = 'Performed' AND p.lsst_detector IS NOT NULL
      THEN 1 ELSE 0 END) AS exposed,
  SUM(p.arrived) AS arrived,
  SUM(CASE WHEN v.outcome = 'created' THEN 1 ELSE 0 END) AS created,
  SUM(CASE WHEN v.outcome = 'skipped' THEN 1 ELSE 0 END) AS skipped,
  SUM(CASE WHEN v.outcome = 'failed' THEN 1 ELSE 0 END) AS failed,
  SUM(CASE WHEN o.obs_release_date <= :now OR (o.dataset_id IS NOT NULL
        AND o.obs_release_date IS NULL AND COALESCE(o.data_rights, 'public') = 'public')
      THEN 1 ELSE 0 END) AS public
FROM {plan} p
LEFT JOIN {outcomes} v ON v.instrument = p.instrument_name AND v.visit = p.lsst_visit
  AND v.detector = p.lsst_detector AND v.run = :run
LEFT JOIN {images} o ON o.dataset_id = v.dataset_id
WHERE p.day_obs = :day AND p.instrument_name = :instrument
"""
"""Numbers of one instrument's night in one run; the names of the three tables are to be filled in.

As ADQL it stands in the page's examples: `ivoa.obsplan`, `residua.visit_detector`, `ivoa.ObsCore`.
"""

_NAMES = ("visits", "planned", "exposed", "arrived", "created", "skipped", "failed", "public")


def ledger_values(row: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of a row of `LEDGER_SQL`; of a night that nobody knows all are 0."""
    return {name: int(row[name] or 0) for name in _NAMES}
