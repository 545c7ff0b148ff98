"""Parts of images that are not stored: the bits and bytes of the whole, for the price of a part."""

import importlib
import io
import tomllib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from lsst.resources import ResourcePath

from residua.access.cutouts.archives import archive_bytes
from residua.access.cutouts.cutting import write_cutout
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.errors import ChangedInputError, LostInputError
from residua.recreation.partial import remade
from residua.recreation.partial.filesystem import RecreatingFileSystem
from residua.recreation.partial.parts import NotInPartsError, PartialImages
from residua.recreation.partial.remade import RemadeStream
from residua.sphere.regions import Circle
from residua.storage.objects import local_path
from residua.storage.regions.file_cache import FileCache
from residua.storage.regions.hollow import DamagedHollowError, read_hollow
from residua.storage.regions.reader import RegionImage
from residua.subtraction.steps.apply import apply
from residua_schemas import ImageReading


@pytest.fixture(scope="module")
def parts(night):
    return PartialImages(RecreationSettings())


def boxes(shape, number=8):
    """Corners, one pixel, across seams of tiles, anywhere, and the whole."""
    ny, nx = shape
    yield from (np.s_[0:20, 0:30], np.s_[ny - 9 : ny, nx - 64 : nx], np.s_[255:257, 250:263])
    yield from (np.s_[ny - 1 : ny, 0:1], np.s_[0:ny, 0:nx])
    rng = np.random.default_rng(5)
    for _ in range(number):
        y, x = int(rng.integers(0, ny - 60)), int(rng.integers(0, nx - 60))
        yield np.s_[y : y + 51, x : x + 51]


def test_a_cutout_has_the_bytes_of_one_from_the_stored_file(night, parts):
    stored = FileCache()
    for created in night.created:
        remade = parts.open(created)
        whole = stored.get(ResourcePath(created.uri))
        for box in boxes(created.shape):
            expected = b"".join(archive_bytes(whole, "masked-image", box))
            assert b"".join(archive_bytes(remade, "masked-image", box)) == expected, box


def test_any_range_has_the_bytes_of_the_stored_file(night, parts):
    created = night.created[0]
    content, remade = local_path(created.uri).read_bytes(), parts.open(created)
    assert (remade.size, remade.checksum) == (len(content), created.checksum)
    stream = io.BufferedReader(RemadeStream(remade))
    for start, stop in ((0, 80), (17_000, 17_900), (len(content) - 50, len(content))):
        stream.seek(start)
        assert stream.read(stop - start) == content[start:stop]
    stream.seek(0)
    assert stream.read() == content
    assert stream.read(1) == b""


