"""What a worker says of the files it reads: what was assumed, and asked for in vain."""

import numpy as np
from astropy.io import fits
from structlog.testing import capture_logs

from residua.worker.settings import WorkerSettings
from residua.worker.subtracting.processor import open_processor
from residua_schemas import ImageReading, VisitArrival, VisitDetector


def plain(path):
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    cards |= {"CRPIX1": 64.0, "CRPIX2": 64.0, "CD1_1": -1e-4, "CD2_2": 1e-4, "GAIN": 2.0}
    sky = np.random.default_rng(1).normal(0.0, 5.0, (128, 128)).astype(np.float32)
    fits.PrimaryHDU(sky, fits.Header(cards)).writeto(path)


def test_the_log_has_what_a_file_leaves_open_once(tmp_path):
    processor = open_processor(
        WorkerSettings(output_root=str(tmp_path / "out"), input_roots=(str(tmp_path),))
    )
    with capture_logs() as logs:
        for n in (1, 2):
            plain(tmp_path / f"{n}.fits")
            processor.locate(
                VisitArrival(
                    visit_detector=VisitDetector(instrument="Mine", visit=n, detector=0),
                    band="r",
                    image_uri=f"file://{tmp_path}/{n}.fits",
                    reading=ImageReading(gain=1.5),
                )
            )
    told = [line for line in logs if line["event"] == "file_notes"]
    assert told[0]["file"].endswith("/1.fits")
    assert any("no BUNIT card" in note for note in told[0]["notes"])
    assert len({line["notes"] for line in told}) == len(told)
