import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import PsfModel
from residua.subtraction.masks import MaskBit
from residua.subtraction.psf.measure import measure_psf
from residua.subtraction.psf.stack import fit_moffat, shift_stamps


def flux_bias(psf: PsfModel, truth, x: float, y: float) -> float:
    """Relative error of the flux that a star gets when it is filtered with the model."""
    model = psf.stamp(x, y)
    star = truth.stamp(x, y, psf.size // 2)
    return float((model * star).sum() / (model**2).sum() - 1.0)


@pytest.mark.parametrize("seed", [9101, 9102])
def test_model_measures_fluxes_without_bias(seed):
    pair = simulate_pair(scene("deep", (800, 820), stars=8000.0), seed)
    image = pair.science
    psf, n = measure_psf(image.image, image.variance, image.mask)
    assert n >= 20
    assert abs(flux_bias(psf, pair.science_psf, 410, 400)) < 0.012
    for x, y in ((100, 100), (700, 100), (100, 700), (700, 700)):
        assert abs(flux_bias(psf, pair.science_psf, x, y)) < 0.03
        assert psf.stamp(x, y).sum() == pytest.approx(1.0)


def test_crowding_and_background_do_not_spoil_the_wings():
    pair = simulate_pair(scene("crowded", (700, 720), background=(40.0, 20.0, -20.0)), 9103)
    image = pair.science
    psf, _ = measure_psf(image.image, image.variance, image.mask)
    assert abs(flux_bias(psf, pair.science_psf, 360, 350)) < 0.02


def test_galaxies_are_no_stars():
    config = scene("few-stars", (700, 720), galaxies=12000.0)
    pair = simulate_pair(config, 9104)
    template = pair.templates[0]
    psf, n = measure_psf(template.image, template.variance, template.mask)
    truth = pair.template_psf.model(template.image.shape).fwhm()
    assert n >= 4
    assert psf.fwhm() == pytest.approx(truth, rel=0.03)


def test_bad_pixels_and_edges_do_not_enter():
    pair = simulate_pair(scene("deep", (500, 520), stars=12000.0), 9105)
    image, mask = pair.science.image.copy(), pair.science.mask.copy()
    clean, _ = measure_psf(image, pair.science.variance, mask)
    image[::37, ::41], mask[::37, ::41] = 1e6, mask[::37, ::41] | int(MaskBit.BAD)
    spoilt, _ = measure_psf(image, pair.science.variance, mask)
    assert spoilt.fwhm() == pytest.approx(clean.fwhm(), rel=0.02)


def test_image_without_stars_says_so():
    rng = np.random.default_rng(3)
    noise = rng.normal(0.0, 1.0, (200, 200)).astype(np.float32)
    with pytest.raises(InsufficientKernelStarsError) as error:
        measure_psf(noise, np.ones((200, 200), np.float32), np.zeros((200, 200), np.int32))
    assert error.value.numbers["psf_stars"] == 0


def test_shift_centres_a_star():
    offset = np.arange(-15, 16)

    def star(dx, dy):
        return np.exp(-((offset - dx) ** 2 + (offset[:, None] - dy) ** 2) / (2 * 1.8**2))

    shifted = shift_stamps(np.stack([star(0.37, -0.42)]), np.array([0.37]), np.array([-0.42]))
    np.testing.assert_allclose(shifted[0], star(0.0, 0.0)[5:-5, 5:-5], atol=3e-3)


def test_moffat_wing_is_recovered():
    offset = np.arange(-20, 21)
    r2 = (offset**2 + offset[:, None] ** 2) / 4.2**2
    truth = (1.0 + r2) ** -3.1
    moffat = fit_moffat(truth / truth.sum(), 4.3)
    assert moffat(18.0) == pytest.approx((1.0 + (18.0 / 4.2) ** 2) ** -3.1 / truth.sum(), rel=0.1)


def test_hits_are_no_stars_however_few_stars_there_are():
    rng = np.random.default_rng(14)
    y, x = np.mgrid[0:400, 0:420]
    image = rng.normal(0.0, 1.0, y.shape)
    for cy in (80, 200, 320):
        for cx in (90, 210, 330):
            r2 = (y - cy - rng.uniform(-0.5, 0.5)) ** 2 + (x - cx - rng.uniform(-0.5, 0.5)) ** 2
            image += rng.uniform(25.0, 60.0) * np.exp(-0.5 * r2 / 3.5**2)
    for _ in range(25):
        image[rng.integers(5, 395), rng.integers(5, 415)] += rng.uniform(15.0, 100.0)
    image = image.astype(np.float32)
    psf, _ = measure_psf(image, np.ones_like(image), np.zeros(image.shape, np.int32))
    assert psf.fwhm() == pytest.approx(3.5 * 2.3548, rel=0.04)
