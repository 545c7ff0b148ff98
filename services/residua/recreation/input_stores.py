"""What an image is made again of: where its inputs lie, and reading them with errors of ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from lsst.resources import ResourcePath

from residua.errors import ChecksumMismatchError, MissingFileError, UriNotAllowedError
from residua.instruments import InstrumentRegistry
from residua.ports import VisitImage
from residua.recreation.errors import ChangedInputError, LostInputError
from residua.recreation.lookup.configuration import output_root_of
from residua.recreation.settings import RecreationSettings
from residua.storage.moved import moved
from residua.storage.objects import read_object
from residua.storage.runs.run_record import RunRecord, read_run
from residua.storage.store import ImageFileStore
from residua.subtraction.images import TemplateImage
from residua_schemas import (
    DifferenceImageCreated,
    ImageReading,
    TemplateCoadd,
    TemplateReference,
)

__all__ = ["Stores", "kept_solution", "read_template", "read_visit_image"]

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Template:
    """A template as an image refers to it; see `residua.ports.TemplateFile`."""

    uri: str
    checksum: str
    band: str
    reading: ImageReading | None


class Stores:
    """Opens a store for each kind of run; keeps the last, with the templates it read.

    Parameters
    ----------
    settings
        Where inputs may be read.
    folder
        Root of what is written.
    preview
        Make the pictures too.
    """

    def __init__(self, settings: RecreationSettings, folder: Path, *, preview: bool) -> None:
        self._settings = settings
        self._folder = folder
        self._preview = preview
        self._instruments = InstrumentRegistry(settings.instrument_directories)
        self._store: tuple[object, ImageFileStore] | None = None
        self._records: dict[tuple[str, str], RunRecord] = {}

    def record(self, created: DifferenceImageCreated) -> RunRecord | None:
        """Return what the image's run was begun with, if that is written down."""
        root = self._settings.output_root or output_root_of(created)
        key = (moved(f"{root}/", self._settings.moved_roots), created.run)
        if key not in self._records:
            found = read_run(*key)
            if found is None:
                return None
            self._records[key] = found
        return self._records[key]

    def store_for(
        self,
        created: DifferenceImageCreated,
        record: RunRecord | None,
        templates: Sequence[TemplateCoadd | TemplateReference],
    ) -> ImageFileStore:
        """Return a store for the inputs of an image, which writes as its run did."""
        settings = self._settings
        inputs = settings.input_roots
        if inputs is None:
            inputs = _folders([created.visit_image.uri], created.arrival.reading)
        template_roots = settings.template_roots
        if template_roots is None:
            template_roots = tuple(
                sorted({f for t in templates for f in _folders([t.uri], t.reading)})
            )
        zero_point = settings.zero_point if record is None else record.zero_point
        lossless = settings.lossless if record is None else record.lossless
        key = (inputs, template_roots, zero_point, lossless)
        if self._store is None or self._store[0] != key:
            store = ImageFileStore(
                input_roots=[moved(f"{r}/", settings.moved_roots) for r in inputs],
                template_roots=[moved(f"{r}/", settings.moved_roots) for r in template_roots],
                output_root=str(self._folder),
                zero_point=zero_point,
                lossless=lossless,
                threads=settings.threads,
                instruments=self._instruments,
                preview=self._preview,
                moved_roots=settings.moved_roots,
                # Lost, or its file system not mounted: a second look tells.
                missing_grace=0.0,
            )
            self._store = (key, store)
        return self._store[1]


def kept_solution(created: DifferenceImageCreated, settings: RecreationSettings) -> bytes | None:
    """Return the bytes of the solution an image was made of; `None` where it is lost."""
    reference = created.solution
    if reference is None:
        return None
    uri = moved(reference.uri, settings.moved_roots)
    try:
        content, _ = read_object(ResourcePath(uri, forceAbsolute=True), reference.checksum)
    except (MissingFileError, ChecksumMismatchError) as e:
        # Lost: then the inputs are solved again, and the checksum tells.
        _LOG.warning("solution_lost", uri=uri, error=str(e))
        return None
    return content


def _folders(uris: Sequence[str], reading: ImageReading | None) -> tuple[str, ...]:
    beside = () if reading is None else (uri for uri, _ in reading.companions.values())
    found = {uri.rpartition("/")[0] for uri in (*uris, *beside)}
    return tuple(sorted(f for f in found if f))


def read_visit_image(store: ImageFileStore, created: DifferenceImageCreated) -> VisitImage:
    """Read the visit image an image was made of; raises what `Recreator.as_made` says."""
    checksum = created.visit_image.checksum
    with _as_an_input("the visit image", created, checksum):
        return store.read_visit_image(
            created.arrival.model_copy(update={"image_checksum": checksum})
        )


def read_template(
    store: ImageFileStore, created: DifferenceImageCreated, template: TemplateReference
) -> TemplateImage:
    """Read one of the templates an image was made of; raises what `Recreator.as_made` says."""
    what = f"the template {template.skymap} {template.tract}/{template.patch}"
    file = _Template(template.uri, template.checksum, created.band, template.reading)
    with _as_an_input(what, created, template.checksum):
        return store.read_template(file)


@contextmanager
def _as_an_input(what: str, created: DifferenceImageCreated, checksum: str) -> Iterator[None]:
    who = f"{created.visit_detector} in {created.run}"
    try:
        yield
    except ChecksumMismatchError as e:
        raise ChangedInputError(
            f"{what} of {who} is not the one it was made of ({checksum}): {e.message}; put the "
            "file back as it was, or ask for best now",
            **e.numbers,
        ) from e
    except (MissingFileError, UriNotAllowedError) as e:
        raise LostInputError(
            f"{what} of {who} is not to be had: {e.message}; put the file back, or say where it "
            "lies now (RESIDUA_MOVED_ROOTS)"
        ) from e
