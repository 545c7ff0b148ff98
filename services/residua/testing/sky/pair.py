"""Simulate a visit image, the template patches under it, and the truth about both."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import ScienceImage, TemplateImage
from residua.testing.sky.catalogue import draw_catalogue, place, select, sky_frame
from residua.testing.sky.observe import (
    draw_signal_to_noise,
    draw_static,
    expose_science,
    expose_template,
    template_grid,
    transient_fluxes,
)
from residua.testing.sky.profiles import PsfField
from residua.testing.sky.render import draw
from residua.testing.sky.scene import SceneConfig
from residua.testing.sky.wcs import make_wcs, pixel_to_pixel

__all__ = ["NoiseFree", "SimulatedPair", "Sources", "Transient", "simulate_pair"]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]

FLOOR = 0.002
"""Where sources are cut off, in units of the template's sky noise."""


@dataclass(frozen=True)
class Transient:
    """A source that differs between visit and template.

    Parameters
    ----------
    x, y
        0-based pixel position on the science image.
    ra, dec
        ICRS, degrees.
    flux
        Visit minus template, nJy on the science image's scale; negative when the source is
        in the template only.
    expected_sn
        S/N of an ideal subtraction (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27) with the noise
        of both images at its place, host and own photons included; signed.
    """

    x: float
    y: float
    ra: float
    dec: float
    flux: float
    expected_sn: float


@dataclass(frozen=True)
class Sources:
    """Constant sources on the science image's pixel grid, within 50 px of the frame.

    Parameters
    ----------
    x, y, flux, radius
        float64 (n,): 0-based position, nJy, half-light radius in px (0 for stars).
    """

    x: Array
    y: Array
    flux: Array
    radius: Array


@dataclass(frozen=True)
class NoiseFree:
    """Planes without noise, saturation and defects, differential background left out.

    Parameters
    ----------
    science
        float32 (ny, nx): what is in the visit.
    static
        float32 (ny, nx): its constant sources only.
    templates
        One plane for each patch.
    """

    science: Plane
    static: Plane
    templates: tuple[Plane, ...]


@dataclass(frozen=True)
class SimulatedPair:
    """A visit image with its template patches, and what is true about them.

    Parameters
    ----------
    config, seed
        What was asked for.
    science, templates
        The images, ready to be subtracted.
    transients
        What the difference image should show.
    stars, galaxies
        Constant sources.
    noise_free
        Expected values of the pixels.
    science_psf, template_psf
        The PSFs at any pixel; the template's on the grid of the first patch.
    """

    config: SceneConfig
    seed: int
    science: ScienceImage
    templates: tuple[TemplateImage, ...]
    transients: tuple[Transient, ...]
    stars: Sources
    galaxies: Sources
    noise_free: NoiseFree
    science_psf: PsfField
    template_psf: PsfField


def simulate_pair(config: SceneConfig, seed: int) -> SimulatedPair:
    """Simulate one visit image and its template patches.

    Parameters
    ----------
    config
        The scene; see `residua.testing.sky.SCENES`.
    seed
        The same scene and seed give the same pixels.
    """
    ny, nx = config.shape
    streams = [np.random.default_rng([seed, k]) for k in range(5)]
    centre = ((nx - 1) / 2.0, (ny - 1) / 2.0)
    science_wcs = make_wcs(
        config.ra,
        config.dec,
        centre=centre,
        pixel_scale=config.pixel_scale,
        rotation=config.rotation,
        projection=config.science_projection,
    )
    ra, dec = (float(v) for v in science_wcs.pixel_to_world_values(*centre))
    template_wcs, template_shape = template_grid(config, science_wcs)
    frame = sky_frame(ra, dec, config.pixel_scale)
    catalogue = draw_catalogue(config, streams[0], frame, 0.75 * float(np.hypot(ny, nx)) + 100.0)
    science_psf = PsfField(config.science_psf, config.pixel_scale, centre)
    template_centre = ((template_shape[1] - 1) / 2.0, (template_shape[0] - 1) / 2.0)
    template_psf = PsfField(config.template_psf, config.pixel_scale, template_centre)

    floor = FLOOR * config.sky_noise / np.sqrt(config.template_visits)
    static = draw_static(catalogue, science_wcs, config.shape, science_psf, floor)
    template = draw_static(catalogue, template_wcs, template_shape, template_psf, floor)
    x, y, _ = place(catalogue, science_wcs)
    is_galaxy = catalogue.sersic > 0
    tx, ty = select(
        streams[1],
        config.shape,
        round(config.transients * config.area),
        (x[is_galaxy], y[is_galaxy], catalogue.radius[is_galaxy]),
        config.hosted_fraction,
    )
    signal_to_noise = draw_signal_to_noise(config, streams[1], len(tx))
    template_xy = pixel_to_pixel(science_wcs, template_wcs, tx, ty)
    flux, expected = transient_fluxes(
        config,
        static,
        template,
        (tx, ty),
        template_xy,
        (science_psf, template_psf),
        signal_to_noise,
    )
    science_plane = static.copy()
    new = flux > 0
    draw(science_plane, science_psf, tx[new], ty[new], flux[new], floor=floor)
    draw(
        template,
        template_psf,
        template_xy[0][~new],
        template_xy[1][~new],
        -flux[~new],
        floor=floor,
    )
    world = science_wcs.pixel_to_world_values(tx, ty)
    patches, planes = expose_template(config, streams[3], template, template_wcs, template_psf)
    inside = (x > -50) & (x < nx + 50) & (y > -50) & (y < ny + 50)
    stars, galaxies = (
        Sources(x[s], y[s], catalogue.flux[s], catalogue.radius[s])
        for s in (inside & ~is_galaxy, inside & is_galaxy)
    )
    return SimulatedPair(
        config=config,
        seed=seed,
        science=expose_science(config, streams[2], science_plane, science_wcs, science_psf),
        templates=patches,
        transients=tuple(
            Transient(*(float(v) for v in row))
            for row in zip(tx, ty, *world, flux, expected, strict=True)
        ),
        stars=stars,
        galaxies=galaxies,
        noise_free=NoiseFree(science_plane, static, planes),
        science_psf=science_psf,
        template_psf=template_psf,
    )
