"""A kept solution makes its image again: in this process, from bytes, and not from other inputs."""

import dataclasses
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.storage.forms.solution_parts import from_parts, to_parts
from residua.subtraction import (
    DamagedSolutionError,
    StaleSolutionError,
    SubtractionConfig,
    UnknownArithmeticError,
)
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.engine.window import whole
from residua.subtraction.masks import MaskBit
from residua.subtraction.solve import solve, solve_and_apply
from residua.subtraction.steps.apply import apply
from residua.subtraction.steps.passes import Frame, preview
from residua.subtraction.subtract import subtract

SHAPE = (460, 500)
PLANES = ("image", "variance", "mask", "matched_template")


@cache
def pair(name="deep", seed=9301):
    # Holes in the visit and hits on it, so that every pass has something to do.
    made = simulate_pair(scene(name, SHAPE, stars=12000.0, transients=1500.0), seed)
    science = made.science
    image, mask = science.image.copy(), science.mask.copy()
    image[100:104, 80:200] = 1e6
    mask[100:104, 80:200] |= int(MaskBit.BAD)
    image[300:302, 300] += 4000.0
    image[50:60, 400:410] = np.nan
    return dataclasses.replace(science, image=image, mask=mask), made.templates


@cache
def solved(name="deep", convolve="auto"):
    return solve_and_apply(*pair(name), SubtractionConfig(convolve=convolve))


CASES = [("deep", "auto"), ("worse-template", "auto")]


def differing(one, other):
    return {
        name: int(np.sum(getattr(one, name).view(np.int32) != getattr(other, name).view(np.int32)))
        for name in PLANES
    }


