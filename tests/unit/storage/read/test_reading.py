"""What is said beside a file: its extension, its weight and mask files, its gain, its bad bits."""

import numpy as np
import pytest
from astropy.io import fits
from tests.unit.storage.sample_files import counts, save

from residua.cli.images.file_options import FileOptions
from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    UnusableImageError,
    UriNotAllowedError,
)
from residua.storage.describe import describe_template, describe_visit_image, split_extension
from residua.storage.distinct import distinct_arrivals, distinct_templates
from residua.storage.store import ImageFileStore
from residua.subtraction.masks import MaskBit
from residua_schemas import ImageReading


@pytest.fixture
def store(tmp_path):
    roots = [str(tmp_path)]
    return ImageFileStore(input_roots=roots, template_roots=roots, output_root=str(tmp_path / "o"))


@pytest.fixture
def mosaic(tmp_path, wcs):
    chips = []
    for name, number, sky in (("N1", 1, 500.0), ("N4", 4, 2000.0)):
        chip = fits.ImageHDU(counts(wcs, sky=sky).data, counts(wcs, sky=sky).header, name=name)
        chip.header["CCDNUM"] = number
        chips.append(chip)
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "DECam", "EXPNUM": 4711, "FILTER": "r"})
    return save(tmp_path / "c4d_ooi_v1.fits", [primary, *chips])


def test_one_detector_of_a_mosaic(mosaic, store, tmp_path):
    with pytest.raises(UnusableImageError, match=r"N1, N4.*--ext N1"):
        describe_visit_image(str(mosaic))
    arrivals = [describe_visit_image(f"{mosaic}[{n}]") for n in ("N1", "N4")]
    assert [str(a.visit_detector) for a in arrivals] == ["DECam/4711/1", "DECam/4711/4"]
    assert [a.reading.extension for a in arrivals] == ["N1", "N4"]
    distinct_arrivals(arrivals)
    noise = [np.nanmedian(store.read_visit_image(a).image.variance) for a in arrivals]
    assert noise == pytest.approx([500 / 4 + 4, 2000 / 4 + 4], rel=0.1)
    templates = [describe_template(f"{mosaic}[{n}]", patch=None) for n in ("N1", "N4")]
    distinct_templates(templates)
    noise = [np.nanmedian(store.read_template(t).variance) for t in templates]
    assert noise == pytest.approx([500 / 4 + 4, 2000 / 4 + 4], rel=0.1)
    with pytest.raises(UnusableImageError, match="no extension N9"):
        describe_visit_image(f"{mosaic}[N9]")


def test_weight_and_mask_files_beside_a_mosaic(mosaic, store, tmp_path, wcs):
    shape = (256, 300)
    weights, masks = [fits.PrimaryHDU()], [fits.PrimaryHDU()]
    for name, number, variance in (("N1", 1, 129.0), ("N4", 4, 504.0)):
        weight = np.full(shape, 1.0 / variance, np.float32)
        weight[:, :9] = 0.0
        weights.append(fits.ImageHDU(weight, name=name))
        mask = np.zeros(shape, np.int32)
        mask[5, 7 + number] = 1
        mask[6, :] = 64
        masks.append(fits.ImageHDU(mask, name=name))
    save(tmp_path / "c4d_oow_v1.fits", weights)
    save(tmp_path / "c4d_ood_v1.fits", masks)
    options = FileOptions("N4", weight="_ooi_=_oow_", mask="_ooi_=_ood_", bad_bits=1)
    reading = options.reading(mosaic)
    image = store.read_visit_image(describe_visit_image(str(mosaic), reading=reading)).image
    assert np.nanmedian(image.variance) == pytest.approx(504.0, rel=1e-3)
    assert image.mask[5, 11] & MaskBit.BAD
    assert not image.mask[6, 100]
    assert np.all(image.mask[:, :9] & MaskBit.NO_DATA)
    masks[1].data[9, 9] = 1
    (tmp_path / "c4d_ood_v1.fits").unlink()
    save(tmp_path / "c4d_ood_v1.fits", masks)
    with pytest.raises(ChecksumMismatchError, match="ood"):
        store.read_visit_image(describe_visit_image(str(mosaic), reading=reading))
    with pytest.raises(MissingFileError, match="oox"):
        FileOptions(weight="_ooi_=_oox_").reading(mosaic)
    with pytest.raises(MissingFileError, match="holds no"):
        FileOptions(weight="_abc_=_oow_").reading(mosaic)


def test_a_companion_outside_the_roots_or_of_another_shape_is_refused(
    tmp_path_factory, tmp_path, store, wcs
):
    image = save(tmp_path / "i.fits", [counts(wcs)])
    small = save(tmp_path / "w.fits", [fits.PrimaryHDU(np.ones((9, 9), np.float32))])
    arrival = describe_visit_image(str(image), reading=ImageReading(weight_uri=str(small)))
    with pytest.raises(UnusableImageError, match="0 planes of the image's shape"):
        store.read_visit_image(arrival)
    outside = tmp_path_factory.mktemp("else") / "w.fits"
    save(outside, [fits.PrimaryHDU(np.ones((256, 300), np.float32))])
    arrival = describe_visit_image(str(image), reading=ImageReading(weight_uri=str(outside)))
    with pytest.raises(UriNotAllowedError):
        store.read_visit_image(arrival)


def test_gain_and_saturation_by_hand(tmp_path, store, wcs):
    path = save(tmp_path / "i.fits", [counts(wcs, GAIN=None, SATURATE=None, RDNOISE=None)])
    arrival = describe_visit_image(str(path), reading=ImageReading(gain=4.0, saturation=50000.0))
    image = store.read_visit_image(arrival).image
    assert np.nanmedian(image.variance) == pytest.approx(250.0, rel=0.1)
    # On the star: its own Poisson noise, which only a gain tells.
    assert image.variance[60, 80] == pytest.approx(250.0 + 4000.0 / 4.0, rel=0.25)
    assert image.mask[180, 200] & MaskBit.SATURATED


def test_no_pixel_is_decoded_for_an_event(tmp_path, wcs, monkeypatch):
    path = save(tmp_path / "i.fits", [counts(wcs)])

    def fail(*_args):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("residua.storage.read.plain.plain_pixels.decode", fail)
    assert describe_visit_image(str(path), band="r").region is not None
    assert describe_template(str(path), band="r").shape == (256, 300)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a/b.fits", ("/a/b.fits", None)),
        ("/a/b.fits[N4]", ("/a/b.fits", "N4")),
        ("/a/b.fits.fz[12]", ("/a/b.fits.fz", "12")),
        ("/a[1]/b.fits", ("/a[1]/b.fits", None)),
        ("s3://x/b.fit[SCI]", ("s3://x/b.fit", "SCI")),
    ],
)
def test_names_of_extensions(text, parts):
    assert split_extension(text) == parts
