"""The warp against a direct Lanczos-3 sum in float64 through the exact WCS chain."""

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.subtraction.align.lanczos import lanczos3_weights
from residua.subtraction.align.warp import warp_templates
from residua.subtraction.images import TemplateImage
from residua.subtraction.masks import MaskBit

SHAPE = (190, 230)
NO_DATA = int(MaskBit.NO_DATA)


def tan(size, ra=10.0, dec=-30.0, angle=0.0, scale=0.2):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(size[1] + 1) / 2, (size[0] + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def template(seed=3, size=(400, 420), scale=0.2):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    image = rng.normal(0, 1, size) + 100 * np.exp(-((x - 200) ** 2 + (y - 210) ** 2) / 8.0)
    variance = 1.0 + 0.3 * np.sin(x / 30.0) * np.cos(y / 25.0)
    return TemplateImage(
        image.astype(np.float32),
        variance.astype(np.float32),
        np.zeros(size, np.int32),
        tan(size, 10.0003, -30.0002, scale=scale),
    )


def cut(whole, y0, y1, x0, x1):
    wcs = whole.wcs.deepcopy()
    wcs.wcs.crpix -= [x0, y0]
    wcs.wcs.set()
    planes = [p[y0:y1, x0:x1].copy() for p in (whole.image, whole.variance, whole.mask)]
    return TemplateImage(*planes, wcs)


def reference(patch, science, shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    px, py = patch.wcs.world_to_pixel_values(*science.pixel_to_world_values(x, y))
    ix, iy = np.floor(px).astype(int), np.floor(py).astype(int)
    wx, wy = lanczos3_weights(px - ix), lanczos3_weights(py - iy)
    weights = wy[..., :, None] * wx[..., None, :]
    offsets = np.arange(-2, 4)
    rows, columns = iy[..., None, None] + offsets[:, None], ix[..., None, None] + offsets
    ny, nx = patch.image.shape
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    rows, columns = rows.clip(0, ny - 1), columns.clip(0, nx - 1)
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(patch.image) & np.isfinite(patch.variance) & (patch.variance > 0))
    flags = np.where(bad, patch.mask | NO_DATA, patch.mask)
    flags = np.where(inside, flags[rows, columns], NO_DATA)
    mask = np.bitwise_or.reduce(flags, axis=(2, 3))
    image = np.where(bad, 0.0, patch.image)[rows, columns]
    variance = np.where(bad, 0.0, patch.variance)[rows, columns]
    area = (0.2 / (abs(patch.wcs.wcs.cd[0, 0]) * 3600)) ** 2
    squares = weights**2
    return (
        area * (weights * image).sum(axis=(2, 3)),
        area**2 * (squares * variance).sum(axis=(2, 3)) / squares.sum(axis=(2, 3)),
        mask,
    )


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 217.0])
@pytest.mark.parametrize("scale", [0.2, 0.13, 0.31])
def test_warp_is_lanczos3_through_the_exact_wcs(angle, scale):
    patch = template(scale=scale)
    science = tan(SHAPE, angle=angle)
    warped = warp_templates([patch], science, SHAPE)
    image, variance, mask = reference(patch, science, SHAPE)
    good = (mask & NO_DATA) == 0
    assert good.mean() > 0.9
    np.testing.assert_array_equal(warped.mask, mask)
    np.testing.assert_allclose(warped.image[good], image[good], atol=3e-3, rtol=1e-4)
    np.testing.assert_allclose(warped.variance[good], variance[good], rtol=1e-3)
    assert (warped.image[~good] == 0).all()
    assert warped.coverage == pytest.approx(good.mean())


