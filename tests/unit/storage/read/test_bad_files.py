"""Files the readers refuse, each with its own error."""

import contextlib
import gzip
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tests.unit.storage.sample_files import afw, counts, save

from residua.errors import (
    CorruptFileError,
    NoWcsError,
    UnknownUnitError,
    UnusableImageError,
)
from residua.simulation.input_files import write_visit_image


def _without_wcs():
    hdu = fits.PrimaryHDU(np.ones((30, 30), np.float32))
    hdu.header["GAIN"] = 1.0
    return hdu


def test_no_wcs(tmp_path, read):
    with pytest.raises(NoWcsError, match=r"nowcs\.fits has no celestial WCS"):
        read(save(tmp_path / "nowcs.fits", [_without_wcs()]))


def test_galactic_coordinates_are_refused(tmp_path, read, wcs):
    galactic = WCS(naxis=2)
    galactic.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    galactic.wcs.cdelt = [-1e-4, 1e-4]
    with pytest.raises(NoWcsError, match="GLON"):
        read(save(tmp_path / "g.fits", [counts(galactic)]))


def test_unknown_unit(tmp_path, read, wcs):
    for unit in ("furlong", "K", "mag"):
        with pytest.raises(UnknownUnitError, match=unit):
            read(save(tmp_path / f"{unit}.fits", [counts(wcs, BUNIT=unit)]))


def test_all_nan(tmp_path, read, wcs, science, observation):
    hdu = counts(wcs)
    hdu.data[:] = np.nan
    with pytest.raises(UnusableImageError, match="no usable pixel") as caught:
        read(save(tmp_path / "nan.fits", [hdu]))
    assert caught.value.numbers["usable"] == 0
    empty = replace(science, image=np.full_like(science.image, np.nan))
    write_visit_image(tmp_path / "v.fits", empty, observation)
    with pytest.raises(UnusableImageError):
        read(tmp_path / "v.fits")


def test_no_image_at_all(tmp_path, read):
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])])
    with pytest.raises(UnusableImageError, match="no two-dimensional image"):
        read(save(tmp_path / "table.fits", [fits.PrimaryHDU(), table]))


def test_mosaics_are_refused_rather_than_cut_short(tmp_path, read, wcs):
    chips = [fits.ImageHDU(counts(wcs).data, counts(wcs).header, name=n) for n in ("N1", "N2")]
    with pytest.raises(UnusableImageError, match="holds 2 images"):
        read(save(tmp_path / "mosaic.fits", [fits.PrimaryHDU(), *chips]))
    assert read(save(tmp_path / "one.fits", [fits.PrimaryHDU(), chips[0]])).unit == "adu"


def test_not_fits(tmp_path, read):
    path = tmp_path / "x.fits"
    for content in (b"", b"<html>404</html>", b"\x1f\x8bjunk", b"SIMPLE  = nonsense"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"x\.fits"):
            read(path)


@pytest.mark.parametrize("kind", ["plain", "archive", "afw", "compressed"])
def test_truncated_anywhere(tmp_path, read, kind, wcs, science, observation):
    path = tmp_path / f"{kind}.fits"
    match kind:
        case "plain":
            save(path, [counts(wcs)])
        case "archive":
            write_visit_image(path, science, observation)
        case "afw":
            afw(path, science)
        case "compressed":
            hdu = counts(wcs)
            compressed = fits.CompImageHDU(hdu.data, header=hdu.header)
            save(path, [fits.PrimaryHDU(), compressed])
    whole = path.read_bytes()
    for fraction in (0.999, 0.9, 0.6, 0.3, 0.05, 0.001):
        cut = tmp_path / "cut.fits"
        cut.write_bytes(whole[: int(len(whole) * fraction)])
        with pytest.raises((CorruptFileError, UnusableImageError)):
            read(cut)


@pytest.mark.parametrize("kind", ["archive", "afw"])
def test_files_cut_between_or_in_their_extensions_are_not_taken_for_less(
    tmp_path, read, kind, science, observation
):
    path = tmp_path / f"{kind}.fits"
    if kind == "archive":
        write_visit_image(path, science, observation)
    else:
        afw(path, science)
    with fits.open(path, disable_image_compression=True) as hdus:
        starts = [h.fileinfo()["hdrLoc"] for h in hdus][1:]
    whole = path.read_bytes()
    # Right at a border only an archive can tell; in a header every file can.
    offsets = (0, 800) if kind == "archive" else (800,)
    for cut in (start + offset for start in starts for offset in offsets):
        path.write_bytes(whole[:cut])
        with pytest.raises(CorruptFileError, match="truncated"):
            read(path)


def test_damaged_bytes_are_an_error_of_the_file(tmp_path, read, science, observation):
    path = tmp_path / "v.fits"
    write_visit_image(path, science, observation, lossless=False)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    for _ in range(12):
        damaged = bytearray(whole)
        start = int(rng.integers(0, len(whole) - 3000))
        damaged[start : start + 2000] = rng.bytes(2000)
        path.write_bytes(damaged)
        # Damage in pixels may pass unseen here (that is what checksums are for).
        with contextlib.suppress(CorruptFileError, UnusableImageError):
            assert read(path).image.shape == science.image.shape


def test_gzipped_files_are_read(tmp_path, read, wcs):
    path = save(tmp_path / "c.fits", [counts(wcs)])
    zipped = tmp_path / "c.fits.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(read(zipped).image, read(path).image)
