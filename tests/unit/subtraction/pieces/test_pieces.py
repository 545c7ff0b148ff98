"""A template in pieces: labels, the exact sum at a seam, and the solution that repeats it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from residua.simulation.sky import SimulatedPair, scene, simulate_pair
from residua.storage.forms.solution_file import read_solution, write_solution
from residua.subtraction.engine.window import Window
from residua.subtraction.masks import MaskBit
from residua.subtraction.match.convolve import convolve_varying
from residua.subtraction.pieces.labels import _between_seams
from residua.subtraction.pieces.use import convolve_pieces, runs_of
from residua.subtraction.solve import solve_and_apply
from residua.subtraction.steps.apply import apply

SHAPE = (700, 740)
SEAM = int(MaskBit.SENSOR_EDGE)


def seamed(seed: int, shape=SHAPE, fwhms=(0.70, 0.86)) -> SimulatedPair:
    """A pair whose template's PSF jumps across a column that its mask tells."""
    base = scene("deep", shape, patches=(1, 1), stars=14_000.0)
    left, right = (
        simulate_pair(replace(base, template_psf=replace(base.template_psf, fwhm=f)), seed)
        for f in fwhms
    )
    one, other = left.templates[0], right.templates[0]
    middle = one.image.shape[1] // 2
    image, variance, mask = one.image.copy(), one.variance.copy(), one.mask.copy()
    image[:, middle:], variance[:, middle:] = other.image[:, middle:], other.variance[:, middle:]
    mask[:, middle:] = other.mask[:, middle:]
    mask[:, middle - 1 : middle + 1] |= SEAM
    return replace(left, templates=(replace(one, image=image, variance=variance, mask=mask),))


@cache
def solved():
    pair = seamed(9413)
    solution, difference = solve_and_apply(pair.science, pair.templates)
    return pair, solution, difference


def test_seams_part_and_islands_do_not():
    mask = np.zeros((300, 400), np.int32)
    mask[:, 180:184] = SEAM
    mask[50:80, 40:70] = SEAM
    mask[55:60, 45:50] = 0  # an island, too small for a piece
    mask[200, :180] = int(MaskBit.INEXACT_PSF)
    labels, n = _between_seams(mask)
    assert n == 3
    assert labels is not None
    assert labels.min() > 0
    assert len({labels[10, 10], labels[290, 10], labels[10, 390]}) == 3
    assert np.all(labels[:199, :180] == labels[10, 10])
    assert _between_seams(np.zeros((300, 400), np.int32)) == (None, 1)
    mask[:] = SEAM
    assert _between_seams(mask) == (None, 1)


def test_the_sum_is_exact_at_the_seam_and_plain_elsewhere():
    _, solution, _ = solved()
    kernel, pieces = solution.kernel, solution.kernel.pieces
    assert pieces is not None
    nx = SHAPE[1]
    labels = pieces.labels(Window(0, 0, SHAPE, SHAPE))
    assert np.array_equal(runs_of(labels), pieces.runs)
    image = np.random.default_rng(5).normal(0.0, 1.0, SHAPE).astype(np.float32)
    made = convolve_pieces(image, kernel.applied, pieces, threads=2)
    expected = np.zeros(SHAPE)
    for number, part in enumerate((kernel.applied, *pieces.kernels)):
        own = np.where(labels == number, image, np.float32(0.0))
        expected += convolve_varying(own, part)
    np.testing.assert_allclose(made, expected, atol=2e-6)
    half = kernel.applied.half_width
    far = np.s_[100:200, : nx // 2 - 3 * half]
    number = labels[far].min()
    assert number == labels[far].max() > 0
    alone = convolve_varying(image, pieces.kernels[number - 1])[far]
    assert made[far][:, : -half - 1].tobytes() == alone[:, : -half - 1].tobytes()
    window = Window(128, 192, (256, 320), SHAPE)
    part = convolve_pieces(image[window.slices], kernel.applied, pieces, window=window)
    inner = np.s_[half:-half, half:-half]
    assert part[inner].tobytes() == made[window.slices][inner].tobytes()


def test_a_kernel_for_each_piece_leaves_less_of_the_stars():
    pair, _, difference = solved()
    quality = difference.quality
    assert quality.kernel_pieces == 2
    # The seam told by no mask: one kernel for both.
    (template,) = pair.templates
    plain = replace(template, mask=template.mask & ~np.int32(SEAM))
    one, other = solve_and_apply(pair.science, [plain])
    assert one.kernel.pieces is None
    assert other.quality.kernel_pieces == 0
    found, before = (d.quality.psf_width_scatter for d in (difference, other))
    assert found < 0.5 * before
    assert quality.pull_rms == pytest.approx(1.0, abs=0.02)
    assert quality.matched_filter_sn_std == pytest.approx(1.0, abs=0.03)


def test_a_field_without_a_jump_keeps_one_kernel():
    pair = seamed(9412, fwhms=(0.78, 0.78))
    solution, _ = solve_and_apply(pair.science, pair.templates)
    assert solution.kernel.pieces is None


def test_a_kept_solution_makes_the_same_image_and_boxes_of_it():
    pair, solution, whole = solved()
    data = write_solution(solution)
    assert b'"form":3' in data
    kept = read_solution(data)
    assert write_solution(kept) == data
    again = apply(kept, pair.science, pair.templates, threads=1)
    planes = ("image", "variance", "mask", "matched_template")
    for name in planes:
        assert getattr(again, name).tobytes() == getattr(whole, name).tobytes(), name
    for box in (np.s_[300:420, 330:420], np.s_[0:60, 0:60], np.s_[650:700, 350:400]):
        part = apply(kept, pair.science, pair.templates, box=box)
        for name in planes:
            expected = np.ascontiguousarray(getattr(whole, name)[box])
            assert getattr(part, name).tobytes() == expected.tobytes(), (name, box)
