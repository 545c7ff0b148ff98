"""The steps of `solve`, one after the other: what each hands to the next."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction import InsufficientCoverageError, SubtractionConfig
from residua.subtraction.engine.buffers import Loans, PlanePool
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.steps.findings import detect_and_measure
from residua.subtraction.steps.one_grid import bring_to_one_grid
from residua.subtraction.steps.quality_record import quality_record
from residua.subtraction.steps.roles import choose_roles
from residua.subtraction.steps.white_difference import find_kernel, subtract_and_whiten

SHAPE = (460, 500)
CONFIG = SubtractionConfig()


@cache
def pair():
    """A visit with a trail and a saturated star, whose mask does not say so."""
    made = simulate_pair(scene("deep", SHAPE, stars=12000.0, transients=1500.0), 9301)
    image = made.science.image.copy()
    noise = float(np.sqrt(np.median(made.science.variance)))
    for k in range(300):
        image[60 + k // 3, 40 + k : 43 + k] += 2.0 * noise
    image[300:303, 300] += 4000.0
    return dataclasses.replace(made.science, image=image), made.templates


def grid_of(config=CONFIG):
    loans = Loans(PlanePool(), SHAPE)
    return bring_to_one_grid(*pair(), config, loans, threads=1), loans


@cache
def run():
    grid, loans = grid_of()
    roles = choose_roles(grid, CONFIG, loans, threads=1)
    match = find_kernel(grid, roles, CONFIG, threads=1)
    difference = subtract_and_whiten(grid, roles, match, CONFIG, loans, threads=1)
    found = detect_and_measure(grid, roles, match.fit, difference, CONFIG, loans, threads=1)
    return grid, roles, match, difference, found, loans


def test_the_template_lies_under_the_science_image():
    grid, _ = grid_of()
    frame, usable = grid.frame, (grid.frame.merged & int(UNUSABLE)) == 0
    stars = usable & (frame.image > 20 * np.sqrt(frame.variance))
    assert stars.sum() > 200
    assert np.corrcoef(frame.image[stars], frame.template[stars])[0, 1] > 0.9
    assert grid.coverage == pytest.approx(1.0, abs=0.02)
    # Whatever a pass takes is in its kept form.
    for use, pixel_map in zip(grid.template_uses, grid.pixel_maps, strict=True):
        assert use.pixel_map is pixel_map
        assert np.all(pixel_map.x * 2.0**20 == np.rint(pixel_map.x * 2.0**20))


def test_a_template_that_covers_too_little_is_refused():
    science, templates = pair()
    blank = [
        dataclasses.replace(t, mask=np.full_like(t.mask, int(MaskBit.NO_DATA))) for t in templates
    ]
    with pytest.raises(InsufficientCoverageError):
        bring_to_one_grid(science, blank, CONFIG, Loans(PlanePool(), SHAPE), threads=1)


def test_the_sharper_image_is_convolved_unless_one_is_named():
    _, roles, *_ = run()
    science, template = roles.science_psf.psf.fwhm(), roles.template_psf.psf.fwhm()
    assert (roles.convolved == "template") == (template < science)
    grid, loans = grid_of()
    named = choose_roles(grid, SubtractionConfig(convolve="science"), loans, threads=1)
    assert named.convolved == "science"
    # It is convolved as filled; detections are measured on the image as it came.
    assert named.frame.image is not grid.frame.image
    assert named.frame.merged is grid.frame.merged


def test_hits_of_the_visit_are_marked():
    _, roles, *_ = run()
    assert roles.sharpness is not None
    assert np.all(roles.frame.merged[300:303, 300] & int(MaskBit.COSMIC_RAY))


def test_the_difference_is_white_and_its_memory_comes_back():
    _, roles, match, difference, _, loans = run()
    assert match.fit.stars >= CONFIG.minimum_kernel_stars
    white, good = difference.whitened.white, difference.good
    pulls = white.image[good] / np.sqrt(white.variance[good])
    inner = pulls[np.abs(pulls) < 4]
    assert inner.std() == pytest.approx(1.0, abs=0.05)
    assert difference.kernel.reach <= difference.kernel.kernel.basis.shape[-1] // 2
    assert difference.science_noise > 0
    assert difference.template_noise > 0
    lent = set(loans._lent)
    assert not lent & {"science mask", "template mask", "difference", "template variance"}
    assert lent >= {"template", "mask", "matched", "decorrelated", "variance"}
    assert roles.frame.merged.shape == SHAPE


def test_the_trail_and_the_transients_are_found():
    _, roles, _, difference, found, _ = run()
    assert len(found.streaks) == 1
    assert np.all(~difference.good[roles.frame.merged & int(MaskBit.STREAK) != 0])
    assert len(found.detections) == len(found.peaks) > 5
    numbers = [(round(d.x), round(d.y)) for d in found.detections]
    near = [
        abs(x - px) <= 2 and abs(y - py) <= 2
        for (x, y), px, py in zip(numbers, found.peaks.x, found.peaks.y, strict=True)
    ]
    assert np.mean(near) > 0.9


def test_the_record_has_the_numbers_of_the_steps():
    grid, roles, match, difference, found, _ = run()
    record = quality_record(grid, roles, match.fit, difference, found)
    assert record.coverage == grid.coverage
    assert record.kernel_stars == match.fit.stars
    assert record.detections_positive + record.detections_negative == len(found.peaks)
    assert record.registration_stars == grid.registration.stars
    assert record.masked_fraction == pytest.approx(1 - difference.good.mean())
    assert "streak" in {flag.name for flag in record.flags}


@pytest.mark.parametrize(
    ("flag", "changed"),
    [
        ("saturation_unknown", lambda g, r, f: (levels(g, ()), r, f)),
        (
            "psf_star_widths",
            lambda g, r, f: (g, measured(r, found={"width_scatter": 0.1}), f),
        ),
        ("psf_misfit", lambda g, r, f: (g, measured(r, psf={"misfit": -0.2}), f)),
        ("psf_few_stars", lambda g, r, f: (g, few(r), f)),
        ("kernel_scale", lambda g, r, f: (g, r, dataclasses.replace(f, scale_error=0.05))),
        ("sharp_in_both", lambda g, r, f: (g, dataclasses.replace(r, sharp_in_both=3), f)),
        ("pieces_without_kernel", lambda g, r, f: (g, r, dataclasses.replace(f, without_kernel=2))),
    ],
)
def test_flags_beside_the_limits_are_raised_where_they_apply(flag, changed):
    grid, roles, match, difference, found, _ = run()

    def has(grid, roles, fit):
        record = quality_record(grid, roles, fit, difference, found)
        return flag in {f.name for f in record.flags}

    before, after = (grid, roles, match.fit), changed(grid, roles, match.fit)
    if flag == "saturation_unknown":
        before, after = after, (levels(grid, (("science", 5e4),)), *after[1:])
    assert not has(*before)
    assert has(*after)


def levels(grid, found):
    return dataclasses.replace(grid, saturation_levels=found)


def measured(roles, psf=None, found=None):
    """Roles whose science PSF was measured otherwise."""
    old = roles.science_psf.measured
    new = dataclasses.replace(old, found=dataclasses.replace(old.found, **(found or {})))
    new = dataclasses.replace(new, **(psf or {}))
    return dataclasses.replace(
        roles, science_psf=dataclasses.replace(roles.science_psf, measured=new)
    )


def few(roles):
    stars = roles.science_psf.measured.found.stars
    return measured(roles, found={"stars": stars.select(np.arange(2))})
