"""Logs that do not flood."""

import json
import logging
import re
from pathlib import Path

import structlog

from residua.settings import ServiceSettings
from residua.telemetry import configure_logging


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
    # Of every line, whoever writes it.
    page = Path(__file__).parents[2] / "docs" / "how-to" / "operate" / "logs.md"
    first, *_ = page.read_text().split("Where it applies")
    documented = set(re.findall(r"^\| `(\w+)` \|", first, re.MULTILINE))
    assert documented == {"timestamp", "level", "service", "logger", "event"}
    assert all(documented <= set(line) for line in lines)
    assert lines[0]["event"] == "outcome"
    assert {k: lines[0][k] for k in ("service", "visit", "detector", "dataset_id")} == {
        "service": "worker",
        "visit": 7,
        "detector": 4,
        "dataset_id": "d",
    }
    assert [line["event"] for line in lines[1:]] == ["plain words", "the broker is away"]
