"""Pieces of a replay that need no broker: the progress file, the rate, options and labels."""

import asyncio
import time

import pytest
from tests.support.kafka_tools import arrival
from typer.testing import CliRunner

from residua.cli.main import app
from residua.errors import MalformedEventError
from residua.replay import (
    RUN_LABEL_HEADER,
    PlannedArrival,
    ProgressFile,
    run_label,
    send_planned,
)
from residua.replay.progress import ReplayStart
from residua_schemas import ArrivalPlace


def test_a_line_cut_short_is_sent_again(tmp_path):
    path = tmp_path / "progress.jsonl"
    start = ReplayStart("id", "question", {"visit-arrivals": {0: 3}})
    with ProgressFile(path).open(start) as progress:
        progress.sent(["LSSTCam/1/0@0", "LSSTCam/2/0@0"])
    path.write_text(path.read_text()[:-8])
    assert ProgressFile(path).read() == (start, frozenset({"LSSTCam/1/0@0"}))
    with ProgressFile(path).open(start) as progress:
        progress.sent(["LSSTCam/3/0@0"])
    assert ProgressFile(path).read()[1] == {"LSSTCam/1/0@0", "LSSTCam/3/0@0"}


def test_rate_is_kept():
    times = []

    async def send_one(_record):
        times.append(time.monotonic())

    planned = [
        PlannedArrival(arrival(v), ArrivalPlace(append_time_ms=0, partition=0, offset=v), "none")
        for v in range(11)
    ]
    sent = asyncio.run(send_planned(planned, send_one, topic="t", replay_id="r", rate=20.0))
    assert sent == 11
    assert times[-1] - times[0] >= 0.49


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--all"),
        (("--day-obs", "x"), "FIRST:LAST"),
        (("--visits", "9:1"), "before it begins"),
        (("--outcome", "lost"), "none of"),
        (("--offsets", "0:a"), "PARTITION:FIRST-LAST"),
        (("--all", "--label", "a/b"), "--label"),
    ],
)
def test_wrong_options(arguments, complaint):
    result = CliRunner().invoke(app, ["replay", *arguments, "--bootstrap", "127.0.0.1:1"])
    assert result.exit_code == 2
    assert complaint in result.output


def test_label_that_cannot_be_one():
    with pytest.raises(MalformedEventError, match="label"):
        run_label([(RUN_LABEL_HEADER, b"../x")])
