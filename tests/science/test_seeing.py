"""Seeing from 1.5 to 15 px, and templates much sharper and much blurrier, on whole subtractions.

Limits state what three seeds gave, not what a survey may ask for: fluxes within 4 %, and up to 30
false detections a frame where stars are sampled too coarsely.
"""

import numpy as np
import pytest
from tests.science.odd_sky import Night, OddPair, gaussian, observe

from residua.subtraction.images import DifferenceImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.subtract import subtract

SEEDS = (71, 72, 73)
# Of stars of 1 px no kernel can follow the shape (its sum is up to 9 % off): left out.
PAIRS = [
    (fwhm, ratio)
    for fwhm in (1.5, 2.0, 3.0, 5.0, 8.0, 11.0, 15.0)
    for ratio in (0.5, 0.92, 1.09, 1.6)
    if fwhm * ratio >= 1.3
]
_HIDDEN = MaskBit.DETECTION_EDGE | MaskBit.NO_DATA | MaskBit.SAT_TEMPLATE | MaskBit.SATURATED


def seen_through(fwhm: float, ratio: float) -> Night:
    """A frame with room for the kernel, stars as much brighter as they are wider, fewer of them."""
    widest = fwhm * max(ratio, 1.0)
    side = int(560 + 28 * max(widest - 4.0, 0.0))
    area = max(1.0, (widest / 4.5) ** 2)
    stars = int(70 * (side / 560.0) ** 2 / max(1.0, widest / 7.0) ** 1.3)
    return Night(
        shape=(side, side + 20), science=gaussian(fwhm), template=gaussian(ratio * fwhm),
        stars=stars, galaxies=20, transients=20, brightest=3e5 * area, faintest_star=1500.0 * area,
    )  # fmt: skip


def transients_of(made: DifferenceImage, pair: OddPair, fwhm: float) -> tuple[np.ndarray, int, int]:
    """Measured over true fluxes, how many could be seen, and detections that are none of them."""
    found = np.array([[d.x, d.y, d.flux] for d in made.detections]).reshape(-1, 3)
    bright = pair.stars[pair.stars[:, 2] > 5e3 * max(1.0, (fwhm / 4.5) ** 2)]
    ratios, visible = [], 0
    for x, y, flux in pair.transients:
        apart = np.hypot(bright[:, 0] - x, bright[:, 1] - y).min(initial=np.inf)
        if made.mask[round(y), round(x)] & int(_HIDDEN) or apart < 2.0 * fwhm:
            continue
        visible += 1
        near = np.hypot(found[:, 0] - x, found[:, 1] - y) < max(3.0, 0.5 * fwhm)
        ratios += (found[near, 2][:1] / flux).tolist()
    apart = np.hypot(
        found[:, :1] - pair.transients[:, 0], found[:, 1:2] - pair.transients[:, 1]
    ).min(axis=1)
    return np.array(ratios), visible, int(np.count_nonzero(apart > max(8.0, fwhm)))


def check(fwhm: float, ratio: float, seed: int) -> None:
    pair = observe(seen_through(fwhm, ratio), seed)
    made = subtract(pair.science, [pair.template], threads=2)
    ratios, visible, false = transients_of(made, pair, fwhm)
    assert made.convolved == ("template" if ratio < 1.0 else "science")
    assert made.quality.kernel_sum == pytest.approx(1.0, abs=0.02)
    assert made.quality.noise_ratio == pytest.approx(1.0, abs=0.02)
    assert made.quality.sky_structure < 1.15
    assert np.median(ratios) == pytest.approx(1.0, abs=0.04)
    # Wide stars and galaxies hide transients between them.
    assert len(ratios) >= (0.85 if fwhm < 8.0 else 0.75) * visible
    if min(fwhm, ratio * fwhm) > 2.2:
        assert false <= 4
        assert made.quality.relative_residual_low < 0.04
    else:
        # Undersampled stars leave sharp residuals: they are flagged, and the noise counts them.
        assert false <= 30
        measured = min(made.quality.science_fwhm, made.quality.template_fwhm)
        assert measured >= 2.0 or "undersampled" in {f.name for f in made.quality.flags}


@pytest.mark.parametrize(("fwhm", "ratio"), [(10.0, 0.45)])
def test_a_template_much_sharper_than_the_visit(fwhm: float, ratio: float):
    check(fwhm, ratio, SEEDS[0])


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("fwhm", "ratio"), PAIRS)
def test_any_seeing_in_either_role(fwhm: float, ratio: float, seed: int):
    check(fwhm, ratio, seed)
