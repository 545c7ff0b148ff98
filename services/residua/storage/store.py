"""The image store: reads visit images and templates, writes difference images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from threading import Lock
from types import MappingProxyType
from typing import Literal

import numpy as np
from lsst.resources import ResourcePath

from residua.errors import UnusableImageError
from residua.extras import require_for
from residua.instruments import InstrumentRegistry
from residua.ports import (
    Provenance,
    StoredDifferenceImage,
    TemplateFile,
    TemplateReads,
    VisitImage,
)
from residua.storage.fetch import fetch
from residua.storage.moved import moved
from residua.storage.objects import (
    checksum_of,
    publish,
    publish_bytes,
    relative_name,
    resolve,
)
from residua.storage.read.domain_images import template_image_of, visit_image_of
from residua.storage.read.file_contents import FileContents, ReadOptions
from residua.storage.read.readers import read_image
from residua.storage.regions.hollow import SUFFIX, hollowed, inputs_digest
from residua.storage.template_cache import TemplateCache
from residua.storage.write.detection_table import detections_parquet
from residua.storage.write.image_file import TemplateFootprint, write_difference_image
from residua.storage.write.preview import preview_png
from residua.subtraction.images import DifferenceImage, TemplateImage
from residua_schemas import (
    DetectionsReference,
    ImageReading,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
)

__all__ = ["ImageFileStore"]

_NO_CHECKSUM = "sha256:" + 64 * "0"

DEFAULT_CACHE_BYTES = 2 * 1024**3


class ImageFileStore:
    """FITS files under configured roots, on disks or S3: a `residua.ports.ImageStore`.

    Parameters
    ----------
    input_roots, template_roots
        Where visit images and templates may be read (directories or ``s3://bucket/prefix``).
    output_root
        Where difference images are written.
    zero_point
        AB magnitude of one unit of the image, for files that do not say.
    lossless
        Lossless instead of quantised compression.
    threads
        Threads of one read or write; they do not change a bit.
    cache_bytes
        Most bytes of decoded templates kept in memory.
    instruments
        Known instruments; default: the shipped ones.
    preview
        Write a PNG beside each difference image.
    missing_grace
        Seconds after which an input that is missing or has other bytes is read once more, and its
        root asked; `None` for a person at the command line, who is told at once.
    on_read
        Called with the name and the contents of every file that is decoded.
    moved_roots
        Where files lie now that lay elsewhere when their addresses were written down; see
        `residua.storage.moved`.
    store
        ``all``: FITS files are put in place for ever; ``recent``: until `residua expire` lets them
        go; ``none``: they are made for their checksums, and only previews and detections written.
    """

    def __init__(
        self,
        *,
        input_roots: Sequence[str],
        template_roots: Sequence[str],
        output_root: str,
        zero_point: float | None = None,
        lossless: bool = False,
        threads: int = 1,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        instruments: InstrumentRegistry | None = None,
        preview: bool = True,
        missing_grace: float | None = None,
        on_read: Callable[[str, FileContents], None] | None = None,
        moved_roots: Mapping[str, str] = MappingProxyType({}),
        store: Literal["all", "recent", "none"] = "all",
    ) -> None:
        require_for(*input_roots, *template_roots, output_root)
        self._input_roots = tuple(input_roots)
        self._template_roots = tuple(template_roots)
        self._output_root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
        self._options = ReadOptions(zero_point=zero_point, threads=threads)
        self._lossless = lossless
        self._threads = threads
        self._instruments = instruments or InstrumentRegistry()
        self._preview = preview
        self._grace = missing_grace
        self._on_read = on_read
        self._moved_roots = moved_roots
        self._keeps: Literal["recent", "none"] | None = None if store == "all" else store
        self._cache = TemplateCache(cache_bytes)
        self._footprints: dict[str, TemplateFootprint] = {}
        self._digests: dict[str, str | None] = {}
        self._reads = TemplateReads()
        self._located: tuple[VisitArrival, VisitImage] | None = None
        self._at_hand: dict[str, tuple[bytes, str]] = {}
        self._lock = Lock()

    @property
    def template_reads(self) -> TemplateReads:
        """Where the templates came from that `read_template` returned, so far."""
        return self._reads

    def region_of(self, arrival: VisitArrival) -> SkyPolygon:
        """Footprint of the visit image an arrival names.

        The image is kept until it is read next, so that asking costs nothing.
        """
        image = self.read_visit_image(arrival)
        self._located = (arrival, image)
        return image.region

    def read_visit_image(self, arrival: VisitArrival) -> VisitImage:
        """Read the visit image an arrival names; see `residua.ports.ImageStore`."""
        located, self._located = self._located, None
        if located is not None and located[0] == arrival:
            return located[1]
        # An unknown instrument fails before the bytes are fetched.
        self._instruments.get(arrival.visit_detector.instrument)
        content, checksum = self._fetch(
            arrival.image_uri, self._input_roots, arrival.image_checksum
        )
        contents = self._read(
            content, arrival.image_uri, self._input_roots, arrival.reading, arrival.band
        )
        self._digest(checksum, content, arrival.reading)
        if contents.metadata.problem is not None and arrival.begin_tai is None:
            raise UnusableImageError(f"{arrival.image_uri}: {contents.metadata.problem}")
        return visit_image_of(arrival, contents, checksum, len(content), self._instruments)

    def read_template(self, template: TemplateFile) -> TemplateImage:
        """Read a template coadd, from memory if it was used lately or read ahead."""
        # Checked also for cached templates: roots may differ between stores of one process.
        resolve(self._now(template.uri), self._template_roots)
        reads = self._reads
        was_ahead = self._cache.forget_ahead(_cached_as(template), template.checksum)
        cached = self._cache.get(_cached_as(template), template.checksum)
        if cached is None:
            self._reads = replace(reads, store=reads.store + 1)
            return self._load(template)
        if was_ahead:
            self._reads = replace(reads, ahead=reads.ahead + 1)
        else:
            self._reads = replace(reads, memory=reads.memory + 1)
        return cached

    def read_template_ahead(self, template: TemplateCoadd) -> bool:
        """Take a template into memory before it is asked for, beside whatever else is done.

        Returns
        -------
        was_read
            False when it was there already.
        """
        resolve(self._now(template.uri), self._template_roots)
        if self._cache.get(_cached_as(template), template.checksum) is not None:
            return False
        self._load(template, ahead=True)
        return True

    def take_over(self, contents: Mapping[str, tuple[bytes, str]]) -> None:
        """Use bytes that were read already, with their checksums, by URI; each of them once."""
        self._at_hand.update(contents)

    def _fetch(self, uri: str, roots: Sequence[str], checksum: str | None) -> tuple[bytes, str]:
        at_hand = self._at_hand.pop(uri, None)
        if at_hand is not None and checksum in {None, at_hand[1]}:
            resolve(uri, roots)
            return at_hand
        return fetch(self._now(uri), roots, checksum, grace=self._grace)

    def _now(self, uri: str) -> str:
        return moved(uri, self._moved_roots)

    def _read(
        self,
        content: bytes,
        uri: str,
        roots: Sequence[str],
        reading: ImageReading | None,
        band: str,
    ) -> FileContents:
        beside = {} if reading is None else reading.companions
        companions = {
            role: self._fetch(at, roots, expected)[0] for role, (at, expected) in beside.items()
        }
        options = replace(self._options, band=band).as_read(reading)
        name = uri if options.extension is None else f"{uri}[{options.extension}]"
        contents = read_image(content, name, self._instruments, options, companions)
        if self._on_read is not None:
            self._on_read(name, contents)
        return contents

    def _load(self, template: TemplateFile, *, ahead: bool = False) -> TemplateImage:
        content, checksum = self._fetch(template.uri, self._template_roots, template.checksum)
        contents = self._read(
            content, template.uri, self._template_roots, template.reading, template.band
        )
        self._digest(checksum, content, template.reading)
        image = template_image_of(template.uri, contents)
        shape = (image.image.shape[0], image.image.shape[1])
        with self._lock:
            self._footprints[template.checksum] = TemplateFootprint(image.wcs, shape, image.psf)
        self._cache.put(_cached_as(template), template.checksum, image, ahead=ahead)
        return image

    def write_difference_image(
        self,
        name: Callable[[str], str],
        difference: DifferenceImage,
        visit_image: VisitImage,
        provenance: Provenance,
        announce: Callable[[StoredDifferenceImage], None] | None = None,
    ) -> StoredDifferenceImage:
        """Write FITS and what lies beside it; see `residua.ports.ImageStore`."""
        # Checked like any URI: a name must not lead out of the root.
        folder = resolve(name(_NO_CHECKSUM), [self._output_root.geturl()]).dirname()
        instrument = self._instruments.get(visit_image.observation.instrument)
        references = (provenance.visit_image, *provenance.templates)
        # Made again, it names its inputs as it did first, wherever they lie now.
        names = {r.uri: r.name or self._name(r.uri) for r in references}
        inputs = {r.checksum: self._digests.get(r.checksum) for r in references}
        written: list[bytes] = []

        def write(path: Path) -> None:
            write_difference_image(
                path,
                difference,
                visit_image,
                provenance,
                instrument,
                templates=self._footprints,
                names=names,
                lossless=self._lossless,
                threads=self._threads,
            )
            written[:] = [path.read_bytes()]

        picture = preview_png(visit_image, difference) if self._preview else None

        detections = detections_parquet(difference, visit_image.observation, provenance)

        def stored(location: ResourcePath, checksum: str, size: int) -> StoredDifferenceImage:
            beside = None if picture is None else location.updatedExtension(".png").geturl()
            reference = DetectionsReference(
                uri=location.updatedExtension(".parquet").geturl(),
                checksum=checksum_of(detections),
                size_bytes=len(detections),
                rows=len(difference.detections),
            )
            return StoredDifferenceImage(
                location.geturl(), checksum, size, beside, reference, names, self._keeps
            )

        def before(location: ResourcePath, checksum: str, size: int) -> None:
            # The FITS file last: where it stands, its preview and its detections stand too.
            if picture is not None:
                publish_bytes(location.updatedExtension(".png"), picture)
            publish_bytes(location.updatedExtension(".parquet"), detections)
            told = {k: digest for k, digest in inputs.items() if digest is not None}
            if len(told) == len(inputs):
                # Of inputs that are not read by parts, parts cannot be made.
                kernel = np.ascontiguousarray(difference.kernel.basis).astype(">f8").tobytes()
                hollow = hollowed(written.pop(), checksum, kernel, told)
                publish_bytes(location.updatedExtension(SUFFIX), hollow)
            if announce is not None:
                announce(stored(location, checksum, size))

        def last(checksum: str) -> str:
            return PurePosixPath(name(checksum)).name

        return stored(*publish(folder, write, last, before, put=self._keeps != "none"))

    def _digest(self, checksum: str, content: bytes, reading: ImageReading | None) -> None:
        if checksum not in self._digests:
            self._digests[checksum] = inputs_digest(content) if reading is None else None

    def _name(self, uri: str) -> str:
        return relative_name(uri, [*self._input_roots, *self._template_roots])


def _cached_as(template: TemplateFile) -> str:
    # Two readings of a file, such as two of its extensions, are two templates.
    reading = template.reading
    return template.uri if reading is None else f"{template.uri}#{reading.model_dump_json()}"
