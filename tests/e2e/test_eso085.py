"""A real pair of frames 74 s apart: nothing changed, so that nothing is to be found.

Without a mask, a gain or a SATURATE card; hot pixels, cosmic rays (resampled in one of the frames)
and eight saturated stars.
"""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.e2e.test_real_sky import run_subtract

BRIGHT = 15_000.0  # counts a pixel above the sky


def frame(folder: Path, number: int, output: Path, saturate: float | None) -> Path:
    """Give a frame a WCS, and a SATURATE card if asked."""
    pixels, header = fits.getdata(folder / f"aligned_eso085-030-00{number}.fit", header=True)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [83.0, -65.0]
    wcs.wcs.crpix = [pixels.shape[1] / 2, pixels.shape[0] / 2]
    wcs.wcs.cd = np.diag([-0.6, 0.6]) / 3600.0
    header.update(wcs.to_header())
    if saturate is not None:
        header["SATURATE"] = saturate
    fits.writeto(output, pixels, header)
    return output


@pytest.mark.parametrize("saturate", [45_000.0, None])
@pytest.mark.parametrize(("science", "template"), [(5, 4), (4, 5)])
def test_nothing_is_found_between_frames_of_one_night(
    science: int, template: int, saturate: float | None, eso085: Path, tmp_path: Path
):
    paths = [frame(eso085, n, tmp_path / f"{n}.fits", saturate) for n in (science, template)]
    record, detections = run_subtract(tmp_path, paths[0], [paths[1]])
    strong = [d for d in detections if abs(float(d["signal_to_noise"])) > 7.0]
    assert len(strong) <= 5
    pixels = fits.getdata(paths[0]).astype(np.float64)
    pixels -= np.median(pixels)
    for d in strong:
        # On unsaturated sky there is none, unless on a bright star.
        x, y = round(float(d["x"])), round(float(d["y"]))
        assert pixels[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5].max() > BRIGHT, d
    quality = record["quality"]
    assert quality["noise_ratio"] == pytest.approx(1.0, abs=0.05)
    assert quality["registration_rms"] == pytest.approx(0.11, abs=0.02)
    assert quality["masked_fraction"] < 0.12
