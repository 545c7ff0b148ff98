"""`residua demo --visits --templates` on the DECam pair."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from residua.simulation.fidelity import usable_pixels
from residua.simulation.independent_filter import filter_image, find_peaks
from residua.storage.read.read_back import read_difference_image

RA, DEC = 318.10821, -66.01572


def test_every_exposure_is_created_and_shows_the_new_source(decam_pair: Path, tmp_path: Path):
    script = "from residua.cli.main import main; main()"
    files = ["--visits", f"{decam_pair}/DEC-OBS04?.mini.fits"]
    files += ["--templates", f"{decam_pair}/DEC-OBS18?.mini.fits"]
    output = ["-o", str(tmp_path / "demo"), "--json", "-"]
    result = subprocess.run(
        [sys.executable, "-c", script, "demo", *output, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["arrivals"] == summary["created"] == summary["rows"] == summary["files"] == 5
    for image in summary["images"]:
        stored = read_difference_image(image["uri"])
        assert stored.psf is not None
        good = usable_pixels(stored.image, stored.variance, stored.mask)
        filtered = filter_image(stored.image, stored.variance, good, stored.psf)
        peaks = find_peaks(filtered.signal_to_noise, good)
        header = fits.getheader(image["uri"].removeprefix("file://"), "IMAGE")
        x, y = WCS(header).world_to_pixel_values(RA, DEC)
        nearest = min(peaks, key=lambda p: np.hypot(p.x - x, p.y - y))
        assert np.hypot(nearest.x - x, nearest.y - y) < 1.5
        assert nearest.signal_to_noise >= 8.0
