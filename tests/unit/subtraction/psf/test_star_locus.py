"""Stars agree in their widths; galaxies and hits do not."""

import numpy as np
import pytest

from residua.subtraction.psf.star_locus import PsfStars, on_locus, width_scatter

SHAPE = (800, 1000)


def objects(widths, peak_sn=100.0, seed=0):
    rng = np.random.default_rng(seed)
    widths = np.asarray(widths, np.float64)
    n = len(widths)
    return PsfStars(
        rng.uniform(0, SHAPE[1], n), rng.uniform(0, SHAPE[0], n), widths, np.full(n, peak_sn)
    )


@pytest.mark.parametrize("width", [0.8, 1.3, 2.0, 5.0])
@pytest.mark.parametrize("scatter", [0.005, 0.02, 0.08])
def test_scatter_is_that_of_the_widths_whatever_they_are(width, scatter):
    rng = np.random.default_rng(3)
    stars = objects(width * np.exp(scatter * rng.standard_normal(400)))
    assert width_scatter(stars, np.arange(400) < 300) == pytest.approx(scatter, rel=0.15)


def test_widths_of_stars_agree_and_those_of_galaxies_do_not():
    rng = np.random.default_rng(3)

    def scatter(of: float, n: int = 12) -> float:
        return width_scatter(
            objects(2.0 * np.exp(of * rng.standard_normal(n)), 50.0), np.ones(n, bool)
        )

    assert scatter(0.008) < 0.02
    assert scatter(0.15) > 0.05
    assert np.isnan(scatter(0.15, 3))


def test_a_few_galaxies_that_agree_by_chance_are_told_by_what_is_around_them():
    rng = np.random.default_rng(6)
    galaxies = objects(2.0 * np.exp(rng.uniform(-0.1, 0.5, 60)))
    chosen = np.abs(np.log(galaxies.sigma / 2.0)) < 0.02
    assert chosen.sum() >= 3
    assert width_scatter(galaxies, chosen) > 0.06


def test_scatter_is_of_bright_stars_and_of_enough():
    rng = np.random.default_rng(4)
    bright, faint = objects([2.0] * 5), objects(rng.uniform(1.0, 4.0, 50), peak_sn=10.0)
    both = PsfStars(*(np.append(getattr(bright, n), getattr(faint, n)) for n in vars(bright)))
    assert width_scatter(both, both.peak_sn > 20.0) == 0.0
    assert np.isnan(width_scatter(bright.select(np.arange(3)), np.ones(3, np.bool_)))
    assert np.isnan(width_scatter(faint, np.ones(50, np.bool_)))
    assert np.isnan(width_scatter(bright, np.zeros(5, np.bool_)))


@pytest.mark.parametrize("n_wide", [5, 15])
@pytest.mark.parametrize("width", [0.9, 1.5, 4.0])
def test_wider_objects_are_left_out(width, n_wide):
    rng = np.random.default_rng(n_wide)
    widths = np.append(width * np.exp(0.01 * rng.standard_normal(30)), [1.6 * width] * n_wide)
    keep, galaxies_prevail = on_locus(objects(widths), SHAPE, None, None)
    assert not galaxies_prevail
    assert keep[:30].sum() >= 24
    assert not keep[30:].any()


def test_few_stars_among_many_galaxies_are_the_least_that_agree():
    rng = np.random.default_rng(6)
    widths = np.append([2.0, 2.01, 1.99, 2.0, 2.02], rng.uniform(2.6, 6.0, 60))
    keep, galaxies_prevail = on_locus(objects(widths), SHAPE, None, None)
    assert galaxies_prevail
    assert keep[:5].all()
    assert not keep[5:].any()


def test_hits_are_no_stars_unless_another_image_shows_them():
    rng = np.random.default_rng(7)
    hits = [0.70, 0.70, 0.71, 0.70]
    widths = np.append(hits, rng.uniform(2.6, 6.0, 40))
    shown = np.ones(len(widths), np.bool_)
    keep, _ = on_locus(objects(widths), SHAPE, None, shown)
    assert keep[:4].all()
    keep, _ = on_locus(objects(widths), SHAPE, None, None)
    assert not keep[:4].any()
