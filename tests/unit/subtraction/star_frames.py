"""Frames of isolated stars of any width and shape, drawn as sums of Gaussians."""

from typing import Literal

import numpy as np

__all__ = ["SHAPES", "effective_fwhm", "star_field", "star_frame", "star_stamp"]

type Shape = Literal["gaussian", "moffat", "elongated", "trailed", "ring"]
SHAPES: tuple[Shape, ...] = ("gaussian", "moffat", "elongated", "trailed", "ring")
_SIGMA_PER_FWHM = 1.0 / 2.3548


def _gaussians(shape: Shape, fwhm: float) -> np.ndarray:
    """Rows (x, y, weight, sigma_x, sigma_y) of the Gaussians that make up the profile."""
    sigma = fwhm * _SIGMA_PER_FWHM
    if shape == "gaussian":
        return np.array([[0.0, 0.0, 1.0, sigma, sigma]])
    if shape == "elongated":
        return np.array([[0.0, 0.0, 1.0, 1.2 * sigma, sigma / 1.2]])
    if shape == "trailed":
        along = np.linspace(-0.6 * fwhm, 0.6 * fwhm, 25)
        return np.array([[0.8 * t, 0.6 * t, 1 / 25, 0.8 * sigma, 0.8 * sigma] for t in along])
    rings = [
        [r * fwhm * np.cos(a + r), r * fwhm * np.sin(a + r), r, 0.35 * sigma, 0.35 * sigma]
        for r in (0.3, 0.4, 0.5, 0.6)
        for a in np.arange(24) * 2.0 * np.pi / 24
    ]
    table = np.array(rings)
    table[:, 2] /= table[:, 2].sum()
    return table


def star_stamp(shape: Shape, fwhm: float, dx: float, dy: float, half: int) -> np.ndarray:
    """Float64 (2 half + 1, 2 half + 1): a star of unit flux at (dx, dy) from the centre."""
    offset = np.arange(-half, half + 1.0)
    x, y = offset - dx, (offset - dy)[:, None]
    if shape == "moffat":
        width = 0.5 * fwhm / np.sqrt(2.0 ** (1.0 / 3.0) - 1.0)
        return 2.0 / (np.pi * width**2) * (1.0 + (x**2 + y**2) / width**2) ** -3.0
    total = np.zeros((offset.size, offset.size))
    for a, b, weight, sx, sy in _gaussians(shape, fwhm):
        columns = np.exp(-0.5 * ((x - a) / sx) ** 2)
        total += weight / (2.0 * np.pi * sx * sy) * np.exp(-0.5 * ((y - b) / sy) ** 2) * columns
    return total


def effective_fwhm(shape: Shape, fwhm: float) -> float:
    """Pixels: FWHM of the Gaussian with the profile's effective area, as `PsfModel.fwhm`."""
    stamp = star_stamp(shape, fwhm, 0.0, 0.0, int(7 * fwhm) + 5)
    stamp /= stamp.sum()
    return float(2.3548 * np.sqrt(1.0 / (4.0 * np.pi * np.sum(stamp**2))))


def star_frame(shape: Shape, fwhm: float, seed: int, stars: int = 36) -> np.ndarray:
    """float32: stars of 80 to 1500 sigma peak on a jittered grid, noise of variance 1."""
    rng = np.random.default_rng(seed)
    side, pitch = int(np.sqrt(stars)), max(int(9 * fwhm), 40)
    image = rng.normal(0.0, 1.0, (side * pitch, side * pitch))
    half = pitch // 2 - 1
    peak = star_stamp(shape, fwhm, 0.0, 0.0, int(fwhm) + 3).max()
    for row in range(side):
        for column in range(side):
            dx, dy = rng.uniform(-0.5, 0.5, 2)
            x, y = (k * pitch + pitch // 2 for k in (column, row))
            target = image[y - half : y + half + 1, x - half : x + half + 1]
            target += rng.uniform(80.0, 1500.0) / peak * star_stamp(shape, fwhm, dx, dy, half)
    return image.astype(np.float32)


def star_field(
    shape: Shape, fwhm: float, seed: int, stars: int, galaxies: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """float32 with noise of variance 1, and float64 (stars, 2): x, y of the stars among galaxies.

    Up to 16 objects; the galaxies are 1.3 to 2.5 times as wide as a star, 50 to 800 sigma high.
    """
    rng = np.random.default_rng(seed)
    pitch = max(int(9 * fwhm), 40)
    half = pitch // 2 - 1
    image = rng.normal(0.0, 1.0, (4 * pitch, 4 * pitch))
    places = []
    for k, cell in enumerate(rng.permutation(16)[: stars + galaxies].tolist()):
        dx, dy = rng.uniform(-0.5, 0.5, 2)
        x, y = (n * pitch + pitch // 2 for n in (cell % 4, cell // 4))
        if k < stars:
            stamp, peak = star_stamp(shape, fwhm, dx, dy, half), rng.uniform(80.0, 1500.0)
            places.append((x + dx, y + dy))
        else:
            stamp = star_stamp("moffat", fwhm * rng.uniform(1.3, 2.5), dx, dy, half)
            peak = rng.uniform(50.0, 800.0)
        image[y - half : y + half + 1, x - half : x + half + 1] += peak / stamp.max() * stamp
    return image.astype(np.float32), np.array(places)
