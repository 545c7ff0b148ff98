"""What the README and the pages show works as written."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from docs.tools import read_code

from residua.cli.main import app
from residua.instruments.file import instrument_from_yaml
from residua.messaging.client import read_to_end
from residua.messaging.settings import KafkaSettings
from residua.ports import Observation
from residua.simulation.input_files import write_plain_fits
from residua.simulation.sky import scene, simulate_pair
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import NextVisit, VisitArrival

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


PAGES = {
    str(p.relative_to(REPOSITORY / "docs")): p.read_text(encoding="utf-8")
    for p in (REPOSITORY / "docs").rglob("*.md")
}
TELESCOPE, EVENTS = PAGES["how-to/my-telescope.md"], PAGES["how-to/send-events.md"]


def code_block(language: str, containing: str, page: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    [block] = [b for b in blocks if containing in b]
    return block


@pytest.mark.parametrize("page", [README, PAGES["how-to/library.md"]], ids=["readme", "library"])
def test_the_library_example_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    pair = simulate_pair(replace(scene("deep"), shape=(700, 720), patches=(1, 1)), seed=31)
    observation = Observation("Simulated", 1, 0, 20261122, "r", "r_sim", "Simulated")
    write_plain_fits(tmp_path / "visit.fits", pair.science, observation)
    write_plain_fits(tmp_path / "coadd.fits", pair.templates[0], observation)
    monkeypatch.chdir(tmp_path)
    exec(code_block("python", "ScienceImage", page), {})
    s, count = capsys.readouterr().out.split()
    assert float(s) == pytest.approx(1.0, abs=0.05)
    assert int(count) > 0


def test_the_events_of_the_first_event_section_are_valid():
    for page in (README, EVENTS):
        shell = code_block("sh", "kcat", page)
        key, body = re.search(r"echo '(\S+)\|(\{.*\})'", shell).groups()
        arrival = VisitArrival.model_validate_json(body)
        assert arrival.visit_detector.key.decode() == key
    java = code_block("java", "ProducerRecord", EVENTS)
    body = re.search(r'"""\s*(\{.*?\})"""', java, re.DOTALL).group(1)
    assert VisitArrival.model_validate_json(body).band == "r"


def test_the_producers_in_python_send_what_they_show():
    with EmbeddedBroker() as broker:
        names: dict[str, Any] = {}
        for library in ("AIOKafkaProducer", "confluent_kafka"):
            shown = code_block("python", library, EVENTS)
            assert "127.0.0.1:9092" in shown
            exec(shown.replace("127.0.0.1:9092", broker.bootstrap), names)
        # It would look for its broker as long as it is held.
        names.pop("producer").close()
        sent = asyncio.run(_arrivals(broker.bootstrap))
    # The same bytes under the same key, in the same partition.
    assert len(sent) == 2
    assert sent[0] == sent[1]
    arrival = VisitArrival.model_validate_json(sent[0][2])
    assert sent[0][1] == arrival.visit_detector.key


async def _arrivals(bootstrap: str):
    settings = KafkaSettings(kafka_bootstrap=bootstrap)
    return [(r.partition, r.key, r.value) async for r in read_to_end(settings, "visit-arrivals")]


def test_the_package_of_contracts_shows_what_works():
    names: dict = {}
    page = (REPOSITORY / "schemas" / "README.md").read_text(encoding="utf-8")
    exec(code_block("python", "VisitArrival", page), names)
    assert VisitArrival.model_validate_json(names["value"]) == names["arrival"]


def test_the_instrument_file_of_the_guide_is_one():
    instrument = instrument_from_yaml(code_block("yaml", "facility_name", TELESCOPE), "guide")
    assert instrument.name == "MyCam"
    assert instrument.filters[0].band == "r"


def test_the_announcement_of_the_delivery_guide_is_valid():
    key, body = re.search(r"echo '(\S+)\|(\{.*\})'", PAGES["delivery.md"]).groups()
    assert NextVisit.model_validate_json(body).key.decode() == key


def test_every_command_shown_exists_with_its_options():
    commands = {
        path.removeprefix("residua ").strip(): {
            name for p in c.params for name in (*p.opts, *p.secondary_opts)
        }
        for path, c in read_code.commands("residua", typer.main.get_command(app))
    }
    shown = [
        line
        for page in (README, *PAGES.values())
        for block in re.findall(r"```(?:console|sh)\n(.*?)```", page, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ] + re.findall(r"`(residua [a-z][^`]*)`", "".join((README, *PAGES.values())))
    found = 0
    for line in shown:
        for call in re.findall(r"(?:^|[&|] )residua ([a-z][^&|#]*)", line):
            words = call.split()
            two = " ".join(words[:2])
            name = two if two in commands else words[0]
            for choice in name.split("|"):
                assert choice in commands, line
            options = {w.split("=")[0] for w in words if w.startswith("--") and len(w) > 2}
            assert options - {"--help"} <= commands[name.split("|")[0]], line
            found += 1
    assert found > 10


def test_every_place_that_contributing_names_exists():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    roots = (REPOSITORY, REPOSITORY / "services" / "residua")
    named = set(re.findall(r"(?<![\w/.])((?:[\w-]+/)+[\w.-]*|\w+\.(?:py|md))", text))
    places = {n.rstrip("./") for n in named if "PACKAGE" not in n}
    assert len(places) > 30
    for place in places:
        assert any((root / place).exists() for root in roots), place


def test_every_file_the_readme_links_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_the_readme_is_short_and_has_the_two_commands():
    assert len(README.encode()) <= 4096
    assert "pip install -c constraints.txt . && residua demo" in README
    assert "pip install -c constraints.txt -e '.[test]' && pytest" in README
