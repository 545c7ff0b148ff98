"""docker-compose.yml says what the services understand: its environments make valid settings."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from residua.access.settings import AccessSettings
from residua.bridge.settings import BridgeSettings
from residua.butler.settings import ButlerSettings
from residua.catalog.settings import CatalogSettings
from residua.cli.main import app
from residua.notifications.settings import NotificationSettings
from residua.worker.settings import WorkerSettings

REPOSITORY = Path(__file__).parents[2]


def interpolated(text: str) -> str:
    """As Compose does it without an environment: ``${NAME:-default}`` is the default."""
    return re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", text)


COMPOSE = yaml.safe_load(interpolated((REPOSITORY / "docker-compose.yml").read_text()))
OURS = ["worker", "catalog", "butler", "notifications", "bridge", "access"]


@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("worker", WorkerSettings),
        ("catalog", CatalogSettings),
        ("butler", ButlerSettings),
        ("notifications", NotificationSettings),
        ("bridge", BridgeSettings),
        ("access", AccessSettings),
    ],
)
def test_environment_makes_valid_settings(
    service: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
):
    environment = {
        name: value
        for name, value in COMPOSE["services"][service]["environment"].items()
        if name.startswith("RESIDUA_")
    }
    # The roots are set for all; a service takes those it needs.
    roots = {"RESIDUA_INPUT_ROOTS", "RESIDUA_TEMPLATE_ROOTS", "RESIDUA_OUTPUT_ROOT"}
    known = {f"RESIDUA_{name.upper()}" for name in settings.model_fields} | roots
    assert set(environment) <= known
    for name, value in environment.items():
        monkeypatch.setenv(name, value if isinstance(value, str) else json.dumps(value))
    built = settings()
    assert getattr(built, "kafka_bootstrap", "kafka:9092") == "kafka:9092"


@pytest.mark.parametrize("service", OURS)
def test_command_is_a_module_that_exists(service: str):
    module = COMPOSE["services"][service]["command"].removeprefix("python -m ")
    assert (REPOSITORY / "services" / module.replace(".", "/") / "__main__.py").exists()


def test_every_file_the_deployment_names_exists():
    for service in COMPOSE["services"].values():
        build = service.get("build")
        if build:
            assert (REPOSITORY / build["context"] / build["dockerfile"]).exists()
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (REPOSITORY / volume.split(":")[0]).exists()
    container = (REPOSITORY / "deploy" / "Containerfile").read_text()
    for line in container.splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            assert all((REPOSITORY / name).exists() for name in line.split()[1:-1])


def test_the_butler_repository_is_made_with_options_that_exist():
    command = shlex.split(COMPOSE["services"]["butler-init"]["command"])
    assert command[:3] == ["residua", "butler", "init"]
    # An unknown option ends with a usage error before anything is tried.
    result = CliRunner().invoke(app, [*command[1:3], *command[3:], "--help"])
    assert result.exit_code == 0, result.output


def test_every_image_is_pinned():
    for name, service in COMPOSE["services"].items():
        tag = service["image"].rpartition(":")[2]
        assert re.match(r"v?\d", tag), f"{name} runs {service['image']}"


@pytest.mark.parametrize("service", OURS)
def test_our_services_are_confined_and_watched(service: str):
    ours = COMPOSE["services"][service]
    assert ours["read_only"] is True
    assert ours["user"] == "1000:1000"
    assert ours["cap_drop"] == ["ALL"]
    _, python, _, module, url = ours["healthcheck"]["test"]
    assert (python, module) == ("python", "residua.probe")
    port = ours["environment"]["RESIDUA_METRICS_PORT"]
    assert url == f"http://127.0.0.1:{port}/live"


def test_what_is_waited_for_has_a_health_check():
    for name, service in COMPOSE["services"].items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in COMPOSE["services"][other].get("healthcheck", {}), (name, other)


def test_every_host_that_our_services_are_told_of_is_a_service():
    told = set()
    for name in OURS:
        for value in COMPOSE["services"][name]["environment"].values():
            told |= set(re.findall(r"(?:https?://|@|^)([a-z][a-z0-9-]*)(?::\d+|/)", str(value)))
    assert told >= {"kafka", "postgres", "registry"}
    assert told <= set(COMPOSE["services"])


def test_the_example_environment_names_what_compose_reads():
    text = (REPOSITORY / "docker-compose.yml").read_text()
    read = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text))
    example = (REPOSITORY / "deploy" / "example.env").read_text()
    given = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    assert set(given) <= set(read)
    assert all(read[name] == value for name, value in given.items())
