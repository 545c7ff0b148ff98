"""Headers in the conventions of observatories, and unkind ones: what they mean, by hand.

The headers lie in ``headers/*.txt``, the truth beside each on lines that begin with ``#``:

``field value``
    what is read; ``none`` where nothing may be. Times are TAI.
``says pattern``, ``quiet pattern``
    a note that must, or must not, be there.
``refused pattern``, ``refused_visit pattern``
    the file, or the visit image, must be refused with these words.
``detector_differs_from name``
    another header's file is another detector's.
"""

import io
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from residua.errors import ResiduaError
from residua.instruments import InstrumentRegistry
from residua.storage.forms.wcs import pixel_scale
from residua.storage.read.readers import open_image

FOLDER = Path(__file__).with_name("headers")
REGISTRY = InstrumentRegistry()
FEWEST = 120
FROM_PIXELS = {"gain", "saturation"}
WCS = """CTYPE1  = 'RA---TAN'
CTYPE2  = 'DEC--TAN'
CRVAL1  = 150.0
CRVAL2  = 2.0
CRPIX1  = 32.0
CRPIX2  = 32.0
CD1_1   = -1.0E-4
CD2_2   = 1.0E-4"""


@dataclass(frozen=True)
class Case:
    name: str
    truth: tuple[tuple[str, str], ...]
    cards: str


def cases():
    for path in sorted(FOLDER.glob("*.txt")):
        for block in re.split(r"^== ", path.read_text(encoding="ascii"), flags=re.MULTILINE)[1:]:
            name, *lines = block.rstrip().splitlines()
            said = "; ".join(line[2:] for line in lines if line.startswith("# "))
            truth = tuple(tuple(part.split(" ", 1)) for part in said.split("; "))
            yield Case(name, truth, "\n".join(x for x in lines if x and not x.startswith("# ")))


CASES = list(cases())
BY_NAME = {case.name: case for case in CASES}


@cache
def sky(gain):
    rng = np.random.default_rng(1)
    return (rng.poisson(1000.0 * gain, (64, 64)) / gain).astype(np.float32)


def opened(case):
    cards = case.cards if "CTYPE1" in case.cards else f"{case.cards}\n{WCS}"
    header = fits.Header.fromstring("".join(line.ljust(80) for line in cards.splitlines()))
    pixels = sky(float(dict(case.truth).get("gain", "1").replace("none", "1")))
    hdu = fits.PrimaryHDU(pixels)
    # Appended one by one: a header that is updated keeps no card twice.
    for card in header.cards:
        hdu.header.append(card, end=True)
    file = io.BytesIO()
    hdu.writeto(file)
    return open_image(file.getvalue(), "x.fits", REGISTRY)


def notes(file, report):
    return (*file.notes, *(report.notes if report else ()))


def read(file, report):
    found, calibration = file.metadata, file.calibration
    return {
        "instrument": found.instrument,
        "facility": found.facility_name,
        "visit": found.visit,
        "detector": found.detector,
        "band": found.band,
        "filter": found.physical_filter,
        "begin": found.begin_tai.isoformat() if found.begin_tai else None,
        "exposure": found.exposure_time,
        "unit": calibration.native_unit,
        "zero_point": calibration.zero_point,
        "scaling": calibration.scaling,
        "pixel_scale": pixel_scale(file.wcs, file.shape),
        "gain": report.gain if report else None,
        "saturation": float(report.saturation.rsplit(" = ", 1)[1])
        if report and report.saturation
        else None,
    }


def test_there_are_enough_and_each_is_another():
    assert len(BY_NAME) == len(CASES) >= FEWEST
    assert len({case.cards for case in CASES}) >= FEWEST


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_header_means_what_its_writer_meant(case):
    if "refused" in dict(case.truth):
        with pytest.raises(ResiduaError, match=dict(case.truth)["refused"]):
            opened(case)
        return
    file = opened(case)
    pixels = any(f in FROM_PIXELS or f in {"says", "quiet"} for f, _ in case.truth)
    report = file.decode().report if pixels else None
    values = read(file, report)
    for field, truth in case.truth:
        if field == "says":
            assert any(re.search(truth, note) for note in notes(file, report)), notes(file, report)
        elif field == "quiet":
            assert not any(re.search(truth, note) for note in notes(file, report))
        elif field == "refused_visit":
            assert re.search(truth, file.metadata.problem)
        elif field == "detector_differs_from":
            other = opened(BY_NAME[truth]).metadata.detector
            assert None not in (values["detector"], other)
            assert values["detector"] != other
        elif truth == "none":
            assert values[field] is None
        elif isinstance(values[field], float):
            assert values[field] == pytest.approx(float(truth), rel=1e-9, abs=6e-5), field
        else:
            assert same(field, str(values[field]), truth), (field, values[field])


def same(field, found, truth):
    if field != "begin":
        return found == truth
    # Whole milliseconds.
    return np.datetime64(found) == np.datetime64(truth)
