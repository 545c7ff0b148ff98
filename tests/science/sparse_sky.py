"""Small frames with a handful of stars, of which the brightest is not what it should be."""

from dataclasses import dataclass

import numpy as np
from tests.science.odd_sky import FWHM_PER_SIGMA, OddPair, add, galaxy, gaussian, grid, noisy

from residua.subtraction.images import DifferenceImage, ScienceImage, TemplateImage

__all__ = ["Sparse", "fluxes_over_truth", "observe_sparse"]


@dataclass(frozen=True)
class Sparse:
    """What is seen.

    Parameters
    ----------
    stars, galaxies, transients
        Numbers on the frame.
    varied
        Factor by which the brightest star changed.
    soft
        Part of the brightest star's peak above which pixels gain 0.35 of what they should; 0: none.
    neighbour
        Flux of a new source 3.5 px from the brightest star, over that star's.
    """

    stars: int
    galaxies: int = 30
    transients: int = 10
    varied: float = 1.0
    soft: float = 0.0
    neighbour: float = 0.0
    brightest: float = 2e5
    science_fwhm: float = 4.5
    template_fwhm: float = 4.0
    shape: tuple[int, int] = (480, 500)


def observe_sparse(sky: Sparse, seed: int) -> OddPair:
    """Draw the sky; the same sky and seed give the same pixels."""
    rng = np.random.default_rng([seed, sky.stars, 77])
    ny, nx = sky.shape
    size = np.array([nx, ny])
    wcs, template_wcs = grid(sky.shape, 0.0), grid((ny + 160, nx + 160), 3.0, 7.3)
    psf, template_psf = gaussian(sky.science_fwhm), gaussian(sky.template_fwhm)
    science, template = np.zeros(sky.shape), np.zeros((ny + 160, nx + 160))

    def there(places):
        return template_wcs.all_world2pix(wcs.all_pix2world(places, 0), 0)

    stars = _apart(rng, sky.stars, size, 55.0, 60.0, np.zeros((0, 2)))
    flux = np.exp(rng.uniform(np.log(8e3), np.log(4e4), sky.stars))
    flux[:1] = sky.brightest
    now = flux.copy()
    now[:1] *= sky.varied
    if sky.stars:
        for (x, y), (tx, ty), f, g in zip(stars, there(stars), flux, now, strict=True):
            add(science, psf.rows, x, y, g)
            add(template, template_psf.rows, tx, ty, f)
    if sky.neighbour:
        angle = rng.uniform(0.0, 2.0 * np.pi)
        x, y = stars[0] + 3.5 * np.array([np.cos(angle), np.sin(angle)])
        add(science, psf.rows, x, y, sky.neighbour * flux[0])
    places = rng.uniform(20.0, size - 20.0, (sky.galaxies, 2))
    for (x, y), (tx, ty) in zip(places, there(places), strict=True):
        e, area = rng.uniform(-0.3, 0.3), rng.uniform(1.5, 5.0) ** 2
        covariance = area * np.array([1.0 + e, 0.2 * e, 1.0 - e])
        bright = min(1500.0 * rng.random() ** (-1.0 / 0.9), 3e4)
        add(science, galaxy(psf, covariance), x, y, bright)
        add(template, galaxy(template_psf, covariance), tx, ty, bright)
    new = _apart(rng, sky.transients, size, 50.0, 25.0, np.concatenate([stars, places]))
    error = 17.0 * np.sqrt(4.0 * np.pi) * sky.science_fwhm / FWHM_PER_SIGMA
    transients = np.c_[new, error * rng.uniform(15.0, 40.0, sky.transients)]
    for x, y, f in transients:
        add(science, psf.rows, x, y, f)
    if sky.soft:
        x, y = np.rint(stars[0]).astype(int)
        limit = sky.soft * science[y, x]
        science = np.where(science > limit, limit + 0.35 * (science - limit), science)
    image, variance = noisy(rng, science, 17.0, 1.5)
    deep, deep_variance = noisy(rng, template, 17.0 / np.sqrt(10.0), 15.0)
    return OddPair(
        ScienceImage(image, variance, np.zeros(image.shape, np.int32), wcs),
        TemplateImage(deep, deep_variance, np.zeros(deep.shape, np.int32), template_wcs),
        transients,
        np.c_[stars, now],
    )


def _apart(rng, n, size, border, distance, others):
    """Places that keep their distance from each other and, of half the size, from others."""
    found = np.zeros((0, 2))
    for _ in range(100_000):
        if len(found) == n:
            break
        place = rng.uniform(border, size - border)
        near = np.hypot(*(found - place).T) < distance
        if not near.any() and not np.any(np.hypot(*(others - place).T) < 0.5 * distance):
            found = np.append(found, [place], axis=0)
    return found


def fluxes_over_truth(made: DifferenceImage, pair: OddPair) -> np.ndarray:
    """Measured over true flux of the transients that are detected."""
    found = np.array([[d.x, d.y, d.flux] for d in made.detections]).reshape(-1, 3)
    ratios = []
    for x, y, flux in pair.transients:
        near = np.flatnonzero(np.hypot(found[:, 0] - x, found[:, 1] - y) < 3.0)
        if near.size:
            ratios.append(found[near[0], 2] / flux)
    return np.array(ratios)
