"""Templates made of exposures: what they hold, and that they subtract."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from lsst.images.serialization import read_archive
from typer.testing import CliRunner

from residua.cli.main import app
from residua.coadds.build import build_template
from residua.coadds.combine import combine
from residua.coadds.exposures import Matched
from residua.errors import FilterMismatchError, UnusableImageError
from residua.instruments import InstrumentRegistry
from residua.storage.describe import describe_template
from residua.storage.read.readers import read_image
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.subtract import subtract

SIZE, GAIN, READ_NOISE, SKY = 420, 2.0, 5.0, 400.0
RNG = np.random.default_rng(12)
STARS = np.column_stack(
    [*RNG.uniform(-40, SIZE + 40, (2, 220)), 10.0 ** RNG.uniform(3.0, 5.0, 220)]
)
MOVING = [(120.0, 200.0, 4000.0), (150.0, 215.0, 4000.0), (180.0, 230.0, 4000.0)]
COSMIC_RAY = (slice(300, 303), slice(205, 216))
NEW = (250.0, 140.0, 3000.0)
SEEING = (1.6, 1.9, 1.75)


def wcs_of(shift=(0.0, 0.0), angle=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [SIZE / 2 + shift[0], SIZE / 2 + shift[1]]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-cos, sin], [sin, cos]]) * 0.5 / 3600
    wcs.wcs.set()
    return wcs


def exposure(path, seed, sigma, wcs, extra=(), scale=1.0, cosmic_ray=False, **cards):
    """A plain image in counts; sources at their place on the sky of the first grid."""
    rng = np.random.default_rng(seed)
    x, y = wcs.world_to_pixel_values(
        *wcs_of().pixel_to_world_values(*np.array([s[:2] for s in (*STARS, *extra)]).T)
    )
    fluxes = [s[2] for s in (*STARS, *extra)]
    image = np.zeros((SIZE, SIZE))
    half = 14
    for cx, cy, flux in zip(x, y, fluxes, strict=True):
        i, j = round(float(cx)), round(float(cy))
        ys, xs = np.mgrid[j - half : j + half + 1, i - half : i + half + 1]
        inside = (xs >= 0) & (xs < SIZE) & (ys >= 0) & (ys < SIZE)
        stamp = np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / (2 * sigma**2))
        image[ys[inside], xs[inside]] += (flux * scale / (2 * np.pi * sigma**2) * stamp)[inside]
    counts = rng.poisson((image + SKY) * GAIN) / GAIN
    counts = counts + rng.normal(0.0, READ_NOISE / GAIN, counts.shape)
    if cosmic_ray:
        counts[COSMIC_RAY] += 3000.0
    hdu = fits.PrimaryHDU(counts.astype(np.float32))
    hdu.header.update(wcs.to_header())
    values = {
        "GAIN": GAIN,
        "RDNOISE": READ_NOISE,
        "SATURATE": 60000.0,
        "EXPTIME": 60.0,
        "FILTER": "SDSS r",
        "INSTRUME": "Backyard",
        "DATE-OBS": f"2024-01-0{1 + seed % 9}T03:00:00",
        **cards,
    }
    hdu.header.update(values)
    hdu.writeto(path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exposures")
    places = [wcs_of(), wcs_of((3.3, -5.6), 1.0), wcs_of((-8.2, 4.4), -0.7)]
    return [
        exposure(
            folder / f"old{n}.fits",
            n + 1,
            SEEING[n],
            places[n],
            [MOVING[n]],
            scale=(1.0, 0.9, 1.2)[n],
            cosmic_ray=n == 2,
        )
        for n in range(3)
    ]


@pytest.fixture(scope="module")
def built(files, tmp_path_factory):
    steps = []
    path = tmp_path_factory.mktemp("built") / "template.fits"
    done = build_template(files, path, on_step=steps.append)
    assert len(steps) == 6
    return done


def read(path):
    return read_image(path.read_bytes(), str(path), InstrumentRegistry())


def test_a_template_has_the_widest_psf_and_less_noise(built, files):
    assert built.inputs[0].uri.endswith("old1.fits")
    assert built.fwhm == pytest.approx(1.9 * 2.3548 * 0.5, rel=0.05)
    assert sum(i.weight for i in built.inputs) == pytest.approx(1.0)
    scales = {i.uri[-9:]: i.scale for i in built.inputs}
    assert scales["old0.fits"] == pytest.approx(0.9, rel=0.01)
    assert scales["old2.fits"] == pytest.approx(0.75, rel=0.01)
    assert built.fully_covered > 0.7
    single = np.sqrt(np.nanmedian(read_plain(files[1]).variance))
    # The others are smoothed as well.
    assert 0.25 * single < built.noise < 0.62 * single
    assert built.correlation[0] > 0.05


def read_plain(name):
    return read(Path(name))


def test_the_file_tells_what_it_was_made_of(built):
    with fits.open(built.path) as hdus:
        header = hdus[0].header
        assert header["NINPUT"] == 3
        assert header["INP01"] == "old1.fits"
        assert header["ISUM03"].startswith("sha256:")
        assert header["EXPTIME"] == 180.0
        assert header["NCORRX"] == pytest.approx(built.correlation[0])
        assert hdus["COVERAGE"].data.max() == 3
        assert hdus["COVERAGE"].data.shape == (SIZE, SIZE)
        hdus.verify("exception")
    archive = read_archive(str(built.path))
    assert archive.mask.get("CLIPPED").any()
    event = describe_template(str(built.path))
    assert (event.band, event.physical_filter) == ("r", "SDSS r")


def test_the_variance_is_that_of_the_pixels(built):
    template = read(built.path)
    pull = (template.image / np.sqrt(template.variance))[template.mask == 0]
    middle = np.median(pull)
    assert middle - np.percentile(pull, 15.865) == pytest.approx(1.0, abs=0.05)


def test_a_template_that_was_built_subtracts(built, tmp_path):
    visit = read_plain(
        exposure(tmp_path / "new.fits", 7, 2.1, wcs_of((5.4, 2.3), 0.4), [NEW], scale=1.1)
    )
    template = read(built.path)
    science = ScienceImage(visit.image, visit.variance, visit.mask, visit.wcs, None, visit.unit)
    coadd = TemplateImage(
        template.image, template.variance, template.mask, template.wcs, None, template.unit
    )
    difference = subtract(science, [coadd])
    places = np.array([(d.x, d.y, d.signal_to_noise) for d in difference.detections])
    x, y = visit.wcs.world_to_pixel_values(*wcs_of().pixel_to_world_values(*NEW[:2]))
    distances = np.hypot(places[:, 0] - x, places[:, 1] - y)
    assert distances.min() < 1.0
    assert places[distances.argmin(), 2] > 10.0
    # Neither the cosmic ray nor the moving source has left a hole.
    assert np.count_nonzero(np.abs(places[:, 2]) > 6.0) <= 2
    assert difference.quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.1)
    assert difference.quality.pull_rms == pytest.approx(1.0, abs=0.1)


def test_exposures_that_do_not_go_together_are_refused(files, tmp_path):
    other = exposure(tmp_path / "g.fits", 5, 1.7, wcs_of(), FILTER="SDSS g")
    with pytest.raises(FilterMismatchError, match="SDSS g"):
        build_template([files[0], other], tmp_path / "t.fits")
    far = wcs_of()
    far.wcs.crval = [170.0, 2.0]
    elsewhere = exposure(tmp_path / "far.fits", 6, 1.7, wcs_of())
    with fits.open(elsewhere, mode="update") as hdus:
        hdus[0].header["CRVAL1"] = 170.0
    with pytest.raises(
        UnusableImageError,
        match=r"1 of 2 .* (far|old0)\.fits as the reference: \w+\.fits:",
    ):
        build_template([files[0], elsewhere], tmp_path / "t.fits")
    with pytest.raises(UnusableImageError, match="wider than"):
        build_template(files, tmp_path / "t.fits", widest_seeing=1.5)
    assert not (tmp_path / "t.fits").exists()


def test_the_command_says_what_it_did(files, tmp_path):
    output = tmp_path / "t.fits"
    run = CliRunner().invoke(app, ["templates", "build", *files[:2], "-o", str(output), "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert len(found["inputs"]) == 2
    assert output.exists()
    again = CliRunner().invoke(app, ["templates", "build", *files[:2], "-o", str(output)])
    assert again.exit_code == 1
    assert "exists" in again.output


def planes(values, noise=1.0, shape=(40, 50)):
    rng = np.random.default_rng(int(values[0] * 10) + len(values))
    made = []
    for value in values:
        image = (value + rng.normal(0.0, noise, shape)).astype(np.float32)
        good = np.ones(shape, bool)
        variance = np.full(shape, noise**2, np.float32)
        made.append(Matched("x", image, variance, good, ~good, 1.0, 1.0, 1.0, 1.0))
    return made


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_what_stands_in_one_exposure_is_left_out(count):
    exposures = planes([0.0] * count)
    exposures[1].image[10:14, 20:25] += 50.0
    exposures[0].good[30:, :] = False
    coadd = combine(exposures)
    assert np.abs(coadd.image[10:14, 20:25]).max() < 5.0
    assert (coadd.count[10:14, 20:25] == count - 1).all()
    assert (coadd.mask[10:14, 20:25] & MaskBit.CLIPPED).all()
    assert (coadd.count[31:, 30:] <= count - 1).all()
    untouched = coadd.count == count
    assert untouched.mean() > 0.6
    expected = 1.0 / count * coadd.noise_factor
    assert coadd.variance[untouched] == pytest.approx(expected, rel=1e-5)


def test_pixels_without_exposures_are_no_data():
    exposures = planes([0.0, 0.0])
    for e in exposures:
        e.good[:5] = False
    coadd = combine(exposures)
    assert (coadd.mask[:5] & MaskBit.NO_DATA).all()
    assert np.isnan(coadd.image[:5]).all()
    with pytest.raises(UnusableImageError, match="two exposures"):
        combine(exposures[:1])
