"""Kept numbers lose no digit that they have, and are kept unchanged ever after."""

import dataclasses

import numpy as np
import pytest

from residua.subtraction import Detection, ScienceImage
from residua.subtraction.steps.kept import float_columns, kept_detections
from residua.subtraction.steps.solution import fingerprint

DETECTION = Detection(
    x=1234.56789,
    y=-0.000001,
    ra=150.123456789123,
    dec=-12.3,
    signal_to_noise=123.456789,
    flux=-98765.4321,
    flux_error=800.123456,
    ixx=0.123456789,
    mask=17,
    is_dipole=True,
)


def test_numbers_are_right_to_their_kept_digits():
    (kept,) = kept_detections((DETECTION,))
    assert kept.x == pytest.approx(DETECTION.x, abs=2.0**-17)
    assert kept.ra == pytest.approx(DETECTION.ra, abs=5e-10)
    assert kept.flux == pytest.approx(DETECTION.flux, rel=2.0**-16)
    assert kept.signal_to_noise == pytest.approx(DETECTION.signal_to_noise, rel=2.0**-16)
    assert kept.flux_error == pytest.approx(DETECTION.flux_error, rel=2.0**-12)
    assert (kept.mask, kept.is_dipole) == (17, True)
    assert np.isnan(kept.trail_length)
    assert str(kept.y) == "0.0"  # a negative zero would come back as another one


def test_keeping_twice_changes_nothing():
    once = kept_detections((DETECTION, dataclasses.replace(DETECTION, flux=3.3)))
    assert repr(kept_detections(once)) == repr(once)
    assert kept_detections(()) == ()
    for name in float_columns():
        value = getattr(once[0], name)
        assert np.isnan(value) or np.float32(value) == value, name


def test_a_fingerprint_knows_another_image():
    rng = np.random.default_rng(1)
    planes = [rng.normal(0, 1, (200, 100)).astype(np.float32) for _ in range(2)]
    image = ScienceImage(*planes, np.zeros((200, 100), np.int32), wcs=None)
    same = dataclasses.replace(image, image=image.image.astype(">f4"))
    assert fingerprint(same) == fingerprint(image)
    for other in (
        dataclasses.replace(image, unit="adu"),
        dataclasses.replace(image, image=image.image * np.float32(1.0001)),
        dataclasses.replace(image, mask=image.mask + 1),
        dataclasses.replace(image, variance=image.variance[:, ::-1]),
    ):
        assert fingerprint(other) != fingerprint(image)
