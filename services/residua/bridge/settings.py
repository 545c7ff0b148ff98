"""Settings of the bridge."""

from pathlib import Path

from pydantic import Field

from residua.messaging.settings import ConsumerSettings

__all__ = ["BridgeSettings"]


class BridgeSettings(ConsumerSettings):
    """Environment variables ``RESIDUA_*``."""

    metrics_port: int | None = Field(
        9174, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )
    summit_topic: str = Field(
        "lsst.sal.ScriptQueue.logevent_nextVisit",
        description="Topic of nextVisit messages, Avro or JSON; taken as it stands here. Empty: "
        "none is read.",
    )
    schema_registry_url: str | None = Field(
        None, description="Confluent's schema registry, or one that answers like it."
    )
    surveys: tuple[str, ...] = Field(
        (), description="Surveys whose visits are announced; none given: all."
    )
    next_visit_age_limit: float = Field(
        600.0, gt=0, description="Seconds after which an announcement is passed over."
    )
    instrument_directories: tuple[Path, ...] = Field(
        (), description="Directories with descriptions of further instruments (YAML)."
    )
    outcomes_avro_topic: str = Field(
        "",
        description="Topic that gets every outcome as Avro with a registered schema; taken as it "
        "stands here. Empty: none.",
    )
    bridge_group: str = Field("residua-bridge", description="Kafka consumer group.")
    bridge_instance_id: str | None = Field(
        None, description="Static group membership: stable and unique per replica."
    )
    bridge_session_timeout: float = Field(30.0, gt=0, description="Group session, seconds.")
    bridge_batch: int = Field(100, ge=1, description="Most records in one step.")
    transient_attempts: int = Field(
        6, ge=1, description="Tries when the registry does not answer, before the bridge exits."
    )
    transient_pause: float = Field(
        0.5, ge=0, description="First pause between such tries, seconds; doubles, with jitter."
    )
