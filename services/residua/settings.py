"""Settings that several services share; each service derives its own class from them."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ServiceSettings", "StorageSettings"]


class ServiceSettings(BaseSettings):
    """Base of all settings classes: environment variables with the prefix ``RESIDUA_``."""

    model_config = SettingsConfigDict(env_prefix="RESIDUA_", extra="ignore", frozen=True)

    log_json: bool = Field(True, description="Logs as JSON lines; else for a terminal.")
    log_level: str = Field("INFO", description="Lowest level that is logged.")
    instrument_directories: tuple[Path, ...] = Field(
        (), description="Directories with more instrument descriptions (YAML); JSON list."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        description="Port of /metrics (Prometheus), /live and /ready; 0 for none.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address that port listens on.")
    traces_endpoint: str | None = Field(
        None,
        description="Where spans of traces are sent (OTLP over HTTP, as "
        "http://collector:4318/v1/traces); needs the extra tracing. None: no spans are made.",
    )
    traces_ratio: float = Field(
        1.0, ge=0, le=1, description="Part of the traces that begin here which are recorded."
    )


class StorageSettings(ServiceSettings):
    """Where images may be read and are written."""

    input_roots: tuple[str, ...] = Field(
        (), description="Roots (directories or s3://bucket/prefix) visit images are read under."
    )
    template_roots: tuple[str, ...] = Field((), description="Roots templates are read under.")
    output_root: str = Field(description="Root difference images are written under.")
    zero_point: float | None = Field(
        None,
        description="AB magnitude of one unit per exposure, for files that do not say; "
        "without it such images stay in their own unit.",
    )
    lossless: bool = Field(False, description="Lossless instead of RICE compression.")
    missing_grace: float = Field(
        2.0,
        ge=0,
        description="Seconds after which an input that is missing, or has other bytes than "
        "announced, is read once more before that is final.",
    )
