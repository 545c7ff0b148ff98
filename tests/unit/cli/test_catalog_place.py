"""A catalog is named alike in every command: by its URL, its file, or the directory it lies in."""

import sqlite3

import pytest
from typer.testing import CliRunner

from residua.cli.catalog_place import catalog_place
from residua.cli.main import app
from residua.errors import MissingFileError


@pytest.fixture
def directory(tmp_path):
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    connection.execute("CREATE TABLE obscore (uri, preview_uri, progenitors)")
    connection.commit()
    connection.close()
    return tmp_path


def test_each_way_to_name_it_gives_one_url(directory):
    url = f"sqlite:///{directory}/catalog.sqlite"
    for name in (url, str(directory), str(directory / "catalog.sqlite")):
        assert catalog_place(name) == (url, {})
    assert catalog_place(None) == (None, {})


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "a", "b"],
        ["expire", "images", "--no-butler"],
        ["explain", "1", "2"],
        ["recreate", "Sim", "1", "2"],
        ["replay", "--all"],
        ["status"],
        ["sweep", "images", "--no-butler"],
        ["verify"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_makes_a_catalog_where_there_is_none(command, tmp_path):
    place = tmp_path / "nowhere"
    done = CliRunner().invoke(app, [*command, "--catalog", str(place)])
    assert done.exit_code == 1, done.output
    assert f"no catalog at {place}; give a directory of a demo, or a URL" in " ".join(
        done.output.split()
    )
    assert not place.exists()


def test_a_directory_without_one_says_so(tmp_path):
    with pytest.raises(MissingFileError, match=r"no catalog at .*catalog\.sqlite"):
        catalog_place(str(tmp_path))
