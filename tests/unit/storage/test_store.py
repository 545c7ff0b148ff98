"""The image store as the use case sees it."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from lsst.images.serialization import read_archive

from residua.errors import (
    ChecksumMismatchError,
    MissingFileError,
    UnknownInstrumentError,
    UriNotAllowedError,
)
from residua.instruments import InstrumentRegistry
from residua.ports import ImageStore, TemplateReads
from residua.simulation.input_files import write_template, write_visit_image
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.objects import local_path
from residua.storage.read.read_back import read_difference_image
from residua.storage.store import ImageFileStore
from residua.storage.template_cache import TemplateCache
from residua.subtraction.images import TemplateImage
from residua_schemas import ImageReading, TemplateReference, Weather


@pytest.fixture
def place(tmp_path, science, observation):
    for name in ("visits", "templates"):
        (tmp_path / name).mkdir()
        # A root that is empty counts as not mounted.
        (tmp_path / name / "README").touch()
    write_visit_image(tmp_path / "visits" / "v.fits", science, observation)
    template = TemplateImage(science.image, science.variance, science.mask, science.wcs)
    write_template(
        tmp_path / "templates" / "t.fits", template, skymap="s", tract=3, patch=4, band="r"
    )
    return tmp_path


@pytest.fixture
def make_store(place):
    def make(**options) -> ImageFileStore:
        settings = {
            "input_roots": [str(place / "visits")],
            "template_roots": [str(place / "templates")],
            "output_root": str(place / "out"),
        }
        return ImageFileStore(**{**settings, **options})

    return make


@pytest.fixture
def arrival(place):
    return describe_visit_image(str(place / "visits" / "v.fits"))


@pytest.fixture
def template(place):
    return describe_template(str(place / "templates" / "t.fits"), "dp1")


def test_it_is_an_image_store(make_store):
    store: ImageStore = make_store()
    assert store is not None


def test_reading_a_visit_image(make_store, arrival, science, observation):
    got = make_store().read_visit_image(arrival)
    assert got.observation == observation
    assert np.array_equal(got.image.image, science.image, equal_nan=True)
    assert got.reference.uri == arrival.image_uri
    assert got.reference.checksum == arrival.image_checksum
    assert got.region == arrival.region
    assert got.pixel_scale == pytest.approx(0.201, abs=1e-3)


def test_the_arrival_is_believed_over_the_file(make_store, arrival, observation):
    told = arrival.model_copy(
        update={
            "band": "i",
            "physical_filter": "i_06",
            "airmass": 1.9,
            "day_obs": 20300101,
            "begin_tai": observation.begin_tai + timedelta(days=1),
            "end_tai": None,
            "exposure_time": 15.0,
            "weather": Weather(temperature=-2.0),
            "target_name": "ELSEWHERE",
        }
    )
    got = make_store().read_visit_image(told).observation
    assert (got.band, got.physical_filter, got.airmass) == ("i", "i_06", 1.9)
    assert (got.em_min, got.em_max) == (693.6e-9, 818.8e-9)
    assert got.day_obs == 20300101
    assert got.end_tai == observation.begin_tai + timedelta(days=1, seconds=15)
    assert got.weather == Weather(temperature=-2.0)
    assert got.target_name == "ELSEWHERE"


def test_who_reads_is_told_what_an_event_asked_for_in_vain(make_store, arrival):
    said = []
    store = make_store(on_read=lambda name, contents: said.append((name, contents.notes)))
    store.read_visit_image(arrival.model_copy(update={"reading": ImageReading(gain=2.0)}))
    [(name, [note])] = said
    assert name == arrival.image_uri
    assert note.startswith("--gain not used: a file of lsst.images")


def test_errors_name_what_is_wrong(make_store, arrival, place):
    store = make_store()
    wrong = arrival.model_copy(update={"image_checksum": f"sha256:{'9' * 64}"})
    with pytest.raises(ChecksumMismatchError):
        store.read_visit_image(wrong)
    gone = arrival.model_copy(update={"image_uri": str(place / "visits" / "gone.fits")})
    with pytest.raises(MissingFileError, match=r"gone\.fits"):
        store.read_visit_image(gone)
    outside = arrival.model_copy(update={"image_uri": str(place / "templates" / "t.fits")})
    with pytest.raises(UriNotAllowedError):
        store.read_visit_image(outside)


def test_a_strict_registry_refuses_unknown_instruments(make_store, arrival):
    vd = arrival.visit_detector.model_copy(update={"instrument": "HomeMade"})
    unknown = arrival.model_copy(update={"visit_detector": vd})
    with pytest.raises(UnknownInstrumentError, match="HomeMade"):
        make_store(instruments=InstrumentRegistry(strict=True)).read_visit_image(unknown)
    got = make_store().read_visit_image(unknown).observation
    assert (got.instrument, got.em_min) == ("HomeMade", None)


def test_templates_are_decoded_once(make_store, template, place):
    store = make_store()
    first = store.read_template(template)
    (place / "templates" / "t.fits").unlink()
    assert store.read_template(template) is first
    with pytest.raises(ValueError, match="read-only"):
        first.image[0, 0] = 1.0
    other = template.model_copy(update={"checksum": f"sha256:{'8' * 64}"})
    with pytest.raises(MissingFileError):
        store.read_template(other)
    with pytest.raises(MissingFileError):
        make_store(cache_bytes=0).read_template(template)


def test_a_changed_template_is_told_by_its_checksum(make_store, template, place):
    (place / "templates" / "t.fits").write_bytes(b"something else")
    with pytest.raises(ChecksumMismatchError):
        make_store().read_template(template)


def test_the_cache_keeps_what_was_used_last(science):
    image = TemplateImage(science.image, science.variance, science.mask, science.wcs)
    size = science.image.nbytes * 3
    cache = TemplateCache(2 * size)
    for uri in "ab":
        cache.put(uri, "x", image)
    assert cache.get("a", "x") is image
    cache.put("c", "x", image)
    assert cache.get("b", "x") is None
    assert cache.get("a", "x") is image
    assert cache.get("a", "y") is None
    assert cache.size_bytes == 2 * size
    cache.put("a", "x", image)
    assert cache.size_bytes == 2 * size
    small = TemplateCache(size - 1)
    small.put("a", "x", image)
    assert small.size_bytes == 0


@pytest.fixture
def written(make_store, arrival, template, difference, provenance):
    store = make_store(threads=2)
    visit = store.read_visit_image(arrival)
    store.read_template(template)
    made_of = replace(
        provenance,
        visit_image=visit.reference,
        templates=[
            TemplateReference(
                uri=template.uri,
                checksum=template.checksum,
                dataset_id=template.dataset_id,
                skymap=template.skymap,
                tract=template.tract,
                patch=template.patch,
            )
        ],
    )
    return store, visit, made_of


def test_writing_a_difference_image(written, difference, fitsverify):
    store, visit, made_of = written
    key = "residua/0/dp1/3f2a9c51d0be/difference_image/20241122/2024112200123/d.fits"
    stored = store.write_difference_image(lambda _: key, difference, visit, made_of)
    path = local_path(stored.uri)
    content = path.read_bytes()
    assert stored.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert stored.size_bytes == len(content)
    assert fitsverify(path) == ""
    assert {p.name for p in path.parent.iterdir()} == {"d.fits", "d.hollow", "d.parquet", "d.png"}
    assert stored.preview_uri == stored.uri.replace(".fits", ".png")
    table = path.with_suffix(".parquet").read_bytes()
    assert stored.detections.checksum == f"sha256:{hashlib.sha256(table).hexdigest()}"
    assert stored.detections.rows == len(difference.detections)
    # Bounds from the template that was read; its grid is that of the visit.
    (info,) = read_archive(str(path)).templates
    assert info.bounds.area == pytest.approx(150 * 180)
    announced = []
    path.unlink()
    again = store.write_difference_image(
        lambda _: key,
        difference,
        visit,
        made_of,
        announce=lambda s: announced.append((s, path.exists())),
    )
    assert again == stored
    # Said before the file was at its place.
    assert announced == [(stored, False)]
    read = read_difference_image(stored.uri, checksum=stored.checksum)
    assert np.allclose(read.psf.stamp(9, 8), difference.psf.stamp(9, 8), atol=5e-8)
    assert read.unit == "nJy"


def test_bytes_do_not_depend_on_where_the_roots_are(written, difference, place):
    store, visit, made_of = written
    stored = store.write_difference_image(lambda _: "d.fits", difference, visit, made_of)
    moved = place.parent / f"{place.name}-moved"
    place.rename(moved)
    elsewhere = ImageFileStore(
        input_roots=[str(moved / "visits")],
        template_roots=[str(moved / "templates")],
        output_root=str(moved / "out2"),
    )
    arrival = describe_visit_image(str(moved / "visits" / "v.fits"))
    template = describe_template(str(moved / "templates" / "t.fits"), "dp1")
    elsewhere.read_template(template)
    reference = made_of.templates[0].model_copy(update={"uri": template.uri})
    visit = elsewhere.read_visit_image(arrival)
    made = replace(made_of, visit_image=visit.reference, templates=[reference])
    again = elsewhere.write_difference_image(lambda _: "d.fits", difference, visit, made)
    moved.rename(place)
    assert again.checksum == stored.checksum


def test_a_key_cannot_leave_the_output_root(written, difference):
    store, visit, made_of = written
    with pytest.raises(UriNotAllowedError):
        store.write_difference_image(lambda _: "../d.fits", difference, visit, made_of)


def test_a_writer_that_fails_leaves_no_file(written, difference, place):
    store, visit, made_of = written
    broken = replace(difference, unit="no unit at all")
    with pytest.raises(ValueError, match="no unit"):
        store.write_difference_image(lambda _: "x/d.fits", broken, visit, made_of)
    assert not [
        p for p in (place / "out").rglob("*") if p.suffix == ".fits" or "residua-" in str(p)
    ]


def test_a_template_read_ahead_is_in_memory_when_it_is_asked_for(make_store, template):
    store = make_store()
    assert store.read_template_ahead(template)
    assert not store.read_template_ahead(template)
    assert store.template_reads == TemplateReads()
    first = store.read_template(template)
    assert store.template_reads == TemplateReads(ahead=1)
    # Read ahead is said of the first use only.
    assert store.read_template(template) is first
    assert store.template_reads == TemplateReads(ahead=1, memory=1)
    plain = make_store()
    assert np.array_equal(plain.read_template(template).image, first.image, equal_nan=True)
    assert plain.template_reads == TemplateReads(store=1)
    outside = template.model_copy(update={"uri": "file:///etc/passwd"})
    with pytest.raises(UriNotAllowedError):
        store.read_template_ahead(outside)


def test_a_template_that_gave_way_before_its_use_was_not_read_ahead(make_store, template):
    store = make_store(cache_bytes=1)
    assert store.read_template_ahead(template)
    store.read_template(template)
    assert store.template_reads == TemplateReads(store=1)


def test_bytes_taken_over_are_used_once_and_only_if_they_are_those(make_store, arrival, place):
    path = place / "visits" / "v.fits"
    content = path.read_bytes()
    path.unlink()
    store = make_store()
    store.take_over({arrival.image_uri: (content, arrival.image_checksum)})
    assert store.read_visit_image(arrival).reference.checksum == arrival.image_checksum
    with pytest.raises(MissingFileError):
        store.read_visit_image(arrival)
    store.take_over({arrival.image_uri: (content, "sha256:" + 64 * "1")})
    with pytest.raises(MissingFileError):
        store.read_visit_image(arrival)
