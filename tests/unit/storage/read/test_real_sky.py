"""The DECam cut-outs, where they are at hand: headers and pixels as a pipeline leaves them."""

from pathlib import Path

import numpy as np
import pytest

from residua.storage.describe import describe_visit_image
from residua.storage.read.readers import read_image
from residua.subtraction.masks import MaskBit

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "decam_pair"
FILES = sorted(DATA.glob("*.fits"))

pytestmark = pytest.mark.skipif(not FILES, reason="the DECam cut-outs are not here")


def test_every_exposure_is_another_visit():
    arrivals = [describe_visit_image(str(path)) for path in FILES]
    assert len({a.visit_detector for a in arrivals}) == len(FILES) == 10
    assert {a.visit_detector.instrument for a in arrivals} == {"DECam"}
    assert {a.visit_detector.detector for a in arrivals} == {37}
    assert {a.band for a in arrivals} == {"i"}
    assert {a.exposure_time for a in arrivals} == {330.0}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name[:9])
def test_noise_is_what_the_variance_says(path, instruments):
    got = read_image(path.read_bytes(), str(path), instruments)
    assert got.unit == "adu"
    assert got.psf is None
    free = (got.mask == 0) & np.isfinite(got.image)
    values = got.image[free]
    sigma = 1.4826 * np.median(np.abs(values - np.median(values)))
    # The frames are resampled: single pixels are a little quieter than photon counting has it.
    assert 0.8 < sigma / np.sqrt(np.median(got.variance[free])) < 1.15
    assert abs(np.median(values)) < 0.1 * sigma
    assert not np.any(got.mask & MaskBit.UNMASKED_NAN)
    x, y = got.wcs.world_to_pixel_values(318.108208, -66.015722)
    assert (x, y) == (pytest.approx(128.7, abs=0.7), pytest.approx(127.6, abs=0.7))
