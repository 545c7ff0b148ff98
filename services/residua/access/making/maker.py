"""What those have in common who make whole images again."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from lsst.resources import ResourcePath

from residua.errors import ResiduaError

__all__ = ["Maker", "MakingError", "Progress", "name_of"]

type Progress = Callable[[str], None]
"""Told in words how far an image is."""


class MakingError(ResiduaError):
    """An image cannot be made again; elsewhere it was found out why.

    Parameters
    ----------
    named
        Name of the error there.
    """

    responsible = "operator"

    def __init__(self, message: str, named: str) -> None:
        super().__init__(message)
        self.named = named


class Maker(Protocol):
    """Makes whole images again, and keeps them for a while under their own names."""

    def kept(self, row: Mapping[str, Any], *, surely: bool) -> ResourcePath | None:
        """Return where an image lies that was made lately; blocks.

        Parameters
        ----------
        surely
            Look, however long that takes; else only where it takes no time, or is likely there.
        """
        ...

    async def make(self, row: Mapping[str, Any], progress: Progress) -> ResourcePath:
        """Make an image again; raises what the recreation raises, or `MakingError`."""
        ...

    async def stop(self) -> None:
        """End what is under way."""
        ...


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name of an image's file, without its folder."""
    return PurePosixPath(unquote(urlsplit(str(row["uri"])).path)).name
