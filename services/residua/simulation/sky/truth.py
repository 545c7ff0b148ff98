"""What is true about simulated images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.simulation.sky.imaging.profiles import PsfField
from residua.simulation.sky.scene import SceneConfig
from residua.subtraction.images import ScienceImage, TemplateImage

__all__ = ["NoiseFree", "SimulatedPair", "Sources", "Transient"]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]


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
