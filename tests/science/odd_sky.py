"""A sky of its own for the subtraction: nights that the product's simulator does not have.

Everything is a sum of Gaussians, so that stars may be trailed, defocused, narrow or wide, and
galaxies are convolved exactly. Template and visit lie on rotated grids.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from astropy.wcs import WCS

from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = [
    "FWHM_PER_SIGMA",
    "Night",
    "OddPair",
    "Profile",
    "add",
    "galaxy",
    "gaussian",
    "grid",
    "noisy",
    "observe",
    "ring",
    "trail",
]

FWHM_PER_SIGMA = 2.3548
_WINGS = ((0.82, 1.0), (0.16, 1.7), (0.02, 3.0))
"""Weights and widths of three Gaussians that make a star with wings."""


@dataclass(frozen=True)
class Profile:
    """A PSF: rows (dx, dy, weight, xx, xy, yy), pixels and square pixels; weights sum to 1."""

    rows: np.ndarray


def gaussian(fwhm: float, wings: bool = True) -> Profile:
    """Round star."""
    s2 = (fwhm / FWHM_PER_SIGMA) ** 2
    parts = _WINGS if wings else ((1.0, 1.0),)
    return Profile(np.array([[0.0, 0.0, w, s2 * k * k, 0.0, s2 * k * k] for w, k in parts]))


def trail(fwhm: float, length: float, angle: float) -> Profile:
    """Star drawn out along a line: the telescope moved."""
    base = gaussian(fwhm).rows
    steps = np.linspace(-0.5, 0.5, 9) * length
    moved = [np.array([t * np.cos(angle), t * np.sin(angle), 0, 0, 0, 0]) for t in steps]
    rows = np.concatenate([base + step for step in moved])
    rows[:, 2] /= rows[:, 2].sum()
    return Profile(rows)


def ring(inner: float, outer: float, fwhm: float) -> Profile:
    """Star out of focus."""
    s2 = (fwhm / FWHM_PER_SIGMA) ** 2
    rows = np.array(
        [
            [r * np.cos(a), r * np.sin(a), r, s2, 0.0, s2]
            for r in np.linspace(inner, outer, 4)
            for a in np.arange(16) * 2.0 * np.pi / 16 + r
        ]
    )
    rows[:, 2] /= rows[:, 2].sum()
    return Profile(rows)


@dataclass(frozen=True)
class Night:
    """What is observed, and how; fluxes nJy.

    Parameters
    ----------
    stars, galaxies, transients
        Numbers on the frame.
    brightest
        Largest star flux.
    variable
        Fraction of the stars that vary, by a factor of 1.25 or 0.8.
    moving
        Fraction of the stars that moved, by 0.3 px rms along each axis.
    hosted
        Put the transients on cores of galaxies.
    streak
        Peak of an unmasked satellite trail, nJy a pixel.
    gradient, fringe
        Amplitude of a quadratic gradient and of fringes of 170 px, nJy.
    cosmic_rays
        Unmasked single-pixel hits.
    clip
        Pixel value at which the visit is cut off, without any flag; 0: never.
    """

    shape: tuple[int, int] = (1000, 1040)
    science: Profile = field(default_factory=lambda: gaussian(4.5))
    template: Profile = field(default_factory=lambda: gaussian(4.0))
    stars: int = 300
    galaxies: int = 200
    transients: int = 40
    brightest: float = 3e5
    variable: float = 0.0
    moving: float = 0.0
    hosted: bool = False
    streak: float = 0.0
    gradient: float = 0.0
    fringe: float = 0.0
    cosmic_rays: int = 0
    clip: float = 0.0
    sky_noise: float = 17.0
    electrons: float = 1.5
    depth: float = 10.0
    faintest_star: float = 800.0


@dataclass(frozen=True)
class OddPair:
    """The images, and the truth on the visit's grid.

    Parameters
    ----------
    transients
        float64 (n, 3): x, y, flux.
    stars
        float64 (n, 3): x, y, flux in the visit.
    """

    science: ScienceImage
    template: TemplateImage
    transients: np.ndarray
    stars: np.ndarray


def grid(shape: tuple[int, int], rotation: float, offset: float = 0.0) -> WCS:
    """WCS of 0.2 arcsec a pixel about one place of the sky."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [shape[1] / 2 + offset, shape[0] / 2 - offset]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = 0.2 / 3600.0 * np.array([[-c, s], [s, c]])
    return wcs


def add(plane: np.ndarray, rows: np.ndarray, x: float, y: float, flux: float) -> None:
    """Add a source of the profile in rows."""
    ny, nx = plane.shape
    for dx, dy, weight, xx, xy, yy in rows:
        determinant = xx * yy - xy * xy
        peak = flux * weight / (2.0 * np.pi * np.sqrt(determinant))
        reach = np.sqrt(2.0 * max(np.log(abs(peak) / 0.02), 0.0))
        cx, cy, rx, ry = x + dx, y + dy, reach * np.sqrt(xx), reach * np.sqrt(yy)
        a = np.arange(max(int(cx - rx), 0), min(int(cx + rx) + 2, nx))
        b = np.arange(max(int(cy - ry), 0), min(int(cy + ry) + 2, ny))
        if not (a.size and b.size and reach > 0.0):
            continue
        u, v = a - cx, (b - cy)[:, None]
        r2 = (yy * u * u - 2.0 * xy * u * v + xx * v * v) / determinant
        plane[b[0] : b[-1] + 1, a[0] : a[-1] + 1] += peak * np.exp(-0.5 * r2)


