"""Cut a simulated pair down to a box of the science image, truth included."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.imaging.projection import pixel_to_pixel, shift
from residua.simulation.sky.observe import TEMPLATE_MARGIN
from residua.simulation.sky.truth import NoiseFree, SimulatedPair, Sources
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["centre_crop"]

type Plane = npt.NDArray[np.float32]

REACH = 12.0
"""Pixels to which the light of a transient outside the box is masked inside it."""
NEAR = 50.0
"""Pixels around the box within which constant sources are listed."""


def centre_crop(pair: SimulatedPair, shape: tuple[int, int]) -> SimulatedPair:
    """Return the centre of a pair: the same pixels, with the truth in their coordinates.

    Transients outside the box are dropped and, where their light reaches in, masked as ``BAD``,
    so that no tool is blamed for detecting them. Template patches are cut to the box and
    the margin that the simulation gives a template; those that do not reach it are dropped.

    Parameters
    ----------
    pair
        The simulation, made without PSF models.
    shape
        (ny, nx) of the box, pixels.

    Raises
    ------
    ValueError
        If the box does not fit into the science image, or the pair carries PSF models.
    """
    full = pair.config.shape
    if any(not 0 < n <= m for n, m in zip(shape, full, strict=True)):
        raise ValueError(f"a box of {shape} does not fit into a science image of {full}")
    if pair.config.with_psf:
        raise ValueError("a pair with PSF models cannot be cropped; simulate without `with_psf`")
    y0, x0 = ((m - n) // 2 for n, m in zip(shape, full, strict=True))
    box = (slice(y0, y0 + shape[0]), slice(x0, x0 + shape[1]))
    science = ScienceImage(
        image=pair.science.image[box].copy(),
        variance=pair.science.variance[box].copy(),
        mask=pair.science.mask[box].copy(),
        wcs=shift(pair.science.wcs, x0, y0),
        unit=pair.science.unit,
    )
    moved = [replace(t, x=t.x - x0, y=t.y - y0) for t in pair.transients]
    inside = [t for t in moved if -0.5 <= t.x < shape[1] - 0.5 and -0.5 <= t.y < shape[0] - 0.5]
    y, x = np.ogrid[: shape[0], : shape[1]]
    for t in moved:
        if t not in inside and -REACH < t.x < shape[1] + REACH and -REACH < t.y < shape[0] + REACH:
            science.mask[(x - t.x) ** 2 + (y - t.y) ** 2 < REACH**2] |= MaskBit.BAD
    cut = [
        _crop_template(template, science, plane)
        for template, plane in zip(pair.templates, pair.noise_free.templates, strict=True)
    ]
    kept = [c for c in cut if c is not None]
    # The template's PSF counts from the first patch.
    origin = np.zeros(1)
    left, up = pixel_to_pixel(kept[0][0].wcs, pair.templates[0].wcs, origin, origin)
    return replace(
        pair,
        config=replace(pair.config, shape=shape),
        science=science,
        templates=tuple(template for template, _ in kept),
        transients=tuple(inside),
        stars=_move(pair.stars, x0, y0, shape),
        galaxies=_move(pair.galaxies, x0, y0, shape),
        noise_free=NoiseFree(
            pair.noise_free.science[box].copy(),
            pair.noise_free.static[box].copy(),
            tuple(plane for _, plane in kept),
        ),
        science_psf=_shift_psf(pair.science_psf, x0, y0),
        template_psf=_shift_psf(pair.template_psf, round(left.item()), round(up.item())),
    )


def _crop_template(
    template: TemplateImage, science: ScienceImage, noise_free: Plane
) -> tuple[TemplateImage, Plane] | None:
    """Cut a patch and its noise-free plane to what lies under the science image."""
    ny, nx = science.image.shape
    edge_y, edge_x = np.meshgrid(
        np.linspace(-0.5, ny - 0.5, 33), np.linspace(-0.5, nx - 0.5, 33), indexing="ij"
    )
    x, y = pixel_to_pixel(science.wcs, template.wcs, edge_x.ravel(), edge_y.ravel())
    rows, columns = template.image.shape
    x0, y0 = (max(0, int(np.floor(v.min())) - TEMPLATE_MARGIN) for v in (x, y))
    x1 = min(columns, int(np.ceil(x.max())) + TEMPLATE_MARGIN + 1)
    y1 = min(rows, int(np.ceil(y.max())) + TEMPLATE_MARGIN + 1)
    if x1 <= x0 or y1 <= y0:
        return None
    box = (slice(y0, y1), slice(x0, x1))
    cut = replace(
        template,
        image=template.image[box].copy(),
        variance=template.variance[box].copy(),
        mask=template.mask[box].copy(),
        wcs=shift(template.wcs, x0, y0),
    )
    return cut, noise_free[box].copy()


def _move(sources: Sources, x0: int, y0: int, shape: tuple[int, int]) -> Sources:
    x, y = sources.x - x0, sources.y - y0
    near = (x > -NEAR) & (x < shape[1] + NEAR) & (y > -NEAR) & (y < shape[0] + NEAR)
    return Sources(x[near], y[near], sources.flux[near], sources.radius[near])


def _shift_psf(psf: PsfField, x0: int, y0: int) -> PsfField:
    return replace(psf, centre=(psf.centre[0] - x0, psf.centre[1] - y0))
