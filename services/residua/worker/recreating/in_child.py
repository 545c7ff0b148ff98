"""What the subtraction's process does for a request: the image's file, at its shared place."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from residua.errors import ResiduaError, TransientError, UriNotAllowedError
from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import plane_pool
from residua_schemas import DifferenceImageCreated

if TYPE_CHECKING:
    from residua.recreation import Recreator

__all__ = ["Remade", "recreate_in_child"]

_SWEEP_SECONDS = 600.0


@dataclass(frozen=True)
class Remade:
    """What became of a request: plain values, so that every answer can travel.

    Parameters
    ----------
    kind
        ``transient``: a store does not answer; another try may have it. ``elsewhere``: it lies
        under another root than ours.
    error
        Name of what went wrong.
    message
        In words, for operators.
    """

    kind: Literal["made", "failed", "transient", "elsewhere"]
    error: str | None = None
    message: str | None = None


_recreators: list["Recreator"] = []
_swept: list[float] = []


def recreate_in_child(
    settings: WorkerSettings, folder: Path, created: DifferenceImageCreated
) -> Remade:
    """Make an image again and put it where all can read it; no exception leaves this function.

    Parameters
    ----------
    folder
        Where it is made; whoever removes it outlives this process.
    """
    from residua.recreation.shared import make_shared, shared_place

    try:
        recreator = _recreator(settings, folder)
        # Of an image that has no shared place nobody else would answer either.
        shared_place(created, recreator.settings.moved_roots)
        try:
            make_shared(recreator, created, settings.output_root)
        except UriNotAllowedError as e:
            return Remade("elsewhere", type(e).__name__, e.message[:2000])
    except ResiduaError as e:
        return Remade("failed", type(e).__name__, e.message[:2000])
    except TransientError as e:
        return Remade("transient", type(e).__name__, str(e)[:2000])
    except Exception as e:  # noqa: BLE001 one bad request must not stop the service
        # It came out once: an error of the subtraction now is another result.
        return Remade("failed", type(e).__name__, str(e)[:2000])
    _make_room(settings)
    return Remade("made")


def _make_room(settings: WorkerSettings) -> None:
    """Let old files go now and then; the image is there, whatever becomes of them."""
    from residua.recreation.shared import make_room

    if _swept and time.monotonic() - _swept[0] < _SWEEP_SECONDS:
        return
    _swept[:] = [time.monotonic()]
    try:
        make_room(settings.output_root, settings.recreated_hours)
    except Exception as e:  # noqa: BLE001 the next time may have it
        structlog.get_logger(__name__).warning("recreated_files_stay", error=repr(e)[:300])


def _recreator(settings: WorkerSettings, folder: Path) -> "Recreator":
    if not _recreators:
        from residua.recreation import RecreationSettings, Recreator

        # Where things were moved to is read from the environment, as the commands do.
        found = RecreationSettings(
            input_roots=settings.input_roots,
            template_roots=settings.template_roots,
            output_root=settings.output_root,
            instrument_directories=settings.instrument_directories,
            zero_point=settings.zero_point,
            lossless=settings.lossless,
            threads=settings.threads,
        )
        _recreators.append(Recreator(found, folder, planes=plane_pool()))
    [recreator] = _recreators
    return recreator
