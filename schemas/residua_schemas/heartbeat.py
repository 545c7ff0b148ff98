"""Heartbeats: a service that has nothing to do says so, and one that is dead says nothing."""

from datetime import datetime
from typing import ClassVar

from pydantic import AwareDatetime, Field

from residua_schemas.base import Event
from residua_schemas.visit import VisitDetector

__all__ = ["Heartbeat"]


class Heartbeat(Event):
    """A service is alive and reaches the brokers; silence for three intervals means it does not.

    Sent by each process of a service, whether there is work or not.
    """

    ce_type: ClassVar[str] = "org.residua.heartbeat.v1"

    service: str = Field(
        pattern=r"^[a-z][a-z-]{0,31}$", description="Name of the service.", examples=["worker"]
    )
    instance: str = Field(
        min_length=1,
        max_length=128,
        description="Which of them: its static name in the group, else host and process.",
        examples=["residua-worker-0"],
    )
    version: str = Field(max_length=64, description="Version of Residua.", examples=["0.1.0"])
    run: str | None = Field(None, description="Run a worker's outcomes belong to.")
    sent: AwareDatetime = Field(description="When it was sent.")
    started: AwareDatetime = Field(description="When the process began its work.")
    interval: float = Field(gt=0, description="Seconds until the next one.", examples=[10.0])
    handled: int = Field(0, ge=0, description="Records handled since the start.")
    in_hand: VisitDetector | None = Field(None, description="What a worker has in hand.")

    @property
    def key(self) -> bytes:
        """Key of the Kafka record: service and instance."""
        return f"{self.service}/{self.instance}".encode()

    def silent_for(self, now: datetime) -> float:
        """Seconds since it was sent; more than three intervals: nobody is there any more."""
        return (now - self.sent).total_seconds()
