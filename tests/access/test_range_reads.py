"""Cutouts from object storage fetch the bytes they need and no more, as the store sent them."""

import dataclasses
import io

import numpy as np
import pytest
from astropy.io import fits
from lsst.resources import ResourcePath
from tests.support.servers.counting_proxy import counting_proxy
from tests.support.servers.s3 import running_s3, s3_missing

from residua.access.cutouts.cutting import write_cutout
from residua.sphere.regions import Circle
from residua.storage.regions import byte_ranges, file_cache
from residua.storage.regions.byte_ranges import newest
from residua.storage.regions.file_cache import FileCache
from residua.testing.difference_images import difference_image_event, write_file


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "difference_image.fits"
    event = difference_image_event(2026112200101, 4, "", shape=(3000, 3000))
    return path, write_file(path, event)


@pytest.fixture(scope="module")
def store():
    missing = s3_missing()
    if missing is not None:
        pytest.skip(missing)
    with running_s3("images") as server:
        yield server


@pytest.mark.parametrize("mode", ["image", "masked-image", "exposure"])
def test_a_small_cutout_reads_a_fraction_of_the_file(store, stored, tmp_path, monkeypatch, mode):
    path, event = stored
    store.client().upload_file(str(path), "images", "difference_image.fits")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    ra, dec = event.region.center
    circle = Circle(ra + 0.01, dec + 0.02, 0.001)
    with counting_proxy(store.port) as proxy:
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        remote = ResourcePath("s3://images/difference_image.fits")
        assert write_cutout(remote, circle, mode, tmp_path / "remote.fits")
        fetched = proxy.taken()
    size = path.stat().st_size
    assert size > 6_000_000
    assert 0 < fetched < size / 5
    assert write_cutout(ResourcePath(str(path)), circle, mode, tmp_path / "local.fits")
    with fits.open(tmp_path / "remote.fits") as a, fits.open(tmp_path / "local.fits") as b:
        assert [hdu.name for hdu in a] == [hdu.name for hdu in b]
        np.testing.assert_array_equal(a["IMAGE"].data, b["IMAGE"].data)


def other_file(form, size=1500):
    """Return a file that lsst.images did not write: afw's planes, or one plain image."""
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    wcs |= {"CRPIX1": size / 2, "CRPIX2": size / 2, "CD1_1": -1e-4, "CD2_2": 1e-4}
    header = fits.Header({**wcs, "CD1_2": 0.0, "CD2_1": 0.0}.items())
    pixels = np.random.default_rng(1).normal(0.0, 10.0, (size, size)).astype(np.float32)
    if form == "one plain image":
        hdus = [fits.PrimaryHDU(pixels, header)]
    else:
        made = fits.CompImageHDU if form == "afw, compressed" else fits.ImageHDU
        planes = {"IMAGE": pixels, "MASK": (pixels > 30.0).astype(np.int32), "VARIANCE": pixels**2}
        hdus = [fits.PrimaryHDU(), *(made(p, header, name=n) for n, p in planes.items())]
        hdus[2].header["MP_SAT"] = 0
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("afw", "exposure"),
        ("afw, compressed", "masked-image"),
        ("one plain image", "image"),
    ],
)
def test_files_of_others_are_read_by_parts_as_well(store, tmp_path, monkeypatch, form, mode):
    content = other_file(form)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    remote = ResourcePath("s3://images/other.fits")
    remote.write(content)
    (tmp_path / "other.fits").write_bytes(content)
    circle = Circle(150.01, 2.01, 0.002)
    with counting_proxy(store.port) as proxy:
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        assert write_cutout(remote, circle, mode, tmp_path / "remote.fits")
        fetched = proxy.taken()
    # A few blocks of 256 KiB a plane.
    assert 0 < fetched < 2_500_000 < len(content)
    local = ResourcePath(str(tmp_path / "other.fits"))
    assert write_cutout(local, circle, mode, tmp_path / "local.fits")
    with fits.open(tmp_path / "remote.fits") as a, fits.open(tmp_path / "local.fits") as b:
        assert a["IMAGE"].shape == (41, 41)
        for one, other in zip(a[1:], b[1:], strict=True):
            np.testing.assert_array_equal(one.data, other.data)


