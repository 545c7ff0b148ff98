"""Visit images and templates as files: what a simulation, or a producer's test, hands in."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.io import fits
from lsst.images import (
    Box,
    DetectorFrame,
    get_legacy_visit_image_mask_planes,
)
from lsst.images import VisitImage as ArchiveVisitImage
from lsst.images.fields import ChebyshevField
from lsst.images.psfs import GaussianPointSpreadFunction

from residua.instruments import InstrumentRegistry
from residua.ports import Observation
from residua.storage.forms.pixel_grid_psf import PixelGridPsf, compact
from residua.storage.forms.wcs import header_wcs, pixel_scale, sky_projection
from residua.storage.write.detector import make_detector
from residua.storage.write.observation_info import (
    file_date,
    observation_cards,
    observation_info,
    set_card,
)
from residua.storage.write.template import archive_planes, write_planes, write_template
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["write_plain_fits", "write_template", "write_visit_image"]

_VISIT_PLANES = list(get_legacy_visit_image_mask_planes().values())
_PLACEHOLDER_SIGMA = 2.0


def write_visit_image(
    path: Path,
    science: ScienceImage,
    observation: Observation,
    instruments: InstrumentRegistry | None = None,
    *,
    lossless: bool = True,
    threads: int = 1,
) -> None:
    """Write a visit image as an ``lsst.images.VisitImage``; same input, same bytes.

    Parameters
    ----------
    path
        Where; must not exist.
    science
        The image. Without a PSF a Gaussian of sigma 2 pixels is written, because the format
        requires one, and the primary header says ``PSFMODEL = 'PLACEHOLDER'``: readers here
        then measure the PSF.
    observation
        Its observation.
    instruments
        Known instruments; default: the shipped ones.
    lossless
        GZIP_2, else quantised RICE_1.
    threads
        Threads to compress in.
    """
    instrument = (instruments or InstrumentRegistry()).get(observation.instrument)
    shape = (science.image.shape[0], science.image.shape[1])
    bbox = Box.factory[0 : shape[0], 0 : shape[1]]
    frame = DetectorFrame(
        instrument=observation.instrument,
        visit=observation.visit,
        detector=observation.detector,
        bbox=bbox,
    )
    projection = sky_projection(science.wcs, frame, shape)
    scale = pixel_scale(science.wcs, shape)
    scaling = None
    if observation.photometric_scaling is not None and observation.native_unit != "nJy":
        unit = u.nJy / u.Unit(observation.native_unit)
        scaling = ChebyshevField(bbox, np.array([[observation.photometric_scaling]]), unit=unit)
    planes = archive_planes(science, projection, shape, _VISIT_PLANES)
    psf = (
        GaussianPointSpreadFunction(_PLACEHOLDER_SIGMA, bounds=bbox, stamp_size=25)
        if science.psf is None
        else PixelGridPsf(compact(science.psf))
    )
    obj = ArchiveVisitImage(
        **planes,
        sky_projection=projection,
        obs_info=observation_info(observation, instrument),
        band=observation.band,
        psf=psf,
        detector=make_detector(instrument, observation.visit, observation.detector, shape, scale),
        photometric_scaling=scaling,
    )

    def update_header(header: fits.Header) -> None:
        observation_cards(header, observation)
        set_card(header, "PSFMODEL", "PLACEHOLDER" if science.psf is None else "GIVEN", "")

    write_planes(path, obj, science, update_header, file_date(observation), lossless, threads)


def write_plain_fits(
    path: Path,
    science: ScienceImage | TemplateImage,
    observation: Observation | None = None,
    *,
    variance: bool = True,
    cards: dict[str, str | float] | None = None,
) -> None:
    """Write an image as plain FITS: one image, a weight plane, a mask plane, a WCS.

    Parameters
    ----------
    path
        Where; must not exist.
    science
        The image.
    observation
        Cards for the header.
    variance
        Add ``VARIANCE`` and ``MASK`` extensions; without them the header must allow the
        variance to be worked out (``GAIN``, ``RDNOISE`` in ``cards``).
    cards
        More cards.
    """
    shape = (science.image.shape[0], science.image.shape[1])
    primary = fits.PrimaryHDU(science.image)
    primary.header.update(header_wcs(science.wcs, shape).to_header(relax=True))
    if observation is not None:
        observation_cards(primary.header, observation)
    primary.header["BUNIT"] = science.unit
    for key, value in (cards or {}).items():
        primary.header[key] = value
    hdus = fits.HDUList([primary])
    if variance:
        hdus.append(fits.ImageHDU(science.variance, name="VARIANCE"))
        hdus.append(_named_mask(science))
    hdus.writeto(path, output_verify="exception")


def _named_mask(science: ScienceImage | TemplateImage) -> fits.ImageHDU:
    mask = fits.ImageHDU(science.mask, name="MASK")
    for n, bit in enumerate(MaskBit):
        mask.header[f"MSKN{n:04d}"] = bit.name
        mask.header[f"MSKM{n:04d}"] = bit.value
    return mask
