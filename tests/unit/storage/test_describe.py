"""Events built from files."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from residua.errors import CorruptFileError, MissingFileError, UnusableImageError
from residua.identity import template_dataset_id
from residua.instruments import InstrumentRegistry
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.storage.conventions.file_identity import derived_visit
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.read import readers
from residua.subtraction.images import TemplateImage


def _as_template(science):
    return TemplateImage(science.image, science.variance, science.mask, science.wcs)


def test_a_visit_image_tells_all(tmp_path, science, observation):
    path = tmp_path / "v.fits"
    write_visit_image(path, science, observation)
    arrival = describe_visit_image(str(path))
    vd = arrival.visit_detector
    assert (vd.instrument, vd.visit, vd.detector) == ("LSSTComCam", 2024112200123, 4)
    assert (arrival.band, arrival.physical_filter, arrival.day_obs) == ("r", "r_03", 20241122)
    assert arrival.begin_tai == observation.begin_tai
    assert arrival.weather == observation.weather
    assert arrival.image_uri == f"file://{path}"
    assert arrival.region is not None
    assert arrival.region.center[0] == pytest.approx(150.1, abs=0.01)


def test_a_file_that_names_nothing_gets_a_stable_number(tmp_path, science):
    for name in ("x.fits", "y.fits"):
        write_plain_fits(tmp_path / name, science)
    x, y = (describe_visit_image(str(tmp_path / n), band="r") for n in ("x.fits", "y.fits"))
    assert x.visit_detector.visit == derived_visit("/some/where/else/x.fits")
    assert x.visit_detector.visit != y.visit_detector.visit
    assert 10**15 <= x.visit_detector.visit < 2**53
    assert x.visit_detector.instrument == "Unknown"
    assert x.band == "r"
    assert describe_visit_image(str(tmp_path / "x.fits")).band == "unknown"


def test_a_template_tells_its_place(tmp_path, science):
    path = tmp_path / "t.fits"
    write_template(path, _as_template(science), skymap="s", tract=3, patch=4, band="r")
    event = describe_template(str(path), "dp1")
    assert event.key == b"dp1/r/s/3/4"
    assert event.dataset_id == template_dataset_id(event.key)
    assert event.shape == science.image.shape
    assert event.size_bytes == path.stat().st_size
    assert event.unit == "nJy"
    assert event.pixel_scale == pytest.approx(0.201, abs=1e-3)


def test_a_template_named_like_a_coadd_tells_its_place_by_name(tmp_path, science):
    path = tmp_path / "template_coadd_9813_42_r_lsst_cells_v1.fits"
    write_plain_fits(path, science)
    event = describe_template(str(path), "dp1", band="r")
    assert (event.tract, event.patch) == (9813, 42)


def test_templates_without_a_place_are_different_ones(tmp_path, science):
    write_plain_fits(tmp_path / "a_1_2.fits", science)
    shutil.copy(tmp_path / "a_1_2.fits", tmp_path / "b_1_2.fits")
    keys = {describe_template(str(tmp_path / f"{n}_1_2.fits"), "dp1", band="r").key for n in "ab"}
    assert len(keys) == 2


def test_a_template_needs_a_band(tmp_path, science):
    write_plain_fits(tmp_path / "t.fits", science)
    with pytest.raises(UnusableImageError, match="names no band"):
        describe_template(str(tmp_path / "t.fits"), "dp1")


def test_files_that_are_none(tmp_path):
    with pytest.raises(MissingFileError):
        describe_visit_image(str(tmp_path / "none.fits"))
    fits.PrimaryHDU(np.zeros((300, 300))).writeto(tmp_path / "half.fits")
    content = (tmp_path / "half.fits").read_bytes()
    (tmp_path / "half.fits").write_bytes(content[:9000])
    with pytest.raises(CorruptFileError, match="truncated"):
        describe_visit_image(str(tmp_path / "half.fits"))


@pytest.mark.parametrize(
    ("form", "not_needed"),
    [
        ("plain", {"lsst.images", "piff", "galsim", "numba", "scipy"}),
        ("archive", {"piff", "galsim", "numba", "imagecodecs"}),
    ],
)
def test_headers_are_read_without_what_pixels_need(
    form, not_needed, tmp_path, science, observation
):
    path = tmp_path / "v.fits"
    if form == "plain":
        write_plain_fits(path, science, observation)
    else:
        write_visit_image(path, science, observation)
    program = (
        "import sys\nfrom residua.storage.describe import describe_visit_image\n"
        f"describe_visit_image({str(path)!r})\n"
        f"print(sorted({not_needed!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_an_image_too_large_for_memory_is_refused_and_described(
    tmp_path, science, observation, monkeypatch
):
    path = tmp_path / "v.fits"
    write_plain_fits(path, science, observation)
    monkeypatch.setattr(readers, "MOST_PIXELS", science.image.size - 1)
    assert describe_visit_image(str(path)).region is not None
    with pytest.raises(UnusableImageError, match="GB of memory"):
        readers.read_image(path.read_bytes(), "v.fits", InstrumentRegistry())
