"""Run SWarp and HOTPANTS on a simulated pair, if their programs are installed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from timing import Cost, run_program

from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.masks import UNUSABLE
from residua.testing.sky.profiles import PsfField

BAD_VARIANCE = 1e30
MATCHED_KERNEL = ["-r", "15", "-rss", "24", "-ng", "4", "4", ".7", "2", "1.5", "2", "3", "0", "6"]
NARROW_KERNEL = ["-r", "10", "-rss", "22", "-ng", "3", "4", ".7", "2", "1.5", "2", "3"]
HOTPANTS_OPTIONS = [
    *[
        "-tu",
        "60000",
        "-iu",
        "54000",
        "-tuk",
        "45000",
        "-iuk",
        "45000",
        "-tl",
        "-200",
        "-il",
        "-200",
    ],
    *["-n", "i", "-ko", "2", "-bgo", "1", "-nsx", "20", "-nsy", "20", "-nss", "3"],
]


@dataclass(frozen=True)
class PeerDifference:
    """What a peer made of a pair: planes on the science grid, and the true PSF of the result."""

    image: np.ndarray
    variance: np.ndarray
    good: np.ndarray
    psf: PsfModel


def find_programs(hotpants=None):
    """Paths of the programs by name; None where absent."""
    swarp = shutil.which("SWarp") or shutil.which("swarp")
    return {"SWarp": swarp, "HOTPANTS": hotpants or shutil.which("hotpants")}


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


def run_hotpants(program, directory, kernel, convolve):
    """Match and subtract the warped template; cost and the files it wrote."""
    d = directory
    weight = fits.getdata(d / "warped_weight.fits")
    warped = fits.getdata(d / "warped.fits")
    covered = (weight > 10 / BAD_VARIANCE) & np.isfinite(warped)
    noise = np.where(covered, 1 / np.sqrt(np.where(covered, weight, 1)), 0).astype(np.float32)
    fits.writeto(d / "warped_noise.fits", noise, overwrite=True)
    fits.writeto(d / "warped_mask.fits", (~covered).astype(np.int16), overwrite=True)
    return run_program(
        [
            *[program, "-inim", str(d / "science.fits"), "-tmplim", str(d / "warped.fits")],
            *["-ini", str(d / "science_noise.fits"), "-tni", str(d / "warped_noise.fits")],
            *["-imi", str(d / "science_mask.fits"), "-tmi", str(d / "warped_mask.fits")],
            *["-outim", str(d / "difference.fits"), "-oni", str(d / "difference_noise.fits")],
            *["-omi", str(d / "difference_mask.fits"), "-c", convolve],
            *HOTPANTS_OPTIONS,
            *kernel,
        ],
        d / "hotpants.log",
    )


def read_difference(pair, directory, convolve):
    """Read what HOTPANTS wrote, with the true PSF of what it did not convolve."""
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


def subtract_with_hotpants(pair, programs, directory, *, kernel, convolve="t"):
    """SWarp and HOTPANTS on a pair with a single template patch: costs and the difference."""
    directory = Path(directory)
    write_inputs(pair, directory)
    warp = run_swarp(programs["SWarp"], directory)
    match = run_hotpants(programs["HOTPANTS"], directory, kernel, convolve)
    total = Cost(warp.wall + match.wall, warp.cpu + match.cpu, max(warp.memory, match.memory))
    return {"SWarp": warp, "HOTPANTS": match, "total": total}, read_difference(
        pair, directory, convolve
    )
