"""Parts of images that are not stored: made of the kept solution, reading what they touch.

An image is opened by its outcome. What is read of it then behaves like the file it had: a box of
pixels costs what a stamp costs, and any range of bytes has the bytes of the file.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from lsst.resources import ResourcePath

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    TransientError,
    UriNotAllowedError,
)
from residua.recreation.errors import ChangedInputError, LostInputError
from residua.recreation.lookup.configuration import output_root_of, require_same_major
from residua.recreation.partial.remade import RemadeFile
from residua.recreation.settings import RecreationSettings
from residua.storage.forms.solution_file import read_solution
from residua.storage.moved import moved
from residua.storage.objects import read_object, resolve
from residua.storage.regions.file_cache import FileCache
from residua.storage.regions.hollow import SUFFIX, DamagedHollowError, HollowFile, read_hollow
from residua.storage.regions.open_file import UnknownFormError
from residua.storage.regions.reader import RegionFiles, RegionImage, RegionPlanes
from residua.storage.runs.run_record import RunRecord, read_run
from residua.subtraction.errors import DamagedSolutionError
from residua.subtraction.steps.solution import ARITHMETIC, Solution
from residua_schemas import DifferenceImageCreated

__all__ = ["NotInPartsError", "PartialImages"]

_IMAGES_KEPT = 64
_INPUTS_KEPT = 256


class NotInPartsError(Exception):
    """Parts of this image cannot be made: make the whole (`Recreator.as_made`)."""


@dataclass(frozen=True)
class _Named:
    """An input as the outcome names it."""

    what: str
    uri: str
    checksum: str


class PartialImages:
    """Images that are opened by their outcomes; the last ones are kept open.

    One of these serves all threads of a process.

    Parameters
    ----------
    settings
        Where inputs may be read.
    files
        Share another's tables and decoded tiles.
    find_hollow
        Where else the hollow file of an image may lie, by its name: its bytes, or `None`.
    """

    def __init__(
        self,
        settings: RecreationSettings,
        files: FileCache | None = None,
        find_hollow: Callable[[str], bytes | None] = lambda _name: None,
    ) -> None:
        self._settings = settings
        self._cache = files or FileCache()
        self._find_hollow = find_hollow
        self._images: OrderedDict[str, RemadeFile] = OrderedDict()
        self._inputs: OrderedDict[tuple[str, float | None], _Input] = OrderedDict()
        self._records: dict[tuple[str, str], RunRecord | None] = {}
        self._lock = Lock()

    @property
    def counts(self) -> object:
        """What reading inputs has taken so far, a `residua.storage.regions.byte_ranges.Counts`."""
        return self._cache.counts

    def open(self, created: DifferenceImageCreated) -> RemadeFile:
        """Open an image.

        Parameters
        ----------
        created
            Its outcome.

        Raises
        ------
        NotInPartsError
            No solution or hollow file of it is kept, or an input is of a form that is not read
            by parts: the image can be made whole all the same.
        residua.recreation.errors.ChangedInputError, residua.recreation.errors.LostInputError
            An input is not what it was, or gone.
        residua.recreation.errors.IncompatibleVersionError
            Another major version made it.
        residua.errors.TransientError
            A store does not answer.
        """
        key = created.checksum
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        require_same_major(created)
        solution = self._solution(created)
        hollow = self._hollow(created)
        inputs = [self._input(created, hollow, named) for named in _named(created)]
        file = RemadeFile(hollow, solution, inputs[0], inputs[1:], f"remade {key}")
        with self._lock:
            self._images[key] = file
            while len(self._images) > _IMAGES_KEPT:
                self._images.popitem(last=False)
        return file

    def _solution(self, created: DifferenceImageCreated) -> Solution:
        reference = created.solution
        if reference is None:
            raise NotInPartsError("its outcome names no solution")
        try:
            content, _ = read_object(self._located(reference.uri), reference.checksum)
            solution = read_solution(content)
        except (MissingFileError, ChecksumMismatchError, DamagedSolutionError) as e:
            raise NotInPartsError(str(e)) from e
        if solution.arithmetic != ARITHMETIC:
            raise NotInPartsError(f"its solution is of arithmetic {solution.arithmetic}")
        return solution

    def _hollow(self, created: DifferenceImageCreated) -> HollowFile:
        location = self._located(created.uri).updatedExtension(SUFFIX)
        content = self._find_hollow(location.basename())
        try:
            if content is None:
                content, _ = read_object(location, None)
            hollow = read_hollow(content)
        except (MissingFileError, DamagedHollowError) as e:
            raise NotInPartsError(str(e)) from e
        if hollow.checksum != created.checksum:
            raise NotInPartsError(f"{location} is of another image")
        return hollow

    def _input(
        self, created: DifferenceImageCreated, hollow: HollowFile, named: _Named
    ) -> "_Input":
        digest = hollow.inputs.get(named.checksum)
        if digest is None:
            raise NotInPartsError(f"{named.uri} is not read by parts")
        record = self._record(created)
        zero_point = self._settings.zero_point if record is None else record.zero_point
        key = (named.checksum, zero_point)
        with self._lock:
            if key in self._inputs:
                self._inputs.move_to_end(key)
                return self._inputs[key]
        roots = (
            self._settings.input_roots
            if named.what == "the visit image"
            else self._settings.template_roots
        )
        files = RegionFiles(self._cache, zero_point)
        what = f"{named.what} of {created.visit_detector} in {created.run}"

        def opened() -> RegionImage:
            with _as_an_input(what):
                if roots is None:
                    location = self._located(named.uri)
                else:
                    location = resolve(
                        moved(named.uri, self._settings.moved_roots),
                        [moved(f"{r}/", self._settings.moved_roots) for r in roots],
                    )
                image = files.open(location)
                if image.contents_digest != digest:
                    raise ChangedInputError(
                        f"{what} is not the one it was made of ({named.checksum}): the tables of "
                        f"{location} are others; put the file back as it was, or ask for best now"
                    )
                return image

        found = _Input(opened, what)
        with self._lock:
            self._inputs[key] = found
            while len(self._inputs) > _INPUTS_KEPT:
                self._inputs.popitem(last=False)
        return found

    def _record(self, created: DifferenceImageCreated) -> RunRecord | None:
        root = self._settings.output_root or output_root_of(created)
        key = (moved(f"{root}/", self._settings.moved_roots), created.run)
        if key not in self._records:
            self._records[key] = read_run(*key)
        return self._records[key]

    def _located(self, uri: str) -> ResourcePath:
        return ResourcePath(moved(uri, self._settings.moved_roots), forceAbsolute=True)


class _Input:
    """An input that is read by parts.

    Once opened it stays the file that was checked: what takes its place later is not read.
    """

    def __init__(self, opened: Callable[[], RegionImage], what: str) -> None:
        self._open = opened
        self._what = what
        self._image = opened()
        self.shape = self._image.shape

    def read(self, box: tuple[slice, slice], /) -> RegionPlanes:
        """Read a box; see `residua.subtraction.steps.region.PlaneSource`."""
        try:
            return self._image.read(box)
        except (UnknownFormError, ValueError):
            raise
        except Exception:  # noqa: BLE001 whatever a store raises: a second look tells
            self._image = self._open()
        with _as_an_input(self._what):
            return self._image.read(box)


def _named(created: DifferenceImageCreated) -> list[_Named]:
    if created.arrival.reading is not None or any(t.reading for t in created.templates):
        # Read in another way than the file says.
        raise NotInPartsError("an input has a reading of its own")
    science = created.visit_image
    return [
        _Named("the visit image", science.uri, science.checksum),
        *(
            _Named(f"the template {t.skymap} {t.tract}/{t.patch}", t.uri, t.checksum)
            for t in created.templates
        ),
    ]


@contextmanager
def _as_an_input(what: str) -> Iterator[None]:
    try:
        yield
    except UnknownFormError as e:
        raise ChangedInputError(
            f"{what} is not the one it was made of: it cannot be read by parts any more; put the "
            "file back as it was, or ask for best now"
        ) from e
    except (FileNotFoundError, MissingFileError, UriNotAllowedError) as e:
        raise LostInputError(
            f"{what} is not to be had: {e}; put the file back, or say where it lies now "
            "(RESIDUA_MOVED_ROOTS)"
        ) from e
    except (ChangedInputError, LostInputError, TransientError):
        raise
    except Exception as e:
        raise TransientError(f"{what} cannot be read: {type(e).__name__}: {e}") from e
