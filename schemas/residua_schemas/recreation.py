"""Requests for whole images that are not stored, and what workers answer."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from residua_schemas.base import Event
from residua_schemas.difference_image import DifferenceImageCreated

__all__ = ["RecreationAnswer", "RecreationRequest"]


class RecreationRequest(Event):
    """An image that is not stored is to be made again as it was, and put where all can read it.

    Of the same image in the same partition: who comes second finds it made.
    """

    ce_type: ClassVar[str] = "org.residua.recreation-request.v1"

    request_id: UUID = Field(description="Which request its answers are about.")
    outcome: DifferenceImageCreated = Field(description="The image, as it was announced.")
    valid_until: AwareDatetime = Field(
        description="When nobody waits for it any more: it is passed over then."
    )

    @property
    def key(self) -> bytes:
        """Key of the Kafka record: that of the outcome."""
        return self.outcome.key


class RecreationAnswer(Event):
    """How far a request is: its image is being made, is there, or cannot be made.

    The file counts, and not the answer: one that is lost is as good as one that comes late.
    """

    ce_type: ClassVar[str] = "org.residua.recreation-answer.v1"

    request_id: UUID = Field(description="Of the request.")
    dataset_id: UUID = Field(description="Of the image.")
    state: Literal["making", "made", "failed"] = Field(description="What became of it.")
    partition: int = Field(ge=0, description="Partition of the request's record.")
    offset: int = Field(ge=0, description="Its offset: requests before it were answered before.")
    error: str | None = Field(
        None, max_length=64, description="Name of the error.", examples=["LostInputError"]
    )
    message: str | None = Field(
        None, max_length=2000, description="What is wrong and what to do; for operators."
    )

    @property
    def key(self) -> bytes:
        """Key of the Kafka record: the request's id."""
        return str(self.request_id).encode()
