"""What the README shows works as written."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from residua.messaging.client import read_to_end
from residua.messaging.settings import KafkaSettings
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits
from residua.simulation.sky import scene, simulate_pair
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import NextVisit, VisitArrival

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def code_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [block] = [b for b in blocks if containing in b]
    return block


def test_the_library_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pair = simulate_pair(replace(scene("deep"), shape=(700, 720), patches=(1, 1)), seed=31)
    observation = Observation("Simulated", 1, 0, 20261122, "r", "r_sim", "Simulated")
    write_plain_fits(tmp_path / "visit.fits", pair.science, observation)
    write_plain_fits(tmp_path / "coadd.fits", pair.templates[0], observation)
    monkeypatch.chdir(tmp_path)
    exec(code_block("python", "from residua.subtraction.subtract import subtract"), {})
    s, count = capsys.readouterr().out.split()
    assert float(s) == pytest.approx(1.0, abs=0.05)
    assert int(count) > 0


def test_the_events_of_the_first_event_section_are_valid():
    shell = code_block("sh", "kcat")
    key, body = re.search(r"echo '(\S+)\|(\{.*\})'", shell).groups()
    arrival = VisitArrival.model_validate_json(body)
    assert arrival.visit_detector.key.decode() == key
    java = code_block("java", "ProducerRecord")
    body = re.search(r'"""\s*(\{.*?\})"""', java, re.DOTALL).group(1)
    assert VisitArrival.model_validate_json(body).band == "r"


def test_the_producers_in_python_send_what_they_show():
    with EmbeddedBroker() as broker:
        names: dict[str, object] = {}
        for library in ("AIOKafkaProducer", "confluent_kafka"):
            shown = code_block("python", library)
            assert "127.0.0.1:9092" in shown
            exec(shown.replace("127.0.0.1:9092", broker.bootstrap), names)
        sent = asyncio.run(_arrivals(broker.bootstrap))
    # The same bytes under the same key, in the same partition.
    assert len(sent) == 2
    assert sent[0] == sent[1]
    arrival = VisitArrival.model_validate_json(sent[0][2])
    assert sent[0][1] == arrival.visit_detector.key


async def _arrivals(bootstrap: str):
    settings = KafkaSettings(kafka_bootstrap=bootstrap)
    return [(r.partition, r.key, r.value) async for r in read_to_end(settings, "visit-arrivals")]


def test_the_announcement_of_the_delivery_guide_is_valid():
    guide = (REPOSITORY / "docs" / "delivery.md").read_text(encoding="utf-8")
    key, body = re.search(r"echo '(\S+)\|(\{.*\})'", guide).groups()
    assert NextVisit.model_validate_json(body).key.decode() == key


def test_every_file_the_readme_links_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_the_two_commands_are_there():
    assert "pip install -c constraints.txt . && residua demo" in README
    assert "pip install -c constraints.txt -e '.[test]' && pytest" in README
