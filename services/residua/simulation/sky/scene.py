"""What a simulated field contains and how it is observed; the named scenes."""

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["DETECTOR_SHAPE", "SCENES", "PsfConfig", "SceneConfig", "scene"]

type Projection = Literal["TAN", "SIP", "TPV"]

DETECTOR_SHAPE = (4000, 4072)
"""(ny, nx) of a full LSSTCam detector, pixels; densities are counts on this area."""


@dataclass(frozen=True)
class PsfConfig:
    """A Moffat-like PSF whose width and ellipticity vary over the image.

    Parameters
    ----------
    fwhm
        Full width at half maximum at the centre of the image, arcsec.
    beta
        Moffat exponent: 3 has strong wings, 4.765 is Kolmogorov-like.
    width_gradient
        Relative change of the width per 1000 px along x and y.
    width_curvature
        Relative change of the width per (1000 px)^2 from the centre.
    ellipticity
        (e1, e2) at the centre, e = (a^2 - b^2) / (a^2 + b^2).
    ellipticity_gradient
        (de1/dx, de1/dy, de2/dx, de2/dy) per 1000 px.
    """

    fwhm: float
    beta: float = 3.0
    width_gradient: tuple[float, float] = (0.010, -0.006)
    width_curvature: float = 0.003
    ellipticity: tuple[float, float] = (0.02, -0.01)
    ellipticity_gradient: tuple[float, float, float, float] = (0.012, 0.004, -0.003, 0.010)


SCIENCE_PSF = PsfConfig(fwhm=0.9)
TEMPLATE_PSF = PsfConfig(
    fwhm=0.8,
    beta=3.3,
    width_gradient=(-0.003, 0.004),
    width_curvature=0.001,
    ellipticity=(-0.01, 0.01),
    ellipticity_gradient=(0.003, -0.002, 0.002, 0.003),
)


@dataclass(frozen=True)
class SceneConfig:
    """One field, observed once by a visit and earlier by a template coadd.

    Fluxes are nJy. Counts are means on the area of one full detector (`DETECTOR_SHAPE`)
    and scale with the area of the frame.

    Parameters
    ----------
    shape
        (ny, nx) of the science image, pixels.
    ra, dec
        Centre of the science image, ICRS degrees.
    pixel_scale
        arcsec per pixel, of both images.
    rotation
        Position angle of the science image's y axis, degrees.
    template_rotation
        Rotation of the template grid against the science grid, degrees.
    science_projection, template_projection
        ``TAN``, ``SIP`` (TAN with SIP polynomials) or ``TPV``.
    stars, galaxies, transients
        Mean counts per full detector.
    star_count
        Number of stars on the science frame itself, whatever its area; replaces `stars`.
    star_flux_range, star_slope
        Limits of the star fluxes and exponent of their cumulative counts.
    galaxy_flux_range
        Limits of the galaxy fluxes (cumulative exponent 0.9).
    transient_sn_range
        Limits of the expected abs(S/N) of transients (log-uniform).
    negative_fraction
        Fraction of the transients that are in the template and not in the visit.
    hosted_fraction
        Fraction of the transients that lie on galaxies.
    science_psf, template_psf
        The two PSFs.
    sky_noise
        Standard deviation of the sky in one science pixel, nJy.
    electrons_per_njy
        Sets the Poisson noise of one visit.
    template_visits
        Number of equally deep visits in the template.
    saturation
        Pixel value above which a visit saturates, nJy.
    photometric_scale
        Template flux over science flux of the same constant source.
    background
        Differential background in the science image: constant, and change from the centre to
        the right and to the upper edge, nJy.
    cosmic_rays, bad_columns
        Mean counts per full detector, science image only.
    patches
        (rows, columns) of template patches.
    patch_overlap
        Pixels that neighbouring patches share; the shared pixels are the same pixels, as in
        patches of one tract.
    template_coverage
        Fraction of the template's width that exists, counted from its left edge.
    template_holes
        Number of square holes (60 px, NaN and ``NO_DATA``) in the template.
    turbulence
        Smooth displacement of everything in the science image: rms along each axis, pixels,
        and period, pixels. No WCS knows it.
    noisy_variance
        Make variance planes from the pixels' own noisy counts, as cameras' pipelines do;
        otherwise they hold the exact variance.
    with_psf
        Attach PSF models to the images; otherwise they are to be measured from the stars.
    """

    shape: tuple[int, int] = (1000, 1018)
    ra: float = 150.1
    dec: float = 2.2
    pixel_scale: float = 0.2
    rotation: float = 12.0
    template_rotation: float = 30.0
    science_projection: Projection = "TAN"
    template_projection: Projection = "TAN"
    stars: float = 4000.0
    galaxies: float = 6000.0
    transients: float = 300.0
    star_count: int | None = None
    star_flux_range: tuple[float, float] = (300.0, 3e7)
    star_slope: float = 0.55
    galaxy_flux_range: tuple[float, float] = (500.0, 2e5)
    transient_sn_range: tuple[float, float] = (4.0, 60.0)
    negative_fraction: float = 0.2
    hosted_fraction: float = 0.5
    science_psf: PsfConfig = SCIENCE_PSF
    template_psf: PsfConfig = TEMPLATE_PSF
    sky_noise: float = 17.0
    electrons_per_njy: float = 1.5
    template_visits: float = 10.0
    saturation: float = 55_000.0
    photometric_scale: float = 1.02
    background: tuple[float, float, float] = (4.0, 3.0, -2.0)
    cosmic_rays: float = 240.0
    bad_columns: float = 6.0
    patches: tuple[int, int] = (1, 2)
    patch_overlap: int = 100
    template_coverage: float = 1.0
    template_holes: int = 0
    turbulence: tuple[float, float] = (0.0, 1200.0)
    noisy_variance: bool = True
    with_psf: bool = False

    @property
    def area(self) -> float:
        """Area of the frame in full detectors."""
        return self.shape[0] * self.shape[1] / (DETECTOR_SHAPE[0] * DETECTOR_SHAPE[1])


