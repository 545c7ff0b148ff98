"""Settings of the subtraction worker."""

from typing import Literal, Self

from pydantic import Field

from residua.identity import Run, installed_version
from residua.messaging.group import client_id_of_run
from residua.messaging.settings import ConsumerSettings
from residua.settings import StorageSettings
from residua.subtraction.config import SubtractionConfig

__all__ = ["WorkerSettings"]


class WorkerSettings(ConsumerSettings, StorageSettings):
    """Environment variables ``RESIDUA_*``; nested values as JSON."""

    metrics_port: int | None = Field(
        9100, ge=0, description="Port of /metrics (Prometheus), /live and /ready; 0 for none."
    )

    template_set: str = Field("default", description="Template set images are subtracted from.")
    run_label: str = Field("", description="Sets a deliberate re-run apart; empty normally.")
    authority: str = Field("org.residua", description="IVOA authority of the publisher DIDs.")
    subtraction: SubtractionConfig = Field(
        default_factory=SubtractionConfig, description="Configuration of the subtraction."
    )

    store: Literal["all", "recent", "none"] = Field(
        "all",
        description="FITS files that are kept: for ever (all), until `residua expire` lets them go "
        "(recent), or not at all (none). Those that are not there are made again when somebody "
        "asks for them, from the inputs, which must stay. Detections are always kept, "
        "previews with RESIDUA_PREVIEWS.",
    )
    previews: bool = Field(
        True,
        description="Write a preview (PNG) beside each image, for pages; with store = none it is "
        "the largest part of what is kept.",
    )

    recreate: bool = Field(
        True,
        description="Make images that are not stored for who asks on the topic "
        "recreation-requests, while no arrival waits.",
    )
    recreated_hours: float = Field(
        24.0,
        gt=0,
        description="How long such images stay under the output root, in the folder recreated; "
        "needs the right to delete there, or a rule of the store's.",
    )

    pool_size: int = Field(
        1, ge=1, le=64, description="Worker processes; each has one subtraction in hand."
    )
    threads: int = Field(1, ge=1, description="Threads of one subtraction.")
    subtraction_timeout: float = Field(
        120.0, gt=0, description="Longest subtraction, seconds; tried twice, then failed."
    )
    first_subtraction_timeout: float = Field(
        600.0,
        gt=0,
        description="The same for the first of a worker, seconds: without a compile cache "
        "(`residua warm-up` fills it) it compiles the pixel passes.",
    )
    start_timeout: float = Field(
        300.0, gt=0, description="Longest start of the subtraction's process, seconds."
    )
    store_timeout: float = Field(
        180.0,
        gt=0,
        description="Longest wait for one answer of a store, seconds; then it counts as silent. "
        "No wait for a store counts against subtraction_timeout.",
    )
    transient_attempts: int = Field(
        6, ge=1, description="Tries when a component does not answer, before the worker exits."
    )
    transient_pause: float = Field(
        0.5, ge=0, description="First pause between such tries, seconds; doubles, with jitter."
    )

    consumer_group: str = Field(
        "residua-worker",
        description="Kafka consumer group: of one run. A worker that finds members of another "
        "run there waits for them to leave, and then refuses to join.",
    )
    other_run_patience: float = Field(
        300.0, ge=0, description="Seconds a worker waits for another run's members to leave."
    )
    instance_id: str | None = Field(
        None,
        description="Static group membership: stable and unique per replica, for example a "
        "StatefulSet's pod name; a restart is then quick.",
    )
    session_timeout: float | None = Field(
        None, description="Group session, seconds; 30 with an instance id, 10 without."
    )

    next_visits: Literal["own", "all", "off"] = Field(
        "own",
        description="Announced visits whose templates are fetched ahead: of the visit-detectors "
        "whose arrivals this worker will get (own), all (where producers do not choose partitions "
        "as Kafka's Java client does, such as librdkafka by default), or none (off).",
    )
    next_visit_age_limit: float = Field(
        600.0, gt=0, description="Seconds after which an announcement is passed over."
    )

    message_age_limit: float = Field(
        1800.0, gt=0, description="Seconds one arrival may be in hand before the watchdog exits."
    )

    rebalance_limit: float | None = Field(
        None,
        gt=0,
        description="Seconds a worker may be outside its group before the watchdog exits; by "
        "default more than the longest handling and the session take.",
    )

    @property
    def run(self) -> Run:
        """The run all outcomes of this worker belong to."""
        return Run(
            self.subtraction, self.template_set, installed_version("residua"), self.run_label
        )

    @property
    def client_id(self) -> str:
        """What the worker calls itself to the broker, see `residua.messaging.group`."""
        return client_id_of_run(self.run.name)

    def labelled(self, label: str | None) -> Self:
        """Return the settings for arrivals of the run with this label; `None` is our own."""
        if label is None or label == self.run_label:
            return self
        return self.model_copy(update={"run_label": label})

    @property
    def group_session_timeout(self) -> float:
        """Seconds after which the group gives up a silent member."""
        return self.session_timeout or (30.0 if self.instance_id else 10.0)

    @property
    def longest_handling(self) -> float:
        """Seconds one arrival may take when everything that may go wrong does."""
        longest = max(self.subtraction_timeout, self.first_subtraction_timeout)
        return 2.0 * longest + self.start_timeout
