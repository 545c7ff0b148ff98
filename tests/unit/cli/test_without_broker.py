"""Tools without a broker: one line, and nothing else."""

import asyncio
import gc
import warnings
from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from residua.cli.main import app
from residua.messaging.client import consumer
from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["replay", "--all", "--dry-run"],
        ["dead-letters", "list"],
        ["dead-letters", "requeue", "a/0/0"],
        ["templates", "list"],
        ["topics", "create"],
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
    assert said[0].startswith("residua: KafkaConnectionError: no broker answers at 127.0.0.1:1 (")
    assert "Connect call failed" in said[0]
    assert "--bootstrap or RESIDUA_KAFKA_BOOTSTRAP" in said[0]
    # Nor does the client say it in its own words, beside.
    assert "Unable" not in caplog.text
    assert "Unclosed" not in caplog.text


def test_a_log_of_outcomes_that_cannot_be_read_leaves_what_was_there(tmp_path):
    log = tmp_path / "outcomes.jsonl"
    log.write_text("of yesterday\n")
    done = CliRunner().invoke(app, ["export-log", str(log), "--bootstrap", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert "no broker answers at 127.0.0.1:1" in done.stderr
    assert [p.read_text() for p in tmp_path.iterdir()] == ["of yesterday\n"]


@pytest.mark.parametrize("answers", [True, False])
def test_an_address_in_vain_is_told_by_the_client_only_where_another_answers(
    answers, caplog, monkeypatch
):
    # Else the client tries the addresses in any order.
    monkeypatch.setattr("aiokafka.conn.random.shuffle", lambda hosts: None)
    bootstrap = "127.0.0.1:1"
    with EmbeddedBroker() if answers else nullcontext() as broker:
        if broker is not None:
            bootstrap = f"127.0.0.1:1,{broker.bootstrap}"
        settings = KafkaSettings(kafka_bootstrap=bootstrap)

        async def start():
            async with consumer(settings) as client:
                await client.topics()

        async def several():
            return await asyncio.gather(start(), start(), return_exceptions=True)

        errors = asyncio.run(several())
    told = [r for r in caplog.records if "Unable connect" in r.getMessage()]
    assert len(told) == (2 if answers else 0)
    for error in errors:
        # Each says why, whichever was first.
        assert (error is None) if answers else "Connect call failed" in str(error)
