"""Night summaries: what became of a night, once, when it is over."""

from typing import ClassVar

from pydantic import AwareDatetime, Field

from residua_schemas.base import Contract, Event
from residua_schemas.difference_image import Responsible

__all__ = ["FailureCount", "NightSummary"]


class FailureCount(Contract):
    """How often something went wrong."""

    error: str = Field(description="Name of the error.", examples=["CorruptFileError"])
    responsible: Responsible = Field(description="Who should act.")
    count: int = Field(ge=1, description="Visit-detectors.")


class NightSummary(Event):
    """The closing account of one instrument's night in one run; numbers count visit-detectors.

    What arrives later is in the catalog, and no second summary is sent of itself.
    """

    ce_type: ClassVar[str] = "org.residua.night-summary.v1"

    instrument: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="Instrument name as in Butler.",
        examples=["LSSTComCam"],
    )
    day_obs: int = Field(
        ge=19000101, le=99991231, description="Observing day, YYYYMMDD.", examples=[20261122]
    )
    run: str = Field(description="Run the outcomes belong to; empty when there was none.")
    visits: int = Field(ge=0, description="Visits announced or arrived.")
    planned: int = Field(ge=0, description="Announced one by one on next-visits.")
    exposed: int = Field(ge=0, description="Of visits of which anything arrived.")
    arrived: int = Field(ge=0, description="Whose image arrived.")
    created: int = Field(ge=0, description="Difference images.")
    skipped: int = Field(ge=0, description="Skipped.")
    failed: int = Field(ge=0, description="Failed.")
    public: int = Field(ge=0, description="Difference images whose pixels were public by then.")
    failures: tuple[FailureCount, ...] = Field(
        (), max_length=64, description="Failures by error, the most frequent first."
    )
    latency_median: float | None = Field(
        None, description="From the end of the exposure to the outcome, seconds, median."
    )
    latency_p95: float | None = Field(None, description="The same, 95th percentile.")
    sky_noise_median: float | None = Field(
        None, description="Standard deviation of the matched filter's S/N on the sky, median."
    )
    detections: int = Field(0, ge=0, description="Detections on its difference images.")
    closed: AwareDatetime = Field(description="When the account was closed.")

    @property
    def key(self) -> bytes:
        """Key of the Kafka record: instrument, observing day and run."""
        return f"{self.instrument}/{self.day_obs}/{self.run}".encode()
