"""One simulated night, worked through once; every test that changes files takes a copy of it."""

import shutil

import pytest
from tests.support.night import Night, worked_night


@pytest.fixture(scope="session")
def night(tmp_path_factory) -> Night:
    return worked_night(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="session")
def catalog_url(night, tmp_path_factory):
    return night.fill(f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite")


@pytest.fixture
def image(night):
    """The outcome of one image of the night."""
    return night.created[0]


@pytest.fixture
def keep_inputs(night):
    """Put the files of the inputs back that a test moved or changed."""
    saved = {}

    def keep(uri):
        path = _path(uri)
        saved[path] = path.read_bytes()
        return path

    yield keep
    for path, content in saved.items():
        path.write_bytes(content)


def _path(uri):
    from residua.storage.objects import local_path

    return local_path(uri)


@pytest.fixture
def copy_of(tmp_path):
    """Copy a directory of the night's."""

    def copy(folder, name="copy"):
        return shutil.copytree(folder, tmp_path / name)

    return copy


@pytest.fixture(scope="session")
def backup(night, tmp_path_factory):
    return shutil.copytree(night.root, tmp_path_factory.mktemp("backup") / "night")


@pytest.fixture
def burnable(night, backup):
    """The night, whose files a test may do away with: they are put back."""
    yield night
    shutil.rmtree(night.root)
    shutil.copytree(backup, night.root)
