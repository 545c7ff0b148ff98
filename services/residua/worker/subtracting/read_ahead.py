"""Templates read before they are asked for: a thread of the pool's child, beside subtractions."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Condition, Thread

from residua_schemas import TemplateCoadd

__all__ = ["MOST_WAITING_BYTES", "ReadAheadReport", "TemplateReader"]

MOST_WAITING_BYTES = 1024**3
"""Decoded size of the templates that may wait: half of what the store keeps in memory."""

_BYTES_PER_PIXEL = 12


@dataclass(frozen=True)
class ReadAheadReport:
    """What became of templates since the last report.

    Parameters
    ----------
    read, known, failed
        Read from the store; in memory already; could not be read (whoever needs one will say
        why).
    dropped
        Gave way to newer ones.
    waiting
        Still to be read.
    """

    read: int = 0
    known: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0


class TemplateReader:
    """Reads one template at a time, in the order they were asked for; the oldest give way.

    Parameters
    ----------
    read
        Takes a template into memory and returns whether it had to be read.
    most_waiting_bytes
        Most bytes of pixels that may wait.
    """

    def __init__(
        self,
        read: Callable[[TemplateCoadd], bool],
        most_waiting_bytes: int = MOST_WAITING_BYTES,
    ) -> None:
        self._read = read
        self._limit = most_waiting_bytes
        self._waiting: OrderedDict[tuple[str, str], TemplateCoadd] = OrderedDict()
        self._counts = {"read": 0, "known": 0, "failed": 0, "dropped": 0}
        self._in_work = 0
        self._changed = Condition()
        self._thread: Thread | None = None

    def ask(self, templates: Iterable[TemplateCoadd]) -> None:
        """Have templates read; returns at once."""
        with self._changed:
            for template in templates:
                if _size(template) > self._limit:
                    self._counts["dropped"] += 1
                    continue
                self._waiting.setdefault((template.uri, template.checksum), template)
            while sum(map(_size, self._waiting.values())) > self._limit:
                self._waiting.popitem(last=False)
                self._counts["dropped"] += 1
            self._changed.notify()
            if self._waiting and self._thread is None:
                self._thread = Thread(target=self._work, name="read-ahead", daemon=True)
                self._thread.start()

    def report(self) -> ReadAheadReport:
        """Say what became of templates since the last report."""
        with self._changed:
            counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
            return ReadAheadReport(**counts, waiting=len(self._waiting) + self._in_work)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                _, template = self._waiting.popitem(last=False)
                self._in_work = 1
            try:
                result = "read" if self._read(template) else "known"
            except Exception:  # noqa: BLE001 an announcement must not end anything
                result = "failed"
            with self._changed:
                self._counts[result] += 1
                self._in_work = 0


def _size(template: TemplateCoadd) -> int:
    return _BYTES_PER_PIXEL * template.shape[0] * template.shape[1]
