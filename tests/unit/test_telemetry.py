"""Logs that do not flood, metrics that do not raise, a sign of life."""

import json
import logging
import time

import structlog

from residua.settings import ServiceSettings
from residua.telemetry import Metrics, configure_logging, touch_heartbeat


def test_lines_are_json_with_what_was_bound(capsys):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging(ServiceSettings(), "worker")
        log = structlog.get_logger("residua.test").bind(visit=7, detector=4)
        log.info("outcome", dataset_id="d")
        logging.getLogger("elsewhere").warning("plain %s", "words")
        for _ in range(500):
            logging.getLogger("aiokafka.conn").error("the broker is away")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert lines[0]["event"] == "outcome"
    assert {k: lines[0][k] for k in ("service", "visit", "detector", "dataset_id")} == {
        "service": "worker",
        "visit": 7,
        "detector": 4,
        "dataset_id": "d",
    }
    assert [line["event"] for line in lines[1:]] == ["plain words", "the broker is away"]


def test_metrics_count_and_never_raise():
    metrics = Metrics()
    metrics.outcome("created")
    metrics.outcome("failed", "CorruptFileError")
    metrics.retry("TransientError")
    metrics.rows_changed(-1)
    metrics.templates("many")
    metrics.handled(taken=time.monotonic() - 12.0, timestamp_ms=0)
    value = metrics.registry.get_sample_value
    assert value("residua_outcomes_total", {"outcome": "created", "error": ""}) == 1
    assert value("residua_processing_seconds_bucket", {"le": "10.0"}) == 0
    assert value("residua_processing_seconds_bucket", {"le": "15.0"}) == 1
    assert value("residua_processing_seconds_bucket", {"le": "300.0"}) == 1


def test_a_port_in_use_does_not_stop_the_service():
    import socket

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        Metrics().serve(taken.getsockname()[1])


def test_the_sign_of_life_is_a_file_and_its_absence_no_error(tmp_path):
    touch_heartbeat(None)
    touch_heartbeat(tmp_path / "no" / "such")
    touch_heartbeat(tmp_path / "alive")
    assert (tmp_path / "alive").exists()
