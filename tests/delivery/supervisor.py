"""Keeps the services of a campaign running, as Kubernetes would."""

import threading
from typing import Self

from tests.support.kafka_tools import Delivery
from tests.support.service_process import ServiceProcess

WORKERS = ("worker-a", "worker-b")
CATALOG = "catalog"
SESSION = 6.0


class Supervisor:
    """Keeps the services running, as Kubernetes would."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.worker_settings: dict[str, object] = {}
        self._wanted: dict[str, ServiceProcess] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self, name: str) -> None:
        with self._lock:
            self._wanted[name] = self._launch(name)

    def retire(self, name: str) -> None:
        """End a service in order and leave it ended."""
        with self._lock:
            process = self._wanted.pop(name)
        end(process)

    def get(self, name: str) -> ServiceProcess:
        with self._lock:
            return self._wanted[name]

    def names(self) -> list[str]:
        with self._lock:
            return list(self._wanted)

    def __enter__(self) -> Self:
        for name in (*WORKERS, CATALOG):
            self.start(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            for process in self._wanted.values():
                process.kill()

    def _launch(self, name: str) -> ServiceProcess:
        if name == CATALOG:
            return self._delivery.start_catalog(name, catalog_session_timeout=SESSION)
        return self._delivery.start_worker(
            name,
            session_timeout=SESSION,
            subtraction_timeout=3,
            transient_attempts=3,
            transient_pause=0.2,
            missing_grace=0.3,
            **self.worker_settings,
        )

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            with self._lock:
                for name, process in self._wanted.items():
                    if process.exit_code is not None:
                        self._wanted[name] = self._launch(name)


def end(process: ServiceProcess) -> None:
    """SIGTERM as Kubernetes sends it: SIGKILL when the grace period is over."""
    try:
        process.stop(30.0)
    except Exception:  # noqa: BLE001 whatever happened, it must end
        process.kill()
