"""Whom a failed outcome names: whoever the input that failed belongs to."""

import pickle
from dataclasses import replace

import pytest

from residua.errors import CorruptFileError, UnknownInstrumentError, blaming
from residua.identity import Run
from residua.processing import ProcessingContext, process
from residua.simulation.input_files import write_template, write_visit_image
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.objects import checksum_of
from residua.storage.store import ImageFileStore
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import BadImageError, SubtractionError, caused_by
from residua.subtraction.images import TemplateImage
from residua.subtraction.subtract import subtract


@pytest.fixture
def place(tmp_path, science, observation):
    for name in ("visits", "templates"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README").touch()
    write_visit_image(tmp_path / "visits" / "v.fits", science, observation)
    template = TemplateImage(science.image, science.variance, science.mask, science.wcs)
    write_template(
        tmp_path / "templates" / "t.fits", template, skymap="s", tract=3, patch=4, band="r"
    )
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:20000])


def forbid(path):
    # Root may read everything: a folder cannot be read by anyone.
    path.unlink()
    path.mkdir()


def replace_with_text(path):
    path.write_bytes(b"<html>not found</html>")


@pytest.mark.parametrize("known_checksum", [True, False])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), cut, forbid, replace_with_text])
@pytest.mark.parametrize(
    ("victim", "party", "what"),
    [("visits/v.fits", "producer", "visit image"), ("templates/t.fits", "operator", "template s")],
)
def test_the_input_that_failed_decides(place, harm, victim, party, what, known_checksum):
    arrival = describe_visit_image(str(place / "visits" / "v.fits"))
    template = describe_template(str(place / "templates" / "t.fits"), "dp1", band=arrival.band)
    harm(place / victim)
    if not known_checksum:
        # The harm was done before the file was described.
        arrival = arrival.model_copy(update={"image_checksum": None})
        if (place / "templates" / "t.fits").is_file():
            content = (place / "templates" / "t.fits").read_bytes()
            template = template.model_copy(update={"checksum": checksum_of(content)})
    outcome = run(place, arrival, template)
    assert (outcome.outcome, outcome.responsible) == ("failed", party)
    assert outcome.message.startswith(what)


def test_a_template_outside_the_roots_is_the_operators(place):
    arrival = describe_visit_image(str(place / "visits" / "v.fits"))
    template = describe_template(str(place / "templates" / "t.fits"), "dp1", band=arrival.band)
    outcome = run(place, arrival, template, template_roots=["/nowhere"])
    assert (outcome.error, outcome.responsible) == ("UriNotAllowedError", "operator")
    other = arrival.model_copy(update={"image_uri": "/etc/passwd"})
    outcome = run(place, other, template)
    assert (outcome.error, outcome.responsible) == ("UriNotAllowedError", "producer")


def test_memory_is_ours(place, monkeypatch):
    arrival = describe_visit_image(str(place / "visits" / "v.fits"))
    template = describe_template(str(place / "templates" / "t.fits"), "dp1", band=arrival.band)

    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr("residua.processing.making.subtract", exhausted)
    outcome = run(place, arrival, template)
    assert (outcome.error, outcome.responsible) == ("ResourceExhaustedError", "residua")


def test_a_subtraction_names_the_input_that_is_wrong(science):
    template = TemplateImage(science.image, science.variance, science.mask, science.wcs)
    wrong_unit = replace(template, unit="adu")
    with pytest.raises(BadImageError) as caught:
        subtract(science, [wrong_unit])
    assert caught.value.input == "template"
    with pytest.raises(BadImageError) as caught:
        subtract(replace(science, unit="adu"), [template])
    assert caught.value.input == "science"
    with pytest.raises(BadImageError) as caught:
        subtract(science, [replace(template, mask=template.mask[:-1])])
    assert caught.value.input == "template"


def test_blame_travels_between_processes():
    with pytest.raises(CorruptFileError) as caught, blaming("operator", "template", "mend it"):
        raise CorruptFileError("broken", bytes=3)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.responsible, again.message) == ("operator", "template: broken; mend it")
    with pytest.raises(SubtractionError) as named, caused_by("template"):
        raise BadImageError("x")
    assert pickle.loads(pickle.dumps(named.value)).input == "template"


def test_an_instrument_without_description_stays_the_operators():
    with pytest.raises(UnknownInstrumentError) as caught, blaming("producer", "visit image", "x"):
        raise UnknownInstrumentError("no such instrument")
    assert caught.value.responsible == "operator"


def run(place, arrival, template, **options):
    roots = {
        "input_roots": [str(place / "visits")],
        "template_roots": [str(place / "templates")],
        "output_root": str(place / "out"),
    }
    store = ImageFileStore(**{**roots, **options})
    context = ProcessingContext(Run(SubtractionConfig(), "dp1", "0.1.0"))
    return process(arrival, [template], store, context)
