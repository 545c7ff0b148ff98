"""Settings of the Butler registrar."""

from pathlib import Path

from pydantic import Field

from residua.butler.repository import COLLECTION
from residua.settings import KafkaSettings

__all__ = ["ButlerSettings"]


class ButlerSettings(KafkaSettings):
    """What the registrar is told, in ``RESIDUA_...`` variables."""

    butler_repo: str = Field(description="Directory or URI of the Butler repository.")
    butler_collection: str = Field(COLLECTION, description="Chain that users open.")
    butler_group: str = Field("residua-butler", description="Kafka consumer group.")
    butler_batch: int = Field(
        # Butler checks the existence of every file of a batch up to this size only.
        200,
        ge=1,
        le=200,
        description="Most events in one transaction.",
    )
    butler_batch_seconds: float = Field(
        0.5, gt=0, description="Longest wait for a batch to fill, seconds."
    )
    butler_attempts: int = Field(
        6, ge=1, description="Attempts at a batch that other writers got in the way of."
    )
    output_root: str = Field(description="Root under which difference images lie.")
    template_roots: tuple[str, ...] = Field((), description="Roots under which templates lie.")
    instrument_directories: tuple[Path, ...] = Field(
        (), description="Directories with more instrument descriptions (YAML)."
    )
