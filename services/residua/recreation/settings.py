"""Settings of everything that makes images again."""

from pydantic import Field

from residua.settings import ServiceSettings

__all__ = ["RecreationSettings"]


class RecreationSettings(ServiceSettings):
    """Environment variables ``RESIDUA_*``; those of the worker serve as they are."""

    input_roots: tuple[str, ...] | None = Field(
        None,
        description="Roots (directories or s3://bucket/prefix) visit images are read under; "
        "unset: wherever the outcome says they lie.",
    )
    template_roots: tuple[str, ...] | None = Field(
        None, description="The same of templates; unset: wherever the outcome says they lie."
    )
    output_root: str | None = Field(
        None,
        description="Root difference images are written under: what each run was made with is "
        "read there. Unset: the folder that the run's part of the file's own address lies in.",
    )
    moved_roots: dict[str, str] = Field(
        {},
        description="Where files lie now whose addresses in outcomes begin otherwise: from the "
        'old root to the new one, as {"s3://old": "s3://new/prefix"}.',
    )
    zero_point: float | None = Field(
        None, description="AB magnitude of one unit, for runs begun before 1.4 that had one."
    )
    lossless: bool = Field(False, description="Whether such runs were compressed without loss.")
    threads: int = Field(1, ge=1, description="Threads of one subtraction; change no bit.")
