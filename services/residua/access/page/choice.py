"""What is looked at: filters, as they stand in the address."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fastapi import Request

from residua.access.dali.errors import UsageError

__all__ = ["Choice", "whole_number"]

_OUTCOMES = frozenset({"created", "skipped", "failed"})


@dataclass(frozen=True)
class Choice:
    """Conditions that must all hold; `None` holds always.

    Parameters
    ----------
    outcome
        created, skipped or failed.
    responsible
        Who can mend a failure.
    flagged
        Only images with a quality flag.
    before
        Only records older than this, ms since 1970: the next page of a list.
    """

    instrument: str | None = None
    band: str | None = None
    detector: int | None = None
    visit: int | None = None
    outcome: str | None = None
    responsible: str | None = None
    run: str | None = None
    flagged: str | None = None
    before: int | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """Read the query of an address; raises `UsageError`."""
        asked = {k: v.strip() for k, v in request.query_params.items() if v.strip()}
        outcome = asked.get("outcome")
        if outcome is not None and outcome not in _OUTCOMES:
            raise UsageError(f"outcome {outcome[:20]!r} is none of created, skipped, failed")
        return cls(
            instrument=asked.get("instrument"),
            band=asked.get("band"),
            detector=whole_number("detector", asked.get("detector")),
            visit=whole_number("visit", asked.get("visit")),
            outcome=outcome,
            responsible=asked.get("responsible"),
            run=asked.get("run"),
            flagged="yes" if asked.get("flagged") else None,
            before=whole_number("before", asked.get("before")),
        )

    @property
    def words(self) -> dict[str, Any]:
        """Those that are given, as in the address."""
        return {k: v for k, v in asdict(self).items() if v is not None}

    @property
    def fields(self) -> dict[str, Any]:
        """All of them, for the form."""
        return asdict(self)

    def conditions(self) -> tuple[list[str], Mapping[str, Any]]:
        """Return conditions in SQL, on ``arrival_outcome a`` and ``visit_detector v``."""
        found = [
            f"{column} = :{name}"
            for name, column in _COLUMNS.items()
            if getattr(self, name) is not None
        ]
        if self.flagged is not None:
            found.append("v.quality_flags IS NOT NULL")
        if self.before is not None:
            found.append("a.recorded_ms < :before")
        return found, self.words


_COLUMNS = {
    "instrument": "v.instrument",
    "band": "v.band",
    "detector": "v.detector",
    "visit": "v.visit",
    "outcome": "a.outcome",
    "responsible": "v.responsible",
    "run": "v.run",
}


def whole_number(name: str, text: str | None) -> int | None:
    """Read a number of an address; raises `UsageError`."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise UsageError(f"{name} {text[:30]!r} is not a whole number")
    return int(text)
