"""Stacks of the DECam exposures."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.e2e.test_real_sky import nearest, run_subtract


def stack(folder: Path, year: str, output: Path, *, gain_factor: float = 1.0) -> Path:
    """Mean of five exposures; what stands out of the others by 5 sigma is a cosmic ray."""
    files = sorted(folder.glob(f"DEC-OBS{year}?.mini.fits"))
    planes = np.array([fits.getdata(f).astype(float) for f in files])
    middle = np.median(planes, axis=0)
    noise = 1.4826 * np.median(np.abs(planes - middle))
    kept = np.abs(planes - middle) < 5.0 * np.hypot(noise, 0.2 * np.maximum(middle, 0.0))
    header = fits.getheader(files[0])
    header["GAIN"] = header["GAIN"] * len(files) * gain_factor
    header["RDNOISE"] = header["RDNOISE"] * len(files) ** 0.5
    mean = np.sum(planes * kept, axis=0) / np.sum(kept, axis=0)
    fits.writeto(output, mean.astype(np.float32), header)
    return output


@pytest.mark.parametrize("gain_factor", [1.0, 2.0])
def test_stacks_show_the_new_source_and_little_else(
    gain_factor: float, decam_pair: Path, tmp_path: Path
):
    # Proper motions of two years, correlated noise, and a gain that need not be right.
    science, template = (
        stack(decam_pair, year, tmp_path / f"{year}.fits", gain_factor=gain_factor)
        for year in ("04", "18")
    )
    record, detections = run_subtract(tmp_path, science, [template])
    distance, source = nearest(detections, fits.getheader(science))
    assert distance < 1.5
    assert float(source["signal_to_noise"]) >= 30.0
    others = [d for d in detections if abs(float(d["signal_to_noise"])) > 6.0 and d != source]
    assert len(others) <= 4
    quality = record["quality"]
    assert quality["noise_corrected"]
    assert quality["noise_ratio"] == pytest.approx(1.0, abs=0.03)
    assert quality["sky_structure"] < 1.1
