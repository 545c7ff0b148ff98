"""What comes of nights the product's own simulator does not have: scenes, outcomes, numbers.

Each over several seeds. A sound subtraction is created, whatever the sky does; what misleads
fails, and says why; everything between carries its flag.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from tests.science.odd_sky import Night, OddPair, gaussian, observe, ring, trail

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import BadSubtractionError, InsufficientKernelStarsError
from residua.subtraction.images import DifferenceImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.subtract import subtract

SEEDS = (31, 32, 33)
_NEAR, _FAR = 3.0, 8.0


@dataclass(frozen=True)
class Score:
    """Sums over the seeds of one night."""

    recovered: int
    injected: int
    false: int
    pull: np.ndarray
    differences: tuple[DifferenceImage, ...]

    @property
    def flags(self) -> list[set[str]]:
        """Names of the quality flags, by seed."""
        return [{f.name for f in d.quality.flags} for d in self.differences]


def score(night: Night, config: SubtractionConfig | None = None, seeds=SEEDS) -> Score:
    recovered = injected = false = 0
    pulls: list[float] = []
    differences = []
    for seed in seeds:
        pair = observe(night, seed)
        made = subtract(pair.science, [pair.template], config, threads=2)
        differences.append(made)
        found = np.array([[d.x, d.y] for d in made.detections]).reshape(-1, 2)
        usable = _usable(made, pair)
        for x, y, flux in pair.transients[usable]:
            near = np.flatnonzero(np.hypot(found[:, 0] - x, found[:, 1] - y) < _NEAR)
            recovered += near.size > 0
            if near.size:
                detection = made.detections[near[0]]
                pulls.append((detection.flux - flux) / detection.flux_error)
        injected += int(usable.sum())
        apart = np.hypot(
            found[:, 0, None] - pair.transients[:, 0], found[:, 1, None] - pair.transients[:, 1]
        )
        false += int(np.count_nonzero(apart.min(axis=1) > _FAR))
    return Score(recovered, injected, false, np.array(pulls), tuple(differences))


def _usable(made: DifferenceImage, pair: OddPair) -> np.ndarray:
    """Transients on unmasked pixels, far from where a star hides them."""
    x, y = np.rint(pair.transients[:, :2].T).astype(int)
    planes = MaskBit.DETECTION_EDGE | MaskBit.NO_DATA | MaskBit.STREAK | MaskBit.SATURATED
    free = (made.mask[y, x] & int(planes)) == 0
    bright = pair.stars[pair.stars[:, 2] > 20_000.0]
    apart = np.hypot(
        pair.transients[:, 0, None] - bright[:, 0], pair.transients[:, 1, None] - bright[:, 1]
    )
    return free & (apart.min(axis=1, initial=np.inf) > 12.0)


def honest(result: Score, *, false: int = 3, flux: float = 1.0, complete: float = 0.97) -> None:
    """Noise, completeness and photometry as they should be."""
    for made in result.differences:
        assert made.quality.noise_ratio == pytest.approx(1.0, abs=0.03)
        assert made.quality.relative_residual_low < 0.06
    assert result.recovered >= complete * result.injected
    assert result.false <= false * len(result.differences)
    assert abs(np.median(result.pull)) < flux


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fwhm", "false"), [(2.5, 14), (3.51, 3), (4.5, 3), (6.0, 3), (8.0, 3), (12.0, 3), (15.0, 3)]
)
def test_any_seeing(fwhm, false):
    bright = 3e5 * max(1.0, (fwhm / 6.0) ** 2)
    faint = 800.0 * max(1.0, (fwhm / 4.5) ** 2)
    night = Night(
        science=gaussian(fwhm), template=gaussian(0.92 * fwhm), brightest=bright,
        faintest_star=faint,
    )  # fmt: skip
    # Wide stars hide transients between them.
    honest(score(night), false=false, complete=0.97 if fwhm < 10 else 0.9)


def test_variable_stars_condemn_nothing():
    result = score(Night(variable=0.2))
    honest(result, false=60)  # the variable stars are detected, as they should be
    assert not any({"relative_residual", "flux_residual"} & flags for flags in result.flags)


def test_moving_stars_condemn_nothing():
    result = score(Night(moving=0.3))
    honest(result, false=40)
    assert any(d.is_dipole for made in result.differences for d in made.detections)


@pytest.mark.slow
def test_transients_on_bright_cores_are_measured():
    honest(score(Night(hosted=True, galaxies=400)))


@pytest.mark.slow
def test_trailed_stars():
    honest(score(Night(science=trail(4.0, 8.0, 0.6))), false=15)


@pytest.mark.slow
def test_stars_out_of_focus():
    night = Night(science=ring(2.5, 5.5, 2.5), brightest=1e6)
    honest(score(night), false=12)


@pytest.mark.slow
def test_a_few_stars_among_many_galaxies():
    result = score(Night(stars=10, galaxies=700, faintest_star=8000.0))
    honest(result, flux=2.5)
    for made in result.differences:
        assert made.convolved == "template"
        assert made.quality.kernel_sum == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
def test_undersampled_stars_are_written_and_flagged():
    night = Night(science=gaussian(1.7, wings=False), template=gaussian(1.6, wings=False))
    result = score(night)
    assert all({"undersampled", "relative_residual"} <= flags for flags in result.flags)
    assert result.recovered == result.injected
    assert abs(np.median(result.pull)) < 1.0


@pytest.mark.parametrize("peak", [6.0, 200.0])
def test_an_unmasked_trail_is_masked_and_named(peak):
    result = score(Night(streak=peak))
    honest(result, false=4)
    assert all("streak" in flags for flags in result.flags)
    assert all(np.any(made.mask & int(MaskBit.STREAK)) for made in result.differences)


def test_unmasked_cosmic_rays_are_no_detections():
    result = score(Night(cosmic_rays=60))
    honest(result)
    for made in result.differences:
        assert np.count_nonzero(made.mask & int(MaskBit.COSMIC_RAY)) >= 50


def test_unmasked_cosmic_rays_of_the_template_are_no_detections():
    night = Night(shape=(600, 620), stars=120)
    for seed in SEEDS:
        pair = observe(night, seed)
        rng = np.random.default_rng(seed)
        ny, nx = pair.template.image.shape
        y, x = rng.integers(60, ny - 60, 40), rng.integers(60, nx - 60, 40)
        pair.template.image[y, x] += np.float32(5.4) * rng.uniform(30.0, 200.0, 40).astype("f4")
        made = subtract(pair.science, [pair.template])
        found = np.array([[d.x, d.y] for d in made.detections])
        apart = np.hypot(
            found[:, 0, None] - pair.transients[:, 0], found[:, 1, None] - pair.transients[:, 1]
        )
        assert np.count_nonzero(apart.min(axis=1) > _FAR) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("fwhm", [1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2, 2.4, 2.6, 3.0])
@pytest.mark.parametrize("factor", [0.92, 1.1])
def test_no_star_or_transient_is_taken_for_a_cosmic_ray(fwhm, factor):
    night = Night(
        shape=(600, 620), stars=150, galaxies=80, transients=60,
        science=gaussian(fwhm), template=gaussian(factor * fwhm),
    )  # fmt: skip
    for seed in SEEDS:
        pair = observe(night, seed)
        made = subtract(pair.science, [pair.template])
        x, y = np.rint(pair.transients[:, :2].T).astype(int)
        assert not np.any(made.mask[y, x] & int(MaskBit.COSMIC_RAY))
        # Noise and the sharp residuals of undersampled stars may look like hits, rarely.
        assert np.count_nonzero(made.mask & int(MaskBit.COSMIC_RAY)) <= 9 * 2


@pytest.mark.parametrize("level", [4000.0, 1500.0])
def test_saturation_without_a_card_is_found(level):
    result = score(Night(clip=level))
    honest(result, false=4, flux=1.2)
    assert all("saturation_unknown" in flags for flags in result.flags)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("night", [Night(gradient=30.0), Night(fringe=8.5)])
def test_gradients_and_fringes_fail_before_anything_is_detected(night, seed):
    pair = observe(night, seed)
    with pytest.raises(BadSubtractionError, match="gradient, fringes") as error:
        subtract(pair.science, [pair.template])
    assert error.value.numbers["sky_structure"] > 2.0


@pytest.mark.slow
def test_a_gradient_is_followed_by_a_higher_order():
    honest(score(Night(gradient=30.0), SubtractionConfig(background_order=2)))


@pytest.mark.parametrize(("size", "seed"), [(400, SEEDS[2]), *((1000, seed) for seed in SEEDS)])
def test_another_sky_is_refused_at_any_size(seed, size):
    assert refused_for_another_sky(size, seed, BadSubtractionError).numbers


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_another_sky_is_refused_by_few_stars_before_anything_is_subtracted(seed):
    error = refused_for_another_sky(400, seed, InsufficientKernelStarsError)
    assert "do not agree on the flux ratio" in str(error)
    assert error.numbers["kernel_scale_spread"] > 0.5
    assert error.input == "template"


def refused_for_another_sky(size, seed, kind):
    night = Night(shape=(size, size + 20), stars=int(300 * (size / 1000.0) ** 2))
    pair, other = observe(night, seed), observe(night, seed + 100)
    with pytest.raises(kind) as error:
        subtract(pair.science, [other.template])
    return error.value


@pytest.mark.parametrize("size", [400, 1000])
@pytest.mark.parametrize("factor", [0.05, 30.0])
def test_a_useless_variance_is_refused_at_any_size(size, factor):
    night = Night(shape=(size, size + 20), stars=int(300 * (size / 1000.0) ** 2))
    pair = observe(night, 31)
    pair.science.variance[:] *= np.float32(factor)
    pair.template.variance[:] *= np.float32(factor)
    with pytest.raises(BadSubtractionError, match=r"variance planes are .* times too") as error:
        subtract(pair.science, [pair.template])
    assert error.value.numbers["noise_ratio"] == pytest.approx(factor**-0.5, rel=0.05)
