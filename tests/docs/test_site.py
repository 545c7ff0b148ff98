"""The site is built without a warning, needs nothing from elsewhere, and misses nothing."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from docs.tools import read_code, reference

from residua.cli.main import app
from residua.subtraction.masks import MaskBit
from residua.testing.difference_images import difference_image_event, write_file
from residua_schemas import SCHEMA_VERSION

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(directory)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return directory


def page(site: Path, name: str) -> str:
    return (site / "reference" / f"{name}.html").read_text(encoding="utf-8")


def test_it_fetches_nothing_from_elsewhere(site):
    for html in site.rglob("*.html"):
        text = html.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), html
        links = re.findall(r'<link[^>]+rel="(?:stylesheet|preload|icon)"[^>]*>', text)
        assert not [link for link in links if re.search(r'href="(?:https?:)?//', link)], html


def test_formulas_are_drawn_without_a_script(site):
    text = (site / "concepts" / "method.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20
    assert "$$" not in text


def test_every_setting_is_there(site):
    text = page(site, "settings")
    for model in reference.all_settings():
        assert model in {reference._resolve(place) for place in reference.SERVICES.values()}
        for name, field in model.model_fields.items():
            assert f"RESIDUA_{name.upper()}" in text
            assert field.description, f"{model.__name__}.{name}"


def test_every_variable_that_a_page_names_is_a_setting():
    known = {f"RESIDUA_{n.upper()}" for m in reference.all_settings() for n in m.model_fields}
    for path in (REPOSITORY / "docs").rglob("*.md"):
        named = set(re.findall(r"\bRESIDUA_[A-Z_]+[A-Z]\b", path.read_text()))
        assert named <= known, path


def test_every_command_and_option_is_there(site):
    text = page(site, "command-line")
    for path, command in read_code.commands("residua", typer.main.get_command(app)):
        if getattr(command, "commands", None):
            continue
        assert path in text
        for parameter in command.params:
            assert parameter.opts[0] in text
            assert getattr(parameter, "help", None), f"{path} {parameter.opts}"


def test_every_field_of_every_event_is_there(site):
    text = page(site, "events")
    newest = REPOSITORY / "schemas" / "json" / f"v{SCHEMA_VERSION}"
    schemas = [json.loads(path.read_text()) for path in newest.glob("*.json")]
    parts = [part for schema in schemas for part in (schema, *schema.get("$defs", {}).values())]
    named = {name for part in parts for name in part.get("properties", {})}
    assert len(named) > 40
    assert not {name for name in named if f"<code>{name}</code>" not in text}


def test_every_card_of_a_file_is_there(site, tmp_path):
    from astropy.io import fits

    path = tmp_path / "difference.fits"
    write_file(path, difference_image_event(2026112200101, 1, path.as_uri()))
    structure = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", "CHECKSUM", "DATASUM"}
    text = page(site, "fits-cards")
    with fits.open(path) as hdus:
        ours = {re.sub(r"^(TMPL|TSUM)\d\d$", r"\g<1>01", key) for key in hdus[0].header if key}
    archive = {k for k in ours if re.match(r".*(?:JSON|INDX)|DATAMODL|FMTVER|DATE$", k)}
    missing = {k for k in ours - structure - archive if f"<code>{k}</code>" not in text}
    assert not missing
    assert len(ours) > 30


def test_every_mask_plane_is_there(site):
    text = page(site, "mask-planes")
    assert set(reference.MEANINGS) == set(MaskBit.__members__)
    for name in MaskBit.__members__:
        assert f"<code>{name}</code>" in text


def test_every_metric_is_there(site):
    text = page(site, "metrics")
    named = set()
    for path in (REPOSITORY / "services").rglob("*.py"):
        found = re.findall(
            r'(?:Counter|Gauge|Histogram|MetricDescription)\(\s*"(residua_\w+)"', path.read_text()
        )
        named |= set(found)
    assert len(named) > 10
    for name in named:
        assert name in text


def test_every_error_is_there_and_says_for_whom(site):
    text = page(site, "errors")
    for module in ("residua.errors", "residua.subtraction.errors"):
        for name in import_module(module).__all__:
            if name.endswith("Error"):
                assert f"<code>{name}</code>" in text


def test_every_name_of_the_library_is_there(site):
    import residua

    text = page(site, "api")
    for name in set(residua.__all__) - {"__version__", "MaskBit"}:
        assert re.search(rf">\s*{name}\s*<", text), name


def test_no_page_and_no_comment_cites_what_nobody_outside_can_read():
    places = (("docs", "*.md"), ("services", "*.py"), ("schemas", "*.py"), ("tests", "*.py"))
    texts = [p for folder, names in places for p in (REPOSITORY / folder).rglob(names)]
    for path in {*texts, REPOSITORY / "README.md"} - {Path(__file__)}:
        assert not re.search(r"\bFIDELITY\b|DESIGN\.md|\bstudy\b", path.read_text()), path


def test_every_page_that_the_code_cites_exists():
    for path in (REPOSITORY / "services").rglob("*.py"):
        for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text()):
            assert (REPOSITORY / page).exists(), f"{path} cites {page}"


def test_the_runbook_and_the_pages_by_symptom_name_each_other():
    docs = REPOSITORY / "docs"
    sections = re.split(r"^## ", (docs / "runbook.md").read_text(), flags=re.MULTILINE)[1:]
    to_pages = {
        (section.partition("\n")[0].lower().replace(" ", "-"), page)
        for section in sections
        for page in re.findall(r"\(how-to/operate/([\w-]+)\.md\)", section)
    }
    to_runbook = {
        (anchor, path.stem)
        for path in (docs / "how-to" / "operate").glob("*.md")
        for anchor in re.findall(r"runbook\.md#([\w-]+)\)", path.read_text())
    }
    assert to_pages == to_runbook
    pages = {path.stem for path in (docs / "how-to" / "operate").glob("*.md")}
    assert {page for _, page in to_pages} == pages
