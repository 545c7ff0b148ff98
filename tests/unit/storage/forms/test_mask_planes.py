import numpy as np
import pytest
from astropy.io.fits import Header

from residua.storage.forms.mask_planes import DP1_NAMES, afw_planes, archive_planes, remap
from residua.subtraction.masks import MaskBit


def test_names_and_bits_of_both_kinds_of_files():
    archive = Header({"MSKN0001": "BAD", "MSKM0001": 1, "MSKN0002": "STREAK", "MSKM0002": 64})
    assert archive_planes(archive) == {"BAD": 0, "STREAK": 6}
    afw = Header({"MP_BAD": 0, "MP_SAT": 1, "MP_CR": 3, "EXPTIME": 30.0})
    assert afw_planes(afw) == {"BAD": 0, "SATURATED": 1, "COSMIC_RAY": 3}
    assert set(DP1_NAMES.values()) <= set(MaskBit.__members__)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int16, np.int64, np.uint64])
def test_bits_move_to_ours_and_unknown_ones_go(dtype):
    planes = {"SATURATED": 0, "BAD": 1, "NO_DATA": 5, "NOBODYS": 2}
    array = np.array([[1, 2, 3], [4, 32, 39]], dtype)
    moved = remap(array, planes)
    assert moved.dtype == np.int32
    saturated, bad, nothing = MaskBit.SATURATED, MaskBit.BAD, MaskBit.NO_DATA
    both = saturated | bad
    np.testing.assert_array_equal(moved, [[saturated, bad, both], [0, nothing, both | nothing]])


def test_our_own_order_is_kept():
    planes = {bit.name: bit.value.bit_length() - 1 for bit in MaskBit}
    array = np.array([[int(bit) for bit in MaskBit]], np.int32)
    np.testing.assert_array_equal(remap(array, planes), array)
