"""Match detections to the transients that were put into a simulation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from residua.simulation.independent_filter import FilteredImage, Peak, shift_stamp
from residua.simulation.sky import SimulatedPair, Sources
from residua.simulation.sky.imaging.gaussians import draw
from residua.subtraction.detections import Detection
from residua.subtraction.images import PsfModel

__all__ = ["RECOVERY_BINS", "count_false_positives", "measure_transients", "transient_flux"]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]
type Flags = npt.NDArray[np.bool_]

RECOVERY_BINS = (5.0, 7.0, 10.0, 20.0, np.inf)
"""Edges of the expected abs(S/N) by which recovery is counted."""
MATCH_RADIUS = 3.0
"""Pixels within which a detection counts as a transient."""
FALSE_RADIUS = 8.0
"""Pixels beyond which a detection counts as false."""


def transient_flux(pair: SimulatedPair) -> Plane:
    """Draw the expected absolute flux of all transients as the science image's PSF spreads it."""
    plane = np.zeros(pair.config.shape, np.float32)
    x, y, flux = (np.array([getattr(t, f) for t in pair.transients]) for f in ("x", "y", "flux"))
    floor = 0.05 * 0.1 * pair.config.sky_noise
    draw(plane, pair.science_psf, x, y, np.abs(flux), floor=floor)
    return plane


def measure_transients(
    image: Plane,
    variance: Plane,
    good: Flags,
    psf: PsfModel,
    pair: SimulatedPair,
    filtered: FilteredImage,
    detections: Sequence[Detection | Peak],
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Measure forced fluxes at the true positions, and recovery by expected S/N.

    Returns
    -------
    flux_pull, sn_ratio
        float64 (n,); the error is that of the detection, if it has one, else that of the
        variance plane. See `residua.simulation.fidelity.Measurement`.
    recovery
        int64 (n_bins, 2): measurable and recovered transients.
    """
    reach = psf.size // 2
    positive, negative = (
        [d for d in detections if sign * d.signal_to_noise > 0] for sign in (1, -1)
    )
    trees = [
        cKDTree(np.array([(d.x, d.y) for d in side]).reshape(-1, 2))
        for side in (positive, negative)
    ]
    pulls, ratios = [], []
    recovery = np.zeros((len(RECOVERY_BINS) - 1, 2), np.int64)
    for transient in pair.transients:
        row, column = round(transient.y), round(transient.x)
        usable = float(filtered.usable[row, column])
        if not good[row, column] or usable < 0.75:
            continue
        expected = abs(transient.expected_sn) * np.sqrt(usable)
        if expected < RECOVERY_BINS[0]:
            continue
        side = 0 if transient.flux > 0 else 1
        distance, nearest = trees[side].query((transient.x, transient.y))
        index = int(np.searchsorted(RECOVERY_BINS, expected, side="right")) - 1
        recovery[index] += 1, distance <= MATCH_RADIUS
        y0, x0 = max(0, row - reach), max(0, column - reach)
        box = (slice(y0, row + reach + 1), slice(x0, column + reach + 1))
        stamp = shift_stamp(
            psf.stamp(transient.x, transient.y), transient.x - column, transient.y - row
        )
        stamp = stamp[y0 - row + reach :, x0 - column + reach :]
        stamp = stamp[: image[box].shape[0], : image[box].shape[1]]
        weight = np.where(good[box], stamp, 0.0)
        norm = np.sum(weight * stamp)
        flux = np.sum(weight * image[box]) / norm
        error = measured = np.sqrt(np.sum(weight**2 * variance[box])) / norm
        if distance <= MATCH_RADIUS:
            # The error that the product claims, where it claims one: it knows more than the
            # variance plane.
            error = getattr((positive, negative)[side][nearest], "flux_error", error)
        pulls.append((flux - transient.flux) / error)
        ratios.append(abs(transient.flux) / measured / expected)
    return np.array(pulls, np.float64), np.array(ratios, np.float64), recovery


def count_false_positives(
    pair: SimulatedPair, detections: Sequence[Detection | Peak]
) -> npt.NDArray[np.int64]:
    """Count detections far from every transient: on free sky, at stars, at galaxies."""
    counts = np.zeros(3, np.int64)
    if not detections:
        return counts
    positions = np.array([(d.x, d.y) for d in detections])
    truth = np.array([(t.x, t.y) for t in pair.transients]).reshape(-1, 2)
    distance, _ = cKDTree(truth).query(positions)
    false = positions[distance > FALSE_RADIUS]
    # The error of a point source's flux is about seven times the sky noise of a pixel.
    error = 7.0 * pair.config.sky_noise
    stars, galaxies = pair.stars, pair.galaxies
    # Haloes grow with the logarithm of the flux.
    star_reach = FALSE_RADIUS + 10.0 * np.log10(np.maximum(stars.flux / 1e5, 1.0))
    at_star = _near(false, stars, star_reach, stars.flux > 20.0 * error)
    galaxy_reach = np.maximum(FALSE_RADIUS, 2.0 * galaxies.radius)
    at_galaxy = _near(false, galaxies, galaxy_reach, galaxies.flux > 5.0 * error) & ~at_star
    counts[:] = np.sum(~at_star & ~at_galaxy), at_star.sum(), at_galaxy.sum()
    return counts


def _near(positions: Array, sources: Sources, reach: Array, chosen: Flags) -> Flags:
    x, y, radius = sources.x[chosen], sources.y[chosen], reach[chosen]
    near = [bool(np.any((x - px) ** 2 + (y - py) ** 2 <= radius**2)) for px, py in positions]
    return np.array(near, bool)