def open_object(store, name, content, monkeypatch):
    for key, value in store.environment.items():
        monkeypatch.setenv(key, value)
    place = ResourcePath(f"s3://images/{name}")
    place.write(content)
    version, source = newest(place)
    assert source is not None
    return place, version, source()


def test_an_object_that_was_replaced_or_taken_away_is_not_mixed_with_the_new_one(
    store, monkeypatch
):
    content = bytes(range(256)) * 40
    place, version, source = open_object(store, "replaced.bin", content, monkeypatch)
    assert bytes(source.read(10, 600)) == content[10:600]
    assert bytes(source.read(10_000, 99_999)) == content[10_000:]
    place.write(content[::-1])
    with pytest.raises(OSError, match="was replaced while it was read"):
        source.read(0, 10)
    changed, source = newest(place)
    assert changed != version
    assert bytes(source().read(0, 600)) == content[::-1][:600]
    place.remove()
    with pytest.raises(FileNotFoundError):
        newest(place)


def test_a_store_is_asked_for_the_version_where_nothing_had_to_be_fetched(
    store, stored, monkeypatch, tmp_path
):
    path, _ = stored
    place, _, _ = open_object(store, "kept.fits", path.read_bytes(), monkeypatch)
    asked = []

    def counted(location):
        asked.append(location)
        return newest(location)

    monkeypatch.setattr(file_cache, "newest", counted)
    files = FileCache()

    def corner(y, x):
        return files.use(place, lambda file: file.pixels("IMAGE", np.s_[y : y + 9, x : x + 9]))

    first = corner(0, 0)
    assert len(asked) == 1
    # Tiles that are kept tell nothing of what there is now; those that come do.
    np.testing.assert_array_equal(corner(0, 0), first)
    assert len(asked) == 2
    corner(1_000, 2_000)
    assert len(asked) == 2
    # Another file under the name: seen with tiles that are kept, and with those that are not.
    other = difference_image_event(2026112200102, 4, "", shape=(3000, 3000))
    write_file(tmp_path / "other.fits", other)
    for y, x in ((0, 0), (2_000, 1_000)):
        content = (tmp_path / "other.fits" if y == 0 else path).read_bytes()
        before = corner(0, 0)
        place.write(content)
        found = corner(y, x)
        with fits.open(io.BytesIO(content)) as hdus:
            np.testing.assert_array_equal(found, hdus["IMAGE"].data[y : y + 9, x : x + 9])
        assert not np.array_equal(corner(0, 0), before)
    place.remove()
    with pytest.raises(FileNotFoundError):
        corner(0, 0)
    with pytest.raises(FileNotFoundError):
        corner(1_500, 1_500)


def test_boto_is_asked_where_a_signed_request_is_not_taken(store, monkeypatch):
    """Credentials end, clocks differ, a store takes no such signature: it is read all the same."""
    place, version, source = open_object(store, "signed.bin", b"0123456789", monkeypatch)
    answer = source._signed.ask({"Range": "bytes=2-4"})
    assert answer.content == b"234"
    # Signed in a header, over nothing that changes from one range to the next.
    assert "?" not in source._signed._signed[0].target
    for ranges in (source._signed, byte_ranges._signed_head(place.client, place)):
        signed, when = ranges._signed
        foreign = signed.headers["Authorization"][:-8] + "00000000"
        headers = {**signed.headers, "Authorization": foreign}
        ranges._signed = dataclasses.replace(signed, headers=headers), when
    assert bytes(source.read(2, 5)) == b"234"
    assert newest(place)[0] == version
    assert source._signed._signed is None
    # It was signed anew for the next one.
    assert source._signed.ask({}).content == b"0123456789"
