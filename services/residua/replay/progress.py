"""A file that remembers how far a replay came, so that the same command goes on from there."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from residua.errors import ResiduaError

__all__ = ["Ends", "ProgressFile", "ProgressFileError", "ReplayStart"]

type Ends = dict[str, dict[int, int]]
"""By topic and partition: the offset after the last record that was read."""


class ProgressFileError(ResiduaError):
    """The progress file belongs to another replay, or is damaged."""

    responsible = "operator"


@dataclass(frozen=True)
class ReplayStart:
    """What the first start of a replay saw.

    Parameters
    ----------
    replay_id
        Name of the replay, in the header of what it sends.
    question
        Selection and target in words; a progress file serves the same question only.
    ends
        How far the topics were read: records behind that are not part of this replay, so that
        a later start plans the same.
    """

    replay_id: str
    question: str
    ends: Ends


class ProgressFile:
    """JSON lines: the start first, then the name of each arrival the broker has.

    Parameters
    ----------
    path
        Made when the replay starts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def read(self) -> tuple[ReplayStart, frozenset[str]] | None:
        """Start and names that were sent, or `None` when there is no file.

        Raises
        ------
        ProgressFileError
            It is not a progress file.
        """
        if not self._path.exists() or self._path.stat().st_size == 0:
            return None
        first, *rest = self._path.read_text(encoding="utf-8").splitlines()
        try:
            start = json.loads(first)
            ends = {t: {int(p): int(o) for p, o in e.items()} for t, e in start["ends"].items()}
            known = ReplayStart(start["replay_id"], start["question"], ends)
        except (ValueError, KeyError, AttributeError, TypeError) as e:
            raise ProgressFileError(
                f"{self._path} is no progress file of a replay: name another, or remove it"
            ) from e
        names: set[str] = set()
        for line in rest:
            try:
                names.add(str(json.loads(line)["sent"]))
            except (ValueError, KeyError, TypeError):
                # The last line may be cut short by a crash: that arrival is sent again.
                continue
        return known, frozenset(names)

    def open(self, start: ReplayStart) -> Self:
        """Open for appending; a new file begins with the start."""
        is_new = self.read() is None
        self._file = self._path.open("a", encoding="utf-8")
        if is_new:
            self._write(
                {"replay_id": start.replay_id, "question": start.question, "ends": start.ends}
            )
        else:
            # Ends a line that a crash cut short.
            self._file.write("\n")
        return self

    def sent(self, names: Iterable[str]) -> None:
        """Note arrivals that the broker has confirmed."""
        for name in names:
            self._write({"sent": name})

    def _write(self, line: object) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
