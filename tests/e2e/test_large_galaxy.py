"""Plain files with variance planes, of a sky that a galaxy of 60 px scale length fills."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.e2e.test_real_sky import run_subtract
from tests.science.odd_sky import add, gaussian, grid, noisy

SHAPE, TEMPLATE_SHAPE = (560, 560), (680, 680)


def write(path: Path, pixels: np.ndarray, variance: np.ndarray, wcs, zero: float) -> Path:
    header = wcs.to_header()
    header.update(MAGZERO=zero, BUNIT="adu", FILTER="r", SATURATE=1e7, EXPTIME=30.0)
    header["DATE-OBS"] = "2026-01-05T03:00:00"
    image = fits.PrimaryHDU(pixels.astype(np.float32), header)
    plane = fits.ImageHDU(variance.astype(np.float32), name="VARIANCE")
    fits.HDUList([image, plane]).writeto(path)
    return path


def pair(folder: Path, seed: int, moon: float = 0.0) -> tuple[list[Path], np.ndarray]:
    """Visit and template without their sky, but for moonlight across the visit; new sources."""
    rng = np.random.default_rng([seed, 60])
    wcs, other = grid(SHAPE, 0.0), grid(TEMPLATE_SHAPE, 4.0, 5.4)
    science, template = np.zeros(SHAPE), np.zeros(TEMPLATE_SHAPE)
    places = rng.uniform(-30.0, 590.0, (130, 2))
    there = other.all_world2pix(wcs.all_pix2world(places, 0), 0)
    fluxes = np.minimum(1500.0 * rng.random(130) ** -1.2, 2e5)
    for (x, y), (a, b), flux in zip(places, there, fluxes, strict=True):
        add(science, gaussian(4.6).rows, x, y, flux)
        add(template, gaussian(4.1).rows, a, b, flux)
    core = other.all_world2pix(wcs.all_pix2world([[300.0, 250.0]], 0), 0)[0]
    for plane, (x, y) in ((science, (300.0, 250.0)), (template, core)):
        rows, columns = np.mgrid[: plane.shape[0], : plane.shape[1]]
        np.add(plane, 900.0 * np.exp(-np.hypot(columns - x, rows - y) / 60.0), out=plane)
    new = rng.uniform(60.0, 500.0, (8, 2))
    for x, y in new:
        add(science, gaussian(4.6).rows, x, y, 8000.0)
    science += moon * (np.arange(SHAPE[1]) / SHAPE[1] - 0.5)
    image, variance = noisy(rng, science, 20.0, 1.0)
    deep, deep_variance = noisy(rng, template, 6.0, 10.0)
    paths = [
        write(folder / "visit.fits", image, variance, wcs, 31.4),
        write(folder / "template.fits", 10.0 * deep, 100.0 * deep_variance, other, 33.9),
    ]
    return paths, new


def check(folder: Path, seed: int) -> set[str]:
    (visit, template), new = pair(folder, seed)
    record, detections = run_subtract(folder, visit, [template])
    found = np.array([[float(d["x"]), float(d["y"])] for d in detections])
    apart = np.hypot(found[:, :1] - new[:, 0], found[:, 1:] - new[:, 1])
    assert np.count_nonzero(apart.min(axis=0) < 3.0) >= 7
    assert np.count_nonzero(apart.min(axis=1) > 8.0) <= 2
    quality = record["quality"]
    assert quality["kernel_sum"] == pytest.approx(1.0, abs=0.02)
    assert quality["noise_ratio"] == pytest.approx(1.0, abs=0.02)
    return {f["name"] for f in quality["flags"]}


def test_a_galaxy_that_fills_the_image_is_no_sky(tmp_path: Path):
    assert "sky_structure" not in check(tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_a_galaxy_that_fills_other_images_is_no_sky(seed: int, tmp_path: Path):
    check(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_such_a_galaxy_under_moonlight_is_flagged(seed: int, tmp_path: Path):
    """States what is measured: no cell is free of the galaxy, and sums are up to 4 % off."""
    (visit, template), new = pair(tmp_path, seed, moon=100.0)
    record, detections = run_subtract(tmp_path, visit, [template])
    found = np.array([[float(d["x"]), float(d["y"])] for d in detections])
    apart = np.hypot(found[:, :1] - new[:, 0], found[:, 1:] - new[:, 1])
    assert np.count_nonzero(apart.min(axis=0) < 3.0) >= 7
    assert record["quality"]["kernel_sum"] == pytest.approx(1.0, abs=0.05)
    assert "sky_structure" in {f["name"] for f in record["quality"]["flags"]}
