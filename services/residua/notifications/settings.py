"""Settings of the bucket-notification adapter."""

import re

from pydantic import Field, field_validator

from residua.messaging.settings import ConsumerSettings

__all__ = ["NotificationSettings"]


class NotificationSettings(ConsumerSettings):
    """Environment variables ``RESIDUA_*``."""

    metrics_port: int | None = Field(
        9172, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )

    notification_topic: str = Field(
        "bucket-notifications", description="Topic the store sends to; taken as it stands here."
    )
    input_roots: tuple[str, ...] = Field(
        (), description="Roots (s3://bucket/prefix) of visit images; other objects are ignored."
    )
    key_pattern: str = Field(
        r"\.fits?(\.fz|\.gz)?$",
        description="Regular expression found in the key of every visit image. Groups named "
        "instrument, visit, detector (number or name), band, physical_filter, day_obs, group or "
        "obs_id (MC_O_20251120_000123) tell what the header does not.",
    )
    sidecar_group_key: str | None = Field(
        None,
        description="Key under which a JSON file beside each image (its name with .json) has the "
        "group, where header and key have none: GROUPID at Rubin.",
    )
    notification_group: str = Field("residua-notifications", description="Kafka consumer group.")
    notification_instance_id: str | None = Field(
        None, description="Static group membership: stable and unique per replica."
    )
    notification_session_timeout: float = Field(30.0, gt=0, description="Group session, seconds.")
    notification_batch: int = Field(20, ge=1, description="Most notifications in one step.")
    transient_attempts: int = Field(
        6, ge=1, description="Tries when the store does not answer, before the adapter exits."
    )
    transient_pause: float = Field(
        0.5, ge=0, description="First pause between such tries, seconds; doubles, with jitter."
    )

    @field_validator("key_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as e:
            raise ValueError(f"not a regular expression: {e}") from e
        return pattern
