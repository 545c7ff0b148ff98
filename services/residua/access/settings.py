"""Settings of the access service."""

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from residua.messaging.settings import KafkaSettings

__all__ = ["AccessSettings"]


_TABLE_NAME = "^[A-Za-z][A-Za-z0-9_]*[.][A-Za-z][A-Za-z0-9_]*$"


class AccessSettings(KafkaSettings):
    """Environment variables ``RESIDUA_*``."""

    metrics_port: int | None = Field(
        9173, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )

    catalog_url: str = Field(
        "sqlite:///residua-catalog.sqlite",
        description="SQLAlchemy URL of the catalog; a role that may only read is enough.",
    )
    jobs_url: str | None = Field(
        None, description="SQLAlchemy URL of the table of TAP jobs; by default the catalog's."
    )
    results_directory: Path | None = Field(
        None,
        description="Where results of TAP jobs are kept; by default a temporary directory, which "
        "ends with the service.",
    )
    image_roots: tuple[str, ...] = Field(
        (), description="Roots (directories or s3://bucket/prefix) files are delivered from."
    )

    input_roots: tuple[str, ...] = Field(
        (),
        description="Roots visit images are read under, beside image_roots, when an image that is "
        "not kept is made again.",
    )
    template_roots: tuple[str, ...] = Field((), description="The same of templates.")

    moved_roots: dict[str, str] = Field(
        {},
        description="Where files lie now whose addresses in the catalog begin otherwise: from the "
        'old root to the new one, as {"s3://old": "s3://new/prefix"}.',
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on.")
    public_url: str | None = Field(
        None, description="URL clients reach this service under; by default what they asked for."
    )

    collection: str = Field(
        "residua",
        pattern="[A-Za-z0-9_-]+",
        description="Name of what is served: in /api/sia/NAME/query, and for lsst.rsp.",
    )
    cors_origins: tuple[str, ...] = Field(
        ("*",), description="Origins whose pages may read from here; none turns it off."
    )

    default_rows: int = Field(10_000, ge=1, description="MAXREC when a client gives none.")
    max_rows: int = Field(1_000_000, ge=1, description="Largest MAXREC.")
    sync_seconds: float = Field(60.0, gt=0, description="Longest synchronous query, seconds.")
    async_seconds: float = Field(600.0, gt=0, description="Longest asynchronous query, seconds.")
    job_days: float = Field(7.0, gt=0, description="How long jobs are kept, days.")
    concurrent_queries: int = Field(
        8, ge=1, description="TAP queries that run at once; one caller has at most half."
    )
    concurrent_searches: int = Field(
        8, ge=1, description="SIA searches that run at once; one caller has at most half."
    )
    concurrent_jobs: int = Field(2, ge=1, description="Asynchronous jobs that run at once.")
    concurrent_cutouts: int = Field(
        4,
        ge=1,
        description="Cutouts that are made at once; large ones have one place of their own.",
    )
    recreate_by: Literal["here", "workers"] = Field(
        "here",
        description="Who makes whole images that are not kept: processes of this service, or the "
        "subtraction workers, asked over Kafka (RESIDUA_KAFKA_BOOTSTRAP), arrivals first. Parts "
        "of images are made here in any case.",
    )
    requested_recreations: int = Field(
        16,
        ge=1,
        description="Images that are asked of the workers at once; one caller has at most half.",
    )
    concurrent_recreations: int = Field(
        1,
        ge=0,
        description="Images that are not kept and are made again at once, each in a process of its "
        "own with one thread and the memory of a subtraction; one caller has at most half of the "
        "places. 0: none are made here.",
    )
    waiting_recreations: int = Field(
        100,
        ge=1,
        description="Images that are being made again or wait for it, of all callers; one has at "
        "most half.",
    )
    recreated_bytes: int = Field(
        4_000_000_000,
        ge=0,
        description="Images made again that are kept for whoever asks next, bytes; beside the "
        "results of jobs.",
    )
    concurrent_live: int = Field(
        64, ge=1, description="Pages that follow the night at once; one caller has at most half."
    )
    read_seconds: float = Field(
        20.0, gt=0, description="Longest wait for a request's headers, and for its body, seconds."
    )
    write_seconds: float = Field(
        30.0, gt=0, description="Longest wait for a client to read on in an answer, seconds."
    )
    max_answer_bytes: int = Field(
        2_000_000_000, ge=1_000_000, description="Largest answer to a query, and result of a job."
    )
    max_spool_bytes: int = Field(
        8_000_000_000,
        ge=1_000_000,
        description="Disk for answers that clients have not read yet, all together.",
    )
    max_jobs: int = Field(200, ge=1, description="Jobs kept for one caller.")
    max_results_bytes: int = Field(
        10_000_000_000, ge=1_000_000, description="Results of jobs kept for one caller, bytes."
    )
    max_upload_rows: int = Field(
        100_000, ge=1, description="Most rows of a table a client brings (TAP_UPLOAD)."
    )
    upload_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts tables of TAP_UPLOAD are fetched from when a client gives an address "
        "instead of the table; * is every one with a public address. None: only results of jobs "
        "of this service, which are read without asking the network.",
    )
    max_request_bytes: int = Field(1_000_000, ge=1_000, description="Largest request body.")
    requests_per_minute: int = Field(
        0, ge=0, description="Requests one client may make in a minute; 0 for any number."
    )
    signed_url_seconds: int = Field(300, ge=1, description="Validity of signed URLs, seconds.")

    open_access: bool = Field(
        False, description="Let anybody in on an address that is not loopback."
    )
    jwks_url: str | None = Field(
        None, description="URL or file of the key set (JWKS) that signs bearer tokens."
    )
    token_issuer: str | None = Field(None, description="Required issuer of the tokens.")
    token_audience: str | None = Field(None, description="Required audience of the tokens.")
    read_scope: str = Field("read:image", description="Scope for SIA, DataLink and images.")
    tap_scope: str = Field("read:tap", description="Scope for TAP.")
    embargo_scope: str = Field("read:embargoed", description="Scope that lifts the embargo.")
    embargo_hours: float = Field(
        0.0,
        ge=0,
        description="Hours after the exposure during which public pixels are refused; what is "
        "proprietary or secure is public from its obs_release_date alone.",
    )

    dia_source_table: str | None = Field(
        None,
        pattern=_TABLE_NAME,
        description="Further name of residua.dia_source in queries, as dp1.DiaSource.",
    )
    visit_table: str | None = Field(
        None,
        pattern=_TABLE_NAME,
        description="Further name of residua.visit_detector in queries, as dp1.CcdVisit.",
    )
    list_unreleased: bool = Field(
        True,
        description="List images that are not public yet in ObsCore: where and when, never their "
        "pixels or detections.",
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def tokens_required(self) -> bool:
        """Whether requests must carry a bearer token."""
        return self.jwks_url is not None

    @model_validator(mode="after")
    def _closed_or_meant_open(self) -> Self:
        if not (self.on_loopback or self.tokens_required or self.open_access):
            raise ValueError(
                f"{self.host} is not loopback: set RESIDUA_JWKS_URL (and issuer and audience), "
                "or RESIDUA_OPEN_ACCESS=true (residua serve --open) to let anybody in"
            )
        return self
