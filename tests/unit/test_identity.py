"""Identity is derived: equal inputs give equal names, any difference that matters another."""

import dataclasses
from uuid import UUID

from residua.identity import (
    Run,
    configuration_hash,
    dataset_id,
    event_id,
    number_of_key,
    object_key,
    publisher_did,
    solution_key,
)
from residua.subtraction.config import SubtractionConfig
from residua_schemas import ImageReading, VisitDetector
from residua_schemas.examples import examples

VISIT = VisitDetector(instrument="LSSTComCam", visit=2024110800253, detector=4)


def test_run_name_changes_with_configuration_template_set_major_version_and_label():
    run = Run(SubtractionConfig(), "dp1", "0.1.0")
    others = [
        Run(SubtractionConfig(detection_threshold=6.0), "dp1", "0.1.0"),
        Run(SubtractionConfig(), "dp2", "0.1.0"),
        Run(SubtractionConfig(), "dp1", "1.0.0"),
        Run(SubtractionConfig(), "dp1", "0.1.0", label="again"),
    ]
    assert len({run.name, *(o.name for o in others)}) == 5
    assert run.name == Run(SubtractionConfig(), "dp1", "0.9.3").name


def test_configuration_hash_sees_every_field():
    base = SubtractionConfig()
    for field in dataclasses.fields(base):
        changed = dataclasses.replace(base, **{field.name: "changed"})
        assert configuration_hash(changed) != configuration_hash(base), field.name


def test_dataset_id_never_changes():
    # A changed value would orphan every published dataset.
    assert dataset_id("residua/0/dp1/3f2a9c51d0be", VISIT) == UUID(
        "ee8556f0-6cfa-592b-a782-e653fcad6c7e"
    )


def test_dataset_ids_differ_by_each_part():
    ids = {
        dataset_id(run, VisitDetector(instrument=i, visit=v, detector=d))
        for run in ("a", "b")
        for i in ("X", "Y")
        for v in (1, 11)
        for d in (1, 11)
    }
    assert len(ids) == 16


def test_object_key_and_publisher_did():
    checksum = "sha256:" + 8 * "0123abcd"
    key = object_key("residua/0/dp1/abc", VISIT, 20241108, 7, checksum)
    assert key == (
        "residua/0/dp1/abc/difference_image/20241108/2024110800253/"
        "difference_image_LSSTComCam_2024110800253_4_7_0123abcd0123.fits"
    )
    assert number_of_key(key) == (7, "0123abcd0123")
    # As releases before the ledger named it.
    assert number_of_key("x/difference_image_LSSTComCam_2024110800253_4.fits") is None
    assert publisher_did("org.example", UUID(int=1)).startswith("ivo://org.example/")


def test_event_id_is_that_of_the_content():
    events = list(examples().values())
    ids = [event_id(e, b"key") for e in events]
    assert ids == [event_id(e, b"key") for e in events]
    assert len(set(ids)) == len(ids)


def test_a_solution_is_of_its_inputs_and_of_how_they_are_read():
    def key(*inputs: tuple[str, ImageReading | None], arithmetic: int = 1) -> str:
        return solution_key("run", VISIT, 20241108, inputs, arithmetic)

    keys = {
        key(("a", None), ("b", None)),
        key(("b", None), ("a", None)),
        key(("a", None), ("b", None), arithmetic=2),
        key(("a", ImageReading(bad_bits=4)), ("b", None)),
        key(("a", ImageReading(saturation=6e4)), ("b", None)),
        key(("a", None), ("b", ImageReading(saturation=6e4))),
    }
    assert len(keys) == 6
    assert key(("a", None), ("b", None)) in keys
