"""Fields with a handful of stars: none sets the scale alone, and galaxies are no stars.

Limits of the sweeps state what these seeds gave (a scale right within 4.5 %, fluxes within 8 %; of
three stars and less, flagged, 10 and 15 %), not what a survey may ask for.
"""

import numpy as np
import pytest
from tests.science.sparse_sky import Sparse, fluxes_over_truth, observe_sparse

from residua.subtraction.errors import BadSubtractionError, InsufficientKernelStarsError
from residua.subtraction.subtract import subtract

SEEDS = (611, 612, 613, 614)
WIDTHS = [(4.5, 4.0), (2.6, 2.3), (2.9, 3.4)]
DOUBTS = {"psf_few_stars", "psf_star_widths", "psf_misfit", "kernel_scale"}
REFUSED = (BadSubtractionError, InsufficientKernelStarsError)
FAULTS = {
    "varied": {"varied": 1.3},
    "faded": {"varied": 0.7},
    "saturated softly": {"soft": 0.4},
    "blended": {"neighbour": 0.3},
}


def outcome(sky: Sparse, seed: int):
    """Kernel sum, median flux of the transients over the truth, names of the flags."""
    pair = observe_sparse(sky, seed)
    made = subtract(pair.science, [pair.template], threads=2)
    ratios = fluxes_over_truth(made, pair)
    # Without any star the PSF is that of galaxies, and what is sharper passes for a hit.
    assert len(ratios) >= (0.9 if sky.stars else 0.2) * sky.transients
    return made.quality.kernel_sum, np.median(ratios), {f.name for f in made.quality.flags}


def no_star_sets_the_scale(stars: int, fault: str, seed: int):
    try:
        kernel_sum, flux, flags = outcome(Sparse(stars, **FAULTS[fault]), seed)
    except REFUSED:
        return False
    # Of three stars and less, one of them wrong, the PSF may be wrong too: it says so.
    unsure = stars <= 3 and flags & DOUBTS
    assert kernel_sum == pytest.approx(1.0, abs=0.10 if unsure else 0.045)
    assert flux == pytest.approx(1.0, abs=0.15 if unsure else 0.08)
    return True


@pytest.mark.parametrize("fault", ["varied", "blended"])
def test_the_brightest_of_six_stars_does_not_set_the_scale(fault: str):
    assert no_star_sets_the_scale(6, fault, SEEDS[0])


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stars", [1, 2, 3, 4, 6, 9])
def test_the_brightest_of_a_handful_does_not_set_the_scale(stars: int, fault: str):
    created = sum(no_star_sets_the_scale(stars, fault, seed) for seed in SEEDS)
    assert created >= (3 if stars > 3 else 0)


@pytest.mark.parametrize(("stars", "galaxies"), [(1, 150), (2, 30)])
def test_one_star_among_galaxies_is_the_psf(stars: int, galaxies: int):
    kernel_sum, flux, flags = outcome(Sparse(stars, galaxies), SEEDS[1])
    assert flux == pytest.approx(1.0, abs=0.06)
    assert kernel_sum == pytest.approx(1.0, abs=0.02)
    assert "psf_few_stars" in flags


def test_galaxies_alone_are_no_psf_where_new_sources_are_narrower():
    pair = observe_sparse(Sparse(0, 150), SEEDS[1])
    with pytest.raises(InsufficientKernelStarsError, match="is not that of stars") as error:
        subtract(pair.science, [pair.template], threads=2)
    assert error.value.numbers["new_sources"] >= 5
    assert error.value.numbers["source_size"] < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("fwhm", WIDTHS)
@pytest.mark.parametrize("galaxies", [0, 30, 150, 400])
@pytest.mark.parametrize("stars", [1, 2, 3, 4, 6, 8])
def test_a_psf_of_few_stars_is_not_refused_as_that_of_galaxies(
    stars: int, galaxies: int, fwhm: tuple[float, float]
):
    refused = []
    for seed in SEEDS:
        sky = Sparse(stars, galaxies, science_fwhm=fwhm[0], template_fwhm=fwhm[1])
        pair = observe_sparse(sky, seed)
        try:
            subtract(pair.science, [pair.template], threads=2)
        except REFUSED as error:
            refused.append(error.numbers)
    assert not any("source_size" in numbers for numbers in refused)


@pytest.mark.slow
@pytest.mark.parametrize("fwhm", WIDTHS)
@pytest.mark.parametrize("galaxies", [30, 150, 400])
@pytest.mark.parametrize("stars", [0, 1, 2, 4, 8])
def test_a_psf_of_galaxies_is_never_silent(stars: int, galaxies: int, fwhm: tuple[float, float]):
    wrong = 0
    for seed in SEEDS:
        sky = Sparse(stars, galaxies, science_fwhm=fwhm[0], template_fwhm=fwhm[1])
        try:
            _, flux, flags = outcome(sky, seed)
        except REFUSED:
            continue
        if abs(flux - 1.0) > 0.08:
            wrong += 1
            assert flags & DOUBTS
    assert wrong <= 2
