import numpy as np
import pytest
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.match.kernel_shape import (
    choose_convolution,
    kernel_groups,
    kernel_half_width,
)
from residua.subtraction.pixels.moments import second_moments


def test_sharper_image_is_convolved_unless_told():
    sharp, wide = gaussian_psf(1.7), gaussian_psf(2.2)
    assert choose_convolution(wide, sharp, SubtractionConfig()) == "template"
    assert choose_convolution(sharp, wide, SubtractionConfig()) == "science"
    assert choose_convolution(sharp, wide, SubtractionConfig(convolve="template")) == "template"


def test_a_template_of_coarser_pixels_is_convolved_even_if_it_is_blurred():
    sharp, wide = gaussian_psf(1.7), gaussian_psf(2.2)
    assert choose_convolution(sharp, wide, SubtractionConfig(), 2.0) == "template"
    assert choose_convolution(sharp, wide, SubtractionConfig(), 1.2) == "science"


def test_half_width_follows_the_wider_psf():
    narrow = kernel_half_width(gaussian_psf(1.0), gaussian_psf(0.8), SubtractionConfig())
    wide = kernel_half_width(gaussian_psf(1.0), gaussian_psf(2.0), SubtractionConfig())
    assert 7 <= narrow < wide <= 25
    # Wide seeing needs more than 25 px, where the image has room.
    large = (2000, 2000)
    widest = kernel_half_width(
        gaussian_psf(5.0, large), gaussian_psf(4.0, large), SubtractionConfig()
    )
    assert 33 <= widest <= 37
    given = SubtractionConfig(kernel_half_width=9)
    assert kernel_half_width(gaussian_psf(1.0), gaussian_psf(2.0), given) == 9


@pytest.mark.parametrize("ellipticity", [-0.3, 0.0, 0.2])
def test_moments_of_a_gaussian_are_its_own(ellipticity):
    moments = second_moments(gaussian_psf(2.0, ellipticity=ellipticity).stamp(0, 0))
    assert moments[0, 0] == pytest.approx(4.0 * (1.0 + ellipticity), rel=1e-3)
    assert moments[1, 1] == pytest.approx(4.0 * (1.0 - ellipticity), rel=1e-3)
    assert moments[0, 1] == pytest.approx(0.0, abs=1e-6)


def test_moments_of_noise_stay_finite():
    stamp = np.random.default_rng(3).normal(0.0, 1.0, (41, 41))
    assert np.all(np.isfinite(second_moments(stamp)))


def test_crossed_ellipticities_get_the_basis_of_a_sharpening_kernel():
    science = gaussian_psf(1.95, ellipticity=0.15)
    along, across = (gaussian_psf(1.8, ellipticity=e) for e in (0.15, -0.15))
    blurring = kernel_groups(science, along, "template", 15)
    sharpening = kernel_groups(science, across, "template", 15)
    n_functions = [
        sum((d + 1) * (d + 2) // 2 for _, d in groups) for groups in (blurring, sharpening)
    ]
    assert n_functions[0] < n_functions[1]
    assert sharpening == kernel_groups(across, science, "science", 15)


def test_the_basis_grows_with_the_kernel():
    def widths(template):
        science = gaussian_psf(6.4, (900, 900))
        return [s for s, _ in kernel_groups(science, template, "template", 50)]

    # To 6.4 px from 6.2 px takes 1.6 px, from 3.4 px 5.4 px.
    usual, wide = widths(gaussian_psf(6.2, (900, 900))), widths(gaussian_psf(3.4, (900, 900)))
    assert usual[:3] == [0.75, 1.5, 3.0]
    assert np.array(wide[:3]) / usual[:3] == pytest.approx(5.4 / 2.2, rel=0.03)
