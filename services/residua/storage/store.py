"""The image store: reads visit images and templates, writes difference images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

from lsst.resources import ResourcePath

from residua.errors import UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.ports import Provenance, StoredDifferenceImage, TemplateReads, VisitImage
from residua.storage.cache import TemplateCache
from residua.storage.fetch import fetch
from residua.storage.forms.wcs import footprint, pixel_scale, rotation_angle
from residua.storage.kept_outcomes import keep_outcome
from residua.storage.objects import (
    publish,
    publish_bytes,
    relative_name,
    resolve,
)
from residua.storage.read.contents import FileContents, ReadOptions
from residua.storage.read.metadata import observation
from residua.storage.read.readers import read_image
from residua.storage.write.preview import preview_png
from residua.storage.write.writer import TemplateFootprint, write_difference_image
from residua.subtraction.images import DifferenceImage, ScienceImage, TemplateImage
from residua_schemas import (
    DifferenceImageCreated,
    ImageReference,
    SkyPolygon,
    TemplateCoadd,
    VisitArrival,
)

__all__ = ["ImageFileStore"]

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
        Seconds after which an input that is missing or has other bytes is read once more.
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
        missing_grace: float = 0.0,
    ) -> None:
        self._input_roots = tuple(input_roots)
        self._template_roots = tuple(template_roots)
        self._output_root = ResourcePath(output_root, forceDirectory=True, forceAbsolute=True)
        self._options = ReadOptions(zero_point=zero_point, threads=threads)
        self._lossless = lossless
        self._threads = threads
        self._instruments = instruments or InstrumentRegistry()
        self._preview = preview
        self._grace = missing_grace
        self._cache = TemplateCache(cache_bytes)
        self._footprints: dict[str, TemplateFootprint] = {}
        self._reads = TemplateReads()
        self._located: tuple[VisitArrival, VisitImage] | None = None
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
        content, checksum = fetch(
            arrival.image_uri, self._input_roots, arrival.image_checksum, grace=self._grace
        )
        contents = read_image(content, arrival.image_uri, self._instruments, self._options)
        if contents.metadata.problem is not None and arrival.begin_tai is None:
            raise UnusableImageError(f"{arrival.image_uri}: {contents.metadata.problem}")
        return _visit_image(arrival, contents, checksum, len(content), self._instruments)

    def read_template(self, template: TemplateCoadd) -> TemplateImage:
        """Read a template coadd, from memory if it was used lately or read ahead."""
        # Checked also for cached templates: roots may differ between stores of one process.
        resolve(template.uri, self._template_roots)
        reads = self._reads
        was_ahead = self._cache.forget_ahead(template.uri, template.checksum)
        cached = self._cache.get(template.uri, template.checksum)
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
        resolve(template.uri, self._template_roots)
        if self._cache.get(template.uri, template.checksum) is not None:
            return False
        self._load(template, ahead=True)
        return True

    def _load(self, template: TemplateCoadd, *, ahead: bool = False) -> TemplateImage:
        content, _ = fetch(template.uri, self._template_roots, template.checksum, grace=self._grace)
        contents = read_image(content, template.uri, self._instruments, self._options)
        image = TemplateImage(
            image=contents.image,
            variance=contents.variance,
            mask=contents.mask,
            wcs=contents.wcs,
            psf=contents.psf,
            unit=contents.unit,
            name=template.uri,
        )
        for plane in (image.image, image.variance, image.mask):
            # Shared between subtractions from now on.
            plane.setflags(write=False)
        shape = (image.image.shape[0], image.image.shape[1])
        with self._lock:
            self._footprints[template.checksum] = TemplateFootprint(image.wcs, shape, image.psf)
        self._cache.put(template.uri, template.checksum, image, ahead=ahead)
        return image

    def write_difference_image(
        self,
        object_key: str,
        difference: DifferenceImage,
        visit_image: VisitImage,
        provenance: Provenance,
        announce: Callable[[StoredDifferenceImage], None] | None = None,
    ) -> StoredDifferenceImage:
        """Write FITS and preview under ``object_key``; see `residua.ports.ImageStore`."""
        location = resolve(object_key, [self._output_root.geturl()])
        instrument = self._instruments.get(visit_image.observation.instrument)
        names = {visit_image.reference.uri: self._name(visit_image.reference.uri)}
        names |= {t.uri: self._name(t.uri) for t in provenance.templates}

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

        preview_uri = None
        if self._preview:
            beside = location.updatedExtension(".png")
            picture = preview_png(visit_image, difference)
            publish_bytes(beside, picture)
            preview_uri = beside.geturl()

        def stored(checksum: str, size_bytes: int) -> StoredDifferenceImage:
            return StoredDifferenceImage(location.geturl(), checksum, size_bytes, preview_uri)

        def before(checksum: str, size_bytes: int) -> None:
            if announce is not None:
                announce(stored(checksum, size_bytes))

        # The FITS file last: where it stands, its preview stands too.
        return stored(*publish(location, write, before))

    def keep_outcome(self, outcome: DifferenceImageCreated) -> None:
        """Write an outcome down beside the images; see `residua.storage.kept_outcomes`."""
        keep_outcome(self._output_root.geturl(), outcome)

    def _name(self, uri: str) -> str:
        return relative_name(uri, [*self._input_roots, *self._template_roots])


def _visit_image(
    arrival: VisitArrival,
    contents: FileContents,
    checksum: str,
    size_bytes: int,
    instruments: InstrumentRegistry,
) -> VisitImage:
    shape = (contents.image.shape[0], contents.image.shape[1])
    merged = replace(
        observation(arrival, contents.metadata, instruments),
        photometric_scaling=contents.photometric_scaling,
        native_unit=contents.native_unit,
        rotation_angle=contents.metadata.rotation_angle
        if contents.metadata.rotation_angle is not None
        else rotation_angle(contents.wcs, shape),
    )
    return VisitImage(
        image=ScienceImage(
            image=contents.image,
            variance=contents.variance,
            mask=contents.mask,
            wcs=contents.wcs,
            psf=contents.psf,
            unit=contents.unit,
        ),
        observation=merged,
        reference=ImageReference(uri=arrival.image_uri, checksum=checksum),
        region=footprint(contents.wcs, shape),
        pixel_scale=pixel_scale(contents.wcs, shape),
        size_bytes=size_bytes,
    )
