"""What one installs: each door brings what it says, and a missing extra is named in one line."""

import re
import subprocess
import sys
import tomllib

import pytest
from tests.doors.only import REPOSITORY, modules_beyond, run_without

import residua
from residua import subtraction
from residua.extras import MissingExtraError, require, require_for
from residua_schemas import SCHEMA_VERSION

CORE = ("numpy", "numba", "scipy", "astropy", "threadpoolctl")
CONFIGURATION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

IMPORT_ALL_OF_THE_CORE = """
from importlib import import_module
from pkgutil import walk_packages
import residua, residua.subtraction
names = [m.name for m in walk_packages(residua.subtraction.__path__, "residua.subtraction.")]
for name in names:
    import_module(name)
assert len(names) > 40, names
print(residua.subtract.__module__, residua.ScienceImage.__name__)
"""

IMPORT_THE_CONTRACTS = """
from residua_schemas import VisitArrival
from residua_schemas.examples import examples
print(VisitArrival.model_validate(examples()[VisitArrival].model_dump()).band)
"""


def test_importing_residua_imports_next_to_nothing():
    # What typing takes from the standard library differs between Pythons.
    script = (
        "import sys, typing; before = set(sys.modules); import residua; dir(residua); "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = run.stdout.split()
    assert {n.partition(".")[0] for n in imported} - sys.stdlib_module_names == {"residua"}
    assert len(imported) < 10, imported


def test_the_top_names_what_the_core_names():
    # What needs the compiler of the pixel passes is in modules of its own.
    compiled = {"Solution", "apply", "solve", "solve_and_apply", "subtract"}
    assert set(residua.__all__) == {*subtraction.__all__, *compiled, "__version__"}
    assert all(getattr(residua, name).__name__ == name for name in compiled)
    assert residua.ScienceImage is subtraction.ScienceImage
    assert re.match(r"\d+\.\d+", residua.__version__)
    with pytest.raises(AttributeError, match="no attribute 'subtrakt'"):
        _ = residua.subtrakt


def test_the_core_needs_five_packages(tmp_path):
    hidden = modules_beyond(*CORE)
    assert {"pydantic", "lsst", "faust", "aiokafka", "structlog"} <= hidden
    run = run_without(hidden, ["-c", IMPORT_ALL_OF_THE_CORE], tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["residua.subtraction.subtract", "ScienceImage"]


def test_the_tests_of_the_core_run_with_five_packages(tmp_path):
    hidden = modules_beyond(*CORE, "pytest", "pytest-timeout", "pytest-asyncio")
    some = ["match/test_basis.py", "pixels", "align/test_lanczos.py"]
    paths = [f"tests/unit/subtraction/{name}" for name in some]
    plugins = [
        f"-p{name}" for name in ("pytest_asyncio.plugin", "pytest_timeout", "no:cacheprovider")
    ]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = run_without(hidden, ["-m", "pytest", "-q", *plugins, *paths], tmp_path, **alone)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(re.search(r"(\d+) passed", run.stdout).group(1)) > 5


def test_the_contracts_need_pydantic_alone(tmp_path):
    own = tomllib.loads((REPOSITORY / "schemas" / "pyproject.toml").read_text(encoding="utf-8"))
    assert [re.split(r"[<>=]", d)[0] for d in own["project"]["dependencies"]] == ["pydantic"]
    run = run_without(modules_beyond("pydantic"), ["-c", IMPORT_THE_CONTRACTS], tmp_path)
    assert (run.returncode, run.stdout) == (0, "r\n"), run.stderr


def test_the_wheel_asks_for_contracts_as_new_as_those_beside_it():
    text = (REPOSITORY / "hatch_build.py").read_text(encoding="utf-8")
    [(low, high)] = re.findall(r'"residua-schemas>=([\d.]+),<(\d+)"', text)
    major = int(SCHEMA_VERSION.split(".")[0])
    assert (low, int(high)) == (SCHEMA_VERSION, major + 1)


ABSENT = [
    (
        "psycopg",
        ["-m", "residua.catalog"],
        {"RESIDUA_CATALOG_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"},
        "postgres",
    ),
    (
        "psycopg",
        ["-m", "residua.access"],
        {"RESIDUA_CATALOG_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"},
        "postgres",
    ),
    (
        "psycopg",
        ["-m", "residua.obscore.migrate", "postgresql+psycopg://nobody@127.0.0.1:1/none"],
        {},
        "postgres",
    ),
    (
        "jwt",
        ["-m", "residua.access"],
        {
            "RESIDUA_CATALOG_URL": "sqlite:///nowhere.sqlite",
            "RESIDUA_JWKS_URL": "https://keys.example/jwks.json",
        },
        "tokens",
    ),
    ("boto3", ["-m", "residua.worker"], {"RESIDUA_OUTPUT_ROOT": "s3://bucket/out"}, "s3"),
    ("boto3", ["-m", "residua.notifications"], {}, "s3"),
    (
        "fastavro",
        ["-m", "residua.bridge"],
        {"RESIDUA_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"},
        "avro",
    ),
    (
        "psycopg",
        [
            "-c",
            "from residua.cli.main import main; main()",
            "butler",
            "init",
            "repo",
            "--registry",
            "postgresql+psycopg://nobody@127.0.0.1:1/none",
        ],
        {},
        "postgres",
    ),
    (
        "opentelemetry",
        ["-m", "residua.catalog"],
        {
            "RESIDUA_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces",
            "RESIDUA_CATALOG_URL": "sqlite:///:memory:",
        },
        "tracing",
    ),
    ("latex2mathml", ["-m", "mkdocs", "build", "-q", "-d", "site-of-the-test"], {}, "docs"),
]


@pytest.mark.parametrize(
    ("hidden", "command", "environment", "extra"),
    ABSENT,
    ids=[
        "catalog",
        "access",
        "migrate",
        "tokens",
        "worker",
        "notifications",
        "bridge",
        "butler",
        "tracing",
        "docs",
    ],
)
def test_a_missing_extra_is_named_in_one_line(hidden, command, environment, extra, tmp_path):
    run = run_without({hidden}, command, tmp_path, **environment)
    assert run.returncode == 1, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert f"pip install 'residua[{extra}]'" in last
    assert "Traceback" not in run.stderr


def test_extras_that_are_there_are_let_pass_and_each_absence_is_tested():
    extras = set(CONFIGURATION["project"]["optional-dependencies"]) - {"test"}
    assert {extra for *_, extra in ABSENT} == extras
    for extra in extras:
        require(extra, "this test")
    require_for("/data", "file:///data", "s3://bucket", "sqlite:///x", "postgresql+psycopg://h/d")
    assert not issubclass(MissingExtraError, Exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "packages", "check"),
    [("schemas", (), IMPORT_THE_CONTRACTS), (".", CORE, IMPORT_ALL_OF_THE_CORE)],
    ids=["schemas", "core"],
)
def test_an_empty_environment(source, packages, check, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "v")], check=True)
    python = str(tmp_path / "v" / "bin" / "python")

    def pip(*arguments: str) -> str:
        command = [python, "-m", "pip", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    alone = ["--no-deps"] if packages else []
    pip("install", "-q", *alone, str(REPOSITORY / source))
    if packages:
        tests = ("pytest", "pytest-timeout", "pytest-asyncio")
        pip("install", "-q", "-c", str(REPOSITORY / "constraints.txt"), *packages, *tests)
    else:
        listed = {line.split("==")[0] for line in pip("list", "--format=freeze").splitlines()}
        pydantic = {"annotated-types", "pydantic", "pydantic_core", "typing_extensions"}
        assert listed - pydantic - {"typing-inspection", "pip"} == {"residua-schemas"}
    subprocess.run([python, "-c", check], check=True, cwd=tmp_path)
    if packages:
        run = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/subtraction"]
        subprocess.run(run, check=True, cwd=REPOSITORY)