NOTHING = dict.fromkeys(PLANES, 0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_image_of_a_kept_solution_is_the_first_one(case, threads):
    solution, first = solved(*case)
    kept = read_solution(write_solution(solution))
    again = apply(kept, *pair(case[0]), threads=threads)
    assert differing(first, again) == NOTHING
    for name in ("psf", "science_psf"):
        one, other = getattr(first, name), getattr(again, name)
        assert one.coefficients.tobytes() == other.coefficients.tobytes()
        assert one.polynomial == other.polynomial
    for name in ("basis", "coefficients", "background"):
        assert getattr(first.kernel, name).tobytes() == getattr(again.kernel, name).tobytes()
    assert repr(first.detections) == repr(again.detections)
    assert repr(first.quality) == repr(again.quality)
    assert (first.unit, first.convolved) == (again.unit, again.convolved)


def test_both_roles_and_all_passes_are_tested():
    roles = [solved(*case)[0] for case in CASES]
    assert {s.convolved for s in roles} == {"template", "science"}
    for solution in roles:
        assert solution.detections
        assert len(solution.footprints) > 10
        assert len(solution.templates) > 1
    mask = solved()[1].mask
    for bit in (MaskBit.BAD, MaskBit.NO_DATA, MaskBit.DETECTED, MaskBit.COSMIC_RAY):
        assert (mask & int(bit)).any(), bit


def test_subtract_is_solve_and_apply():
    solution, first = solved()
    assert differing(first, subtract(*pair())) == NOTHING
    assert write_solution(solve(*pair(), threads=1)) == write_solution(solution)


def test_planes_of_a_pool_are_reused():
    pool = PlanePool()
    solution, first = solved()
    apply(solution, *pair(), planes=pool)
    held = pool.n_bytes
    assert differing(first, apply(solution, *pair(), planes=pool)) == NOTHING
    assert pool.n_bytes == held <= 7 * 4 * SHAPE[0] * SHAPE[1]


def test_arrays_of_a_solution_cannot_be_changed():
    solution = solved()[0]
    for array in (solution.kernel.applied.tables.vertical, solution.footprints):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_parts_are_the_solution():
    solution = solved()[0]
    facts, arrays = to_parts(solution)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    again = from_parts(facts, arrays)
    for one, other in zip(solution.templates, again.templates, strict=True):
        np.testing.assert_array_equal(one.pixel_map.x, other.pixel_map.x)
        np.testing.assert_array_equal(one.pixel_map.y, other.pixel_map.y)
    np.testing.assert_array_equal(solution.footprints, again.footprints)
    np.testing.assert_array_equal(solution.sharp, again.sharp)
    assert again.config == solution.config


def test_the_template_is_shown_in_the_scale_of_the_difference():
    planes = [np.full((3, 4), v, np.float32) for v in (1.0, 1.0, 8.0, 1.0)]
    masks = [np.zeros((3, 4), np.int32) for _ in range(3)]
    frame = Frame(whole((3, 4)), *planes[:2], masks[0], *planes[2:], *masks[1:])
    matched = np.full((3, 4), 5.0, np.float32)
    assert (preview(frame, matched.copy(), 2.0, "template") == 5.0).all()
    assert (preview(frame, matched, 2.0, "science") == 4.0).all()


def test_other_inputs_are_refused():
    solution = solved()[0]
    science, templates = pair()
    with pytest.raises(StaleSolutionError, match=rf"made from {len(templates)} template patches"):
        apply(solution, science, templates[1:])
    changed = dataclasses.replace(templates[1], image=templates[1].image * np.float32(1.001))
    with pytest.raises(StaleSolutionError, match="its pixels have changed"):
        apply(solution, science, [templates[0], changed, *templates[2:]])
    with pytest.raises(StaleSolutionError, match="made from"):
        apply(solution, science, [])
    smaller = dataclasses.replace(
        science, image=science.image[1:], variance=science.variance[1:], mask=science.mask[1:]
    )
    with pytest.raises(StaleSolutionError, match="the science image has the shape"):
        apply(solution, smaller, templates)


def test_other_arithmetic_is_refused():
    other = dataclasses.replace(solved()[0], arithmetic=2)
    kept = read_solution(write_solution(other))
    with pytest.raises(UnknownArithmeticError, match="arithmetic 2, this version has 1"):
        apply(kept, *pair())


def test_another_process_makes_the_same_bytes(tmp_path):
    """One that was started afresh, and knows nothing but the kept bytes and the inputs."""
    solution, first = solved()
    kept, inputs = tmp_path / "kept", tmp_path / "inputs.npz"
    kept.write_bytes(write_solution(solution))
    science, templates = pair()
    images = [science, *templates]
    np.savez(
        inputs,
        **{f"{k}.{n}": getattr(i, n) for k, i in enumerate(images) for n in PLANES[:3]},
    )
    made = tmp_path / "made.npz"
    code = Path(__file__).parents[1] / "apply_kept.py"
    subprocess.run(
        [sys.executable, code, kept, inputs, made], check=True, capture_output=True, timeout=300
    )
    with np.load(made) as planes:
        for name in PLANES:
            assert planes[name].tobytes() == getattr(first, name).tobytes(), name


@pytest.mark.parametrize("cut", [0, 5, 17, 100, 5000, -1])
def test_bytes_that_are_cut_off_are_refused(cut):
    data = write_solution(solved()[0])
    with pytest.raises(DamagedSolutionError):
        read_solution(data[:cut])


def test_bytes_that_are_changed_are_refused():
    data = write_solution(solved()[0])
    start = data.index(b"\n", 17) + 1
    for place in (3, 25, start - 3, start + 40, len(data) - 5):
        changed = bytearray(data)
        changed[place] ^= 0x15
        with pytest.raises(DamagedSolutionError):
            read_solution(bytes(changed))
    with pytest.raises(DamagedSolutionError, match="form 4, this version reads 1, 2, 3"):
        read_solution(data.replace(b'"form":3', b'"form":4', 1))


def test_the_form_is_frozen():
    """A change of these names or types is another form: raise its number, keep reading the old."""
    data = write_solution(solved()[0])
    head = json.loads(data.split(b"\n", 2)[1])
    path = Path(__file__).parent / "solution_form_1.json"
    form = {
        "facts": sorted(_names(head["solution"])),
        "arrays": {e["name"]: [e["type"], len(e["shape"])] for e in head["arrays"]},
    }
    if not path.exists():
        path.write_text(json.dumps(form, indent=1) + "\n")
    assert form == json.loads(path.read_text())


def _names(value, above=""):
    for name, below in value.items():
        yield above + name
        if isinstance(below, dict):
            yield from _names(below, f"{above}{name}.")


def test_a_solution_is_small():
    # Of a frame of a seventieth of a detector: what does not grow with it.
    assert len(write_solution(solved()[0])) < 80_000
    assert len(write_solution(solved(*CASES[1])[0])) < 160_000
