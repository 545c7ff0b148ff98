"""Lint, types and the dependency rule, inside the one test command."""

import re
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


MOST_MODULES = 12
# Not counted: they are in every package, or in every service, under one name.
EVERYWHERE = {"__init__", "__main__"}
# What each service or package has of its own, under the name that says so.
ROLES = EVERYWHERE | {"app", "errors", "main", "settings"}


def test_rooms_have_a_dozen_modules_or_fewer():
    house = REPOSITORY / "services" / "residua"
    rooms = {p.parent for p in house.rglob("*.py") if "versions" not in p.parts}
    for room in rooms:
        modules = [p for p in room.glob("*.py") if p.stem not in EVERYWHERE]
        assert len(modules) <= MOST_MODULES, f"{room.relative_to(house)}: {len(modules)} modules"


def test_no_two_modules_have_one_name_for_different_things():
    """A command may be named as the module it runs: it imports it. Nothing else repeats a name."""
    house = REPOSITORY / "services" / "residua"
    named: dict[str, list[Path]] = {}
    for path in house.rglob("*.py"):
        if path.stem not in ROLES:
            named.setdefault(path.stem, []).append(path)
    for name, paths in named.items():
        commands = [p for p in paths if p.is_relative_to(house / "cli")]
        others = [p for p in paths if p not in commands]
        assert len(commands) <= 1, name
        assert len(others) <= 1, f"{name}: {[str(p.relative_to(house)) for p in others]}"
        if commands and others:
            package = ".".join(others[0].parent.relative_to(REPOSITORY / "services").parts)
            assert re.search(rf"from {package}[. ]", commands[0].read_text()), (
                f"{commands[0].name}, a command, has the name of a module of {package} without "
                "running it"
            )


def test_unit_tests_stand_in_the_room_of_what_they_test():
    unit, house = REPOSITORY / "tests" / "unit", REPOSITORY / "services" / "residua"
    for path in unit.rglob("test_*.py"):
        room = house / path.parent.relative_to(unit)
        assert room.is_dir() or room.with_suffix(".py").exists(), path


ARITHMETIC = ("subtraction", "sphere", "storage/forms", "storage/conventions")
# Tested through the one module that calls them, whose test asks for their numbers.
THROUGH_ANOTHER = {
    "subtraction/align/coverage", "subtraction/align/lanczos_simd", "subtraction/engine/simd",
    "subtraction/detect/trust/assessment", "subtraction/detect/source_finding",
    "subtraction/steps/matching", "subtraction/measure/measurements",
    "subtraction/noise/whitening", "subtraction/psf/stars",
    "subtraction/psf/star_search", "storage/conventions/plane_roles", "storage/forms/archive",
    "subtraction/pieces/fit",
}  # fmt: skip


def test_every_module_of_arithmetic_has_a_unit_test():
    house = REPOSITORY / "services" / "residua"
    tests = "\n".join(p.read_text() for p in (REPOSITORY / "tests" / "unit").rglob("*.py"))
    untested = set()
    for room in ARITHMETIC:
        for path in (house / room).rglob("*.py"):
            module = str(path.relative_to(house).with_suffix(""))
            dotted = f"residua.{module}".replace("/", ".")
            if path.name != "__init__.py" and not re.search(rf"{re.escape(dotted)}\b", tests):
                package, _, name = dotted.rpartition(".")
                if not re.search(rf"from {re.escape(package)} import .*\b{name}\b", tests):
                    untested.add(module)
    assert untested <= THROUGH_ANOTHER
