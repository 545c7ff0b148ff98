"""Parts of files: the bits of the whole, at the price of the part."""

import shutil
import subprocess
import sys
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from lsst.images import Box
from lsst.images import VisitImage as ArchiveVisitImage
from lsst.images.fields import ChebyshevField
from lsst.images.serialization import read_archive, write_archive
from lsst.resources import ResourcePath

from residua.instruments import InstrumentRegistry
from residua.simulation.input_files import write_plain_fits, write_template, write_visit_image
from residua.storage.read.file_contents import ReadOptions
from residua.storage.read.readers import read_image
from residua.storage.regions.open_file import UnknownFormError
from residua.storage.regions.reader import RegionFiles
from residua.subtraction.images import TemplateImage
from residua.subtraction.masks import MaskBit

SHAPE = (700, 900)
BOXES = [
    np.s_[0:1, 0:1],
    np.s_[100:151, 230:281],
    np.s_[250:262, 250:262],
    np.s_[699:700, 899:900],
    np.s_[0:700, 0:900],
    np.s_[0:20, 0:30],
]


@pytest.fixture(scope="module")
def wide():
    rng = np.random.default_rng(3)
    image = rng.normal(0.0, 17.0, SHAPE).astype(np.float32)
    variance = rng.normal(289.0, 1.0, SHAPE).astype(np.float32)
    mask = np.where(rng.random(SHAPE) < 0.02, MaskBit.SATURATED, 0).astype(np.int32)
    image[:20, :30] = variance[:20, :30] = np.nan
    mask[:20, :30] |= np.int32(MaskBit.NO_DATA)
    image[300, 300] = np.nan
    return image, variance, mask


@pytest.fixture
def path(tmp_path, wide, science, observation):
    image, variance, mask = wide
    whole = replace(science, image=image, variance=variance, mask=mask)
    write_visit_image(tmp_path / "v.fits", whole, observation, lossless=False)
    return tmp_path / "v.fits"


def _same(path, files, options=None):
    image = files.open(ResourcePath(str(path)))
    whole = read_image(path.read_bytes(), "v", InstrumentRegistry(), options)
    for box in BOXES:
        ny, nx = image.shape
        cut = (slice(box[0].start, min(box[0].stop, ny)), slice(box[1].start, min(box[1].stop, nx)))
        if cut[0].start >= cut[0].stop or cut[1].start >= cut[1].stop:
            continue
        part = image.read(cut)
        for name in ("image", "variance", "mask"):
            plane = getattr(part, name)
            assert np.array_equal(plane, getattr(whole, name)[cut], equal_nan=name != "mask")
            assert plane.flags.writeable
            assert plane.flags.c_contiguous
            assert plane.dtype == getattr(whole, name).dtype


def test_a_box_has_the_bits_of_the_whole(path):
    _same(path, RegionFiles())


def test_a_template_too(tmp_path, wide, wcs, psf):
    template = TemplateImage(*wide, wcs, psf)
    path = tmp_path / "t.fits"
    write_template(path, template, skymap="s", tract=1, patch=2, band="r", lossless=True)
    _same(path, RegionFiles())


def test_a_calibration_that_varies_and_an_origin_elsewhere(tmp_path, path):
    archive = read_archive(str(path), format="fits")
    part = archive[Box.factory[60:600, 50:850]]
    field = ChebyshevField(archive.bbox, np.array([[50.0, 5.0], [3.0, 0.5]]), unit=u.nJy / u.adu)
    counts = ArchiveVisitImage(
        type(part.image)(part.image.array, bbox=part.bbox, unit=u.adu),
        mask=part.mask,
        variance=type(part.variance)(part.variance.array, bbox=part.bbox, unit=u.adu**2),
        sky_projection=part.sky_projection,
        obs_info=part.obs_info,
        band=part.band,
        psf=part.psf,
        detector=part.detector,
        photometric_scaling=field,
    )
    write_archive(counts, str(tmp_path / "counts.fits"))
    _same(tmp_path / "counts.fits", RegionFiles())


def test_a_zero_point_given_by_hand(tmp_path, wide, wcs):
    template = TemplateImage(*wide, wcs, None, unit="adu")
    write_template(tmp_path / "t.fits", template, skymap="s", tract=1, patch=2, band="r")
    _same(tmp_path / "t.fits", RegionFiles(zero_point=27.0), ReadOptions(zero_point=27.0))


def _tile_bytes(path, *numbers):
    """Bytes of tiles of all three planes, as astropy has them."""
    with fits.open(path, disable_image_compression=True) as hdus:
        cells = [hdus[n].data["COMPRESSED_DATA"] for n in ("IMAGE", "VARIANCE", "MASK")]
        return sum(len(column[n]) for column in cells for n in numbers)


def test_only_what_a_box_touches_is_fetched_and_decoded(path):
    files = RegionFiles()
    image = files.open(ResourcePath(str(path)))
    assert files.counts.files_parsed == 1
    image.read(np.s_[10:61, 300:351])
    # One tile of each of the three planes.
    assert files.counts.tiles_decoded == 3
    first, requests = files.counts.bytes_fetched, files.counts.requests
    # Four tiles of four in a row; one of them was there. They lie in two places of the file.
    image.read(np.s_[240:270, 500:530])
    assert files.counts.tiles_decoded == 12
    assert 0 < files.counts.bytes_fetched - first <= _tile_bytes(path, 2, 5, 6)
    assert files.counts.requests - requests <= 6
    second = files.counts.bytes_fetched
    image.read(np.s_[600:651, 800:851])
    assert files.counts.bytes_fetched - second == _tile_bytes(path, 11)
    requests = files.counts.requests
    image.read(np.s_[12:60, 300:350])
    assert (files.counts.requests, files.counts.tiles_decoded) == (requests, 15)
    assert RegionFiles().open(ResourcePath(str(path))).tables_digest == image.tables_digest


def test_a_file_written_again_has_another_digest(path, tmp_path, wide, science, observation):
    image, variance, mask = wide
    other = replace(science, image=image + np.float32(1.0), variance=variance, mask=mask)
    files, location = RegionFiles(), ResourcePath(str(tmp_path / "now.fits"))
    shutil.copy(path, location.ospath)
    before = files.open(location).tables_digest
    (tmp_path / "now.fits").unlink()
    write_visit_image(tmp_path / "now.fits", other, observation, lossless=False)
    assert files.open(location).tables_digest != before
    assert files.counts.files_parsed == 2


def test_what_cannot_be_read_by_parts_is_said(tmp_path, science, path):
    write_plain_fits(tmp_path / "plain.fits", science)
    files = RegionFiles()
    with pytest.raises(UnknownFormError, match=r"plain\.fits"):
        files.open(ResourcePath(str(tmp_path / "plain.fits")))
    with pytest.raises(FileNotFoundError):
        files.open(ResourcePath(str(tmp_path / "none.fits")))
    image = files.open(ResourcePath(str(path)))
    for box in (np.s_[0:0, 0:5], np.s_[0:5, 890:901], np.s_[-3:5, 0:5]):
        with pytest.raises(ValueError, match="leaves the image"):
            image.read(box)


def test_reading_a_part_needs_no_lsst_images(path):
    program = (
        "import sys, numpy as np\n"
        "from lsst.resources import ResourcePath\n"
        "from residua.storage.regions.reader import RegionFiles\n"
        f"RegionFiles().open(ResourcePath({str(path)!r})).read(np.s_[5:60, 5:60])\n"
        "print(sorted({'lsst.images', 'piff', 'galsim', 'astropy.wcs'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
