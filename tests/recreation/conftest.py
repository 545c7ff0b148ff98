"""One simulated night, worked through once; every test that changes files takes a copy of it."""

import shutil

import pytest
from tests.support.night import Night, worked_night

from residua.butler.registering.registrar import Registrar
from residua.butler.repository import create_repository, open_repository
from residua.instruments import InstrumentRegistry
from residua.storage.objects import local_path


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
        path = local_path(uri)
        saved[path] = path.read_bytes()
        return path

    yield keep
    for path, content in saved.items():
        path.write_bytes(content)


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


@pytest.fixture
def place(burnable, tmp_path):
    """The night, with a catalog and a Butler of its own."""
    copy = burnable
    url = copy.fill(f"sqlite:///{tmp_path}/catalog.sqlite")
    repo = str(tmp_path / "repo")
    create_repository(repo)
    with open_repository(repo, writeable=True) as butler:
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(),
            output_root=copy.output_root,
            template_roots=[f"{copy.root}/templates"],
        )
        assert registrar.register([*copy.templates, *copy.created]) == []
    return copy, url, repo
