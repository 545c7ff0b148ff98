"""Tools without a broker: one line, and nothing else."""

import gc
import warnings

import pytest
from typer.testing import CliRunner

from residua.cli.main import app


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["replay", "--all", "--dry-run"],
        ["dead-letters", "list"],
        ["dead-letters", "requeue", "a/0/0"],
        ["templates", "list"],
    ],
    ids=" ".join,
)
def test_it_says_so_in_one_line(command, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        done = CliRunner().invoke(app, [*command, "--bootstrap", "127.0.0.1:1"])
        gc.collect()
    assert done.exit_code == 1
    said = [line for line in done.stderr.splitlines() if "reading" not in line]
    assert len(said) == 1, done.stderr
    assert "127.0.0.1" in said[0]
    assert "Unclosed" not in caplog.text