def test_only_the_tiles_of_the_inputs_that_a_stamp_touches_are_fetched(night, monkeypatch):
    created = night.created[0]
    parts = PartialImages(RecreationSettings())
    remade = parts.open(created)
    counts, touched = parts.counts, []
    opened = counts.bytes_fetched
    real = RegionImage.read

    def read(self, box):
        touched.append((self, box))
        return real(self, box)

    monkeypatch.setattr(RegionImage, "read", read)
    box = np.s_[300:351, 80:131]
    remade.pixels("IMAGE", box)
    assert remade.pixels("MASK", box).shape == (51, 51)
    seen, most = set(), 0
    for image, (rows, columns) in touched:
        # The margin, and the 106 px that may decide what a flagged pixel is filled with.
        assert rows.stop - rows.start <= 51 + 2 * (106 + 64 + 64)
        file = image._file
        for name in ("IMAGE", "VARIANCE", "MASK"):
            table = file.plane(name).table
            (ty, tx), across = table.tile, -(-table.shape[1] // table.tile[1])
            for j in range(rows.start // ty, (rows.stop - 1) // ty + 1):
                for i in range(columns.start // tx, (columns.stop - 1) // tx + 1):
                    key = (file.version, name, j * across + i)
                    if key not in seen:
                        seen.add(key)
                        row = table.rows[j * across + i]
                        cells = [row[n][0] for n in row.dtype.names if "COMPRESSED" in n]
                        most += int(max(cells))
    assert counts.tiles_decoded == len(seen)
    assert counts.bytes_fetched - opened <= most
    # Its neighbour costs nothing more.
    before = counts.bytes_fetched
    remade.pixels("IMAGE", np.s_[305:356, 84:135])
    assert counts.bytes_fetched == before


def test_an_exposure_makes_the_tiles_it_touches_once_each(night, tmp_path, monkeypatch):
    """Buffers read ahead, and all masks of an image may lie in one of them."""
    created = night.created[0]
    made = []

    def counted(*inputs, box, threads):
        made.append((box[0].start, box[1].start))
        return apply(*inputs, box=box, threads=threads)

    monkeypatch.setattr(remade, "apply", counted)
    monkeypatch.setattr(remade, "_boxes", OrderedDict())
    file = PartialImages(RecreationSettings()).open(created)
    ra, dec = (float(v) for v in file.wcs.all_pix2world(400.0, 380.0, 0))
    stream = io.BufferedReader(RemadeStream(file))
    assert write_cutout(stream, Circle(ra, dec, 4.0 / 3600.0), "exposure", tmp_path / "cut.fits")
    assert made == [(256, 256)]


def test_a_changed_or_lost_input_is_an_error_and_never_another_image(night, keep_inputs):
    created = night.created[0]
    path = keep_inputs(created.visit_image.uri)
    content = path.read_bytes()
    other = local_path(night.created[1].visit_image.uri).read_bytes()
    path.write_bytes(other)
    with pytest.raises(ChangedInputError, match="put the file back"):
        PartialImages(RecreationSettings()).open(created)
    path.unlink()
    with pytest.raises(LostInputError, match="RESIDUA_MOVED_ROOTS"):
        PartialImages(RecreationSettings()).open(created)
    path.write_bytes(content)
    template = keep_inputs(created.templates[0].uri)
    template.write_bytes(b"no FITS file any more")
    with pytest.raises(ChangedInputError, match="the template"):
        PartialImages(RecreationSettings()).open(created)


def test_without_a_solution_or_hollow_file_the_whole_is_made_which_brings_it_back(
    night, tmp_path, keep_inputs
):
    created = night.created[0]
    parts = PartialImages(RecreationSettings())
    with pytest.raises(NotInPartsError):
        parts.open(created.model_copy(update={"solution": None}))
    hollow = keep_inputs(created.uri.replace(".fits", ".hollow"))
    content = hollow.read_bytes()
    hollow.unlink()
    with pytest.raises(NotInPartsError):
        parts.open(created)
    made = Recreator(RecreationSettings(), tmp_path).as_made(created)
    assert made.hollow == content
    assert len(content) < 80_000
    # That of another image, or damaged, is none.
    other = local_path(night.created[1].uri).with_suffix(".hollow")
    hollow.write_bytes(other.read_bytes())
    with pytest.raises(NotInPartsError, match="another image"):
        parts.open(created)
    for damaged in (content[:-100], content[:40], b"", content.replace(b'"form":1', b'"form":9')):
        with pytest.raises(DamagedHollowError):
            read_hollow(damaged)
    # A bit in any place is told: in the marks, in the head, in the pieces.
    for place in (*range(0, 2000, 41), *range(2000, len(content), len(content) // 40)):
        flipped = bytearray(content)
        flipped[place] ^= 1
        with pytest.raises(DamagedHollowError):
            read_hollow(bytes(flipped))
    at_hand = {hollow.name: content}
    hollow.unlink()
    found = PartialImages(RecreationSettings(), None, at_hand.get).open(created)
    assert found.checksum == created.checksum


def test_inputs_read_in_a_way_of_their_own_are_not_read_by_parts(night):
    created = night.created[0]
    arrival = created.arrival.model_copy(update={"reading": ImageReading(extension="SCI")})
    with pytest.raises(NotInPartsError, match="reading"):
        PartialImages(RecreationSettings()).open(created.model_copy(update={"arrival": arrival}))


def test_other_tools_open_an_image_by_its_address_whether_it_is_stored_or_not(night, keep_inputs):
    created = night.created[0]
    path = keep_inputs(created.uri)
    content, address = path.read_bytes(), f"residua://file{path}"
    for stored in (True, False):
        files = RecreatingFileSystem(skip_instance_cache=True)
        if not stored:
            path.unlink()
        assert files.info(address)["size"] == len(content)
        assert files.exists(address)
        with files.open(address) as stream, fits.open(stream) as hdus:
            part = np.array(hdus["IMAGE"].section[100:120, 300:340])
        assert files.cat_file(address, 1000, 1100) == content[1000:1100]
        if stored:
            expected = part
    np.testing.assert_array_equal(part, expected)
    # Without its hollow file the whole is made.
    keep_inputs(created.uri.replace(".fits", ".hollow")).unlink()
    assert RecreatingFileSystem(skip_instance_cache=True).cat_file(address) == content
    for wrong in ("residua://ftp/there.fits", f"residua://file{path.parent}/none.fits"):
        with pytest.raises(FileNotFoundError):
            files.info(wrong)
    with pytest.raises(OSError, match="only read"):
        files.open(address, "wb")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["residua"].partition(":")
    assert getattr(importlib.import_module(module), name) is RecreatingFileSystem
