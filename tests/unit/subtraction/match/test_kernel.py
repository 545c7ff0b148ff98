import numpy as np
import pytest
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import SpatialPolynomial
from residua.subtraction.match.basis import gauss_hermite_basis
from residua.subtraction.match.fit_variance import fit_variance
from residua.subtraction.match.kernel import fit_kernel
from residua.subtraction.match.kernel_shape import kernel_groups
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.match.spatial_fit import KernelModel, clip_stamps, solve
from residua.subtraction.match.stamp_equations import StampEquations, StampNoise

SHAPE = (300, 320)
HALF_WIDTH = 7


def pair(
    n=16, *, sigma_science=2.2, sigma_template=1.7, scale=0.9, noise=0.5, seed=2, brightness=1.0,
    changes=1.0,
):  # fmt: skip
    """Stars on a grid through two Gaussian PSFs, with noise; a gradient in the science image."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    grid = np.linspace(40, 260, side)
    positions = [(x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)) for y in grid for x in grid][:n]
    flux = rng.uniform(2e4, 1e5, n) * brightness
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]

    def draw(sigma, flux):
        out = np.zeros(SHAPE)
        for (px, py), f in zip(positions, flux, strict=True):
            r2 = (x - px) ** 2 + (y - py) ** 2
            out += f / (2 * np.pi * sigma**2) * np.exp(-r2 / 2 / sigma**2)
        return out

    science = scale * draw(sigma_science, flux * changes) + 3.0 + 2.0 * (x / 160.0 - 1.0)
    science += rng.normal(0.0, noise, SHAPE)
    template = draw(sigma_template, flux) + rng.normal(0.0, 0.1 * noise, SHAPE)
    stars = KernelStars(
        np.array([round(p[0]) for p in positions]),
        np.array([round(p[1]) for p in positions]),
        np.full(n, 100.0),
    )
    noise_model = StampNoise(
        np.full(SHAPE, noise**2, np.float32), np.full(SHAPE, 0.01 * noise**2, np.float32),
        1.0, 0.1, np.zeros(SHAPE, np.int32), 1,
    )  # fmt: skip
    return science.astype(np.float32), template.astype(np.float32), noise_model, stars


def groups(convolved="template"):
    sharp, wide = gaussian_psf(1.7, SHAPE), gaussian_psf(2.2, SHAPE)
    psfs = (wide, sharp) if convolved == "template" else (sharp, wide)
    return kernel_groups(*psfs, convolved, HALF_WIDTH)


def fit(n=16, *, convolved="template", config=None, **changes):
    science, template, noise, stars = pair(n, **changes)
    return fit_kernel(
        science, template, noise, stars, config or SubtractionConfig(),
        convolved=convolved, half_width=HALF_WIDTH, groups=groups(convolved), threads=2,
    )  # fmt: skip


def test_scale_background_and_shape_are_recovered():
    result = fit()
    stamp = result.kernel.stamp(160, 150)
    assert stamp.sum() == pytest.approx(0.9, abs=2e-3)
    offset = np.arange(-HALF_WIDTH, HALF_WIDTH + 1)
    width = np.sqrt((stamp * offset**2).sum() / stamp.sum())
    assert width == pytest.approx(np.sqrt(2.2**2 - 1.7**2), rel=0.03)
    assert result.kernel.background[0] == pytest.approx(3.0, abs=0.2)
    assert result.chi2 == pytest.approx(1.0, abs=0.1)


def test_swapped_roles_give_the_inverse_scale():
    result = fit(convolved="science", sigma_science=1.7, sigma_template=2.2)
    assert result.kernel.stamp(160, 150).sum() == pytest.approx(1.0 / 0.9, rel=3e-3)


def test_transient_star_is_clipped():
    science, template, noise, stars = pair()
    x, y = int(stars.x[5]), int(stars.y[5])
    science[y - 6 : y + 7, x - 6 : x + 7] *= 1.6
    result = fit_kernel(
        science, template, noise, stars, SubtractionConfig(),
        convolved="template", half_width=HALF_WIDTH, groups=groups(),
    )  # fmt: skip
    assert result.rejected >= 1
    assert result.kernel.stamp(160, 150).sum() == pytest.approx(0.9, abs=3e-3)


def test_few_stars_get_few_parameters():
    assert fit(3).solution.model.n_parameters <= 12
    assert fit(9).solution.model.n_parameters <= 36


def test_too_few_stars_fail_with_numbers():
    with pytest.raises(InsufficientKernelStarsError) as error:
        fit(2)
    assert error.value.numbers == {"kernel_stars": 2, "minimum_kernel_stars": 3}


def test_threads_do_not_change_a_bit():
    science, template, noise, stars = pair()
    results = [
        fit_kernel(
            science, template, noise, stars, SubtractionConfig(),
            convolved="template", half_width=HALF_WIDTH, groups=groups(), threads=threads,
        )
        for threads in (1, 3)
    ]  # fmt: skip
    assert np.array_equal(results[0].kernel.coefficients, results[1].kernel.coefficients)


def test_fit_variance_is_the_scatter_of_repeated_fits():
    """Kernels fitted to many noises scatter on a star as `fit_variance` predicts."""
    basis_config = SubtractionConfig(spatial_order=0, background_order=0)
    x, y = np.array([150]), np.array([152])
    values, predicted = [], []
    offset = np.arange(-HALF_WIDTH, HALF_WIDTH + 1)
    star = 1e5 / (2 * np.pi * 1.7**2) * np.exp(-(offset**2 + offset[:, None] ** 2) / 2 / 1.7**2)
    plane = np.zeros(SHAPE, np.float32)
    plane[152 - HALF_WIDTH : 153 + HALF_WIDTH, 150 - HALF_WIDTH : 151 + HALF_WIDTH] = star
    for seed in range(40):
        science, template, noise, stars = pair(4, seed=7)
        rng = np.random.default_rng(1000 + seed)
        science = science + rng.normal(0.0, 0.5, SHAPE).astype(np.float32)
        noise = StampNoise(noise.science_variance, noise.template_variance, 1.0, 0.0, noise.mask, 1)
        result = fit_kernel(
            science, template, noise, stars, basis_config,
            convolved="template", half_width=HALF_WIDTH, groups=groups(),
        )  # fmt: skip
        model = np.sum(result.kernel.stamp(150, 152)[::-1, ::-1] * star) + result.kernel.background
        values.append(float(model[0]))
        predicted.append(float(fit_variance(result, plane, x, y)[0]))
    assert np.var(values) == pytest.approx(np.median(predicted), rel=0.6)


def test_singular_equations_are_refused_not_solved():
    n = 3
    empty = StampEquations(
        np.full(n, 10.0), np.full(n, 10.0), np.zeros((n, 3, 3)), np.zeros((n, 3)), np.zeros(n),
        np.ones(n),
    )  # fmt: skip
    model = KernelModel(np.arange(2), SpatialPolynomial(SHAPE, 0), SpatialPolynomial(SHAPE, 0))
    assert solve(empty, model) is None
    found, _, _ = clip_stamps(empty, model, 1)
    assert found is None


@pytest.mark.parametrize("n", [12, 16])
def test_one_star_never_sets_the_scale(n):
    science, template, noise, stars = pair(n)
    # Forty times as bright as it was, a quarter of it lost to saturation that nothing tells.
    box = np.s_[stars.y[0] - 18 : stars.y[0] + 19, stars.x[0] - 18 : stars.x[0] + 19]
    sky = science[box].min()
    science[box] = sky + 0.75 * 40.0 * (science[box] - sky)
    template[box] *= 40.0
    result = fit_kernel(
        science, template, noise, stars, SubtractionConfig(),
        convolved="template", half_width=HALF_WIDTH, groups=groups(),
    )  # fmt: skip
    assert result.kernel.stamp(150, 152).sum() == pytest.approx(0.9, rel=0.01)
    assert result.rejected >= 1


def test_weights_are_lowered_for_the_dominant_star_alone():
    n = 6
    power = np.array([1e7, 1e4, 1e4, 1e4, 1e4, 1e4])
    given = StampEquations(
        np.zeros(n), np.zeros(n), np.ones((n, 2, 2)), np.ones((n, 2)), power, np.full(n, 100.0)
    )
    found = given.without_dominance(0.25)
    shares = found.squares / found.squares.sum()
    assert shares.max() == pytest.approx(0.25, rel=0.01)
    np.testing.assert_array_equal(found.squares[1:], given.squares[1:])
    assert found.squares / found.n_pixels == pytest.approx(given.squares / given.n_pixels)
    assert given.select(np.arange(4)).without_dominance(0.25).squares[0] == 1e7


def test_only_the_first_basis_function_carries_flux():
    basis = gauss_hermite_basis(HALF_WIDTH, [0.75, 1.5], [4, 2])
    sums = basis.images().sum(axis=(1, 2))
    assert sums[0] == pytest.approx(1.0)
    assert np.abs(sums[1:]).max() < 1e-9


def test_weights_do_not_follow_a_pixels_own_noise():
    rng = np.random.default_rng(4)
    shape = (41, 43)
    science, template = (v + 0.5 * rng.random(shape) for v in (2.0, 1.0))
    mask = (rng.random(shape) < 0.1).astype(np.int32)
    noise = StampNoise(science.astype(np.float32), template.astype(np.float32), 1.0, 0.25, mask, 1)
    got = noise.weights(21, 19, 10, 3)
    for row, column in ((0, 0), (7, 12), (20, 20)):
        y, x = 9 + row, 11 + column
        if mask[y, x]:
            assert got[row, column] == 0.0
            continue
        box = (slice(y - 2, y + 3), slice(x - 2, x + 3))
        usable = (science + 0.25 * template)[box][mask[box] == 0]
        assert 1.0 / got[row, column] == pytest.approx(usable.mean(), rel=1e-6)
