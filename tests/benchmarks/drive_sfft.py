"""Match and subtract with SFFT's NumPy back end; run by its own interpreter.

    python drive_sfft.py DIRECTORY t|i HALF_WIDTH THREADS crowded|sparse

SFFT's packets that prepare a pair themselves need SExtractor and take no masks; here its packet
for a prepared pair gets what they would prepare, with the pair's own masks, and with `sep`, on
which SFFT depends, in SExtractor's place. "crowded" fits on everything but sources with bad
pixels; "sparse" on unblended sources without bad pixels that are in both images with one flux
ratio, 4 px grown, the rest of both images set to 0 after their sky was subtracted. The kernel
is quadratic over the image, SFFT's default, the "crowded" background linear, as HOTPANTS has it
(a quadratic one takes 19 GB instead of 12).
"""

import sys
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from driver_files import read_inputs, write_difference
from scipy import ndimage
from scipy.spatial import cKDTree
from sfft.CustomizedPacket import Customized_Packet
from sfft.utils.SFFTSolutionReader import Realize_MatchingKernel

DETECTION = {"sparse": 2.0, "crowded": 5.0}
MATCH_RADIUS = 2.0
"""Pixels between a source's positions in the two images, at most."""
VARIABLE = 0.12
"""Magnitudes from the median by which a source is called variable."""
GROWTH = {"sparse": 4, "crowded": 2}
KERNEL_ORDER = 2
BACKGROUND_ORDER = {"sparse": 0, "crowded": 1}


def find_sources(image, variance, bad, threshold):
    """Catalogue, segments (0: none, n: row n - 1) and, by segment, whether it has no bad pixel."""
    noise = np.sqrt(np.where(bad, 1.0, variance))
    sep.set_extract_pixstack(image.size)
    catalogue, segments = sep.extract(image, threshold, err=noise, mask=bad, segmentation_map=True)
    whole = np.ones(len(catalogue) + 1, bool)
    whole[np.unique(segments[ndimage.binary_dilation(bad, iterations=2)])] = False
    whole[0] = False
    return catalogue, segments, whole


def choose_pixels(inputs, bad, flavour):
    """Pixels that the fit uses."""
    threshold, growth = DETECTION[flavour], GROWTH[flavour]
    science, science_segments, science_whole = find_sources(
        inputs.science, inputs.science_variance, bad, threshold
    )
    template, template_segments, template_whole = find_sources(
        inputs.template, inputs.template_variance, bad, threshold
    )
    if flavour == "crowded":
        broken = bad | ((science_segments > 0) & ~science_whole[science_segments])
        broken |= (template_segments > 0) & ~template_whole[template_segments]
        return ~ndimage.binary_dilation(broken, iterations=growth)
    tree = cKDTree(np.column_stack([template["x"], template["y"]]))
    distance, nearest = tree.query(np.column_stack([science["x"], science["y"]]))
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = -2.5 * np.log10(science["flux"] / template["flux"][nearest])
    matched = (distance < MATCH_RADIUS) & np.isfinite(magnitude)
    matched &= science_whole[1:] & template_whole[1 + nearest]
    matched &= (science["flag"] == 0) & (template["flag"][nearest] == 0)
    brightest = matched & (science["flux"] > np.median(science["flux"][matched]))
    chosen = matched & (np.abs(magnitude - np.median(magnitude[brightest])) < VARIABLE)
    of_science, of_template = np.zeros(len(science) + 1, bool), np.zeros(len(template) + 1, bool)
    of_science[1:] = chosen
    of_template[1 + nearest[chosen]] = True
    used = of_science[science_segments] | of_template[template_segments]
    banned = bad | ((science_segments > 0) & ~of_science[science_segments])
    banned |= (template_segments > 0) & ~of_template[template_segments]
    print(f"{chosen.sum()} sources of {len(science)}")
    return ndimage.binary_dilation(used, iterations=growth) & ~banned


def drive(directory, convolve, half_width, threads, flavour):
    """Subtract what lies in a directory; the difference is science minus template."""
    inputs = read_inputs(directory)
    bad = inputs.science_bad | inputs.template_bad
    used = choose_pixels(inputs, bad, flavour)
    print(f"{100 * used.mean():.2f} % of the pixels are used")
    paths = {}
    for name, plane in (("SCI", inputs.science), ("REF", inputs.template)):
        image = plane
        if flavour == "sparse":
            image = plane - sep.Background(plane, mask=bad, bw=256, bh=256).back()
        for key, pixels in (("FITS_", image), ("FITS_m", image * used)):
            paths[key + name] = str(directory / f"{key}{name}.fits")
            fits.writeto(paths[key + name], pixels, overwrite=True)
    solution, difference = Customized_Packet.CP(
        **paths,
        ForceConv="REF" if convolve == "t" else "SCI",
        GKerHW=half_width,
        KerPolyOrder=KERNEL_ORDER,
        BGPolyOrder=BACKGROUND_ORDER[flavour],
        BACKEND_4SUBTRACT="Numpy",
        NUM_CPU_THREADS_4SUBTRACT=threads,
        VERBOSE_LEVEL=1,
    )
    kernels = read_kernels(solution, bad.shape, half_width, BACKGROUND_ORDER[flavour])
    write_difference(directory, inputs, difference.T, kernels, convolve)


def read_kernels(solution, shape, half_width, background_order, nodes=9):
    """Kernels (nodes, nodes, side, side) on a grid from edge to edge, y first."""
    ny, nx = shape
    side = 2 * half_width + 1
    y, x = np.meshgrid(np.linspace(1, ny, nodes), np.linspace(1, nx, nodes), indexing="ij")
    stack = Realize_MatchingKernel(XY_q=np.column_stack([x.ravel(), y.ravel()])).FromArray(
        Solution=solution,
        N0=nx,
        N1=ny,
        L0=side,
        L1=side,
        DK=KERNEL_ORDER,
        Fpq=(background_order + 1) * (background_order + 2) // 2,
    )
    return stack.transpose(0, 2, 1).reshape(nodes, nodes, side, side)


if __name__ == "__main__":
    where, which, half, cores, kind = sys.argv[1:]
    drive(Path(where), which, int(half), int(cores), kind)
