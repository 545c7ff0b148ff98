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


# A room has a dozen modules or fewer; two more may come before it is split. Rooms that are larger,
# the most they may have, and why they are one room.
MOST_MODULES = 14
LARGE_ROOMS = {
    "cli": (30, "a command each"),
    "worker": (20, "what one process does; parts of it are no use without the rest"),
    "storage/read": (18, "one module a form of file or a question asked of it"),
    "": (18, "the top floor and the ground floor of the house"),
}


def test_rooms_have_a_dozen_modules_or_fewer():
    house = REPOSITORY / "services" / "residua"
    rooms = {p.parent for p in house.rglob("*.py") if "versions" not in p.parts}
    for room in rooms:
        name = "" if room == house else str(room.relative_to(house))
        number = len([p for p in room.glob("*.py") if p.name != "__init__.py"])
        assert number <= LARGE_ROOMS.get(name, (MOST_MODULES, ""))[0], f"{name}: {number} modules"


def test_unit_tests_stand_in_the_room_of_what_they_test():
    unit, house = REPOSITORY / "tests" / "unit", REPOSITORY / "services" / "residua"
    for path in unit.rglob("test_*.py"):
        room = house / path.parent.relative_to(unit)
        assert room.is_dir() or room.with_suffix(".py").exists(), path


ARITHMETIC = ("subtraction", "sphere", "storage/forms", "storage/conventions")
# Tested through the one module that calls them, whose test asks for their numbers.
THROUGH_ANOTHER = {
    "subtraction/align/coverage", "subtraction/align/lanczos_simd", "subtraction/engine/simd",
    "subtraction/detect/assessment", "subtraction/detect/sources", "subtraction/matching",
    "subtraction/measure/sources", "subtraction/noise/whitening", "subtraction/psf/stars",
    "subtraction/psf/star_search", "storage/conventions/plane_roles", "storage/forms/archive",
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
