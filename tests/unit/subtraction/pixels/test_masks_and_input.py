import numpy as np
import pytest

from residua.simulation.sky.imaging.projection import make_wcs
from residua.subtraction.engine.filter_tables import VaryingKernel, polynomial_tables
from residua.subtraction.errors import BadImageError
from residua.subtraction.images import (
    ScienceImage,
    SpatialPolynomial,
    TemplateImage,
)
from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.difference_mask import difference_mask, good_pixels, merge_masks
from residua.subtraction.pixels.prepare import check_images, clean_science

SHAPE = (120, 130)
WCS = make_wcs(150.0, 2.0, centre=(65, 60), pixel_scale=0.2, rotation=0.0, projection="TAN")


def image(kind=ScienceImage, **changes):
    planes = {
        "image": np.zeros(SHAPE, np.float32),
        "variance": np.ones(SHAPE, np.float32),
        "mask": np.zeros(SHAPE, np.int32),
        "wcs": WCS,
    }
    return kind(**(planes | changes))


def applied_kernel(sigma=1.2, half_width=7):
    offset = np.arange(-half_width, half_width + 1)
    row = np.exp(-(offset**2) / (2 * sigma**2))[None]
    row /= row.sum()
    return VaryingKernel(polynomial_tables(row, row[None]), SpatialPolynomial(SHAPE, 0))


def test_units_must_agree():
    with pytest.raises(BadImageError, match=r"'adu'.*'nJy'"):
        check_images(image(), [image(TemplateImage), image(TemplateImage, unit="adu", name="b")])


@pytest.mark.parametrize("plane", ["variance", "mask"])
def test_planes_must_have_one_shape(plane):
    with pytest.raises(BadImageError, match=plane):
        check_images(image(**{plane: np.ones((10, 10), np.int32)}), [])


def test_cube_is_refused():
    with pytest.raises(BadImageError, match="two-dimensional"):
        check_images(image(image=np.zeros((2, *SHAPE), np.float32)), [])


def test_pixels_without_value_are_flagged_and_cleaned():
    given = image()
    given.image[3, 4], given.variance[5, 6], given.variance[7, 8] = np.nan, 0.0, np.inf
    given.image[9, 9], given.mask[9, 9] = np.nan, int(MaskBit.NO_DATA)
    mask = np.empty(SHAPE, np.int32)
    plane, variance = clean_science(given, mask, threads=2)
    missing = int(MaskBit.NO_DATA | MaskBit.UNMASKED_NAN)
    assert mask[3, 4] == mask[5, 6] == mask[7, 8] == missing
    assert mask[9, 9] == int(MaskBit.NO_DATA)
    assert np.all(np.isfinite(plane))
    assert np.all(np.isfinite(variance))
    assert np.isnan(given.image[3, 4]), "the caller's image must not be changed"


def test_old_detections_are_not_inherited():
    given = image(mask=np.full(SHAPE, int(MaskBit.DETECTED | MaskBit.SUSPECT), np.int32))
    mask = np.empty(SHAPE, np.int32)
    clean_science(given, mask)
    assert np.all(mask == int(MaskBit.SUSPECT))


def test_all_nan_is_refused():
    with pytest.raises(BadImageError) as error:
        clean_science(image(image=np.full(SHAPE, np.nan, np.float32)), np.empty(SHAPE, np.int32))
    assert error.value.numbers == {"usable_pixels": 0, "pixels": SHAPE[0] * SHAPE[1]}


def test_saturated_template_gets_a_plane_of_its_own():
    science, template, merged = (np.zeros(SHAPE, np.int32) for _ in range(3))
    science[1, 1], template[2, 2] = int(MaskBit.SATURATED), int(MaskBit.SATURATED | MaskBit.BAD)
    merge_masks(science, template, merged, threads=2)
    assert merged[1, 1] == int(MaskBit.SATURATED)
    assert merged[2, 2] == int(MaskBit.SAT_TEMPLATE | MaskBit.BAD)


def test_missing_template_and_borders_reach_as_far_as_the_kernel():
    zeros = np.zeros(SHAPE, np.float32)
    science, template, merged = (np.zeros(SHAPE, np.int32) for _ in range(3))
    template[60, 60] = int(MaskBit.NO_DATA)
    merge_masks(science, template, merged)
    mask = difference_mask(
        merged, (zeros, zeros + 1, science), (zeros, template), applied_kernel(), "template",
        reach=3, border=7,
    )  # fmt: skip
    edge = (mask & MaskBit.DETECTION_EDGE) != 0
    assert edge[6].all()
    assert edge[:, -7].all()
    assert edge[60, 62]
    assert not edge[60, 70]
    assert not good_pixels(mask)[60, 60]
    assert good_pixels(mask)[30, 30]


def test_saturated_star_is_masked_as_far_as_it_leaks():
    zeros = np.zeros(SHAPE, np.float32)
    template = zeros.copy()
    template[60, 60] = 6e4
    science_mask, template_mask, merged = (np.zeros(SHAPE, np.int32) for _ in range(3))
    template_mask[60, 60] = int(MaskBit.SATURATED)
    merge_masks(science_mask, template_mask, merged)
    mask = difference_mask(
        merged, (zeros, zeros + 1, science_mask), (template, template_mask), applied_kernel(),
        "template", reach=3, border=7,
    )  # fmt: skip
    flagged = (mask & MaskBit.SAT_TEMPLATE) != 0
    assert flagged[60, 64]
    assert not flagged[60, 68]
