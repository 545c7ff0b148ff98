"""The Helm chart: linted and rendered by helm, valid for Kubernetes, true to the settings."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.kubernetes_schemas import write_schemas
from tests.support.servers.go_program import HELM, KUBECONFORM
from typer.testing import CliRunner

from residua.access.settings import AccessSettings
from residua.bridge.settings import BridgeSettings
from residua.butler.settings import ButlerSettings
from residua.catalog.settings import CatalogSettings
from residua.cli.main import app
from residua.messaging.settings import ConsumerSettings
from residua.notifications.settings import NotificationSettings
from residua.settings import StorageSettings
from residua.worker.settings import WorkerSettings

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "deploy" / "helm" / "residua"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
KUBERNETES = "1.31"
SETTINGS = {
    "worker": WorkerSettings,
    "catalog": CatalogSettings,
    "butler": ButlerSettings,
    "notifications": NotificationSettings,
    "access": AccessSettings,
    "bridge": BridgeSettings,
    "topics": ConsumerSettings,
    "migrations": CatalogSettings,
}
# Set for all services; each takes what it needs.
SHARED = {*ConsumerSettings.model_fields, *StorageSettings.model_fields}


@pytest.fixture(scope="session")
def helm() -> Path:
    missing = HELM.missing()
    if missing:
        pytest.skip(missing)
    return HELM.program()


def run(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


def render(helm: Path, *arguments: str) -> list[dict[str, Any]]:
    done = run(
        helm, "template", "night", str(CHART), "--kube-version", f"{KUBERNETES}.0", *arguments
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def containers(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pods = [d["spec"]["template"] for d in documents if "template" in d.get("spec", {})]
    return [container for pod in pods for container in pod["spec"]["containers"]]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_helm_finds_nothing_to_complain_about(helm: Path, values: Path):
    done = run(helm, "lint", "--strict", "-f", str(values), str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    missing = KUBECONFORM.missing()
    if missing:
        pytest.skip(missing)
    return KUBECONFORM.program()


def conform(program: Path, documents: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """What kubeconform says of documents, the resources of KEDA and of Prometheus included."""
    kinds = {(d["apiVersion"], d["kind"]) for d in documents}
    place = write_schemas(folder, KUBERNETES, kinds, Path(__file__).parent / "schemas")
    done = subprocess.run(
        [
            program, "-strict", "-summary", "-output", "json",
            "-kubernetes-version", f"{KUBERNETES}.0", "-schema-location", place,
        ],
        input=yaml.safe_dump_all(documents), capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_what_is_rendered_is_valid_kubernetes(
    helm: Path, kubeconform: Path, values: Path, tmp_path: Path
):
    documents = render(helm, "-f", str(values))
    kinds = {d["kind"] for d in documents}
    assert kinds >= {"StatefulSet", "ServiceAccount", "PodDisruptionBudget"}
    found = conform(kubeconform, documents, tmp_path)
    assert not found.get("resources"), found["resources"]
    assert found["summary"] == {
        "valid": len(documents), "invalid": 0, "errors": 0, "skipped": 0,
    }  # fmt: skip


def test_kubeconform_sees_a_word_that_is_none(helm: Path, kubeconform: Path, tmp_path: Path):
    documents = render(helm, "-f", str(CHART / "ci" / "survey.yaml"))
    wrong = [d for d in documents if d["kind"] in {"StatefulSet", "ScaledObject", "PodMonitor"}]
    for document in wrong:
        document["spec"]["nonsense"] = 1
    found = conform(kubeconform, documents, tmp_path)
    assert {r["kind"] for r in found["resources"]} == {d["kind"] for d in wrong}
    assert found["summary"]["invalid"] == len(wrong) == 3


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_environment_name_is_a_setting(helm: Path, values: Path):
    for container in containers(render(helm, "-f", str(values))):
        known = SHARED | set(SETTINGS[container["name"]].model_fields)
        names = {e["name"] for e in container["env"] if e["name"].startswith("RESIDUA_")}
        unknown = {n for n in names if n.removeprefix("RESIDUA_").lower() not in known}
        # One secret list serves all pods.
        assert unknown <= {"RESIDUA_CATALOG_URL"}, (container["name"], unknown)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_environment_makes_valid_settings(
    helm: Path, values: Path, monkeypatch: pytest.MonkeyPatch
):
    for container in containers(render(helm, "-f", str(values))):
        with monkeypatch.context() as patch:
            for variable in container["env"]:
                patch.setenv(variable["name"], variable.get("value", "from-a-secret"))
            patch.setenv("RESIDUA_CATALOG_URL", "sqlite://")
            SETTINGS[container["name"]]()


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_pods_are_confined(helm: Path, values: Path):
    documents = render(helm, "-f", str(values))
    pods = [d["spec"]["template"]["spec"] for d in documents if "template" in d.get("spec", {})]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert not container["image"].endswith(":latest")
            assert "memory" in container["resources"]["limits"]


def test_a_pods_name_is_its_membership_and_it_outlives_two_subtractions(helm: Path):
    documents = render(helm, "-f", str(CHART / "ci" / "minimal.yaml"))
    [worker] = [d for d in documents if d["kind"] == "StatefulSet"]
    pod = worker["spec"]["template"]["spec"]
    environment = {e["name"]: e for e in pod["containers"][0]["env"]}
    assert environment["RESIDUA_INSTANCE_ID"]["value"] == "$(POD_NAME)"
    timeout = float(environment["RESIDUA_SUBTRACTION_TIMEOUT"]["value"])
    assert pod["terminationGracePeriodSeconds"] > 2 * timeout


def test_workers_scale_with_the_lag_and_never_beyond_the_partitions(helm: Path):
    survey = ["-f", str(CHART / "ci" / "survey.yaml")]
    documents = render(helm, *survey)
    [scaled] = [d for d in documents if d["kind"] == "ScaledObject"]
    [worker] = [d for d in documents if d["kind"] == "StatefulSet"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"]
    [trigger] = scaled["spec"]["triggers"]
    environment = {e["name"]: e.get("value") for e in containers([worker])[0]["env"]}
    settings = WorkerSettings(output_root="s3://out")
    group = environment.get("RESIDUA_CONSUMER_GROUP", settings.consumer_group)
    assert trigger["metadata"]["consumerGroup"] == group
    refused = run(
        helm, "template", "night", str(CHART), "--kube-version", "1.31.0", *survey,
        "--set", "worker.autoscaling.maxReplicas=201",
    )  # fmt: skip
    assert refused.returncode != 0
    assert "workers without a partition idle" in refused.stderr


def test_what_must_be_given_is_asked_for_by_name(helm: Path):
    done = run(helm, "template", "night", str(CHART), "--kube-version", "1.31.0")
    assert done.returncode != 0
    for name in ("kafka_bootstrap", "input_roots", "output_root", "image_roots"):
        assert name in done.stderr


def test_an_unknown_value_is_refused(helm: Path):
    minimal = ["-f", str(CHART / "ci" / "minimal.yaml")]
    done = run(helm, "lint", str(CHART), *minimal, "--set", "worker.replica=3")
    assert done.returncode != 0
    assert "replica" in done.stdout


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_commands_exist(helm: Path, values: Path):
    for container in containers(render(helm, "-f", str(values))):
        program, *words = container["command"]
        if program == "python":
            module = REPOSITORY / "services" / words[1].replace(".", "/")
            assert (module / "__main__.py").exists()
        else:
            assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0


def test_the_charts_alerts_are_those_of_prometheus():
    chart = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    prometheus = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "alerts.yaml").read_text())
    assert chart == prometheus
