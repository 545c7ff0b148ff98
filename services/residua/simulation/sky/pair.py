"""Simulate a visit image and the template patches under it."""

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from residua.simulation.sky.catalogue import (
    Catalogue,
    draw_catalogue,
    place,
    select,
    sky_frame,
)
from residua.simulation.sky.imaging.gaussians import draw
from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.imaging.projection import make_wcs, pixel_to_pixel
from residua.simulation.sky.imaging.turbulence import displaced
from residua.simulation.sky.observe import (
    draw_static,
    expose_science,
    expose_template,
    template_grid,
)
from residua.simulation.sky.scene import SceneConfig
from residua.simulation.sky.transients import draw_signal_to_noise, transient_fluxes
from residua.simulation.sky.truth import (
    NoiseFree,
    SimulatedPair,
    Sources,
    Transient,
)

__all__ = ["FLOOR", "choose_transients", "constant_sources", "simulate_pair"]

type Array = npt.NDArray[np.float64]

FLOOR = 0.002
"""Where sources are cut off, in units of the template's sky noise."""


def choose_transients(
    config: SceneConfig, rng: np.random.Generator, catalogue: Catalogue, wcs: WCS
) -> tuple[Array, Array, Array]:
    """Draw positions x, y on the science image and signed S/N of its transients."""
    x, y, _ = place(catalogue, wcs)
    galaxy = catalogue.sersic > 0
    tx, ty = select(
        rng,
        config.shape,
        round(config.transients * config.area),
        (x[galaxy], y[galaxy], catalogue.radius[galaxy]),
        config.hosted_fraction,
    )
    return tx, ty, draw_signal_to_noise(config, rng, len(tx))


def simulate_pair(config: SceneConfig, seed: int) -> SimulatedPair:
    """Simulate one visit image and its template patches.

    Parameters
    ----------
    config
        The scene; see `residua.simulation.sky.SCENES`.
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
    static = draw_static(
        catalogue, science_wcs, config.shape, science_psf, floor, config.turbulence
    )
    template = draw_static(catalogue, template_wcs, template_shape, template_psf, floor)
    tx, ty, signal_to_noise = choose_transients(config, streams[1], catalogue, science_wcs)
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
    seen = displaced(tx, ty, config.turbulence)
    draw(science_plane, science_psf, seen[0][new], seen[1][new], flux[new], floor=floor)
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
    stars, galaxies = constant_sources(catalogue, science_wcs, config.shape)
    return SimulatedPair(
        config=config,
        seed=seed,
        science=expose_science(config, streams[2], science_plane, science_wcs, science_psf),
        templates=patches,
        transients=tuple(
            Transient(*(float(v) for v in row))
            for row in zip(*seen, *world, flux, expected, strict=True)
        ),
        stars=stars,
        galaxies=galaxies,
        noise_free=NoiseFree(science_plane, static, planes),
        science_psf=science_psf,
        template_psf=template_psf,
    )


def constant_sources(
    catalogue: Catalogue, wcs: WCS, shape: tuple[int, int]
) -> tuple[Sources, Sources]:
    """Return stars and galaxies on an image's pixel grid, within 50 px of the frame."""
    x, y, _ = place(catalogue, wcs)
    inside = (x > -50) & (x < shape[1] + 50) & (y > -50) & (y < shape[0] + 50)
    galaxy = catalogue.sersic > 0
    stars, galaxies = (
        Sources(x[s], y[s], catalogue.flux[s], catalogue.radius[s])
        for s in (inside & ~galaxy, inside & galaxy)
    )
    return stars, galaxies
