"""The passes over pixels, each the same for a first run, a whole image made again, and a part.

Here is only what is local: a pixel depends on pixels near it and on numbers that are kept in a
`residua.subtraction.steps.solution.Solution`. Only +, -, *, /, square roots and comparisons in a
stated order, no matrix products, transforms or transcendental functions: so the bits are the same
on every machine. `residua.subtraction.solve` runs them between the global steps,
`residua.subtraction.steps.apply` one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.detect.source_finding import mark_sharp
from residua.subtraction.detect.streak_marks import mark_streaks
from residua.subtraction.engine.filter_tables import VaryingKernel
from residua.subtraction.engine.runs import set_runs
from residua.subtraction.engine.threads import run_beside
from residua.subtraction.engine.window import Window
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane
from residua.subtraction.masks import MaskBit
from residua.subtraction.match.convolve import convolve_varying
from residua.subtraction.pieces.use import KernelPieces, convolve_pieces
from residua.subtraction.pixels.cosmic_rays import mark_cosmic_rays
from residua.subtraction.pixels.difference_mask import (
    WRONG_FLUX,
    difference_mask,
    good_pixels,
    merge_masks,
)
from residua.subtraction.pixels.infill import fill_flagged

__all__ = [
    "Frame",
    "fill_science",
    "mark_found",
    "mark_hits",
    "mask_and_match",
    "merge_and_fill",
    "preview",
]

type Sharpness = tuple[float | None, float | None]


@dataclass(frozen=True)
class Frame:
    """Both images on the science image's pixels, of all or of a part of it.

    Parameters
    ----------
    window
        Which part.
    image, variance, science_mask
        float32, float32, int32 (ny, nx): the science image, cleaned.
    template, template_variance, template_mask
        Likewise, the template, warped and filled.
    merged
        int32 (ny, nx): union of both masks, later the mask of the difference.
    """

    window: Window
    image: FloatPlane
    variance: FloatPlane
    science_mask: MaskPlane
    template: FloatPlane
    template_variance: FloatPlane
    template_mask: MaskPlane
    merged: MaskPlane


def merge_and_fill(frame: Frame, *, threads: int) -> None:
    """Merge the masks, and fill template pixels of wrong flux."""
    merge_masks(frame.science_mask, frame.template_mask, frame.merged, threads=threads)
    fill_flagged(frame.template, frame.template_mask, WRONG_FLUX, threads=threads)


def mark_hits(
    frame: Frame, sharpness: Sharpness, *, threads: int, bounded: bool = False
) -> Sharpness:
    """Mark cosmic rays of both images, and fill those of the template.

    Parameters
    ----------
    frame
        Changed.
    sharpness
        Of the science image and of the template.
    threads
        Threads to use.
    bounded
        Mark nothing in an image where above a 64th of the pixels would be hits.

    Returns
    -------
    tuple
        The limits that were used: `None` for an image in which nothing was marked so.
    """
    most = frame.merged.size // 64 + 64 if bounded else None
    of_science, of_template = sharpness
    masks = frame.science_mask, frame.merged
    if mark_cosmic_rays(frame.image, frame.variance, of_science, masks, most=most) < 0:
        of_science = None
    masks = frame.template_mask, frame.merged
    found = mark_cosmic_rays(frame.template, frame.template_variance, of_template, masks, most=most)
    if found < 0:
        of_template = None
    elif found:
        fill_flagged(
            frame.template,
            frame.template_mask,
            int(MaskBit.COSMIC_RAY),
            cores=True,
            threads=threads,
        )
    return of_science, of_template


def fill_science(frame: Frame, out: FloatPlane, *, threads: int) -> FloatPlane:
    """Copy the science image and fill its pixels of wrong flux: it will be convolved."""
    np.copyto(out, frame.image)
    fill_flagged(out, frame.science_mask, WRONG_FLUX, threads=threads)
    return out


def mask_and_match(
    frame: Frame,
    kernel: VaryingKernel,
    convolved: ConvolvedImage,
    *,
    reach: int,
    border: int,
    out: FloatPlane,
    pieces: KernelPieces | None = None,
    threads: int,
) -> npt.NDArray[np.bool_]:
    """Make the difference's mask of ``frame.merged``, and convolve into ``out``.

    Returns
    -------
    numpy.ndarray
        bool (ny, nx): good pixels.
    """
    masked: Callable[[], MaskPlane] = run_beside(
        lambda: difference_mask(
            frame.merged, (frame.image, frame.variance, frame.science_mask),
            (frame.template, frame.template_mask), kernel, convolved,
            reach=reach, border=border, window=frame.window,
        ),
        threads=threads,
    )  # fmt: skip
    source = frame.template if convolved == "template" else frame.image
    if pieces is None:
        convolve_varying(source, kernel, window=frame.window, threads=threads, out=out)
    else:
        convolve_pieces(source, kernel, pieces, window=frame.window, threads=threads, out=out)
    return good_pixels(masked(), threads=threads)


def preview(
    frame: Frame, matched: FloatPlane, kernel_sum: float, convolved: ConvolvedImage
) -> FloatPlane:
    """Template in the scale of the difference; overwrites ``matched``."""
    if convolved == "science":
        np.multiply(frame.template, np.float32(1.0 / kernel_sum), out=matched)
    return matched


def mark_found(
    frame: Frame,
    good: npt.NDArray[np.bool_],
    streaks: npt.NDArray[np.float64],
    footprints: npt.NDArray[np.int32],
    sharp: npt.NDArray[np.int32],
) -> None:
    """Mark trails, footprints of detections, and detections too sharp to be one."""
    window = frame.window
    mark_streaks(frame.merged, good, streaks, y0=window.y0, x0=window.x0)
    for sign, bit in ((1, MaskBit.DETECTED), (-1, MaskBit.DETECTED_NEGATIVE)):
        runs = np.ascontiguousarray(footprints[footprints[:, 3] == sign, :3])
        set_runs(frame.merged, runs, np.int32(bit), window.y0, window.x0)
    mark_sharp(frame.merged, sharp[:, 0] - window.x0, sharp[:, 1] - window.y0)
