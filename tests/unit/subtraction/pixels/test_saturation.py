"""Saturation found without a card, and never where there is none."""

import numpy as np
import pytest
from tests.science.odd_sky import Night, gaussian, observe

from residua.subtraction.images import TemplateImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.saturation import saturation_level, with_saturation


@pytest.mark.parametrize("fwhm", [1.6, 3.5, 8.0, 12.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_false_alarm(fwhm, seed):
    night = Night(
        shape=(500, 520), stars=120, galaxies=60, science=gaussian(fwhm), template=gaussian(fwhm)
    )
    image = observe(night, seed).science
    assert saturation_level(image.image, image.mask, 17.0) is None
    whole = np.round(image.image / 8.0).astype(np.float32)
    assert saturation_level(whole, image.mask, 17.0 / 8.0) is None


@pytest.mark.parametrize("fwhm", [1.6, 3.5, 8.0])
@pytest.mark.parametrize("noise", [0.0, 0.007])
def test_plateau_is_found(fwhm, noise):
    night = Night(
        shape=(500, 520), stars=300, galaxies=60, science=gaussian(fwhm), brightest=3e6,
        faintest_star=4000.0,
    )  # fmt: skip
    image = observe(night, 4).science
    level = float(np.sort(image.image.ravel())[-1]) * 0.08
    rng = np.random.default_rng(1)
    top = level * (1.0 + noise * rng.normal(0.0, 1.0, image.image.shape))
    clipped = np.minimum(image.image, top).astype(np.float32)
    found = saturation_level(clipped, image.mask, 17.0)
    assert found is not None
    assert 0.93 * level < found <= 1.03 * level


def test_a_mask_that_knows_is_believed():
    image = observe(Night(shape=(400, 420), stars=200, clip=2000.0), 5).science
    flagged, level = with_saturation(image)
    assert level == pytest.approx(2000.0)
    assert flagged.mask is not image.mask
    assert np.all(flagged.mask[image.image >= 2000.0] & int(MaskBit.SATURATED))
    assert not np.any(image.mask)
    again, level = with_saturation(flagged)
    assert level is None
    assert again is flagged


def test_templates_without_pixels_are_left_alone():
    nan = np.full((20, 20), np.nan, np.float32)
    template = TemplateImage(nan, nan, np.zeros((20, 20), np.int32), None)  # type: ignore[arg-type]
    assert with_saturation(template) == (template, None)
