"""An address that is wrong is one line for whoever migrates, not a traceback."""

import sys

import pytest
from typer.testing import CliRunner

from residua.cli.main import app
from residua.obscore import migrate
from residua.obscore.opening import shown

WRONG = {
    "nonsense": "no URL of a PostgreSQL or SQLite database",
    "foo://there": "no URL of a PostgreSQL or SQLite database",
    "mysql://nobody@there/none": "no URL of a PostgreSQL or SQLite database",
    "sqlite:////nowhere/at/all.sqlite": "unable to open database file",
    "postgresql+psycopg://nobody:secret@127.0.0.1:1/none": "127.0.0.1",
}


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_address_is_one_line(url, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["migrate", url])
    assert migrate.main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"residua: {shown(url)}: ")
    assert WRONG[url] in line
    assert "secret" not in line


@pytest.mark.parametrize("url", WRONG)
def test_the_command_says_the_same(url):
    answer = CliRunner().invoke(app, ["catalog", "migrate", url])
    assert answer.exit_code == 1
    assert WRONG[url] in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_right_address_is_migrated(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["migrate", f"sqlite:///{tmp_path}/catalog.sqlite"])
    assert migrate.main() == 0
    assert capsys.readouterr().out.startswith("the catalog is at version ")
