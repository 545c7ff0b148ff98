"""`status` and `replay` from the catalog and the brokers' offsets say what the topics say."""

import json

import pytest
from tests.support.kafka_tools import arrival
from tests.support.servers.server_process import wait_until
from typer.testing import CliRunner

from residua.cli.main import app

# Apache Kafka, as an observatory has it; with ``-m slow`` the embedded broker too.
on_apache = pytest.mark.parametrize(
    "broker_settings",
    ["apache", pytest.param("embedded", marks=pytest.mark.slow)],
    indirect=True,
)


@on_apache
def test_the_catalog_knows_what_the_topics_say(delivery, monkeypatch):
    settings = delivery.settings
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("RESIDUA_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("RESIDUA_CONSUMER_GROUP", f"{settings.topic_prefix}worker")
    monkeypatch.setenv("RESIDUA_CATALOG_GROUP", f"{settings.topic_prefix}catalog")
    often = {"heartbeat_seconds": 1.0}
    services = [delivery.start_worker(**often), delivery.start_catalog(**often)]
    sent = [arrival(n) for n in range(3)] + [arrival(3, "fail"), arrival(4, "template")]
    delivery.send(sent)
    delivery.wait(lambda a: len(a.outcomes) == 5 and delivery.catalog_lag() == 0, alive=services)
    # A late older arrival gets the last number, and displaces nothing.
    delivery.send([arrival(0, "newer", revision=1)])
    delivery.wait(lambda a: len(a.outcomes) == 6, alive=services)
    delivery.send([arrival(0, "late")])
    account = delivery.wait(
        lambda a: len(a.outcomes) == 7 and delivery.catalog_lag() == delivery.worker_lag() == 0,
        alive=services,
    )
    assert [o.error for o in account.outcomes if o.revision == 2] == ["SupersededArrivalError"]

    def status(*arguments):
        done = CliRunner().invoke(app, ["status", "--json", *arguments])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    topics = status()
    catalog = status("--catalog", f"sqlite:///{delivery.catalog}")
    assert (topics["created"], topics["skipped"], topics["failed"]) == (4, 1, 2)
    # The catalog counts visit-detectors, each by what became of it.
    assert (catalog["created"], catalog["skipped"], catalog["failed"]) == (3, 1, 1)
    assert catalog["tonight"]["created"] + catalog["tonight"]["failed"] > 0
    assert catalog["template_sets"] == {}
    for counts in (topics, catalog):
        assert counts["arrivals_per_minute"] == counts["outcomes_per_minute"] == 0.7
        assert {g["group"]: (g["lag"], g["oldest_unread_seconds"]) for g in counts["groups"]} == {
            f"{settings.topic_prefix}worker": (0, None),
            f"{settings.topic_prefix}catalog": (0, None),
            # There is no such group here: all waits for it.
            "residua-butler": (7, counts["groups"][2]["oldest_unread_seconds"]),
        }
        assert 0.0 <= counts["groups"][2]["oldest_unread_seconds"] < 300.0
        assert (counts["arrivals"], counts["waiting"], counts["dead_letters"]) == (7, 0, 0)
    assert catalog["catalog_behind"] == 0

    def replay(*arguments):
        done = CliRunner().invoke(app, ["replay", "--dry-run", "--json", *arguments])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        return {name: value for name, value in report.items() if name != "replay"}

    # Quiet is not dead: nothing has arrived for a while, and both are heard.
    heard = {s["service"]: s for s in topics["services"]}
    assert {name: s["alive"] for name, s in heard.items()} == {"worker": True, "catalog": True}
    assert heard["worker"]["run"] == account.outcomes[0].run
    url = f"sqlite:///{delivery.catalog}"

    def is_told():
        told = {s["service"]: s for s in status("--catalog", url)["services"]}
        return told["worker"]["handled"] == 7

    # The next heartbeat says so.
    wait_until(is_told, "the worker says what it handled", seconds=60.0)
    for stopped in services:
        stopped.stop()

    def are_silent():
        return not any(s["alive"] for s in status("--catalog", url)["services"])

    wait_until(are_silent, "worker and catalog fall silent", seconds=60.0)
    last = {s["service"]: s for s in status("--catalog", url)["services"]}
    assert last["worker"]["handled"] == 7
    assert last["worker"]["in_hand"] is None
    # Two more that nobody has finished: the topics' ends are read.
    delivery.send([arrival(5), arrival(1, "corrected")])
    for asked in (
        ["--all"], ["--all", "--force"], ["--outcome", "failed", "--force"], ["--visits", "0:1"],
        ["--outcome", "none"], ["--all", "--label", "again"], ["--day-obs", "20000101", "--force"],
    ):  # fmt: skip
        assert replay(*asked, "--catalog", url) == replay(*asked), asked

    # By partition, and since when.
    [workers, *_] = status("--catalog", url)["groups"]
    waiting = [p for p in workers["partitions"] if p["lag"]]
    assert sum(p["lag"] for p in waiting) == workers["lag"] == 2
    assert max(p["oldest_unread_seconds"] for p in waiting) == workers["oldest_unread_seconds"]
    shown = CliRunner().invoke(app, ["status", "--catalog", url], env={"COLUMNS": "200"}).stdout
    assert "oldest unread" in shown

    # Scripts ask by the exit code, people look on.
    limited = ["status", "--catalog", url, "--most-waiting"]
    assert CliRunner().invoke(app, [*limited, "2"]).exit_code == 0
    refused = CliRunner().invoke(app, [*limited, "1"])
    assert refused.exit_code == 1
    assert "2 arrivals wait, more than 1" in refused.stderr
    looks = []

    def pause(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("residua.cli.events.status.time.sleep", pause)
    watched = CliRunner().invoke(app, ["status", "--catalog", url, "--json", "--watch", "7"])
    assert watched.exit_code == 0
    assert looks == [7.0, 7.0]
    assert [json.loads(line)["waiting"] for line in watched.stdout.splitlines()] == [2, 2]
