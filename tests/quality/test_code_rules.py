"""Lint, types and the dependency rule, inside the one test command."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy"],
        ["-c", "from importlinter.cli import lint_imports_command as c; c()"],
    ],
    ids=["lint", "format", "types", "imports"],
)
def test_code_rules(command: list[str]):
    result = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_is_longer_than_five_hundred_lines():
    sources = [
        p for root in ("schemas", "services", "tests") for p in (REPOSITORY / root).rglob("*.py")
    ]
    long = {str(p): n for p in sources if (n := len(p.read_text().splitlines())) > 500}
    assert not long
