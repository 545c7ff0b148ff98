"""Images as the use case has them, of what an event says and what its file holds."""

from dataclasses import replace

from residua.instruments import InstrumentRegistry
from residua.ports import VisitImage
from residua.storage.forms.wcs import footprint, pixel_scale, rotation_angle
from residua.storage.read.file_contents import FileContents
from residua.storage.read.metadata import observation
from residua.subtraction.images import ScienceImage, TemplateImage
from residua_schemas import ImageReference, VisitArrival

__all__ = ["template_image_of", "visit_image_of"]


def visit_image_of(
    arrival: VisitArrival,
    contents: FileContents,
    checksum: str,
    size_bytes: int,
    instruments: InstrumentRegistry,
) -> VisitImage:
    """Put the word of an arrival and the contents of its file together.

    Parameters
    ----------
    arrival
        Believed where both speak of the observation.
    contents, checksum, size_bytes
        Of the file.
    instruments
        Known instruments.
    """
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


def template_image_of(name: str, contents: FileContents) -> TemplateImage:
    """Make the contents of a file a template; its planes can no longer be changed.

    They are shared between subtractions from now on.
    """
    image = TemplateImage(
        image=contents.image,
        variance=contents.variance,
        mask=contents.mask,
        wcs=contents.wcs,
        psf=contents.psf,
        unit=contents.unit,
        name=name,
    )
    for plane in (image.image, image.variance, image.mask):
        plane.setflags(write=False)
    return image
