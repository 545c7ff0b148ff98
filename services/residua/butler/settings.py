"""Settings of the Butler registrar."""

from pydantic import Field

from residua.butler.repository import COLLECTION
from residua.messaging.settings import ConsumerSettings

__all__ = ["ButlerSettings"]


class ButlerSettings(ConsumerSettings):
    """Environment variables ``RESIDUA_*``."""

    metrics_port: int | None = Field(
        9171, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )

    butler_repo: str = Field(description="Directory or URI of the Butler repository.")
    butler_collection: str = Field(COLLECTION, description="Chain that users open.")
    output_root: str = Field(description="Root difference images lie under.")
    template_roots: tuple[str, ...] = Field((), description="Roots templates lie under.")
    input_roots: tuple[str, ...] = Field(
        (),
        description="Roots visit images lie under; those that are lsst.images archives are "
        "registered as visit_image. None registers none.",
    )

    butler_group: str = Field("residua-butler", description="Kafka consumer group.")
    butler_instance_id: str | None = Field(
        None, description="Static group membership: stable and unique per replica."
    )
    butler_batch_records: int = Field(
        # Of a larger batch Butler does not look whether every file is there.
        200,
        ge=1,
        le=200,
        description="Most records in one batch.",
    )
    butler_attempts: int = Field(
        6, ge=1, description="Attempts at a batch that other writers got in the way of."
    )
    butler_session_timeout: float = Field(30.0, gt=0, description="Group session, seconds.")
