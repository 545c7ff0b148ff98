"""Alert rules: read and unit-tested by promtool; every expression names metrics that we export."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from residua.access.metrics import RequestMetrics
from residua.metrics import METRICS

REPOSITORY = Path(__file__).parents[2]
PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


@pytest.fixture(scope="session")
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on the PATH (Debian's package prometheus has it)")
    return program


def exported() -> set[str]:
    ours = {family.name for family in RequestMetrics().registry.collect()}
    return {*METRICS, *ours, "up"}


@pytest.mark.parametrize("command", [["check", "rules"], ["test", "rules"]], ids=" ".join)
def test_promtool_accepts_the_rules(promtool: str, command: list[str]):
    file = "alerts.yaml" if command[0] == "check" else "alerts.test.yaml"
    done = subprocess.run(
        [promtool, *command, file], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration(promtool: str):
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yaml"],
        cwd=PROMETHEUS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_asks_for_metrics_that_are_exported(rule: dict):
    names = set(re.findall(r"\b(residua_[a-z_]+|up)\b", rule["expr"]))
    assert names
    assert {SUFFIX.sub("", name) for name in names} <= exported()


def test_every_rule_has_a_unit_test():
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text())["tests"]
    tested = {t["alertname"] for test in tests for t in test["alert_rule_test"] if t["exp_alerts"]}
    assert tested == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_has_a_page_in_the_runbook_and_somebody_to_act(rule: dict):
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^## (.+)$", (REPOSITORY / path).read_text(), re.MULTILINE)
    assert anchor in {h.lower().replace(" ", "-").replace(",", "") for h in headings}
    assert "responsible" in rule["labels"] or "by (responsible)" in rule["expr"]
