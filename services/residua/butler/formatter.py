"""How a Butler reads an image whose file may be gone: from the file if it is there, else anew."""

import io
import shutil
import tempfile
from collections import OrderedDict
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast, override

from lsst.images.formatters import GenericFormatter
from lsst.resources import ResourcePath

from residua.recreation import RecreationSettings, Recreator
from residua.recreation.lookup.find import created_at
from residua.recreation.partial.parts import NotInPartsError, PartialImages
from residua.recreation.partial.remade import RemadeStream

__all__ = ["RecreatingFormatter"]

_FILES_KEPT = 4


class RecreatingFormatter(GenericFormatter):
    """Reads a difference image as its storage class asks; makes it again when it is not there.

    The image is made in the process of whoever gets it, with `RecreationSettings` from the
    environment, and is the very image: same bytes, or an error. The last few are kept until the
    process ends. Of a part, such as ``parameters={"bbox": box}`` or a component, only that part
    is made.
    """

    @override
    def read(
        self, component: str | None = None, expected_size: int = -1, cache_manager: Any = None
    ) -> Any:
        uri = self.file_descriptor.location.uri
        if uri.exists():
            return super().read(component, expected_size, cache_manager)
        if component is not None or self.file_descriptor.parameters:
            # A part: no more is read and made than it needs.
            with suppress(NotInPartsError):
                stream = _files().stream(uri)
                return self.read_from_local_file(cast("str", stream), component)
        made = _files().get(uri)
        result = self.read_from_uri(made, component, expected_size)
        if result is NotImplemented:
            # What it says of whole files.
            result = self.read_from_local_file(made.ospath, component, expected_size)
        return result


class _Files:
    def __init__(self, folder: Path) -> None:
        settings = RecreationSettings()
        self._recreator = Recreator(settings, folder)
        self._parts = PartialImages(settings)
        self._kept: OrderedDict[str, ResourcePath] = OrderedDict()
        self._lock = Lock()

    def stream(self, uri: ResourcePath) -> IO[bytes]:
        with self._lock:
            file = self._parts.open(created_at(str(uri)))
        return io.BufferedReader(RemadeStream(file))

    def get(self, uri: ResourcePath) -> ResourcePath:
        # One at a time: each takes gigabytes on a full detector.
        with self._lock:
            key = str(uri)
            if key not in self._kept:
                made = self._recreator.as_made(created_at(key))
                made.detections.unlink()
                self._kept[key] = ResourcePath(str(made.path))
            self._kept.move_to_end(key)
            while len(self._kept) > _FILES_KEPT:
                _, old = self._kept.popitem(last=False)
                Path(old.ospath).unlink(missing_ok=True)
            return self._kept[key]


@cache
def _files() -> _Files:
    import atexit

    folder = tempfile.mkdtemp(prefix="residua-butler-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _Files(Path(folder))
