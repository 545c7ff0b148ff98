"""Fluxes of transients from the S/N an ideal subtraction would give them."""

import numpy as np
import numpy.typing as npt

from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.scene import SceneConfig

__all__ = ["draw_signal_to_noise", "information", "transient_fluxes"]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]


def draw_signal_to_noise(config: SceneConfig, rng: np.random.Generator, n: int) -> Array:
    """Signed S/N wanted of n transients: log-uniform, a fraction negative."""
    low, high = np.log(config.transient_sn_range)
    sign = np.where(rng.random(n) < config.negative_fraction, -1.0, 1.0)
    return sign * np.exp(rng.uniform(low, high, n))


def _sample(plane: Plane, x: Array, y: Array) -> Array:
    column = np.clip(np.rint(x).astype(int), 0, plane.shape[1] - 1)
    row = np.clip(np.rint(y).astype(int), 0, plane.shape[0] - 1)
    return np.asarray(plane[row, column], np.float64)


def transient_fluxes(
    config: SceneConfig,
    static: Plane,
    template: Plane,
    science_xy: tuple[Array, Array],
    template_xy: tuple[Array, Array],
    psfs: tuple[PsfField, PsfField],
    signal_to_noise: Array,
) -> tuple[Array, Array]:
    """Fluxes that give transients the wanted S/N in an ideal subtraction, and the S/N reached.

    Parameters
    ----------
    config
        Noise of both images.
    static, template
        Noise-free planes of the constant sources.
    science_xy, template_xy
        Positions on both grids, pixels.
    psfs
        Science and template PSF.
    signal_to_noise
        Signed S/N wanted.
    """
    flux = np.zeros_like(signal_to_noise)
    density = np.ones_like(flux)
    # The transient's own photons add to the variance: a few rounds settle it.
    for _ in range(6):
        density = information(config, static, template, science_xy, template_xy, psfs, flux)
        flux = signal_to_noise / np.sqrt(density)
    return flux, flux * np.sqrt(density)


def information(
    config: SceneConfig,
    static: Plane,
    template: Plane,
    science_xy: tuple[Array, Array],
    template_xy: tuple[Array, Array],
    psfs: tuple[PsfField, PsfField],
    flux: Array,
) -> Array:
    """Return (S/N)^2 per flux^2 of sources of given flux in an ideal subtraction.

    Notes
    -----
    S^2 = F^2 sum_k |Ps Pt|^2 / (v1 |Pt|^2 + v2 |Ps|^2) with the variances v1, v2 at the
    source (Zackay, Ofek & Gal-Yam 2016, eq. 17 and 13). The PSFs are taken on their own grids:
    the rotation between them matters little for nearly round PSFs.
    """
    size = 32
    science_power, template_power = (
        np.asarray(p.transform(x, y, size)) ** 2
        for p, (x, y) in zip(psfs, (science_xy, template_xy), strict=True)
    )
    sky = config.sky_noise**2
    visits = config.template_visits
    host, template_host = _sample(static, *science_xy), _sample(template, *template_xy)
    peak = np.array([psfs[0].stamp(x, y, 0)[0, 0] for x, y in zip(*science_xy, strict=True)])
    # Half its peak is the PSF-weighted mean of a point source's surface brightness.
    own = 0.5 * np.abs(flux) * peak / config.electrons_per_njy
    v1 = sky + host / config.electrons_per_njy + np.where(flux > 0, own, 0.0)
    v2 = (sky + template_host / config.electrons_per_njy + np.where(flux < 0, own, 0.0)) / visits
    noise = v1[:, None, None] * template_power + v2[:, None, None] * science_power
    return np.asarray(np.sum(science_power * template_power / noise, axis=(1, 2)) / size**2)