def _worse_template() -> SceneConfig:
    return SceneConfig(template_psf=replace(TEMPLATE_PSF, fwhm=1.1))


def _crossed() -> SceneConfig:
    """PSFs elongated across each other: the template's is the wider one along y."""
    return SceneConfig(
        template_rotation=0.0,
        science_psf=replace(SCIENCE_PSF, ellipticity=(0.15, 0.0)),
        template_psf=replace(TEMPLATE_PSF, fwhm=0.85, ellipticity=(-0.15, 0.0)),
    )


SCENES: dict[str, SceneConfig] = {
    "deep": SceneConfig(),
    "shallow": SceneConfig(template_visits=1.0),
    "crowded": SceneConfig(stars=40_000.0),
    "worse-template": _worse_template(),
    "crossed": _crossed(),
    "few-stars": SceneConfig(star_count=14, star_flux_range=(8e3, 8e5), galaxies=2000.0),
    "distorted": SceneConfig(science_projection="SIP"),
    "distorted-tpv": SceneConfig(science_projection="TPV", template_projection="SIP"),
    "partial": SceneConfig(template_coverage=0.55, template_holes=3),
    "rotated": SceneConfig(rotation=201.0, template_rotation=117.0),
    "pole": SceneConfig(ra=10.0, dec=89.99),
    "ra-wrap": SceneConfig(ra=0.0, dec=-30.0),
}
"""Scenes named by what they stress; every other number is the default."""


def scene(name: str, shape: tuple[int, int] | None = None, **changes: object) -> SceneConfig:
    """Return a named scene, optionally on a frame of another shape or with other changes.

    Parameters
    ----------
    name
        A key of `SCENES`.
    shape
        (ny, nx) of the science image, pixels.
    **changes
        Other fields of `SceneConfig` to replace.

    Raises
    ------
    KeyError
        If there is no scene of that name.
    """
    if name not in SCENES:
        message = f"no scene {name!r}; there are {', '.join(SCENES)}"
        raise KeyError(message)
    config = SCENES[name] if shape is None else replace(SCENES[name], shape=shape)
    return replace(config, **changes)  # type: ignore[arg-type]
