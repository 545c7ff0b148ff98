"""The contracts: examples, strictness, additive evolution, frozen exports, pydantic alone."""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from residua_schemas import (
    SCHEMA_VERSION,
    TOPICS,
    DeadLetter,
    Event,
    SkyPolygon,
    VisitArrival,
    VisitDetector,
    cloudevents_headers,
    outcome_from_json,
)
from residua_schemas.examples import examples
from residua_schemas.export import (
    FrozenSchemaError,
    asyncapi_document,
    check,
    export,
    json_schemas,
)

REPOSITORY = Path(__file__).parents[2]
EXPORTS = REPOSITORY / "schemas"

MINIMAL_ARRIVAL = {
    "visit_detector": {"instrument": "DECam", "visit": 12, "detector": 3},
    "band": "i",
    "image_uri": "s3://visits/12_3.fits",
}

# What each published version contains, as sha256 of its files. A published version never
# changes: a new one is added here, and no line is ever edited.
PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())


@pytest.mark.parametrize("model", examples(), ids=lambda m: m.__name__)
def test_every_event_has_an_example_that_survives_the_wire(model: type[Event]):
    event = examples()[model]
    again = model.model_validate_json(event.model_dump_json(exclude_none=True))
    assert again == event


def test_every_model_of_every_topic_has_an_example():
    assert {m for t in TOPICS for m in t.models} == set(examples())


def test_minimal_arrival_is_enough():
    arrival = VisitArrival.model_validate(MINIMAL_ARRIVAL)
    assert arrival.visit_detector.key == b"DECam/12/3"
    assert arrival.revision == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"band": "no such band name"}, "band"),
        ({"image_uri": ""}, "image_uri"),
        ({"visit_detector": {"instrument": "../x", "visit": 1, "detector": 1}}, "instrument"),
        ({"visit_detector": {"instrument": "X", "visit": -1, "detector": 1}}, "visit"),
        ({"schema_version": "2.0"}, "schema_version"),
        ({"begin_tai": "2026-11-22T00:00:00Z"}, "begin_tai"),
        ({"exposure_time": "NaN"}, "exposure_time"),
        ({"target_name": "x\ufffey"}, "target_name"),
        ({"target_name": "two\nlines"}, "target_name"),
        ({"target_name": "n" * 33}, "target_name"),
        ({"physical_filter": "r\x00"}, "physical_filter"),
        ({"image_checksum": "md5:abc"}, "image_checksum"),
        ({"begin_tai": "2026-11-22T00:01:00", "end_tai": "2026-11-22T00:00:00"}, "begin_tai"),
        ({"region": {"vertices": [[0, 0], [1, 0], [1, 91]]}}, "vertices"),
    ],
)
def test_wrong_arrivals_are_refused_by_field(change: dict, field: str):
    with pytest.raises(ValidationError) as error:
        VisitArrival.model_validate_json(json.dumps({**MINIMAL_ARRIVAL, **change}))
    assert field in str(error.value)


def test_a_newer_minor_version_with_new_fields_is_read():
    body = {**MINIMAL_ARRIVAL, "schema_version": "1.7", "a_field_of_tomorrow": {"x": 1}}
    assert VisitArrival.model_validate(body).band == "i"


def test_outcomes_are_told_apart_by_their_discriminator():
    for event in examples().values():
        if type(event).__name__.startswith("DifferenceImage"):
            assert type(outcome_from_json(event.model_dump_json())) is type(event)


def test_dead_letter_keeps_any_bytes():
    raw = bytes(range(256))
    letter = DeadLetter(
        error="MalformedEventError",
        responsible="producer",
        message="not JSON",
        service="worker",
        topic="visit-arrivals",
        partition=0,
        offset=0,
        value=base64.b64encode(raw),
    )
    assert DeadLetter.model_validate_json(letter.model_dump_json()).value == raw


def test_cloudevents_headers_are_bytes_and_complete():
    arrival = VisitArrival.model_validate(MINIMAL_ARRIVAL)
    headers = dict(cloudevents_headers(arrival, event_id="1", source="/observatory"))
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"org.residua.visit-arrival.v1"
    assert all(isinstance(v, bytes) for v in headers.values())


@pytest.mark.parametrize(
    ("vertices", "center"),
    [
        (((359.9, -0.1), (0.1, -0.1), (0.1, 0.1), (359.9, 0.1)), (0.0, 0.0)),
        (((10.0, 89.9), (100.0, 89.9), (190.0, 89.9), (280.0, 89.9)), (None, 90.0)),
    ],
)
def test_polygon_center_and_radius_across_the_wrap_and_at_the_pole(vertices, center):
    region = SkyPolygon(vertices=vertices)
    ra, dec = region.center
    assert dec == pytest.approx(center[1], abs=1e-6)
    if center[0] is not None:
        assert min(ra, 360.0 - ra) == pytest.approx(0.0, abs=1e-9)
    assert region.radius == pytest.approx(0.1 if center[0] is None else 0.1414214, rel=1e-4)
    assert region.s_region.startswith("POLYGON ICRS ")


def test_visit_detector_names_itself():
    assert str(VisitDetector(instrument="LSSTCam", visit=7, detector=94)) == "LSSTCam/7/94"


def test_exports_are_those_of_this_code():
    check(EXPORTS)


def test_published_versions_never_change():
    found = {
        version.name: {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(version.iterdir())
        }
        for version in sorted((EXPORTS / "json").iterdir())
    }
    assert found == PUBLISHED


def test_export_refuses_to_change_a_published_version(tmp_path: Path):
    first = export(tmp_path)
    assert export(tmp_path) == first
    victim = tmp_path / "json" / f"v{SCHEMA_VERSION}" / "visit-arrival.schema.json"
    victim.write_text(victim.read_text().replace("Band name.", "Something else."))
    with pytest.raises(FrozenSchemaError, match="visit-arrival"):
        export(tmp_path)
    with pytest.raises(FrozenSchemaError, match="differs"):
        check(tmp_path)


def test_asyncapi_yaml_is_the_document():
    assert yaml.safe_load((EXPORTS / "asyncapi.yaml").read_text()) == asyncapi_document()


def test_json_schemas_describe_units_of_every_number():
    arrival = json_schemas()["visit-arrival"]["properties"]
    assert "seconds" in arrival["exposure_time"]["description"]


def test_contracts_import_with_pydantic_alone():
    script = (
        "import sys, residua_schemas, residua_schemas.export, residua_schemas.examples\n"
        "names = {m.partition('.')[0] for m in sys.modules}\n"
        "print(sorted(names & {'residua', 'numpy', 'astropy', 'aiokafka', 'faust', 'yaml'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
