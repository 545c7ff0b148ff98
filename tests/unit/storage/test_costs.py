"""Decodes of a file, counted: none to describe it, each plane once to use it."""

import pytest
from lsst.resources import ResourcePath

from residua.instruments import InstrumentRegistry
from residua.simulation.input_files import write_template, write_visit_image
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.forms.decode import PlaneReader
from residua.storage.headers import arrival_from_header
from residua.storage.store import ImageFileStore
from residua.subtraction.images import TemplateImage


@pytest.fixture
def files(tmp_path, science, observation):
    visit, template = tmp_path / "v.fits", tmp_path / "t.fits"
    write_visit_image(visit, science, observation)
    image = TemplateImage(science.image, science.variance, science.mask, science.wcs)
    write_template(template, image, skymap="s", tract=3, patch=4, band="r")
    return visit, template


@pytest.fixture
def decoded(monkeypatch):
    """Planes that were decoded, by their place in the file."""
    found = []
    read = PlaneReader.read

    def counted(self, index):
        found.append(index)
        return read(self, index)

    monkeypatch.setattr(PlaneReader, "read", counted)
    return found


@pytest.fixture
def store(tmp_path):
    root = str(tmp_path)
    return ImageFileStore(input_roots=[root], template_roots=[root], output_root=f"{root}/out")


def test_describing_a_file_decodes_nothing(files, decoded):
    visit, template = files
    describe_visit_image(str(visit))
    describe_template(str(template))
    arrival_from_header(ResourcePath(str(visit)), {}, InstrumentRegistry())
    assert decoded == []


def test_each_plane_of_a_visit_is_decoded_once_even_when_its_place_was_asked_for(
    files, decoded, store
):
    arrival = describe_visit_image(str(files[0]))
    store.region_of(arrival)
    store.read_visit_image(arrival)
    assert sorted(decoded) == sorted(set(decoded))
    assert len(decoded) >= 3


def test_each_plane_of_a_template_is_decoded_once_for_all_its_visits(files, decoded, store):
    template = describe_template(str(files[1]))
    assert store.read_template_ahead(template)
    for _ in range(3):
        store.read_template(template)
    assert sorted(decoded) == sorted(set(decoded))
    assert len(decoded) >= 3
