"""An image made again: the very bytes, or an error that says why not and who should act."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from residua.obscore.opening import open_existing
from residua.recreation import RecreationSettings, Recreator
from residua.recreation.differences import differences
from residua.recreation.errors import (
    ChangedInputError,
    IncompatibleVersionError,
    LostInputError,
    RecreationDiffersError,
    UnknownConfigurationError,
    UnknownImageError,
)
from residua.recreation.lookup.find import (
    Wanted,
    created_at,
    find_in_catalog,
    find_in_log,
)
from residua.storage.objects import local_path
from residua.storage.runs.run_record import RunChangedError, RunRecord, keep_run, read_run


def digest(path):
    return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def recreator(tmp_path):
    return Recreator(RecreationSettings(), tmp_path / "recreated")


def test_every_image_of_the_night_comes_back_byte_for_byte(night, tmp_path):
    recreator = Recreator(RecreationSettings(), tmp_path, preview=True)
    assert len(night.created) == 2
    for created in night.created:
        made = recreator.as_made(created)
        original = local_path(created.uri)
        assert made.path.name == original.name
        assert made.path.read_bytes() == original.read_bytes()
        assert digest(made.path) == created.checksum
        assert digest(made.detections) == created.detections.checksum
        assert made.preview.read_bytes() == local_path(created.preview_uri).read_bytes()
        assert made.outcome == created
    names = sorted(p.suffix for p in tmp_path.iterdir())
    assert names == [".fits", ".fits", ".parquet", ".parquet", ".png", ".png"]


def test_another_process_with_other_threads_and_moved_inputs_makes_the_same(
    night, image, tmp_path, copy_of
):
    moved = copy_of(Path(night.root), "elsewhere")
    script = (
        "import sys; from pathlib import Path\n"
        "from residua.recreation import RecreationSettings, Recreator\n"
        "from residua_schemas import outcome_from_json\n"
        "outcome = outcome_from_json(sys.stdin.read())\n"
        f"folder = Path({str(tmp_path / 'out')!r})\n"
        "made = Recreator(RecreationSettings(), folder).as_made(outcome)\n"
        "print(made.path)"
    )
    environment = {
        **os.environ,
        "RESIDUA_THREADS": "3",
        "RESIDUA_MOVED_ROOTS": json.dumps(
            {night.root: str(moved), f"file://{night.root}": moved.as_uri()}
        ),
        # Whoever reads the originals all the same would be told.
        "RESIDUA_INPUT_ROOTS": json.dumps([f"{moved}/visits"]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=image.model_dump_json(),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert digest(done.stdout.strip()) == image.checksum


def test_a_changed_visit_image_is_refused_and_nothing_is_left(
    image, recreator, keep_inputs, tmp_path
):
    path = keep_inputs(image.visit_image.uri)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ChangedInputError, match="the visit image of") as caught:
        recreator.as_made(image)
    assert caught.value.responsible == "operator"
    assert image.visit_image.checksum in caught.value.message
    assert list((tmp_path / "recreated").iterdir()) == []


def test_a_changed_and_a_lost_template_are_told_apart(image, recreator, keep_inputs):
    path = keep_inputs(image.templates[0].uri)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(ChangedInputError, match="the template"):
        recreator.as_made(image)
    path.unlink()
    with pytest.raises(LostInputError, match="put the file back"):
        recreator.as_made(image)


def test_an_unknown_choice_and_a_damaged_configuration_are_refused(image, recreator):
    changed = image.model_copy(
        update={"configuration": {**image.configuration, "spatial_order": 3}}
    )
    with pytest.raises(UnknownConfigurationError, match="the outcome was damaged"):
        recreator.as_made(changed)
    later = {**image.configuration, "warp_speed": 9}
    text = json.dumps(later, sort_keys=True, separators=(",", ":"))
    unknown = image.model_copy(
        update={
            "configuration": later,
            "configuration_hash": hashlib.sha256(text.encode()).hexdigest(),
        }
    )
    with pytest.raises(UnknownConfigurationError):
        recreator.as_made(unknown)
    # Not of this run's either.
    with pytest.raises(UnknownConfigurationError, match="warp_speed"):
        Recreator(
            RecreationSettings(output_root=str(recreator._folder)), recreator._folder
        ).as_made(unknown)


def test_another_major_version_is_refused_before_anything_is_read(image, recreator):
    made_by = image.model_copy(update={"software": {**image.software, "residua": "9.0.1"}})
    with pytest.raises(IncompatibleVersionError, match=r"made by residua 9\.0\.1"):
        recreator.as_made(made_by)


def test_other_bytes_are_never_handed_on_and_it_says_what_differs(image, recreator, tmp_path):
    # As if another release of numpy had made it, with another last bit.
    other = image.model_copy(
        update={
            "checksum": "sha256:" + 64 * "0",
            "software": {**image.software, "numpy": "1.0.0"},
            "quality": image.quality.model_copy(update={"pull_rms": 1.5}),
        }
    )
    with pytest.raises(RecreationDiffersError) as caught:
        recreator.as_made(other)
    found = {d.what: (d.then, d.now) for d in caught.value.differences}
    assert found["checksum"][0] == other.checksum
    assert found["software.numpy"] == ("1.0.0", image.software["numpy"])
    assert found["quality.pull_rms"] == (1.5, image.quality.pull_rms)
    assert "software.numpy 1.0.0, now" in caught.value.message
    assert list((tmp_path / "recreated").iterdir()) == []
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.differences == caught.value.differences
    assert differences(image, image) == ()


def test_the_run_remembers_what_it_was_made_with(night, image, recreator, tmp_path):
    record = read_run(night.output_root, image.run)
    assert record.configuration_hash == image.configuration_hash
    assert record.configuration == image.configuration
    keep_run(night.output_root, record)
    with pytest.raises(RunChangedError, match="lossless False, now True"):
        keep_run(night.output_root, RunRecord(**{**vars(record), "lossless": True}))
    assert read_run(night.output_root, image.run) == record
    assert read_run(str(tmp_path), image.run) is None


def test_a_lossless_run_comes_back_without_being_told(night, tmp_path, image):
    # The record beside the images, not the environment, says how they were compressed.
    record = read_run(night.output_root, image.run)
    root = tmp_path / "images"
    keep_run(str(root), RunRecord(**{**vars(record), "lossless": True}))
    recreator = Recreator(RecreationSettings(output_root=str(root)), tmp_path / "out")
    with pytest.raises(RecreationDiffersError, match="size_bytes"):
        recreator.as_made(image)


def test_outcomes_are_found_in_catalog_log_and_ledger(night, image, catalog_url, tmp_path):
    log = tmp_path / "outcomes.jsonl"
    log.write_text("\n".join(o.model_dump_json() for o in night.outcomes) + "\n")
    engine = open_existing(catalog_url)
    for wanted in (
        Wanted(dataset_id=image.dataset_id),
        Wanted(visit_detector=image.visit_detector),
        Wanted(visit_detector=image.visit_detector, run=image.run),
    ):
        assert find_in_catalog(engine, wanted) == find_in_log(log, wanted) == image
    assert created_at(image.uri) == image
    assert created_at(str(local_path(image.uri))) == image
    nobody = Wanted(dataset_id=image.visit_detector and night.templates[0].dataset_id)
    with pytest.raises(UnknownImageError):
        find_in_catalog(engine, nobody)
    with pytest.raises(UnknownImageError):
        find_in_log(log, nobody)
    with pytest.raises(UnknownImageError, match="no address"):
        created_at(image.visit_image.uri)
    engine.dispose()


def test_the_kept_solution_is_applied_and_none_is_found_again(night, image, tmp_path, monkeypatch):
    assert local_path(image.solution.uri).stat().st_size == image.solution.size_bytes

    def solved_again(*_, **__):
        raise AssertionError("a kept solution needs no fit")

    monkeypatch.setattr("residua.recreation.recreator.solve_and_apply", solved_again)
    made = Recreator(RecreationSettings(), tmp_path).as_made(image)
    assert digest(made.path) == image.checksum


def test_a_lost_or_damaged_solution_is_found_again(night, image, recreator, keep_inputs):
    path = keep_inputs(image.solution.uri)
    path.write_bytes(path.read_bytes()[:-100])
    assert digest(recreator.as_made(image).path) == image.checksum
    path.unlink()
    made = recreator.as_made(image)
    assert digest(made.path) == image.checksum
    assert "sha256:" + hashlib.sha256(made.solution).hexdigest() == image.solution.checksum


def test_of_two_who_solve_the_first_stored_solution_wins(night, image, tmp_path):
    from residua.storage.forms.solution_file import read_solution, write_solution
    from residua.storage.runs.solutions import SolutionFiles

    shelf = SolutionFiles(str(tmp_path))
    solution = read_solution(local_path(image.solution.uri).read_bytes())
    assert shelf.find("run/a.residua") is None
    first = shelf.keep("run/a.residua", solution)
    assert first.solution is solution
    other = read_solution(local_path(night.created[1].solution.uri).read_bytes())
    second = shelf.keep("run/a.residua", other)
    assert second.reference == first.reference
    assert write_solution(second.solution) == write_solution(solution) != write_solution(other)
    (tmp_path / "run/a.residua").write_bytes(write_solution(solution)[:-9])
    assert shelf.find("run/a.residua") is None
    third = shelf.keep("run/a.residua", other)
    assert third.solution is other
    assert shelf.find("run/a.residua").reference == third.reference
