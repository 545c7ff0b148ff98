"""The steps between a catalogue and a pair of images."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from residua.simulation.sky.catalogue import Catalogue, place
from residua.simulation.sky.imaging.exposure import add_defects, expose
from residua.simulation.sky.imaging.gaussians import draw
from residua.simulation.sky.imaging.profiles import PsfField, sersic_mixture
from residua.simulation.sky.imaging.projection import make_wcs, pixel_to_pixel, shift
from residua.simulation.sky.imaging.turbulence import displaced
from residua.simulation.sky.scene import SceneConfig
from residua.subtraction.images import PsfModel, ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = [
    "draw_static",
    "expose_science",
    "expose_template",
    "template_grid",
]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]

TEMPLATE_MARGIN = 40
"""Pixels by which the template reaches beyond the science image."""
TRACT_OFFSET = (2600.0, -1900.0)
"""Pixels from the template's tangent point to the middle of the science image."""
HOLE = 60
"""Side of a hole in the template, pixels."""


def template_grid(config: SceneConfig, science_wcs: WCS) -> tuple[WCS, tuple[int, int]]:
    """WCS and shape (ny, nx) of a template grid that holds the whole science image."""
    ny, nx = config.shape
    rotation = config.rotation + config.template_rotation
    middle = science_wcs.pixel_to_world_values((nx - 1) / 2.0, (ny - 1) / 2.0)
    local = make_wcs(
        float(middle[0]),
        float(middle[1]),
        centre=TRACT_OFFSET,
        pixel_scale=config.pixel_scale,
        rotation=rotation,
    )
    tract_ra, tract_dec = local.pixel_to_world_values(0.0, 0.0)
    tract = make_wcs(
        float(tract_ra),
        float(tract_dec),
        centre=(0.0, 0.0),
        pixel_scale=config.pixel_scale,
        rotation=rotation,
        projection=config.template_projection,
    )
    edge_y, edge_x = np.meshgrid(
        np.linspace(-0.5, ny - 0.5, 33), np.linspace(-0.5, nx - 0.5, 33), indexing="ij"
    )
    x, y = pixel_to_pixel(science_wcs, tract, edge_x.ravel(), edge_y.ravel())
    x0, y0 = (int(np.floor(v.min())) - TEMPLATE_MARGIN for v in (x, y))
    x1, y1 = (int(np.ceil(v.max())) + TEMPLATE_MARGIN + 1 for v in (x, y))
    return shift(tract, x0, y0), (y1 - y0, x1 - x0)


def draw_static(
    catalogue: Catalogue,
    wcs: WCS,
    shape: tuple[int, int],
    psf: PsfField,
    floor: float,
    turbulence: tuple[float, float] = (0.0, 1.0),
) -> Plane:
    """Float32 plane of all constant sources, noise-free, nJy."""
    plane = np.zeros(shape, np.float32)
    x, y, covariance = place(catalogue, wcs)
    x, y = displaced(x, y, turbulence)
    reach = 150.0
    inside = (x > -reach) & (x < shape[1] + reach) & (y > -reach) & (y < shape[0] + reach)
    for index in np.unique(catalogue.sersic):
        chosen = inside & (catalogue.sersic == index)
        draw(
            plane,
            psf,
            x[chosen],
            y[chosen],
            catalogue.flux[chosen],
            profile=sersic_mixture(float(index)) if index else None,
            covariance=covariance[chosen] if index else None,
            floor=floor,
        )
    return plane


def expose_science(
    config: SceneConfig, rng: np.random.Generator, model: Plane, wcs: WCS, psf: PsfField
) -> ScienceImage:
    """Expose a noise-free plane as a visit image."""
    ny, nx = model.shape
    constant, right, up = config.background
    u = np.linspace(-1.0, 1.0, nx, dtype=np.float32)
    v = np.linspace(-1.0, 1.0, ny, dtype=np.float32)[:, None]
    image, variance, mask = expose(
        model,
        rng,
        sky_noise=config.sky_noise,
        electrons=config.electrons_per_njy,
        saturation=config.saturation,
        noisy_variance=config.noisy_variance,
    )
    image += np.float32(constant) + np.float32(right) * u + np.float32(up) * v
    add_defects(
        image,
        mask,
        rng,
        cosmic_rays=config.cosmic_rays * config.area,
        bad_columns=config.bad_columns * np.sqrt(config.area),
        sky_noise=config.sky_noise,
    )
    model_psf = psf.model(model.shape) if config.with_psf else None
    return ScienceImage(image, variance, mask, wcs, model_psf)


def expose_template(
    config: SceneConfig, rng: np.random.Generator, model: Plane, wcs: WCS, psf: PsfField
) -> tuple[tuple[TemplateImage, ...], tuple[Plane, ...]]:
    """Expose a noise-free plane as a coadd and cut it into patches; also cut the plane.

    All patches are cut from one coadd, so that shared pixels are equal, noise included.
    """
    ny, nx = model.shape
    image, variance, mask = expose(
        model,
        rng,
        sky_noise=config.sky_noise / np.sqrt(config.template_visits),
        electrons=config.electrons_per_njy * config.template_visits,
        saturation=1.1 * config.saturation,
        noisy_variance=config.noisy_variance,
    )
    scale = np.float32(config.photometric_scale)
    image *= scale
    variance *= scale**2
    empty = np.zeros(model.shape, bool)
    empty[:, round(config.template_coverage * nx) :] = True
    for _ in range(config.template_holes):
        y = int(rng.integers(ny // 4, max(ny // 4 + 1, 3 * ny // 4 - HOLE)))
        x = int(rng.integers(nx // 4, max(nx // 4 + 1, nx // 2 - HOLE)))
        empty[y : y + HOLE, x : x + HOLE] = True
    image[empty] = np.nan
    variance[empty] = np.nan
    mask[empty] = MaskBit.NO_DATA
    rows, columns = config.patches
    patches, planes = [], []
    for row, up in enumerate(_cuts(ny, rows, config.patch_overlap)):
        for column, along in enumerate(_cuts(nx, columns, config.patch_overlap)):
            shape = (up.stop - up.start, along.stop - along.start)
            local = PsfField(
                psf.config, psf.pixel_scale, (psf.centre[0] - along.start, psf.centre[1] - up.start)
            )
            patch_psf: PsfModel | None = local.model(shape) if config.with_psf else None
            patches.append(
                TemplateImage(
                    image[up, along].copy(),
                    variance[up, along].copy(),
                    mask[up, along].copy(),
                    shift(wcs, along.start, up.start),
                    patch_psf,
                    name=f"patch {row},{column}",
                )
            )
            planes.append(model[up, along] * scale)
    return tuple(patches), tuple(planes)


def _cuts(n: int, parts: int, overlap: int) -> list[slice]:
    """Equal slices of a length n that share `overlap` pixels with their neighbours."""
    edges = np.rint(np.linspace(0, n, parts + 1)).astype(int)
    half = overlap // 2
    return [slice(max(0, int(a) - half), min(n, int(b) + half)) for a, b in pairwise(edges)]
