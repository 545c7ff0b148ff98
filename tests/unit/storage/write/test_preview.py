"""The preview picture."""

import hashlib
import io
from dataclasses import replace

import numpy as np
from PIL import Image

from residua.storage.write import preview
from residua.storage.write.preview import preview_png
from residua.subtraction.images import ScienceImage


def _pixels(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_the_same_input_gives_the_same_bytes(visit_image, difference):
    assert preview_png(visit_image, difference) == preview_png(visit_image, difference)


def test_detections_are_circled_by_sign(visit_image, difference):
    pixels = _pixels(preview_png(visit_image, difference)).astype(int)
    panel = (pixels.shape[1] - 4 * 6) // 3
    amber = np.argwhere((pixels == (255, 176, 0)).all(axis=2))
    blue = np.argwhere((pixels == (90, 170, 255)).all(axis=2))
    left = 6 + 2 * (panel + 6)
    for found, x, y in ((amber, 60.0, 80.0), (blue, 120.0, 30.0)):
        cy, cx = found.mean(axis=0)
        assert abs(cx - (left + (x + 0.5) * panel / 180)) < 2
        # y runs up.
        panel_height = round(panel * 150 / 180)
        assert abs(cy - (34 + panel_height - (y + 0.5) * panel_height / 150)) < 2


def test_pixels_without_data_are_red(visit_image, difference):
    pixels = _pixels(preview_png(visit_image, difference))
    red = (pixels == (70, 24, 28)).all(axis=2)
    assert red.mean() > 0.005


def test_large_images_stay_below_2000_pixels(visit_image, difference):
    image = np.zeros((900, 3000), np.float32)
    image[100:200, 2900:] = 1000.0
    image += np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    mask = np.zeros(image.shape, np.int32)
    visit = replace(
        visit_image, image=ScienceImage(image, image, mask, visit_image.image.wcs, None)
    )
    large = replace(difference, image=image, mask=mask, matched_template=image, detections=())
    pixels = _pixels(preview_png(visit, large))
    assert 1900 < pixels.shape[1] <= 2000
    # The bright bar is low and at the right of the first panel.
    assert pixels[34 + 197 - 33, 6 + 655].min() > 200


def test_the_stretch_is_asinh_by_operations_that_are_exact_everywhere():
    rng = np.random.default_rng(2)
    plane = rng.normal(100.0, 10.0, (300, 310)).astype(np.float32)
    plane[::20, ::20] += rng.exponential(3000.0, (15, 16)).astype(np.float32)
    plane[3, 3:6] = np.nan, np.inf, -np.inf
    grey = preview._asinh(plane)
    values = plane[np.isfinite(plane)]
    sky, sigma = float(np.median(values)), preview._noise(values)
    top = max(float(np.percentile(values, 99.8)), sky + 20.0 * sigma)
    low, high = np.arcsinh(-1.0), np.arcsinh((top - sky) / (2.0 * sigma))
    wanted = (np.arcsinh((values - sky) / (2.0 * sigma)) - low) / (high - low)
    found = grey[np.isfinite(plane)].astype(float)
    np.testing.assert_allclose(found, 239.0 * wanted.clip(0.0, 1.0), rtol=0, atol=2.0)
    assert set(grey[3, 3:6]) == {preview._NO_DATA}
    assert (found.min(), found.max()) == (0.0, 239.0)
    # The steps are what every machine finds: no library's function is in them.
    digest = hashlib.sha256(preview._asinh_steps(37.25).tobytes()).hexdigest()
    assert digest == "d12a3437c9f1d6ab2c1d9edf61a6a620d1f49a4ede7974016c89e6f74a9c567d"


def test_empty_planes_do_not_break_it(visit_image, difference):
    empty = np.full_like(difference.image, np.nan)
    blank = replace(difference, image=empty, matched_template=empty)
    assert preview_png(visit_image, blank).startswith(b"\x89PNG")
