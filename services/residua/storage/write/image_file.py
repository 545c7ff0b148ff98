"""Difference images as files: ``lsst.images.DifferenceImage`` with cards for everyone else."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io.fits import Header
from astropy.wcs.wcsapi import BaseLowLevelWCS
from lsst.images import (
    Box,
    DetectorFrame,
    MaskSchema,
    ObservationSummaryStats,
    Polygon,
    get_legacy_difference_image_mask_planes,
)
from lsst.images import DifferenceImage as ArchiveDifferenceImage
from lsst.images import DifferenceImageTemplateInfo as TemplateInfo
from lsst.images.convolution_kernels import ImageBasisConvolutionKernel
from lsst.images.fields import ChebyshevField

from residua.identity import installed_version
from residua.instruments import Instrument
from residua.ports import Observation, Provenance, VisitImage
from residua.storage.conventions.flux import NJY_ZERO_POINT
from residua.storage.forms.archive import PackedMask, PlaneImage, write_file
from residua.storage.forms.codec import compress_lossless, compress_quantised
from residua.storage.forms.pixel_grid_psf import PixelGridPsf, compact
from residua.storage.forms.psf_models import psf_moments
from residua.storage.forms.wcs import (
    center,
    footprint,
    header_wcs,
    pixel_scale,
    rounded,
    sky_projection,
)
from residua.storage.write.cards import image_cards, provenance_cards, quality_cards
from residua.storage.write.detector import make_detector
from residua.storage.write.observation_info import file_date, observation_cards, observation_info
from residua.subtraction.images import (
    DifferenceImage,
    MatchingKernel,
    PsfModel,
    SpatialPolynomial,
)
from residua.subtraction.masks import MaskBit

__all__ = ["TemplateFootprint", "write_difference_image"]


@dataclass(frozen=True)
class TemplateFootprint:
    """What provenance needs of a template that was read.

    Parameters
    ----------
    wcs, shape
        Its pixel grid.
    psf
        Its PSF, if it came with one.
    """

    wcs: BaseLowLevelWCS
    shape: tuple[int, int]
    psf: PsfModel | None


def write_difference_image(
    path: Path,
    difference: DifferenceImage,
    visit_image: VisitImage,
    provenance: Provenance,
    instrument: Instrument,
    *,
    templates: Mapping[str, TemplateFootprint] | None = None,
    names: Mapping[str, str] | None = None,
    lossless: bool = False,
    threads: int = 1,
) -> None:
    """Write a difference image; the same input gives the same bytes.

    Parameters
    ----------
    path
        Where; must not exist.
    difference
        What to write.
    visit_image
        Its visit image: observation and reference.
    provenance
        What it was made of.
    instrument
        Description of the instrument.
    templates
        Footprints of the templates, by checksum; without one, the whole image is given as
        the template's bounds and its PSF as unknown.
    names
        How files are named in the header, by URI (a path under a root stays the same when
        the root moves); default: the URI.
    lossless
        GZIP_2 instead of quantised RICE_1.
    threads
        Threads to compress in.
    """
    observation = visit_image.observation
    shape = (difference.image.shape[0], difference.image.shape[1])
    obj = _archive_object(difference, visit_image, provenance, instrument, shape, templates or {})
    mask = difference.mask & np.int32((1 << len(obj.mask.schema)) - 1)
    with ThreadPoolExecutor(threads) as pool:
        fluxes = (difference.image, difference.variance)
        image, variance = (
            compress_lossless(fluxes, pool) if lossless else compress_quantised(*fluxes, pool)
        )
        (mask_plane,) = compress_lossless([mask], pool)

    def update_header(header: Header) -> None:
        observation_cards(header, observation)
        image_cards(header, difference, shape, _version(provenance))
        provenance_cards(header, provenance, names or {})
        quality_cards(header, difference)

    write_file(
        obj,
        path,
        {"IMAGE": image, "VARIANCE": variance, "MASK": mask_plane},
        update_header,
        file_date(observation),
        metadata={f"software {k}": v for k, v in sorted(provenance.software.items())},
    )


def _version(provenance: Provenance) -> str:
    # Made again, an image says which release made it first.
    return provenance.software.get("residua") or installed_version("residua")


def _archive_object(
    difference: DifferenceImage,
    visit_image: VisitImage,
    provenance: Provenance,
    instrument: Instrument,
    shape: tuple[int, int],
    templates: Mapping[str, TemplateFootprint],
) -> Any:
    observation = visit_image.observation
    bbox = Box.factory[0 : shape[0], 0 : shape[1]]
    frame = DetectorFrame(
        instrument=observation.instrument,
        visit=observation.visit,
        detector=observation.detector,
        bbox=bbox,
    )
    scale = pixel_scale(difference.wcs, shape)
    projection = sky_projection(difference.wcs, frame, shape)
    fits_wcs = header_wcs(difference.wcs, shape)
    schema = MaskSchema(list(get_legacy_difference_image_mask_planes().values()), dtype=np.uint8)
    unit = u.Unit(difference.unit)
    return ArchiveDifferenceImage(
        PlaneImage(difference.image, fits_wcs, bbox=bbox, unit=unit, sky_projection=projection),
        mask=PackedMask(difference.mask, schema, fits_wcs, bbox=bbox, sky_projection=projection),
        variance=PlaneImage(difference.variance, fits_wcs, bbox=bbox, unit=unit**2),
        sky_projection=projection,
        obs_info=observation_info(observation, instrument),
        band=observation.band,
        psf=PixelGridPsf(compact(difference.psf)),
        detector=make_detector(instrument, observation.visit, observation.detector, shape, scale),
        summary_stats=_summary(difference, observation, shape, scale),
        photometric_scaling=_scaling(observation, bbox),
        kernel=_kernel(difference.kernel, bbox),
        templates=_templates(provenance, difference.wcs, shape, templates),
    )


def _scaling(observation: Observation, bbox: Any) -> Any:
    if observation.photometric_scaling is None or observation.native_unit == "nJy":
        return None
    unit = u.nJy / u.Unit(observation.native_unit)
    return ChebyshevField(bbox, np.array([[observation.photometric_scaling]]), unit=unit)


def _kernel(kernel: MatchingKernel, bbox: Any) -> Any:
    fields = [
        ChebyshevField(bbox, _matrix(weights, kernel.polynomial)) for weights in kernel.coefficients
    ]
    return ImageBasisConvolutionKernel(np.ascontiguousarray(kernel.basis), fields)


def _matrix(weights: np.ndarray[Any, Any], polynomial: SpatialPolynomial) -> Any:
    # Element [i, j] multiplies T_i(y) T_j(x).
    matrix = np.zeros((polynomial.order + 1, polynomial.order + 1))
    for value, (i, j) in zip(weights, polynomial.exponents, strict=True):
        matrix[i, j] = value
    return matrix


def _templates(
    provenance: Provenance,
    wcs: BaseLowLevelWCS,
    shape: tuple[int, int],
    footprints: Mapping[str, TemplateFootprint],
) -> list[Any]:
    result = []
    for reference in provenance.templates:
        known = footprints.get(reference.checksum)
        xx = yy = xy = float("nan")
        if known is not None and known.psf is not None:
            ny, nx = known.shape
            xx, yy, xy = psf_moments(known.psf.stamp((nx - 1) / 2, (ny - 1) / 2))
        result.append(
            TemplateInfo(
                skymap=reference.skymap,
                tract=reference.tract,
                patch=reference.patch,
                dataset_id=reference.dataset_id,
                dataset_run=provenance.template_set,
                bounds=_bounds(known, wcs, shape),
                psf_shape_xx=xx,
                psf_shape_yy=yy,
                psf_shape_xy=xy,
                psf_shape_flag=not np.isfinite(xx),
            )
        )
    return result


def _bounds(known: TemplateFootprint | None, wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> Any:
    ny, nx = shape
    whole = Polygon.from_box(Box.factory[0:ny, 0:nx])
    if known is None:
        return whole
    ty, tx = known.shape
    edge_x = np.array([-0.5, tx - 0.5, tx - 0.5, -0.5])
    edge_y = np.array([-0.5, -0.5, ty - 0.5, ty - 0.5])
    sky = known.wcs.pixel_to_world_values(edge_x, edge_y)
    # Thousandths of a pixel: sines and cosines have other last bits on another CPU.
    x, y = (np.round(v, 3) for v in wcs.world_to_pixel_values(*sky))
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        return whole
    corners = Polygon(x_vertices=x, y_vertices=y)
    try:
        overlap = corners.intersection(whole).try_to_polygon()
    except (ValueError, RuntimeError):
        # They only touch, or the projection turned the corners inside out.
        return whole
    return overlap if isinstance(overlap, Polygon) else whole


def _degrees(angle: float) -> float:
    """Return an angle to 36 microarcseconds, see `rounded`."""
    return round(float(angle), 8)


def _summary(
    difference: DifferenceImage, observation: Observation, shape: tuple[int, int], scale: float
) -> Any:
    ny, nx = shape
    stamp = difference.psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    xx, yy, xy = psf_moments(stamp)
    corners = footprint(difference.wcs, shape)
    ra, dec = center(difference.wcs, shape)
    usable = (difference.mask & np.int32(MaskBit.NO_DATA)) == 0
    variance = difference.variance[::8, ::8][usable[::8, ::8]]
    values: dict[str, Any] = {
        "psfSigma": rounded(np.sqrt(np.sqrt(max(xx * yy - xy * xy, 0.0)))),
        "psfArea": rounded(1.0 / np.sum(stamp**2)),
        "psfIxx": xx,
        "psfIyy": yy,
        "psfIxy": xy,
        "ra": _degrees(ra),
        "dec": _degrees(dec),
        "pixelScale": rounded(scale),
        "raCorners": tuple(_degrees(v[0]) for v in corners.vertices),
        "decCorners": tuple(_degrees(v[1]) for v in corners.vertices),
    }
    if observation.exposure_time is not None:
        values["expTime"] = observation.exposure_time
    if observation.photometric_scaling is not None and observation.native_unit != "nJy":
        values["zeroPoint"] = rounded(
            NJY_ZERO_POINT - 2.5 * np.log10(observation.photometric_scaling)
        )
    if variance.size:
        values["meanVar"] = rounded(np.mean(variance, dtype=np.float64))
        values["skyNoise"] = rounded(np.sqrt(np.median(variance)))
    return ObservationSummaryStats(**values)
