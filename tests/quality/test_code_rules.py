"""Lint, types and the dependency rule, inside the one test command."""

import ast
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
    "subtraction/steps/matching",
    "subtraction/noise/whitening", "subtraction/psf/stars",
    "subtraction/psf/star_search", "storage/conventions/plane_roles", "storage/forms/archive",
    "subtraction/pieces/fit", "storage/forms/mask_kernel",
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


# What is no failure of one event, file or image, and so does not come from `ResiduaError`.
OTHER_ROOTS = {
    "TransientError": "an outage: the process ends, nothing is acknowledged",
    "MissingExtraError": "the installation: it ends the process",
    "RequestError": "an answer to an HTTP request",
    "TopicMadeAnewError": "the topic: the process ends",
    "PassedOverError": "the client libraries: the process ends",
    "AdqlError": "a query; the service answers it as a RequestError",
    "CellError": "a value of an answer; the same",
    "RegionError": "words that name no region; who reads them says whose they are",
    "UnknownFormError": "not read here, but by another reader",
    "NotInPartsError": "not made in parts, but as a whole",
    "WholeNeededError": "not drawn from parts, but from the whole",
}


def test_all_errors_have_one_root():
    """Also: who catches the root names none of its branches beside it."""
    house = REPOSITORY / "services" / "residua"
    trees = {path: ast.parse(path.read_text()) for path in house.rglob("*.py")}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    parents = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for _, node in nodes
        if isinstance(node, ast.ClassDef)
    }

    def is_below(name: str, root: str) -> bool:
        return name == root or any(is_below(p, root) for p in parents.get(name, ()))

    roots = {"ResiduaError", *OTHER_ROOTS}
    errors = {n for n in parents if n.endswith("Error") and not n.startswith("_")}
    assert {e for e in errors if not any(is_below(e, root) for root in roots)} == set()
    assert OTHER_ROOTS.keys() <= errors
    for path, node in nodes:
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
            names = [ast.unparse(e).rpartition(".")[2] for e in node.type.elts]
            branches = [n for n in names if n != "ResiduaError" and is_below(n, "ResiduaError")]
            assert "ResiduaError" not in names or not branches, f"{path}:{node.lineno}: {branches}"
