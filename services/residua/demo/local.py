"""A whole Residua on one machine: broker and services in one process tree."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from residua.butler.main import run_butler
from residua.butler.repository import REPOSITORY, create_repository
from residua.butler.settings import ButlerSettings
from residua.catalog.main import run_catalog
from residua.catalog.settings import CatalogSettings
from residua.demo.services import ServiceProcesses
from residua.settings import ServiceSettings
from residua.testing.embedded_broker import EmbeddedBroker
from residua.worker.main import run_worker
from residua.worker.settings import WorkerSettings

__all__ = ["OUTCOME_LOG", "LocalSystem"]

OUTCOME_LOG = "outcomes.jsonl"
"""File of outcomes and templates in the demo's directory: from it and the inputs all comes back."""


class LocalSystem:
    """Starts everything on entering, ends it on leaving.

    Parameters
    ----------
    directory
        Where difference images, catalog and logs go.
    input_roots, template_roots
        Where images may be read.
    template_set
        Name of the template set.
    bootstrap
        An existing Kafka, or `None` for a broker inside this process.
    zero_point
        AB zero point of files that state none.
    pool_size
        Subtractions at once.
    metrics
        Whether the services answer Prometheus on the ports of their settings.
    metrics_port
        First of the ports instead: one a subtraction at once, then catalog and Butler.
    output_root
        Where difference images go instead: a directory, or s3://bucket/prefix.
    catalog_url
        The catalog's database instead of SQLite in the directory.
    instrument_directories
        Directories with more instrument descriptions; default: the environment's.
    """

    def __init__(
        self,
        directory: Path,
        *,
        input_roots: Sequence[str],
        template_roots: Sequence[str],
        template_set: str = "default",
        bootstrap: str | None = None,
        zero_point: float | None = None,
        pool_size: int = 2,
        metrics: bool = False,
        metrics_port: int | None = None,
        output_root: str | None = None,
        catalog_url: str | None = None,
        instrument_directories: Sequence[Path] = (),
    ) -> None:
        self.output_root = output_root or str(directory / "difference_images")
        self.log_directory = directory / "logs"
        self.catalog_path = directory / "catalog.sqlite"
        self.log_path = directory / OUTCOME_LOG
        self.catalog_url = catalog_url or f"sqlite:///{self.catalog_path}"
        self.butler_repo = directory / "butler"
        self.bootstrap = bootstrap or ""
        self._input_roots = tuple(input_roots)
        self._template_roots = tuple(template_roots)
        self._template_set = template_set
        self._zero_point = zero_point
        self._pool_size = pool_size
        self._metrics = metrics
        self._metrics_port = metrics_port
        self._instrument_directories = tuple(instrument_directories)
        self._stack = ExitStack()
        self._services: ServiceProcesses | None = None

    def check(self) -> Sequence[str]:
        """Look after the services, see `ServiceProcesses.check`."""
        return () if self._services is None else self._services.check()

    def __enter__(self) -> Self:
        if "://" not in self.output_root:
            Path(self.output_root).mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            if not self.bootstrap:
                self.bootstrap = stack.enter_context(EmbeddedBroker()).bootstrap
            services = stack.enter_context(ServiceProcesses(self.log_directory))
            services.start("worker", run_worker, self._worker_settings())
            services.start("catalog", run_catalog, self._catalog_settings())
            # All of it can be moved: the repository knows its files from where it lies itself.
            create_repository(str(self.butler_repo), datastore_root=f"{REPOSITORY}/..")
            services.start("butler", run_butler, self._butler_settings())
            self._services = services
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _worker_settings(self) -> WorkerSettings:
        settings = WorkerSettings(
            kafka_bootstrap=self.bootstrap,
            input_roots=self._input_roots,
            template_roots=self._template_roots,
            output_root=self.output_root,
            template_set=self._template_set,
            zero_point=self._zero_point,
            pool_size=self._pool_size,
        )
        return self._with_choices(settings, 0)

    def _catalog_settings(self) -> CatalogSettings:
        settings = CatalogSettings(
            kafka_bootstrap=self.bootstrap,
            catalog_url=self.catalog_url,
            detection_roots=(self.output_root,),
        )
        return self._with_choices(settings, self._pool_size)

    def _butler_settings(self) -> ButlerSettings:
        settings = ButlerSettings(
            kafka_bootstrap=self.bootstrap,
            butler_repo=str(self.butler_repo),
            output_root=self.output_root,
            template_roots=self._template_roots,
            input_roots=self._input_roots,
        )
        return self._with_choices(settings, self._pool_size + 1)

    def _with_choices[S: ServiceSettings](self, settings: S, place: int) -> S:
        update: dict[str, object] = {} if self._metrics else {"metrics_port": 0}
        if self._metrics and self._metrics_port is not None:
            update["metrics_port"] = self._metrics_port + place
        if self._instrument_directories:
            update["instrument_directories"] = self._instrument_directories
        return settings.model_copy(update=update)
