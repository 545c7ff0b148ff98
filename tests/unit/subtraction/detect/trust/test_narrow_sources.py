"""A PSF that is wider than what is new in its image is refused, whatever else is there."""

import dataclasses

import pytest

from residua.subtraction.detect.trust.narrow_sources import check_psf_width
from residua.subtraction.detections import Detection
from residua.subtraction.errors import InsufficientKernelStarsError


def source(size, **changes):
    """A new source of so much of the PSF's squared width."""
    found = Detection(
        10.0, 20.0, 150.0, 2.0, signal_to_noise=20.0, flux=200.0, flux_error=10.0,
        template_flux=0.0, ixx=size, iyy=size, ixx_psf=1.0, iyy_psf=1.0,
    )  # fmt: skip
    return dataclasses.replace(found, **changes)


def test_new_sources_that_are_narrower_refuse_it_with_numbers():
    with pytest.raises(InsufficientKernelStarsError, match="give PSF models") as error:
        check_psf_width([source(0.5)] * 5, 5.0, 2)
    assert error.value.numbers == {
        "psf_stars": 2, "new_sources": 5, "source_size": 0.5, "source_size_limit": 0.8
    }  # fmt: skip


@pytest.mark.parametrize(
    "detections",
    [
        [],
        [source(0.5)] * 4,
        [source(1.0)] * 4 + [source(0.3)] * 3,
        [source(0.5, signal_to_noise=10.0)] * 9,
        [source(0.5, signal_to_noise=-20.0, flux=-200.0)] * 9,
        [source(0.5, template_flux=500.0)] * 9,
        [source(float("nan"), shape_flag=True)] * 9,
        [source(0.5, is_dipole=True)] * 9,
    ],
)
def test_few_faint_or_doubtful_sources_tell_nothing(detections):
    check_psf_width(detections, 5.0, 2)


def test_shapes_of_undersampled_stars_tell_nothing():
    check_psf_width([source(0.5)] * 9, 1.8, 2)
