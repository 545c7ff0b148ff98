"""Run installed peers on a simulated pair: what they share.

SWarp warps the template, in one piece, for every peer. A peer reads the FITS files of
`write_inputs` and `warp`, and writes ``difference.fits``, ``difference_noise.fits`` (the standard
deviation that it claims) and ``difference_mask.fits`` (not 0: not to be judged).
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits
from tests.benchmarks.timing import Cost, run_program

from residua.simulation.sky.imaging.profiles import PsfField
from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.masks import UNUSABLE

BAD_VARIANCE = 1e30

type Convolved = Literal["t", "i"]


@dataclass(frozen=True)
class Peer:
    """A tool, ready to run.

    Parameters
    ----------
    name
        As in the tables.
    match
        Matches and subtracts what lies in a directory, and writes the difference there.
    convolve
        Which image is convolved: ``t``emplate or science ``i``mage.
    """

    name: str
    match: Callable[[Path, Convolved], Cost]
    convolve: Convolved = "t"


@dataclass(frozen=True)
class PeerDifference:
    """What a peer made of a pair: planes on the science grid, and the true PSF of the result."""

    image: np.ndarray
    variance: np.ndarray
    good: np.ndarray
    psf: PsfModel


def find_swarp():
    """Path of SWarp, or None."""
    return shutil.which("SWarp") or shutil.which("swarp")


def warp(pair, swarp, directory):
    """Write a pair with a single template patch as files and warp the template: the cost."""
    write_inputs(pair, directory)
    cost = run_swarp(swarp, directory)
    write_warped_noise(directory)
    return cost


def subtract_with(peer, pair, warp_cost, directory):
    """Run a peer on what `warp` left: its cost, SWarp's included, and the difference."""
    # What an earlier peer made must not pass for this one's.
    for stale in directory.glob("difference*.fits"):
        stale.unlink()
    cost = peer.match(directory, peer.convolve)
    total = Cost(
        warp_cost.wall + cost.wall,
        warp_cost.cpu + cost.cpu,
        max(warp_cost.memory, cost.memory),
    )
    return total, read_difference(pair, directory, peer.convolve)


def write_inputs(pair, directory):
    """Write the pair as FITS files that the peers read."""
    science, (template,) = pair.science, pair.templates
    unusable = (science.mask & int(UNUSABLE)) != 0
    header = science.wcs.to_header(relax=True)
    fits.writeto(directory / "science.fits", science.image, header, overwrite=True)
    fits.writeto(
        directory / "science_noise.fits", np.sqrt(science.variance), header, overwrite=True
    )
    fits.writeto(directory / "science_mask.fits", unusable.astype(np.int16), header, overwrite=True)
    empty = ~np.isfinite(template.image)
    header = template.wcs.to_header(relax=True)
    fits.writeto(
        directory / "template.fits", np.where(empty, 0, template.image), header, overwrite=True
    )
    variance = np.where(empty, np.float32(BAD_VARIANCE), template.variance)
    fits.writeto(directory / "template_variance.fits", variance, header, overwrite=True)
    # SWarp takes the output grid from a header of the output's name.
    grid = science.wcs.to_header(relax=True)
    grid["NAXIS"], grid["NAXIS1"], grid["NAXIS2"] = 2, *science.image.shape[::-1]
    cards = "\n".join(card.image.rstrip() for card in grid.cards)
    (directory / "warped.head").write_text(cards + "\nEND\n")


def run_swarp(program, directory):
    """Warp the template and its variance to the science grid."""
    d = directory
    return run_program(
        [
            *[program, str(d / "template.fits"), "-c", "/dev/null"],
            *[
                "-IMAGEOUT_NAME",
                str(d / "warped.fits"),
                "-WEIGHTOUT_NAME",
                str(d / "warped_weight.fits"),
            ],
            *["-WEIGHT_TYPE", "MAP_VARIANCE", "-WEIGHT_IMAGE", str(d / "template_variance.fits")],
            *["-WEIGHT_THRESH", str(BAD_VARIANCE / 10), "-RESAMPLING_TYPE", "LANCZOS3"],
            *["-SUBTRACT_BACK", "N", "-FSCALASTRO_TYPE", "NONE", "-NTHREADS", "2"],
            *["-RESAMPLE_DIR", str(d), "-XML_NAME", str(d / "swarp.xml"), "-WRITE_XML", "N"],
            *["-VERBOSE_TYPE", "QUIET"],
        ],
        d / "swarp.log",
    )


def write_warped_noise(directory):
    """Write the warped template's noise and its mask, which is 1 where nothing was warped."""
    weight = fits.getdata(directory / "warped_weight.fits")
    warped = fits.getdata(directory / "warped.fits")
    covered = (weight > 10 / BAD_VARIANCE) & np.isfinite(warped)
    noise = np.where(covered, 1 / np.sqrt(np.where(covered, weight, 1)), 0).astype(np.float32)
    fits.writeto(directory / "warped_noise.fits", noise, overwrite=True)
    fits.writeto(directory / "warped_mask.fits", (~covered).astype(np.int16), overwrite=True)


def read_difference(pair, directory, convolve):
    """Read what a peer wrote, with the true PSF of what it did not convolve."""
    image = fits.getdata(directory / "difference.fits").astype(np.float32)
    noise = fits.getdata(directory / "difference_noise.fits").astype(np.float32)
    mask = fits.getdata(directory / "difference_mask.fits")
    good = (mask == 0) & np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    psf = true_psf(pair) if convolve == "t" else true_psf(pair, of_template=True)
    return PeerDifference(image, np.where(good, noise, 1) ** 2, good, psf)


def true_psf(pair, *, of_template=False, half_width=20, order=2):
    """The simulation's own PSF of one of the images, on the science grid."""
    shape = pair.config.shape
    if not of_template:
        return pair.science_psf.model(shape, half_width, order)
    polynomial = SpatialPolynomial(shape, order)
    grid_y, grid_x = np.meshgrid(*(np.linspace(0, n - 1, 7) for n in shape), indexing="ij")
    x, y = grid_x.ravel(), grid_y.ravel()
    stamps = np.stack([_template_stamp(pair, a, b, half_width) for a, b in zip(x, y, strict=True)])
    size = 2 * half_width + 1
    solution, *_ = np.linalg.lstsq(polynomial.terms(x, y), stamps.reshape(len(x), -1))
    return PsfModel(solution.reshape(-1, size, size), polynomial)


class _Turned(PsfField):
    """A PSF field that answers with one covariance, whatever the position."""

    covariance: np.ndarray

    def shape(self, x, y):
        return self.covariance


def _template_stamp(pair, x, y, half_width):
    """Template PSF at a science pixel, carried over by the local Jacobian."""

    def to_template(a, b):
        world = pair.science.wcs.pixel_to_world_values(a, b)
        return np.array(pair.templates[0].wcs.world_to_pixel_values(*world), float)

    here = to_template(x, y)
    jacobian = np.stack([to_template(x + 1, y) - here, to_template(x, y + 1) - here], axis=1)
    xx, xy, yy = pair.template_psf.shape(*here)
    inverse = np.linalg.inv(jacobian)
    turned = inverse @ np.array([[xx, xy], [xy, yy]]) @ inverse.T
    field = _Turned(pair.template_psf.config, pair.template_psf.pixel_scale, (0.0, 0.0))
    object.__setattr__(field, "covariance", np.array([turned[0, 0], turned[0, 1], turned[1, 1]]))
    return field.stamp(x, y, half_width)
