"""Dead letters: records that cannot be read or served, kept whole."""

from typing import ClassVar, Literal

from pydantic import Base64Bytes, Field

from residua_schemas.base import Contract, Event
from residua_schemas.difference_image import Responsible

__all__ = ["DeadLetter", "RecordHeader"]


class RecordHeader(Contract):
    """One header of the original record; names may repeat."""

    name: str
    value: Base64Bytes | None = None


class DeadLetter(Event):
    """A record that could not be read, with its original bytes and place."""

    ce_type: ClassVar[str] = "org.residua.dead-letter.v1"

    error: str = Field(description="Name of the error.", examples=["MalformedEventError"])
    responsible: Responsible
    message: str = Field(description="One sentence for a person: what is wrong, and the remedy.")
    service: str = Field(description="The service that could not read it.")
    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    key: Base64Bytes | None = Field(None, description="Original key, base64.")
    value: Base64Bytes | None = Field(None, description="Original value, base64.")
    headers: tuple[RecordHeader, ...] = Field((), description="Original headers in order.")
    resolution: Literal["requeued", "dismissed"] | None = Field(
        None,
        description="Of a letter written again, under the same key, when somebody had dealt with "
        "it: its record was sent again, or needs nothing more.",
    )
    requeued_as: str | None = Field(
        None,
        description="Place (topic/partition/offset) of the record that was sent again; another "
        "letter has this place if that was refused as well.",
        examples=["visit-arrivals/0/17"],
    )

    @property
    def record_key(self) -> bytes:
        """Key of the dead letter's own Kafka record: the original place."""
        return f"{self.topic}/{self.partition}/{self.offset}".encode()
