"""``residua://``: difference images by the addresses they have or had, stored or not.

For everything that opens files through fsspec: ``residua://file/data/images/...fits`` is
``file:///data/images/...fits``, ``residua://s3/bucket/...fits`` is ``s3://bucket/...fits``. A file
that is there is read as it is; one that is not is made as far as it is read, or whole where parts
cannot be made. Settings come from the environment, see `RecreationSettings`.
"""

import io
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, override

from fsspec import AbstractFileSystem
from lsst.resources import ResourcePath

from residua.errors import TransientError
from residua.recreation.errors import UnknownImageError
from residua.recreation.lookup.find import created_at
from residua.recreation.partial.parts import NotInPartsError, PartialImages
from residua.recreation.partial.remade import RemadeStream
from residua.recreation.recreator import Recreator
from residua.recreation.settings import RecreationSettings
from residua.storage.moved import moved
from residua.storage.objects import attempt

__all__ = ["RecreatingFileSystem"]

_SCHEMES = ("file", "s3")


class RecreatingFileSystem(AbstractFileSystem):
    """Reads difference images; nothing can be written or listed.

    Parameters
    ----------
    settings
        Of `RecreationSettings`, by name, beside those of the environment.
    """

    protocol = "residua"
    root_marker = ""

    def __init__(
        self, *arguments: Any, settings: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._settings = RecreationSettings(**dict(settings or {}))
        self._parts = PartialImages(self._settings)
        self._lock = Lock()
        self._whole: dict[str, Path] = {}
        self._folder: Path | None = None

    @override
    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        location = self._located(path)
        if location.exists():
            size = int(attempt(location, location.size))
        else:
            size = _created(self._stripped(path), location).size_bytes
        return {"name": self._stripped(path), "size": size, "type": "file"}

    @override
    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        found = self.info(path)
        return [found] if detail else [found["name"]]

    @override
    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            raise OSError("difference images are only read here")
        location = self._located(path)
        if location.exists():
            if location.isLocal:
                return Path(location.ospath).open("rb")
            system, place = location.to_fsspec()
            return system.open(place, "rb")
        created = _created(self._stripped(path), location)
        try:
            return io.BufferedReader(RemadeStream(self._parts.open(created)))
        except NotInPartsError:
            return self._made(str(location), created).open("rb")

    def _made(self, key: str, created: Any) -> Path:
        # One at a time: each takes gigabytes on a full detector.
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="residua-files-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            if key not in self._whole:
                made = Recreator(self._settings, self._folder).as_made(created)
                made.detections.unlink()
                self._whole[key] = made.path
            return self._whole[key]

    def _stripped(self, path: str) -> str:
        return str(self._strip_protocol(path))

    def _located(self, path: str) -> ResourcePath:
        scheme, _, rest = self._stripped(path).partition("/")
        if scheme not in _SCHEMES or not rest:
            raise FileNotFoundError(
                f"residua://{path} is no address of a difference image: residua://file/PATH or "
                "residua://s3/BUCKET/KEY"
            )
        uri = f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"
        return ResourcePath(moved(uri, self._settings.moved_roots), forceAbsolute=True)


def _created(path: str, location: ResourcePath) -> Any:
    try:
        return created_at(location.geturl())
    except UnknownImageError as e:
        raise FileNotFoundError(f"residua://{path}: {e.message}") from e
    except TransientError as e:
        raise OSError(str(e)) from e