def galaxy(psf: Profile, covariance: np.ndarray) -> np.ndarray:
    """Rows of an exponential disc, about, seen through the PSF."""
    parts = []
    for weight, scale in ((0.25, 0.25), (0.45, 1.0), (0.30, 2.6)):
        rows = psf.rows.copy()
        rows[:, 2] *= weight
        rows[:, 3:] += scale * covariance
        parts.append(rows)
    return np.concatenate(parts)


def noisy(rng: np.random.Generator, model: np.ndarray, sky: float, electrons: float):
    """Image and the variance plane a camera's pipeline makes of it."""
    true = sky**2 + np.maximum(model, 0.0) / electrons
    image = model + rng.normal(0.0, 1.0, model.shape) * np.sqrt(true)
    variance = np.maximum(sky**2 + image / electrons, 0.02 * sky**2)
    return image.astype(np.float32), variance.astype(np.float32)


def observe(night: Night, seed: int) -> OddPair:
    """Draw the night; the same night and seed give the same pixels."""
    rng = np.random.default_rng([seed, 14])
    ny, nx = night.shape
    wcs = grid(night.shape, 0.0)
    big = (ny + 160, nx + 160)
    template_wcs = grid(big, 3.0, 7.3)
    n = night.stars
    x, y = rng.uniform(-40, nx + 40, n), rng.uniform(-40, ny + 40, n)
    flux = np.minimum(night.faintest_star * rng.random(n) ** (-1.0 / 0.7), night.brightest)
    now = flux * np.where(rng.random(n) < night.variable, rng.choice([1.25, 0.8], n), 1.0)
    moved = (rng.random(n) < night.moving)[:, None] * rng.normal(0.0, 0.3, (n, 2))
    tx, ty = template_wcs.all_world2pix(wcs.all_pix2world(np.c_[x, y], 0), 0).T
    science, template = np.zeros(night.shape), np.zeros(big)
    for k in range(n):
        add(science, night.science.rows, x[k] + moved[k, 0], y[k] + moved[k, 1], now[k])
        add(template, night.template.rows, tx[k], ty[k], flux[k])
    gx, gy = rng.uniform(0, nx, night.galaxies), rng.uniform(0, ny, night.galaxies)
    gtx, gty = template_wcs.all_world2pix(wcs.all_pix2world(np.c_[gx, gy], 0), 0).T
    for k in range(night.galaxies):
        size, e = rng.uniform(1.5, 5.0) ** 2, rng.uniform(-0.3, 0.3)
        covariance = size * np.array([1.0 + e, 0.2 * e, 1.0 - e])
        bright = 1500.0 * rng.random() ** (-1.0 / 0.9)
        galaxy_flux = min(bright, 1e5)
        add(science, galaxy(night.science, covariance), gx[k], gy[k], galaxy_flux)
        add(template, galaxy(night.template, covariance), gtx[k], gty[k], galaxy_flux)
    transients = _transients(night, rng, gx, gy)
    for px, py, pf in transients:
        add(science, night.science.rows, px, py, pf)
    science += _extras(night, rng)
    image, variance = noisy(rng, science, night.sky_noise, night.electrons)
    for _ in range(night.cosmic_rays):
        image[rng.integers(0, ny), rng.integers(0, nx)] += rng.uniform(15, 100) * night.sky_noise
    if night.clip:
        image = np.minimum(image, np.float32(night.clip))
    deep, deep_variance = noisy(
        rng, template, night.sky_noise / np.sqrt(night.depth), night.electrons * night.depth
    )
    return OddPair(
        ScienceImage(image, variance, np.zeros(night.shape, np.int32), wcs),
        TemplateImage(deep, deep_variance, np.zeros(big, np.int32), template_wcs),
        transients,
        np.c_[x, y, now],
    )


def _transients(night: Night, rng: np.random.Generator, gx, gy) -> np.ndarray:
    ny, nx = night.shape
    n = night.transients
    if night.hosted and gx.size:
        chosen = rng.choice(gx.size, min(n, gx.size), replace=False)
        px, py = gx[chosen], gy[chosen]
    else:
        px, py = rng.uniform(60, nx - 60, n), rng.uniform(60, ny - 60, n)
    rows = night.science.rows
    spread = float(
        np.sum(rows[:, 2] * (rows[:, 0] ** 2 + rows[:, 1] ** 2 + rows[:, 3] + rows[:, 5]))
    )
    error = night.sky_noise * np.sqrt(2.0 * np.pi * spread)
    return np.c_[px, py, error * rng.uniform(8.0, 60.0, px.size)]


def _extras(night: Night, rng: np.random.Generator) -> np.ndarray:
    """Satellite trail, gradient and fringes."""
    ny, nx = night.shape
    y, x = np.mgrid[0:ny, 0:nx]
    plane = np.zeros(night.shape)
    if night.streak:
        angle, x0, y0 = (
            rng.uniform(0.1, 1.4),
            rng.uniform(0.3, 0.7) * nx,
            rng.uniform(0.3, 0.7) * ny,
        )
        across = (x - x0) * np.sin(angle) - (y - y0) * np.cos(angle)
        plane += night.streak * np.exp(-0.5 * (across / 2.5) ** 2)
    u, v = 2.0 * x / nx - 1.0, 2.0 * y / ny - 1.0
    plane += night.gradient * (u * u - 0.5 * v * v + 0.3 * u * v)
    plane += night.fringe * np.sin(2.0 * np.pi * (x + 18.0 * np.sin(y / 310.0) + 0.3 * y) / 170.0)
    return plane


def masked_cores(pair: OddPair, level: float) -> OddPair:
    """Flag the pixels beyond a level as saturated, as a camera's pipeline does."""
    mask = np.where(pair.science.image >= level, np.int32(MaskBit.SATURATED), np.int32(0))
    return replace(pair, science=replace(pair.science, mask=mask.astype(np.int32)))
