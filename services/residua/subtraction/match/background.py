"""The differential background, refined on the sky between the sources."""

import dataclasses

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MatchingKernel,
    SpatialPolynomial,
)

__all__ = ["median_background", "refine_background"]

_SOURCE_SIGMAS = 1.5
_CLIP_SIGMAS = 3.0
_ITERATIONS = 3
_TARGET_ROWS = 200
_COLUMN_STEP = 2
_LEAST_PIXELS = 1000
_BRIGHT_SIGMAS = 5.0
_SOURCES_OF_STAMP = 3


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _extremes(
    target: npt.NDArray[np.float32],
    matched: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    step: int,
    least: npt.NDArray[np.float32],
    most: npt.NDArray[np.float32],
) -> None:
    """Least and largest difference around each pixel of the sample: 3 x 3 of 2 px, and of 5 px."""
    ny, nx = target.shape
    lower, upper = np.empty(nx, np.float32), np.empty(nx, np.float32)
    none = np.float32(np.inf)
    for row in range(least.shape[0]):
        y = step // 2 + row * step
        least[row], most[row] = none, -none
        for distance in (2, 5):
            lower[:], upper[:] = none, -none
            for j in (y - distance, y, y + distance):
                if not 0 <= j < ny:
                    continue
                a, b, usable = target[j], matched[j], good[j]
                for x in range(nx):
                    difference = a[x] - b[x]
                    # What is no number is neither.
                    lower[x] = difference if usable[x] & (difference < lower[x]) else lower[x]
                    upper[x] = difference if usable[x] & (difference > upper[x]) else upper[x]
            for shift in (-distance, 0, distance):
                first, end = max(-shift, 0), max(nx - max(shift, 0), 0)
                # Nothing is left of a row that is narrower than the shift.
                to_least, to_most = least[row, first:end], most[row, first:end]
                low, high = lower[first + shift :], upper[first + shift :]
                for x in range(to_least.size):
                    to_least[x] = min(to_least[x], low[x])
                    to_most[x] = max(to_most[x], high[x])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _accumulate(
    target: npt.NDArray[np.float32],
    matched: npt.NDArray[np.float32],
    model: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    least: npt.NDArray[np.float32],
    most: npt.NDArray[np.float32],
    along_x: npt.NDArray[np.float64],
    along_y: npt.NDArray[np.float64],
    exponents: npt.NDArray[np.int64],
    current: npt.NDArray[np.float64],
    step: int,
    middle: float,
    faint: float,
    limit: float,
    matrix: npt.NDArray[np.float64],
    vector: npt.NDArray[np.float64],
) -> int:
    ny, nx = target.shape
    n_terms = len(exponents)
    terms = np.empty(n_terms)
    count = 0
    for y in range(step // 2, ny, step):
        for x in range(0, nx, _COLUMN_STEP):
            # Symmetric, or the noise of the faint pixels would be cut on one side only.
            if not good[y, x] or abs(model[y, x] - middle) >= faint:
                continue
            expected = 0.0
            for k in range(n_terms):
                terms[k] = along_y[exponents[k, 0], y] * along_x[exponents[k, 1], x]
                expected += current[k] * terms[k]
            residual = target[y, x] - matched[y, x] - expected
            if abs(residual) > limit:
                continue
            # A pixel around stands out: the wings of a transient are no sky.
            low, high = least[y // step, x] - expected, most[y // step, x] - expected
            if low < -1.2 * limit or high > 1.2 * limit:
                continue
            count += 1
            for k in range(n_terms):
                vector[k] += terms[k] * residual
                for m in range(k + 1):
                    matrix[k, m] += terms[k] * terms[m]
    return count


def refine_background(
    target: FloatPlane,
    matched: FloatPlane,
    good: npt.NDArray[np.bool_],
    kernel: MatchingKernel,
    convolved: ConvolvedImage,
    sigma: float,
    order: int | None = None,
) -> MatchingKernel:
    """Fit the differential background again, on the sky between the sources.

    The stamps of the kernel fit know the background only beside bright stars, where errors of
    the kernel's wings mix with it; the sky knows it far better. A background wrong by a few
    hundredths of the noise already widens the distribution of the matched-filter S/N.

    Parameters
    ----------
    target
        float32 (ny, nx): the image that was not convolved.
    matched
        float32 (ny, nx): the convolved one, without background.
    good
        bool (ny, nx).
    kernel
        The kernel with its background.
    convolved
        Which image was convolved. Sky is where the template, the less noisy image, is within
        1.5 sigma of its median.
    sigma
        Noise of ``target - matched`` on the sky.
    order
        Of its polynomial; default that of the kernel's, which few stars lower.

    Returns
    -------
    MatchingKernel
        With the refined background; unchanged when under a thousand pixels are sky.
    """
    ny, nx = target.shape
    polynomial, background = kernel.background_polynomial, kernel.background
    iterations, widest = _ITERATIONS, _CLIP_SIGMAS
    if order is not None and order > polynomial.order:
        # The sky knows what the stars were too few for, and starts far from it.
        higher = SpatialPolynomial(polynomial.shape, order)
        known = dict(zip(polynomial.exponents, background.tolist(), strict=True))
        background = np.array([known.get(e, 0.0) for e in higher.exponents])
        polynomial, iterations, widest = higher, _ITERATIONS + 1, np.inf
    pairs = np.array(polynomial.exponents, np.int64).reshape(-1, 2)
    chebyshev = np.polynomial.chebyshev.chebvander
    along_x = chebyshev((2.0 * np.arange(nx) + 1.0) / nx - 1.0, polynomial.order).T.copy()
    along_y = chebyshev((2.0 * np.arange(ny) + 1.0) / ny - 1.0, polynomial.order).T.copy()
    step = max(1, ny // _TARGET_ROWS)
    model = matched if convolved == "template" else target
    sample = model[::step, ::7][good[::step, ::7]]
    middle = float(np.median(sample)) if sample.size else 0.0
    rows = len(range(step // 2, ny, step))
    least, most = np.empty((rows, nx), np.float32), np.empty((rows, nx), np.float32)
    _extremes(target, matched, good, step, least, most)
    for n in range(iterations):
        limit = (widest if n == 0 else _CLIP_SIGMAS) * sigma
        matrix, vector = np.zeros((len(pairs), len(pairs))), np.zeros(len(pairs))
        count = _accumulate(
            target, matched, model, good, least, most, along_x, along_y, pairs, background, step,
            middle, _SOURCE_SIGMAS * sigma, limit, matrix, vector,
        )  # fmt: skip
        if count < _LEAST_PIXELS:
            return kernel
        matrix += np.tril(matrix, -1).T
        background = background + np.linalg.lstsq(matrix, vector)[0]
    return dataclasses.replace(kernel, background=background, background_polynomial=polynomial)


def median_background(
    target: FloatPlane,
    matched: FloatPlane,
    good: npt.NDArray[np.bool_],
    kernel: MatchingKernel,
    sigma: float,
    psf: npt.NDArray[np.float64],
) -> MatchingKernel:
    """Take the median difference for the background of a stamp too small to fit one.

    The wings of the stamp's few bright sources, which may fill it, are taken off before.

    Parameters
    ----------
    target, matched
        float32 (ny, nx): the image that was not convolved, and the other, convolved.
    good
        bool (ny, nx).
    kernel
        Returned with this constant background; unchanged without a good pixel.
    sigma
        Noise of ``target - matched`` on the sky.
    psf
        float64 (size, size): PSF of both.
    """
    if not good.any():
        return kernel
    values = np.where(good, target - matched, 0.0).astype(np.float64)
    half = psf.shape[0] // 2
    weight = np.maximum(_correlate(good.astype(np.float64), psf**2), 1e-12)
    rows, columns = np.nonzero(good)
    for _ in range(_SOURCES_OF_STAMP):
        middle = float(np.median(values[good]))
        signal = _correlate(np.where(good, values - middle, 0.0), psf) / np.sqrt(weight)
        size = np.where(good, np.abs(signal), 0.0)
        y, x = np.unravel_index(int(np.argmax(size)), size.shape)
        if size[y, x] <= _BRIGHT_SIGMAS * sigma:
            break
        dy, dx = rows - y + half, columns - x + half
        inside = (dy >= 0) & (dy <= 2 * half) & (dx >= 0) & (dx <= 2 * half)
        profile = np.zeros(rows.size)
        profile[inside] = psf[dy[inside], dx[inside]]
        terms = np.column_stack([profile, np.ones(rows.size)])
        flux = np.linalg.lstsq(terms, values[good], rcond=None)[0][0]
        values[good] -= flux * profile
    background = np.zeros_like(kernel.background)
    background[0] = float(np.median(values[good]))
    return dataclasses.replace(kernel, background=background)


def _correlate(
    plane: npt.NDArray[np.float64], stamp: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Correlate with an odd stamp, zeros outside the plane."""
    shape = [n + stamp.shape[0] - 1 for n in plane.shape]
    product = np.fft.rfft2(plane, shape) * np.fft.rfft2(stamp[::-1, ::-1], shape)
    half = stamp.shape[0] // 2
    full = np.fft.irfft2(product, shape)
    return np.asarray(full[half : half + plane.shape[0], half : half + plane.shape[1]])
