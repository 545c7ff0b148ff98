"""An image that somebody looks at: its file, or the parts of it that a picture needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any

from lsst.resources import ResourcePath

from residua.access.dali.errors import NotFoundError, RequestError
from residua.access.page.drawing.pixels import (
    ImagePlanes,
    PlaneCache,
    Science,
    WholeNeededError,
    open_science,
)
from residua.access.work.context import Access
from residua.instruments import InstrumentRegistry
from residua_schemas import DifferenceImageCreated

if TYPE_CHECKING:
    from residua.storage.regions.open_file import OpenFile

__all__ = ["Looked", "component_of", "work_on"]

# Of an image that is not stored: what is larger has the whole made, once for all who look next.
_LARGEST_PART = 1 << 20


@dataclass(frozen=True)
class Looked:
    """An image that somebody may look at.

    Parameters
    ----------
    row, event
        Of the image.
    location
        Its file; `None` for one that is not stored and was not made lately.
    science
        The visit image, where it may be read.
    """

    row: Mapping[str, Any]
    event: DifferenceImageCreated
    location: ResourcePath | None
    science: ResourcePath | None


def work_on[T](
    access: Access, kept: PlaneCache, looked: Looked, work: Callable[[ImagePlanes], T]
) -> T:
    """Open an image and draw of it; planes are decoded, or made, when they are asked for.

    Raises
    ------
    WholeNeededError
        It is not stored, and what is drawn takes more than parts of it.
    residua.access.dali.errors.RequestError
        It cannot be read, or not be made.
    """
    if looked.location is not None:
        return work(_planes(access, kept, looked, partial(_stored, access, looked.location)))
    with access.recreations.speaking_of(looked.row["dataset_id"]):
        planes = _planes(access, kept, looked, partial(_remade, access, looked))
        drawn = work(replace(planes, largest=_LARGEST_PART, samples=2))
    access.recreations.counted("part")
    return drawn


def component_of(looked: Looked, planes: ImagePlanes, what: str) -> Any:
    """Return PSF or kernel of an image; no pixels are read for it, or made."""
    # The package before its module: of two threads that import them crosswise one gets half of it.
    import lsst.images  # noqa: F401
    from lsst.images.serialization import open_archive

    if looked.location is not None:
        with open_archive(looked.location) as archive:
            return archive.get_component(what)
    from residua.recreation.partial.remade import RemadeFile, RemadeStream

    assert isinstance(planes.file, RemadeFile)
    with open_archive(BufferedReader(RemadeStream(planes.file)), format="fits") as archive:
        return archive.get_component(what)


def _stored(access: Access, location: ResourcePath) -> "OpenFile":
    file = access.files.get(location)
    if file is None:
        raise NotFoundError("the file was not written by residua: download it instead")
    return file


def _remade(access: Access, looked: Looked) -> "OpenFile":
    file = access.recreations.part_of(looked.row)
    if file is None:
        raise WholeNeededError
    return file


def _planes(
    access: Access, kept: PlaneCache, looked: Looked, open_file: "Callable[[], OpenFile]"
) -> ImagePlanes:
    try:
        file = open_file()
        science = None if looked.science is None else _science(access, kept, looked, file)
    except FileNotFoundError as e:
        raise NotFoundError("the file is not there any more") from e
    except OSError as e:
        raise RequestError(f"the file cannot be read: {e}") from e
    # By what it is and not where: tiles of the whole stand beside those of parts.
    measured = kept.brightness(f"{looked.event.checksum} {science is None}")
    return ImagePlanes(file, science, measured)


def _science(access: Access, kept: PlaneCache, looked: Looked, file: "OpenFile") -> Science | None:
    location = looked.science
    assert location is not None

    def read() -> tuple[Any, str]:
        from residua.storage.read.file_contents import ReadOptions
        from residua.storage.read.readers import read_image

        arrival = looked.event.arrival
        options = replace(ReadOptions(), band=looked.event.band).as_read(arrival.reading)
        contents = read_image(location.read(), str(location), InstrumentRegistry(), options)
        return contents.image, contents.unit

    try:
        found = access.files.get(location)
    except FileNotFoundError:
        return None
    difference = (looked.event.unit, file.plane("IMAGE").shape)
    return open_science(kept, looked.event.visit_image.checksum, found, difference, read)