def test_garbage_becomes_no_data_and_leaks_nowhere():
    patch = template()
    patch.image[200, 200] = np.nan
    patch.image[120, 200] = np.inf
    patch.variance[250, 170] = 0.0
    patch.variance[260, 250] = np.nan
    patch.variance[150, 250] = -1.0
    patch.mask[220, 220] = MaskBit.NO_DATA
    patch.mask[180:190, 240:244] = MaskBit.SATURATED | MaskBit.DETECTED
    science = tan(SHAPE, angle=20.0)
    warped = warp_templates([patch], science, SHAPE)
    patch.mask[:] &= ~int(MaskBit.DETECTED)
    image, _, mask = reference(patch, science, SHAPE)
    np.testing.assert_array_equal(warped.mask, mask)
    assert (mask & int(MaskBit.SATURATED)).any()
    assert 5 * 36 < np.count_nonzero(mask) < 600
    good = (mask & NO_DATA) == 0
    np.testing.assert_allclose(warped.image[good], image[good], atol=3e-3)
    assert np.isfinite(warped.image).all()
    assert (warped.variance[good] > 0).all()


def test_patches_join_without_a_seam():
    whole = template()
    science = tan(SHAPE, angle=33.0)
    one = warp_templates([whole], science, SHAPE)
    patches = [cut(whole, *y, *x) for y in ((0, 230), (180, 400)) for x in ((0, 230), (190, 420))]
    for order in (patches, patches[::-1]):
        joined = warp_templates(order, science, SHAPE)
        np.testing.assert_array_equal(joined.mask, one.mask)
        np.testing.assert_allclose(joined.image, one.image, atol=2e-3)
        np.testing.assert_allclose(joined.variance, one.variance, rtol=1e-4)


def test_a_hole_in_one_patch_is_filled_from_another():
    whole = template()
    science = tan(SHAPE)
    holed = cut(whole, 0, 400, 0, 420)
    holed.mask[190:210, 190:215] = MaskBit.NO_DATA
    other = cut(whole, 150, 260, 150, 260)
    joined = warp_templates([holed, other], science, SHAPE)
    one = warp_templates([whole], science, SHAPE)
    assert joined.coverage == one.coverage == 1.0
    np.testing.assert_allclose(joined.image, one.image, atol=2e-3)


def test_partial_coverage_and_none():
    whole = template()
    science = tan(SHAPE)
    part = warp_templates([cut(whole, 0, 400, 0, 200)], science, SHAPE)
    assert 0.2 < part.coverage < 0.7
    assert ((part.mask & NO_DATA) != 0)[:, -20:].all()
    far = TemplateImage(whole.image, whole.variance, whole.mask, tan((400, 420), 10.5, -30.0))
    other_side = TemplateImage(whole.image, whole.variance, whole.mask, tan((400, 420), 190, 30))
    none = warp_templates([far, other_side], science, SHAPE)
    assert none.coverage == 0.0
    assert ((none.mask & NO_DATA) != 0).all()


def test_flux_is_conserved_between_pixel_scales():
    size = (500, 500)
    y, x = np.mgrid[: size[0], : size[1]]
    star = 1000.0 / (2 * np.pi * 16) * np.exp(-((x - 250.3) ** 2 + (y - 249.8) ** 2) / 32.0)
    ones = np.ones(size, np.float32)
    patch = TemplateImage(
        star.astype(np.float32), ones, np.zeros(size, np.int32), tan(size, scale=0.14)
    )
    warped = warp_templates([patch], tan(SHAPE, angle=40.0), SHAPE)
    assert warped.image.sum() == pytest.approx(1000.0, rel=1e-3)


def test_same_bits_on_any_number_of_threads():
    whole = template()
    patches = [cut(whole, 0, 400, 0, 230), cut(whole, 0, 400, 190, 420)]
    results = [warp_templates(patches, tan(SHAPE, angle=33.0), SHAPE, threads=n) for n in (1, 2, 3)]
    for other in results[1:]:
        for plane in ("image", "variance", "mask"):
            np.testing.assert_array_equal(getattr(other, plane), getattr(results[0], plane))


def test_planes_of_other_layouts_are_accepted():
    whole = template()
    odd = TemplateImage(
        np.asfortranarray(whole.image).astype(">f4"),
        whole.variance.astype(">f4"),
        whole.mask.astype(">i4"),
        whole.wcs,
    )
    science = tan(SHAPE)
    np.testing.assert_array_equal(
        warp_templates([odd], science, SHAPE).image, warp_templates([whole], science, SHAPE).image
    )


def test_no_template_is_refused():
    with pytest.raises(ValueError, match="at least one template"):
        warp_templates([], tan(SHAPE), SHAPE)
