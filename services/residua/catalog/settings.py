"""Settings of the catalog consumer."""

from typing import Literal

from pydantic import Field

from residua.catalog.rows import Site
from residua.catalog.writing.transaction import PlanTopics
from residua.messaging.settings import ConsumerSettings
from residua_schemas import NEXT_VISITS, VISIT_ARRIVALS

__all__ = ["CatalogSettings"]


class CatalogSettings(ConsumerSettings):
    """Environment variables ``RESIDUA_*``."""

    metrics_port: int | None = Field(
        9170, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )

    catalog_url: str = Field(
        "sqlite:///residua-catalog.sqlite",
        description="SQLAlchemy URL: SQLite, or postgresql+psycopg://user:password@host/database.",
    )
    obs_collection: str = Field("Residua", description="ObsCore collection of all rows.")
    authority: str = Field("org.residua", description="IVOA authority of the publisher DIDs.")
    embargo_hours: float = Field(
        0.0,
        ge=0,
        description="Hours after the exposure until its pixels are public, proprietary ones too: "
        "obs_release_date of new rows; 0 states none. Give the access service the same.",
    )
    data_rights: Literal["public", "secure", "proprietary"] | None = Field(
        None, description="Who may have the pixels: data_rights of new rows."
    )

    detection_roots: tuple[str, ...] = Field(
        (),
        description="Roots the tables of detections lie under: the worker's output root. Without "
        "them dia_source stays empty.",
    )

    catalog_group: str = Field("residua-catalog", description="Kafka consumer group.")
    catalog_instance_id: str | None = Field(
        None, description="Static group membership: stable and unique per replica."
    )
    batch_records: int = Field(500, ge=1, description="Most records in one transaction.")
    catalog_session_timeout: float = Field(30.0, gt=0, description="Group session, seconds.")

    night_summary_hours: float = Field(
        2.0,
        description="Hours from the end of an observing day (noon, UTC) to its night's summary "
        "on night-summaries; telescopes whose night ends later need more.",
    )

    @property
    def plan_topics(self) -> PlanTopics:
        """Topics of announcements and arrivals."""
        return PlanTopics(self.topic_name(NEXT_VISITS), self.topic_name(VISIT_ARRIVALS))

    @property
    def site(self) -> Site:
        """Names that stand in every row."""
        return Site(
            obs_collection=self.obs_collection,
            authority=self.authority,
            embargo_hours=self.embargo_hours,
            data_rights=self.data_rights,
        )
