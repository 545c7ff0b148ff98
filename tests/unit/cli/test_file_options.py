"""What the options say of a file is what an event says, and what reading takes: one list."""

from dataclasses import fields
from pathlib import Path

from residua.cli.images.file_options import FileOptions, companions
from residua.storage.read.file_contents import ReadOptions
from residua_schemas import ImageReading
from residua_schemas.reading import COMPANION_ROLES

CHECKSUM = "sha256:" + 64 * "0"


def test_options_events_and_reading_have_the_same_names():
    assert COMPANION_ROLES == ("variance", "weight", "mask")
    of_files = {f"{r}_{what}" for r in COMPANION_ROLES for what in ("uri", "checksum")}
    values = set(ImageReading.model_fields) - of_files
    assert values <= {f.name for f in fields(ReadOptions)}
    # The zero point has an option of its own; instruments are no part of an event.
    options = {f.name for f in fields(FileOptions)}
    assert options == (values - {"zero_point"}) | set(COMPANION_ROLES) | {"instruments"}


def test_what_an_event_says_is_read_so(tmp_path: Path):
    reading = ImageReading(extension="N4", gain=1.5, saturation=6e4, bad_bits=3, zero_point=25.0)
    read = ReadOptions(threads=2, zero_point=24.0).as_read(reading)
    assert read == ReadOptions(
        zero_point=25.0, threads=2, extension="N4", gain=1.5, saturation=6e4, bad_bits=3
    )
    assert ReadOptions(zero_point=24.0).as_read(ImageReading()).zero_point == 24.0


def test_companions_are_named_by_their_role(tmp_path: Path):
    image, weight = tmp_path / "a_ooi.fits", tmp_path / "a_oow.fits"
    for path in (image, weight):
        path.write_bytes(b"x")
    reading = FileOptions(weight="_ooi=_oow", gain=2.0).reading(image)
    assert reading is not None
    [(role, (uri, checksum))] = reading.companions.items()
    assert (role, uri) == ("weight", weight.as_uri())
    assert checksum.startswith("sha256:")
    assert checksum != CHECKSUM
    assert companions(reading) == {"weight": weight}
    assert FileOptions().reading(image) is None
