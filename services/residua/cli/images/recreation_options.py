"""What the commands share that make images again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residua.recreation import Recreator

__all__ = ["logs_to_stderr", "open_recreator"]


def logs_to_stderr() -> None:
    """Keep what is logged out of a command's answer."""
    import structlog

    # The stream of the moment: whoever calls commands may change it.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def open_recreator(roots: dict[str, str], folder: Path) -> "Recreator":
    """Return what makes images again, with settings from the environment.

    Parameters
    ----------
    roots
        Where files were moved to, beside what the environment says.
    folder
        Where files go.
    """
    from residua.recreation import RecreationSettings, Recreator

    settings = RecreationSettings()
    if roots:
        settings = settings.model_copy(update={"moved_roots": {**roots, **settings.moved_roots}})
    return Recreator(settings, folder)
