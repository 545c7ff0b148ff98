"""One small image whose inputs, outcome and bytes lie here: another machine must make the same.

``golden`` holds a visit image, its templates, the solution and the outcome of one subtraction,
and the digests of all that was made of them on one machine (AVX-512; its libraries are in the
outcome's ``software``). Every machine that runs the tests makes them again. A difference of the
planes is a broken promise of `docs/determinism.md`; one of the files alone may be another version
of a library that writes them.

After a deliberate change of the arithmetic or of the files: ``pytest
tests/recreation/test_golden.py --update-golden``, and say so in the changelog.
"""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from lsst.resources import ResourcePath
from tests.support.night import worked_again, worked_night

from residua.recreation import RecreationSettings, Recreator
from residua.recreation.partial.parts import PartialImages
from residua.storage.objects import local_path
from residua_schemas import DifferenceImageCreated

GOLDEN = Path(__file__).parent / "golden"
ROOT = "/golden"
PLANES = ("IMAGE", "VARIANCE", "MASK")


def sha(content):
    return hashlib.sha256(content).hexdigest()


def made_again(folder):
    """Make the image from what lies here, and return the digests of all of it."""
    created = DifferenceImageCreated.model_validate_json((GOLDEN / "outcome.json").read_bytes())
    settings = RecreationSettings(
        moved_roots={ROOT: str(GOLDEN), f"file://{ROOT}": GOLDEN.as_uri()}
    )
    found = {}
    parts = PartialImages(settings).open(created)
    ny, nx = created.shape
    for name in PLANES:
        whole = parts.pixels(name, (slice(0, ny), slice(0, nx)))
        found[name] = sha(whole.tobytes())
    made = Recreator(settings, folder, preview=True).as_made(created)
    found["fits"] = sha(made.path.read_bytes())
    found["png"] = sha(made.preview.read_bytes())
    found["parquet"] = sha(made.detections.read_bytes())
    found["hollow"] = sha(made.hollow)
    found["solution"] = sha(made.solution)
    return created, found


def update(folder):
    """Simulate a night, and keep what one of its images needs."""
    night = worked_night(folder / "night", shape=(192, 160))
    # Two templates: they leave a part of the detector without, and the files here small.
    few = [t for t in night.templates if t.uri.endswith(("_1_4.fits", "_1_5.fits"))]
    shutil.rmtree(local_path(night.output_root))
    [created] = worked_again(replace(night, templates=few)).created
    text = created.model_dump_json(exclude_none=True).replace(night.root, ROOT)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    (GOLDEN / "outcome.json").write_text(json.dumps(json.loads(text), indent=2) + "\n")
    uris = [created.visit_image.uri, *(t.uri for t in created.templates), created.solution.uri]
    hollow = ResourcePath(created.uri).updatedExtension(".hollow").geturl()
    for source in map(local_path, [*uris, hollow]):
        place = GOLDEN / source.relative_to(night.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    _, found = made_again(folder / "made")
    (GOLDEN / "digests.json").write_text(json.dumps(found, indent=2) + "\n")


@pytest.fixture(scope="module")
def golden(request, tmp_path_factory):
    if request.config.getoption("--update-golden"):
        update(tmp_path_factory.mktemp("update"))
    expected = json.loads((GOLDEN / "digests.json").read_text())
    return *made_again(tmp_path_factory.mktemp("golden")), expected


def test_the_planes_of_the_solution_are_the_same_bits(golden):
    _, found, expected = golden
    assert {n: found[n] for n in PLANES} == {n: expected[n] for n in PLANES}


def test_the_files_are_the_same_bytes(golden):
    created, found, expected = golden
    files = [name for name in expected if name not in PLANES]
    assert {n: found[n] for n in files} == {n: expected[n] for n in files}
    # The outcome was announced when it was first made, by a solve of its own.
    assert f"sha256:{found['fits']}" == created.checksum
    assert f"sha256:{found['parquet']}" == created.detections.checksum
